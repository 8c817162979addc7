"""Rods of known density are found under the back, and give a line; without rods there is none."""

import numpy as np
import pytest

from myotome.biomarkers.bone_density import CalibrationRefused, calibrate_with_phantom, find_rods, to_k2hpo4
from myotome.geometry import Grid, Volume

SPACING = (1.2, 1.2, 5.0)
SLOPE, OFFSET = 1.4, 6.0
K2HPO4, HA = (0.0, 50.0, 100.0, 200.0), (0.0, 75.0, 150.0)


def make_scan(densities=K2HPO4, *, turned=False, noise_hu=12.0, sunk=0, slope=SLOPE, fat_mm=None):
    """A back over a slab of plastic with rods; in the first ``sunk`` of 12 slices the back sinks into the slab.

    ``fat_mm`` lays fat over everything from so far above the middle of the rods, in every slice.
    """
    shape = (220, 200, 12)
    x, y = (np.arange(size) * SPACING[0] - size * SPACING[0] / 2 for size in shape[:2])
    x, y = np.meshgrid(x, y, indexing="ij")
    plane = np.full(shape[:2], -1000.0)
    plane[np.hypot(x / 110, (y - 20) / 80) <= 1] = 40
    plane[(np.abs(x) < 92) & (np.abs(y + 78) <= 14)] = OFFSET
    order = densities[::-1] if turned else densities
    for place, density in zip((np.arange(len(order)) - (len(order) - 1) / 2) * 42, order, strict=True):
        plane[np.hypot(x - place, y + 78) <= 9] = OFFSET + slope * density
    if fat_mm is not None:
        plane[y + 78 > fat_mm] = -100
    image = np.repeat(plane[..., None], shape[2], axis=2)
    image[:, :, :sunk][np.hypot(x / 110, (y + 10) / 80) <= 1] = 40
    image += np.random.default_rng(4).normal(0, noise_hu, shape)
    return Volume(image.astype(np.float32), Grid(shape, np.diag([*SPACING, 1.0])))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("sunk", [0, 4])
def test_the_rods_give_the_line_that_was_drawn(turned, sunk):
    calibration = calibrate_with_phantom(make_scan(turned=turned, sunk=sunk))
    for density in (30.0, 120.0, 180.0):
        bmd, se = calibration.to_bmd(OFFSET + SLOPE * density)
        assert bmd == pytest.approx(density, abs=1.5)
        assert 0 < se < 2
    assert calibration.method == "phantom"
    assert calibration.r2 > 0.999


def test_rods_of_hydroxyapatite_give_k2hpo4_by_the_conversion():
    calibration = calibrate_with_phantom(make_scan(HA))
    assert calibration.to_bmd(OFFSET + SLOPE * 100)[0] == pytest.approx(to_k2hpo4(100), abs=1.5)
    assert find_rods(make_scan(HA)).kind == "ha"
    assert find_rods(make_scan()).kind == "k2hpo4"


@pytest.mark.parametrize(
    "rods", [{"densities": (50.0, 50.0, 50.0)}, {"slope": 0.2}, {"densities": (0.0, 180.0, 40.0, 90.0)}]
)
def test_what_is_no_phantom_is_not_taken_for_one(rods):
    refused = calibrate_with_phantom(make_scan(**rods))
    assert isinstance(refused, CalibrationRefused)
    assert refused.reasons == ("phantom_not_found",)


@pytest.mark.parametrize(("fat_mm", "found"), [(7.0, True), (1.0, False), (-2.0, False)])
def test_rods_that_the_back_covers_are_found_whole_or_not_at_all(fat_mm, found):
    calibration = calibrate_with_phantom(make_scan(fat_mm=fat_mm, noise_hu=20.0))
    if found:
        assert calibration.to_bmd(OFFSET + SLOPE * 120)[0] == pytest.approx(120, abs=1.5)
    else:
        assert isinstance(calibration, CalibrationRefused), "a line of half the slope is no calibration"
