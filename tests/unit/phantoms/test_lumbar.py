"""The lumbar phantom: replayable, labelled by level, true to what it says of itself, and alike within one person."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from myotome.errors import InputError
from myotome.phantoms.canvas import Canvas
from myotome.phantoms.lumbar import (
    AXIAL_LEVELS,
    DISCS,
    LEVELS,
    LumbarScan,
    make_lumbar,
    make_lumbar_person,
    make_lumbar_scan,
)
from myotome.phantoms.lumbar.acquisition import make_sensitivity
from myotome.phantoms.lumbar.placing import make_resampling
from myotome.phantoms.lumbar.plane import Follower, Plane
from myotome.phantoms.lumbar.solids import DiscSolid
from myotome.phantoms.lumbar.spine import Axes, LumbarSpine
from myotome.phantoms.lumbar.tissues import make_tissues
from myotome.phantoms.lumbar.truth import measure_axial_cut, measure_sagittal_cut
from myotome.phantoms.mr_signals import compute_signals

# Nothing between the drawing and the image: no blur, no noise, no coil, no chemical shift.
CLEAN = LumbarScan(
    matrix=192,
    spacing_mm=1.3,
    slices=3,
    thickness_mm=2.0,
    gap_mm=0.0,
    resolution=(1.0, 1.0),
    filtering=0.0,
    noise=0.0,
    bias=0.0,
    chemical_shift_px=0.0,
)
AXIAL = replace(CLEAN, plane="axial", level="L4-L5", spacing_mm=0.9)


@pytest.fixture(scope="module")
def case():
    return make_lumbar(7, CLEAN)


@pytest.fixture(scope="module")
def stack():
    return make_lumbar(7, AXIAL)


@pytest.fixture(scope="module")
def spine():
    return LumbarSpine(make_lumbar_person(7))


def mean_by_grade(pairs: list[tuple[int, float]]) -> list[float]:
    """Means of what belongs to grades 1 and 2, 3, and 4 and 5."""
    grades, values = (np.array(part) for part in zip(*pairs, strict=True))
    return [float(values[(grades >= low) & (grades <= high)].mean()) for low, high in ((1, 2), (3, 3), (4, 5))]


def test_same_seed_gives_the_same_bytes(case):
    again = make_lumbar(7, CLEAN)
    assert again.volume.array.tobytes() == case.volume.array.tobytes()
    assert again.label_map.array.tobytes() == case.label_map.array.tobytes()
    assert again.truth == case.truth


def test_the_five_discs_are_labelled_from_above_and_nothing_else_is(case):
    labels = case.label_map.array
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5}
    rows = [ndimage.center_of_mass(labels == label)[1] for label in range(1, 6)]  # rows grow towards the feet
    assert all(upper < lower for upper, lower in pairwise(rows))
    for label in range(1, 6):
        assert ndimage.label(labels == label)[1] == 1


def test_a_sagittal_scan_lies_as_a_dicom_reader_gives_it(case):
    assert case.volume.grid.axis_codes == ("P", "I", "R")
    assert case.volume.modality == "MR"
    assert case.volume.acquisition.weighting == "T2"
    assert case.volume.acquisition.body_part == "LSPINE"


def test_areas_and_heights_agree_with_the_label_map(case):
    """The middle slice passes within a few millimetres of each disc's middle, where a disc is widest."""
    for label, name in enumerate(LEVELS, start=1):
        truth = case.truth["discs"][name]
        cut = case.label_map.array[:, :, 1] == label
        assert cut.sum() * CLEAN.spacing_mm**2 == pytest.approx(truth["area_mm2"], rel=0.08)
        mean_height = truth["area_mm2"] / truth["ap_mm"]
        heights = [truth[f"{place}_height_mm"] for place in ("anterior", "middle", "posterior")]
        assert min(heights) <= mean_height + 1.5 and max(heights) >= mean_height - 0.5


def test_truth_does_not_depend_on_the_scan(case):
    other = make_lumbar(7, replace(CLEAN, matrix=128, spacing_mm=1.9, noise=0.05, bias=1.0, motion=0.05))
    for name in LEVELS:
        for key in ("area_mm2", "ap_mm", "transverse_mm", "middle_height_mm", "pfirrmann", "herniation"):
            assert other.truth["discs"][name][key] == case.truth["discs"][name][key]
        assert other.truth["discs"][name]["signal_per_csf"] == pytest.approx(
            case.truth["discs"][name]["signal_per_csf"], rel=0.1
        )


