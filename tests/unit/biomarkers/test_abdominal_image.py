"""An enhanced vessel is told from bone and bowel by its place, a kernel by its name, a tilt by its angle."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.biomarkers.abdominal_image import find_enhanced_vessel, flag_abdominal_ct, is_sharp_kernel
from myotome.biomarkers.orientation import compute_tilt_degrees
from myotome.geometry import Grid, Volume

SPACING = (1.0, 1.0)


def make_slice(vessel_hu=40, vessel_at=(150, 145), radius=10, bone_hu=160):
    """A belt of wall muscle, psoas and erector spinae beside a vertebral body, and a disc of blood, 300 x 240 mm."""
    x, y = np.meshgrid(np.arange(300), np.arange(240), indexing="ij")
    ring = ((x - 150) / 130) ** 2 + ((y - 120) / 100) ** 2
    image = np.where(ring < 1.1, -100, -1000).astype(np.int16)
    muscle = (ring < 1) & (ring > 0.85)
    for side in (115, 185):
        muscle |= ((x - side) / 18) ** 2 + ((y - 105) / 25) ** 2 < 1  # psoas, its front at y = 130
        muscle |= ((x - side) / 25) ** 2 + ((y - 55) / 25) ** 2 < 1
    image[muscle] = 50
    body = ((x - 150) / 20) ** 2 + ((y - 112) / 16) ** 2 < 1
    image[body] = bone_hu
    image[(x - vessel_at[0]) ** 2 + (y - vessel_at[1]) ** 2 < radius**2] = vessel_hu
    return image, muscle & (image == 50)


@pytest.mark.parametrize(
    ("details", "enhanced"),
    [
        ({"vessel_hu": 150}, True),
        ({"vessel_hu": 300}, True),
        ({"vessel_hu": 60}, False),  # blood without contrast
        ({"vessel_hu": 600}, False),  # denser than blood gets: a calcified or metallic thing
        ({"vessel_hu": 150, "vessel_at": (250, 120)}, False),  # a kidney or bowel at the side
        ({"vessel_hu": 150, "radius": 3}, False),  # a calcification
        ({"bone_hu": 220}, False),  # the vertebral body alone, however dense
    ],
)
def test_an_enhanced_aorta_is_seen_and_a_vertebra_is_not_taken_for_one(details, enhanced):
    assert find_enhanced_vessel(*make_slice(**details), SPACING) is enhanced


def test_without_muscle_no_vessel_is_looked_for():
    image, muscle = make_slice(150)
    assert not find_enhanced_vessel(image, np.zeros_like(muscle), SPACING)


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [("B30f", False), ("B70f", True), ("Br40d\\3", False), ("Br64d", True), ("I70f", True), ("STANDARD", False)]
    + [
        ("BONEPLUS", True),
        ("LUNG", True),
        ("SOFT", False),
        ("FC08", False),
        ("FC52", True),
        (None, False),
        ("", False),
    ],
)
def test_sharp_kernels_are_known_by_their_names(kernel, sharp):
    assert is_sharp_kernel(kernel) is sharp


@pytest.mark.parametrize(("degrees", "flags"), [(0, ()), (8, ()), (14, ("not_axial",))])
def test_a_tilt_is_measured_from_axial(degrees, flags):
    turn = np.radians(degrees)
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[1:3, 1:3] = [[np.cos(turn), -5 * np.sin(turn)], [np.sin(turn), 5 * np.cos(turn)]]
    image, muscle = make_slice()
    stack, compartment = (np.repeat(array[..., None], 3, axis=2) for array in (image, muscle))
    grid = Grid(stack.shape, affine)
    assert compute_tilt_degrees(grid, "IS") == pytest.approx(degrees)
    assert flag_abdominal_ct(Volume(stack, grid), compartment, (1,)) == flags
