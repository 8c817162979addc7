"""The shoulder phantom: replayable, of the grade that was asked for, and true to what it says of itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from myotome.phantoms.canvas import Canvas
from myotome.phantoms.infiltration import Texture, infiltrate
from myotome.phantoms.mr_scan import acquire
from myotome.phantoms.mr_signals import compute_signals
from myotome.phantoms.shoulder import (
    FAT_RANGES_PERCENT,
    GRADE_COUNTS,
    ShoulderScan,
    grade_from_fat,
    make_shoulder,
    make_shoulder_person,
    make_shoulder_scan,
    rate,
)
from myotome.phantoms.shoulder.acquisition import make_sensitivity
from myotome.phantoms.shoulder.drawing import _height_above_tangent
from myotome.phantoms.shoulder.painting import Painting
from myotome.phantoms.shoulder.tissues import TISSUES

# Nothing between the drawing and the image: no blur, no noise, no coil, no chemical shift.
CLEAN = ShoulderScan(
    matrix=224, spacing_mm=0.68, resolution=(1.0, 1.0), filtering=0.0, noise=0.0, bias=0.0, chemical_shift_px=0.0
)
SUPRASPINATUS, FOSSA, SPINE, CORACOID = 1, 2, 3, 4


@pytest.fixture(scope="module")
def case():
    return make_shoulder(7, CLEAN, grade=2)


@pytest.fixture(scope="module")
def whole_scan():
    return make_shoulder(12, replace(CLEAN, matrix=128, spacing_mm=1.2, slices=20), grade=1)


def centre(label_map, label: int) -> np.ndarray:
    return np.array(ndimage.center_of_mass(label_map.array[:, :, 0] == label))


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's plain kappa of two readings."""
    table = np.zeros((5, 5))
    np.add.at(table, (first, second), 1 / len(first))
    by_chance = float(table.sum(axis=0) @ table.sum(axis=1))
    return (float(np.trace(table)) - by_chance) / (1 - by_chance)


def test_same_seed_gives_the_same_bytes(case):
    again = make_shoulder(7, CLEAN, grade=2)
    assert again.volume.array.tobytes() == case.volume.array.tobytes()
    assert again.label_map.array.tobytes() == case.label_map.array.tobytes()
    assert again.truth == case.truth


def test_another_grade_is_the_same_skeleton_with_another_muscle(case):
    other = make_shoulder(7, CLEAN, grade=4)
    differs = (other.label_map.array == SPINE) != (case.label_map.array == SPINE)
    assert differs.sum() < 0.05 * (case.label_map.array == SPINE).sum()  # pixels that three tissues share
    assert other.truth["muscle_cm2"] < case.truth["muscle_cm2"]
    assert other.truth["fossa_cm2"] == pytest.approx(case.truth["fossa_cm2"], rel=1e-4)


@pytest.mark.parametrize("grade", range(5))
def test_the_grade_is_the_one_asked_for(grade):
    for seed in range(3):
        truth = make_shoulder(seed, replace(CLEAN, matrix=128, spacing_mm=1.2), grade=grade).truth
        low, high = FAT_RANGES_PERCENT[grade]
        assert truth["grade"] == grade
        assert low <= truth["fat_percent"] < high


def test_a_limit_belongs_to_the_higher_grade():
    assert [grade_from_fat(value) for value in (0, 4.99, 5, 20, 45, 54.9, 55, 100)] == [0, 0, 1, 2, 3, 3, 4, 4]


def test_grades_are_as_frequent_as_in_the_paper():
    grades = [grade_from_fat(make_shoulder_person(seed).fat_percent) for seed in range(4000)]
    assert np.bincount(grades, minlength=5) / 4000 == pytest.approx(np.array(GRADE_COUNTS) / 606, abs=0.025)


@pytest.mark.parametrize("grade", [0, 2, 4])
def test_the_fat_is_in_the_image_as_stated(grade):
    """On a clean image, mean intensity between that of muscle and that of fat gives the stated share of fat back."""
    case = make_shoulder(21, CLEAN, grade=grade)
    signals = compute_signals(TISSUES, CLEAN, np.random.default_rng((21, 37)))
    muscle, fat = signals["muscle"].water, signals["fat"].water + signals["fat"].fat
    inside = ndimage.binary_erosion(case.label_map.array[:, :, 0] == SUPRASPINATUS)
    mean = case.volume.array[:, :, 0][inside].mean() / CLEAN.scale
    assert 100 * (mean - muscle) / (fat - muscle) == pytest.approx(case.truth["fat_percent"], abs=3.5)