def test_an_axial_stack_lies_in_its_disc(stack, spine):
    assert stack.volume.grid.axis_codes == ("L", "P", "S")
    assert set(np.unique(stack.label_map.array)) == {0, 6}
    assert list(stack.truth["discs"]) == ["L4-L5"]
    disc = DiscSolid(spine, make_lumbar_person(7).disc("L4-L5"))
    across = stack.volume.grid.affine[:3, 2] / np.linalg.norm(stack.volume.grid.affine[:3, 2])
    assert abs(across @ disc.axes.up) == pytest.approx(1.0, abs=1e-6)
    places = np.argwhere(stack.label_map.array == 6).mean(axis=0)
    middle = stack.volume.grid.affine @ (*places, 1)
    assert middle[:3] == pytest.approx(disc.centre, abs=2.0)


def test_the_axial_cut_has_the_stated_area_and_diameters(stack):
    truth, mask = stack.truth["discs"]["L4-L5"], stack.label_map.array[:, :, 1] == 6
    assert mask.sum() * AXIAL.spacing_mm**2 == pytest.approx(truth["area_mm2"], rel=0.03)
    across, down = (np.flatnonzero(mask.any(axis=axis)).size * AXIAL.spacing_mm for axis in (1, 0))
    assert across == pytest.approx(truth["transverse_mm"], abs=2 * AXIAL.spacing_mm)
    assert down == pytest.approx(truth["ap_mm"], abs=2 * AXIAL.spacing_mm)


def test_a_slice_of_the_end_plate_has_no_label():
    thick = replace(AXIAL, slices=5, thickness_mm=4.0)
    labels = make_lumbar(7, thick).label_map.array
    filled = np.count_nonzero(labels, axis=(0, 1))
    assert filled[2] > 0 and filled[0] == filled[4] == 0
    assert all(count == 0 or count >= 0.5 * filled.max() for count in filled)


def test_slices_of_one_person_are_more_alike_than_those_of_two():
    """What a division by image leaks: another slice of the same disc tells the mask; one of another person less."""
    scan = replace(AXIAL, slices=2, matrix=128, spacing_mm=1.3)
    masks = [make_lumbar(seed, scan).label_map.array == 6 for seed in range(4)]

    def overlap(first, second):
        return 2 * (first & second).sum() / (first.sum() + second.sum())

    own = [overlap(mask[:, :, 0], mask[:, :, 1]) for mask in masks]
    other = [overlap(one[:, :, 0], two[:, :, 0]) for one, two in pairwise(masks)]
    assert min(own) > 0.95 > 0.94 > np.mean(other)


def test_levels_of_one_person_share_scanner_and_sequence():
    for seed in range(20):
        scans = [make_lumbar_scan(seed, "axial", level) for level in AXIAL_LEVELS]
        shared = [(scan.vendor, scan.weighting, scan.spacing_mm, scan.noise, scan.bias, scan.scale) for scan in scans]
        assert len(set(shared)) == 1
        assert len({scan.turn_deg for scan in scans}) == 3


def test_a_scan_on_even_voxels_has_the_same_discs(case):
    scan = replace(CLEAN, slices=9, thickness_mm=4.0, isotropic_mm=1.0, matrix=160, spacing_mm=1.4)
    even = make_lumbar(7, scan)
    assert even.volume.grid.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    assert even.volume.grid.shape == (224, 224, 36)
    for label, name in enumerate(LEVELS, start=1):
        cut = even.label_map.array[:, :, 17] == label
        assert cut.sum() == pytest.approx(case.truth["discs"][name]["area_mm2"], rel=0.1)
    coarse = case.volume.grid.affine @ (*ndimage.center_of_mass(case.label_map.array == 3), 1)
    fine = even.volume.grid.affine @ (*ndimage.center_of_mass(even.label_map.array == 3), 1)
    assert fine[1:3] == pytest.approx(coarse[1:3], abs=1.0)


def test_all_grades_and_herniations_occur_and_wear_rises_with_age():
    people = [make_lumbar_person(seed) for seed in range(250)]
    discs = [disc for person in people for disc in person.discs[-5:]]
    assert {disc.pfirrmann for disc in discs} == {1, 2, 3, 4, 5}
    assert {disc.herniation for disc in discs} == {"none", "bulge", "protrusion", "extrusion"}
    mean = [np.mean([disc.wear for disc in person.discs[-5:]]) for person in people]
    assert np.corrcoef([person.age_years for person in people], mean)[0, 1] > 0.5
    lowest, highest = ([person.disc(name).wear for person in people] for name in ("L5-S1", "L1-L2"))
    assert np.mean(lowest) > np.mean(highest) + 0.5


def test_discs_of_one_person_are_alike():
    """Of people of one age, much of the variance of wear lies between people."""
    people = [make_lumbar_person(seed) for seed in range(300)]
    wear = np.array([[disc.wear for disc in person.discs] for person in people])
    age = np.array([person.age_years for person in people])
    rest = wear - wear.mean(axis=0) - np.outer(age - age.mean(), np.polyfit(age, wear, 1)[0])
    correlations = np.corrcoef(rest.T)[np.triu_indices(len(DISCS), 1)]
    assert correlations.mean() > 0.15


def test_a_worn_disc_is_dark_and_low():
    small = replace(CLEAN, matrix=96, spacing_mm=2.5, slices=1)
    truths = [disc for seed in range(7) for disc in make_lumbar(seed, small).truth["discs"].values()]
    signals = mean_by_grade([(disc["pfirrmann"], disc["signal_per_csf"]) for disc in truths])
    assert signals[0] > 1.2 * signals[1] > 1.4 * signals[2]
    heights = mean_by_grade(
        [(disc.pfirrmann, disc.height) for seed in range(120) for disc in make_lumbar_person(seed).discs]
    )
    assert heights[0] > heights[1] > heights[2] + 0.1


def test_fluid_is_bright_on_t2_and_dark_on_t1():
    tissues = make_tissues(make_lumbar_person(7))
    t2, t1 = (
        compute_signals(tissues, replace(CLEAN, tr_ms=tr_ms, te_ms=te_ms), np.random.default_rng(0))
        for tr_ms, te_ms in ((4000, 100), (550, 12))
    )
    assert t2["csf"].water > 4 * t2["annulus"].water and t2["csf"].water > 1.3 * t2["nucleus L3-L4"].water
    assert t1["csf"].water < t1["annulus"].water < t1["fat"].water + t1["fat"].fat


def test_a_protrusion_stands_out_behind_by_its_reach(spine):
    state = replace(make_lumbar_person(7).disc("L4-L5"), herniation="none", reach_mm=0.0, side=0.0)
    plain = measure_axial_cut(DiscSolid(spine, state))
    herniated = measure_axial_cut(DiscSolid(spine, replace(state, herniation="protrusion", reach_mm=6.0)))
    assert herniated["ap_mm"] - plain["ap_mm"] == pytest.approx(6.0, abs=1.8)
    assert herniated["transverse_mm"] == pytest.approx(plain["transverse_mm"])
    assert herniated["area_mm2"] > plain["area_mm2"] + 40


def test_an_extrusion_sinks_behind_the_body_below(spine):
    state = replace(
        make_lumbar_person(7).disc("L4-L5"), herniation="extrusion", reach_mm=8.0, side=0.0, drop_mm=6.0, bulge_mm=0.0
    )
    disc = DiscSolid(spine, state)
    axis = np.arange(-40, 40, 0.5)
    section = disc.cut(Plane(Canvas(axis, axis), disc.centre, disc.axes.forward, disc.axes.up))
    up = section.shape.depth_mm > 0
    heights = axis[section.shape.box[1]][np.flatnonzero(up.any(axis=0))]
    assert -heights.min() > heights.max() + 3
    assert section.herniated.any()


def test_a_disc_is_as_large_as_its_formula(spine):
    """|x/w|^2.5 + |y/d|^2.5 = 1 encloses 3.381 w d; the hollow of its back takes a few per cent away."""
    state = replace(make_lumbar_person(7).disc("L3-L4"), herniation="none", reach_mm=0.0)
    disc = DiscSolid(spine, state)
    formula = 3.381 * disc.half_width_mm * disc.half_depth_mm
    assert 0.94 * formula < measure_axial_cut(disc)["area_mm2"] < formula


def test_heights_follow_the_end_plates(spine):
    """The middle height is the distance of the two plates with their hollows; a lordotic disc is higher in front."""
    disc = DiscSolid(spine, replace(make_lumbar_person(7).disc("L5-S1"), herniation="none", reach_mm=0.0))
    truth = measure_sagittal_cut(disc)
    apart = np.linalg.norm(disc.upper.centre - disc.lower.centre) + disc.upper.hollow_mm + disc.lower.hollow_mm
    assert truth["middle_height_mm"] == pytest.approx(apart, rel=0.06)
    assert truth["anterior_height_mm"] > truth["posterior_height_mm"]


def test_the_spine_stands_in_order_and_its_end_plates_do_not_cross():
    for seed in range(40):
        spine = LumbarSpine(make_lumbar_person(seed))
        assert [vertebra.name for vertebra in spine.vertebrae] == [
            *("T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2", "S3")
        ]
        for disc in DISCS:
            above, below = spine.around(disc)
            for forward in (-1, 1):
                rims = [p.centre + forward * p.half_depth_mm * p.axes.forward for p in (above.lower, below.upper)]
                assert (rims[0] - rims[1]) @ below.upper.axes.up > 0.8
        assert spine.at(spine.level, float(spine["L3"].centre[2])) == pytest.approx(15.0, abs=0.05)