def test_super_sampled_areas_agree_with_the_label_map(case):
    pixel_cm2 = CLEAN.spacing_mm**2 / 100
    counts = np.bincount(case.label_map.array.ravel(), minlength=5) * pixel_cm2
    assert counts[SUPRASPINATUS] == pytest.approx(case.truth["muscle_cm2"], rel=0.02)
    assert counts[[SUPRASPINATUS, FOSSA]].sum() == pytest.approx(case.truth["fossa_cm2"], rel=0.04)
    ratio = case.truth["muscle_cm2"] / case.truth["fossa_cm2"]
    assert case.truth["occupation_ratio_percent"] == pytest.approx(100 * ratio)


def test_truth_does_not_depend_on_the_scan(case):
    other = make_shoulder(7, replace(CLEAN, matrix=320, spacing_mm=0.5, noise=0.05, bias=1.0), grade=2)
    for name, tolerance in (("fat_percent", 0.1), ("muscle_cm2", 0.03), ("fossa_cm2", 0.03)):
        assert other.truth[name] == pytest.approx(case.truth[name], abs=tolerance)


def test_muscle_lies_in_the_fossa_between_spine_behind_and_coracoid_before(case):
    muscle, spine, coracoid = (centre(case.label_map, label) for label in (SUPRASPINATUS, SPINE, CORACOID))
    assert coracoid[0] < muscle[0] < spine[0]
    around = ndimage.binary_dilation(case.label_map.array[:, :, 0] == SUPRASPINATUS, iterations=2)
    neighbours = set(np.unique(case.label_map.array[:, :, 0][around]))
    assert FOSSA in neighbours


def test_sizes_are_those_of_people():
    """Adults' muscle of about 5 to 9 cm2 and fossa of 6 to 12 cm2; little fat leaves most of the fossa filled."""
    truths = [make_shoulder(seed, replace(CLEAN, matrix=128, spacing_mm=1.2), grade=0).truth for seed in range(16)]
    assert 5.5 < np.median([truth["muscle_cm2"] for truth in truths]) < 9
    assert all(3.0 < truth["muscle_cm2"] < 11.5 and 5.0 < truth["fossa_cm2"] < 14.5 for truth in truths)
    assert np.median([truth["occupation_ratio_percent"] for truth in truths]) > 65


def test_atrophy_follows_fat_but_only_loosely():
    people = [make_shoulder_person(seed, seed % 5) for seed in range(500)]
    fat, occupation = np.array([(person.fat_percent, person.occupation) for person in people]).T
    assert -0.9 < np.corrcoef(fat, occupation)[0, 1] < -0.5


def test_a_wasted_muscle_lies_below_the_tangent_and_a_full_one_rarely():
    small = replace(CLEAN, matrix=128, spacing_mm=1.2)
    signs = {
        grade: [make_shoulder(seed, small, grade=grade).truth["tangent_sign"] for seed in range(10)] for grade in (0, 4)
    }
    assert np.mean(signs[4]) > 0.7
    assert np.mean(signs[0]) < 0.45


@pytest.mark.parametrize(("drop_mm", "expected_mm"), [(0.0, 3.0), (10.0, 3.0 - 10.0 / np.sqrt(1 + 0.25**2))])
def test_the_tangent_touches_spine_and_coracoid_from_above(drop_mm, expected_mm):
    """Two discs 40 mm apart, and a small one whose top stands 3 mm above the line on top of them, or lies deeper."""
    axis = np.arange(-40, 40, 0.2)
    canvas = Canvas(axis, axis)
    signals = compute_signals(TISSUES, CLEAN, np.random.default_rng(0))
    painting = Painting(canvas, signals, Texture(0), 0.0)
    slope = 0.25 if drop_mm else 0.0  # the line falls towards the back
    steep = np.sqrt(1 + slope**2)
    for name, x in (("coracoid_process", -20.0), ("scapular_spine", 20.0)):
        shape = canvas.oval((x, slope * x), (5, 5))
        painting.lay(shape.box, shape.cover(), "cortex", name)
    shape = canvas.oval((0, -3 * steep + drop_mm), (5, 5))
    painting.lay(shape.box, shape.cover(), "muscle", "supraspinatus")
    assert _height_above_tangent(painting) == pytest.approx(expected_mm, abs=0.15)