@pytest.mark.parametrize(("away", "radius"), [(0.0, 10.0), (6.0, 8.0)])
def test_planes_cut_balls_into_circles(away, radius):
    axis = np.arange(-20, 20, 0.25)
    plane = Plane(Canvas(axis, axis), np.array([1.0, 2.0, 3.0]), np.array([0.0, -0.6, 0.8]), np.array([1.0, 0.0, 0.0]))
    centre = plane.centre + away * plane.normal
    shape = plane.ball(centre, (10.0, 10.0, 10.0), Axes.tilted(0.3))
    assert shape.cover().sum() * 0.25**2 == pytest.approx(np.pi * radius**2, rel=0.01)
    assert plane.ball(plane.centre + 30 * plane.normal, (10.0, 10.0, 10.0), Axes.tilted(0.3)) is None


def test_planes_cut_rods_across_and_along():
    axis = np.arange(-20, 20, 0.25)
    points, radii = np.array([(0.0, 0.0, -8.0), (0.0, 0.0, 8.0)]), np.array([3.0, 3.0])
    right, forward, up = np.eye(3)
    across = Plane(Canvas(axis, axis), np.zeros(3), right, forward).rod(points, radii)
    along = Plane(Canvas(axis, axis), np.zeros(3), forward, up).rod(points, radii)
    assert across.cover().sum() * 0.25**2 == pytest.approx(np.pi * 9, rel=0.02)
    assert along.cover().sum() * 0.25**2 == pytest.approx(16 * 6 + np.pi * 9, rel=0.01)
    assert Plane(Canvas(axis, axis), 30 * right, forward, up).rod(points, radii) is None


def test_a_column_follows_the_spine(spine):
    """An oval tube before the bodies has the area of its ellipse in a level plane, in whatever part of it."""
    axis = np.arange(-60, 60, 0.5)
    z = float(spine["L3"].centre[2])
    middle = np.array([spine.at(spine.middle_mm, z), spine.at(spine.wall_mm, z) + 40, z])
    follower = Follower(Plane(Canvas(axis, axis), middle, np.array([1.0, 0, 0]), np.array([0, 1.0, 0])), spine)
    cosine = spine.at(spine.cosine, z)
    shape = follower.column(5.0, 40.0, 12.0, 8.0)
    assert shape.cover().sum() * 0.5**2 * cosine == pytest.approx(np.pi * 12 * 8, rel=0.02)
    assert follower.column(300.0, 40.0, 12.0, 8.0) is None
    assert follower.column(0.0, 40.0, spine.over_level((17, 17.2), (0, 9)), 9.0) is None  # exists below L5 alone


def test_resampling_keeps_straight_lines():
    line = np.arange(20.0)
    for cubic in (True, False):
        weights = make_resampling(20, 4.0, 70, 1.0, cubic)
        assert weights.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        place = (np.arange(70) - 34.5) / 4 + 9.5
        assert (weights @ line)[8:-8] == pytest.approx(place[8:-8], abs=1e-4)
    assert make_resampling(5, 2.0, 5, 2.0, True) == pytest.approx(np.eye(5))


def test_the_coil_lies_behind(spine):
    axis = np.arange(-100, 100, 4.0)
    plane = Plane(Canvas(axis, axis), np.array([0.0, 0.0, 100.0]), np.array([0.0, -1, 0]), np.array([0, 0, -1.0]))
    field = make_sensitivity(replace(CLEAN, bias=1.0), plane, -60.0, 1)
    assert field[-15, 20:30].mean() > 3 * field[5, 20:30].mean()
    assert make_sensitivity(CLEAN, plane, -60.0, 1) == pytest.approx(1.0)


def test_sampled_scans_reach_over_the_whole_range():
    scans = [make_lumbar_scan(seed) for seed in range(300)]
    assert {scan.weighting for scan in scans} == {"T1", "T2"}
    assert {scan.field_t for scan in scans} == {1.5, 3.0}
    assert 0.15 < np.mean([scan.isotropic_mm is not None for scan in scans]) < 0.35
    assert {scan.slices for scan in scans} == set(range(11, 18))
    axial = make_lumbar_scan(3, "axial", "L5-S1", 1)
    assert (axial.plane, axial.level, axial.slices, axial.thickness_mm) == ("axial", "L5-S1", 1, 4.0)


@pytest.mark.parametrize(
    "wrong",
    [{"plane": "coronal"}, {"weighting": "PD"}, {"level": "T12-L1"}, {"plane": "axial", "isotropic_mm": 1.0}],
)
def test_a_scan_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError):
        LumbarScan(**wrong)