def test_an_image_lies_as_a_dicom_reader_gives_it(case):
    """Columns to the back, rows to the feet, the slice's normal 10 to 35 degrees from left-right."""
    assert case.volume.grid.axis_codes == ("P", "I", "R")
    assert case.volume.modality == "MR"
    normal = case.volume.grid.affine[:3, 2] / np.linalg.norm(case.volume.grid.affine[:3, 2])
    assert 10 < np.rad2deg(np.arccos(abs(normal[0]))) < 35


def test_right_and_left_lie_on_their_own_side_and_face_forward():
    sides = {}
    for seed in range(12):
        case = make_shoulder(seed, replace(CLEAN, matrix=64, spacing_mm=2.4), grade=0)
        sides.setdefault(case.truth["side"], case.volume.grid)
    for side, sign in (("R", 1), ("L", -1)):
        middle = sides[side].affine @ (31.5, 31.5, 0, 1)
        lateral = sides[side].affine[:3, 2] * sign
        assert middle[0] * sign > 80
        assert lateral[1] > 0  # the glenoid looks to the arm and to the front


def test_a_scan_is_labelled_on_its_y_view_alone(whole_scan):
    labelled = np.flatnonzero(whole_scan.label_map.array.any(axis=(0, 1)))
    assert labelled.tolist() == [whole_scan.truth["y_view_slice"]]
    assert set(np.unique(whole_scan.label_map.array)) == {0, 1, 2, 3, 4}


def test_the_y_view_of_a_scan_is_the_one_drawn_alone(whole_scan):
    alone = make_shoulder(12, replace(CLEAN, matrix=128, spacing_mm=1.2), grade=1)
    y_view = whole_scan.truth["y_view_slice"]
    assert np.array_equal(whole_scan.label_map.array[:, :, y_view], alone.label_map.array[:, :, 0])
    assert whole_scan.truth["fat_percent"] == alone.truth["fat_percent"]


def test_sampled_scans_reach_over_sequences_fields_and_matrices():
    scans = [make_shoulder_scan(seed) for seed in range(400)]
    assert {scan.sequence for scan in scans} == {"T2", "T1", "PD"}
    assert np.mean([scan.sequence == "T2" for scan in scans]) == pytest.approx(0.72, abs=0.07)
    assert {scan.field_t for scan in scans} == {1.5, 3.0}
    assert {scan.matrix for scan in scans} == {256, 288, 320}
    assert 0 < np.mean([scan.fat_suppression > 0 for scan in scans]) < 0.06
    assert {scan.slices for scan in scans} == {1}


def test_fat_is_bright_and_cortex_black_unless_fat_is_suppressed():
    for tr_ms, te_ms in ((4000, 80), (550, 12), (2800, 30)):
        signals = compute_signals(TISSUES, replace(CLEAN, tr_ms=tr_ms, te_ms=te_ms), np.random.default_rng(0))
        level = {name: signal.water + signal.fat for name, signal in signals.items()}
        assert level["fat"] > 1.5 * level["muscle"] > 3 * level["cortex"]
    suppressed = compute_signals(TISSUES, replace(CLEAN, fat_suppression=0.9), np.random.default_rng(0))
    assert suppressed["fat"].water + suppressed["fat"].fat < suppressed["muscle"].water
    assert suppressed["fluid"].water > 3 * suppressed["muscle"].water


def test_chemical_shift_moves_fat_and_leaves_water():
    scan = replace(CLEAN, matrix=32, chemical_shift_px=2.0, frequency_axis=1, scale=1000)
    dot = np.zeros((32, 32), np.float32)
    dot[16, 16] = 1.0
    flat, rng = np.ones((32, 32), np.float32), np.random.default_rng(0)
    fat = acquire(0 * dot, dot, scan, flat, rng)
    water = acquire(dot, 0 * dot, scan, flat, rng)
    assert np.unravel_index(fat.argmax(), fat.shape) == (16, 18)
    assert np.unravel_index(water.argmax(), water.shape) == (16, 16)


def test_noise_is_rician_and_as_strong_as_stated():
    """In tissue its spread is the stated one; in air the mean is sqrt(pi / 2) times it."""
    scan = replace(CLEAN, matrix=128, noise=0.05, scale=4000, resolution=(0.8, 0.7))
    flat, nothing = np.ones((128, 128), np.float32), np.zeros((128, 128), np.float32)
    tissue = acquire(nothing, 0.8 * flat, scan, flat, np.random.default_rng(1)) / scan.scale
    air = acquire(nothing, nothing, scan, flat, np.random.default_rng(2)) / scan.scale
    assert tissue.std() == pytest.approx(0.05, rel=0.08)
    assert air.mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.05)


def test_motion_throws_ghosts_along_the_phase_axis_only():
    scan = replace(CLEAN, matrix=64, motion=0.1, frequency_axis=0, scale=4000)
    image = np.zeros((64, 64), np.float32)
    image[28:36, 28:36] = 0.9
    moved, still = (
        acquire(image, 0 * image, one, np.ones_like(image), np.random.default_rng(3)).astype(float)
        for one in (scan, replace(scan, motion=0.0))
    )
    ghosts = np.abs(moved - still)
    assert ghosts[28:36, :20].mean() > 5 * ghosts[:20, 28:36].mean()


def test_the_coils_field_is_even_where_no_bias_is_asked_for():
    assert make_sensitivity(replace(CLEAN, bias=0.0), 1) == pytest.approx(1.0)
    uneven = make_sensitivity(replace(CLEAN, bias=1.0), 1)
    assert uneven.mean() == pytest.approx(1.0, rel=1e-4)
    assert uneven.max() / uneven.min() > 1.5


def test_fat_fills_exactly_the_wanted_share():
    rng = np.random.default_rng(5)
    readiness, weights = rng.normal(size=5000).astype(np.float32), rng.uniform(0, 1, 5000).astype(np.float32)
    for wanted in (0.004, 0.05, 0.5, 0.9):
        fat = infiltrate(readiness, weights, wanted, 0.1)
        assert float(fat @ weights) / weights.sum() == pytest.approx(wanted, abs=3e-4)
        assert 0 <= fat.min() <= fat.max() <= 1


def test_shapes_have_the_area_of_geometry_whatever_the_pixel():
    circle = 10 * np.stack(
        [function(np.linspace(0, 2 * np.pi, 200, endpoint=False)) for function in (np.cos, np.sin)], 1
    )
    for pixel_mm in (0.3, 1.0):
        axis = np.arange(-20, 20, pixel_mm)
        canvas = Canvas(axis, axis)
        assert canvas.blob(circle).cover().sum() * pixel_mm**2 == pytest.approx(np.pi * 100, rel=0.005)
        assert canvas.oval((0, 0), (12, 6)).cover().sum() * pixel_mm**2 == pytest.approx(np.pi * 72, rel=0.005)
        rod = canvas.rod(np.array([(-8, 0), (8, 0)]), np.array([3, 3])).cover().sum() * pixel_mm**2
        assert rod == pytest.approx(16 * 6 + np.pi * 9, rel=0.01)


def test_a_shape_outside_the_plane_covers_nothing():
    canvas = Canvas(np.arange(10.0), np.arange(10.0))
    assert canvas.rod(np.array([(50, 50), (60, 60)]), np.array([2, 2])).cover().sum() == 0
    assert canvas.oval((-40, 4), (5, 5)).cover().sum() == 0


def test_two_readers_agree_as_in_the_literature():
    """Plain kappa of two simulated readers is 0.62; one of them agrees better with the truth."""
    fat = [make_shoulder_person(seed).fat_percent for seed in range(5000)]
    first, second = (np.array([rate(value, seed, rater) for seed, value in enumerate(fat)]) for rater in (0, 1))
    truth = np.array([grade_from_fat(value) for value in fat])
    assert kappa(first, second) == pytest.approx(0.62, abs=0.03)
    assert kappa(first, truth) > kappa(first, second) + 0.05


def test_a_reader_reads_the_same_shoulder_alike(case):
    assert rate(30.0, 4) == rate(30.0, 4)
    assert case.truth["rated_grade"] == rate(case.truth["fat_percent"], 7)
