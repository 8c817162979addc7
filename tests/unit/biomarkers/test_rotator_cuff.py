"""Areas, occupation ratio and tangent of drawn shapes by hand, and of phantoms by their truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.rotator_cuff import find_tangent, find_y_view, measure_supraspinatus
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.measurement import Grading
from myotome.phantoms.shoulder import make_shoulder
from myotome.structures import LabelMap, read_label_schema
from tests.unit.phantoms.shoulders import BOXES, FOSSA_CM2, MUSCLE_CM2, SPACING_MM, make_shoulder_case

# Columns run to the back, rows to the feet, as in a sagittal slice; half a millimetre a voxel.
DIRECTIONS = 0.5 * np.array([[0.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])


def _rows(measurements):
    return {(row.structure, row.measure, row.statistic): row for row in measurements}


def _value(measurements, measure, structure="supraspinatus"):
    return _rows(measurements)[structure, measure, "total"].value


def _box(*place):
    mask = np.zeros((60, 60), bool)
    mask[place] = True
    return mask


SPINE, CORACOID = _box(slice(45, 55), slice(20, 50)), _box(slice(5, 15), slice(20, 50))


def _with_labels(label_map, labels):
    return LabelMap(labels.astype(np.uint8), label_map.grid, label_map.schema)


def _grading(**changes):
    blank = np.zeros((2, 2))
    grading = Grading(0, "the only slice", {"A": 0.25, "B": 0.75}, (0.1, 0.2, 0.4, 0.2, 0.1), blank, blank, blank)
    return replace(grading, **changes)


def test_areas_and_occupation_ratio_by_hand():
    rows, flags = measure_supraspinatus(*make_shoulder_case())
    assert _value(rows, "area") == pytest.approx(MUSCLE_CM2)
    assert _value(rows, "area", "supraspinous_fossa") == pytest.approx(FOSSA_CM2)
    assert _value(rows, "occupation_ratio") == pytest.approx(100 * 25 / 33)
    assert _value(rows, "y_view_slice") == 0
    assert flags == ()
    assert all(row.slice_index is None and row.level is None and row.side == "both" for row in rows)


def test_one_row_per_measure():
    rows, _ = measure_supraspinatus(*make_shoulder_case(), _grading())
    assert len(_rows(rows)) == len(rows)


@pytest.mark.parametrize("columns", [0, 3, 9, 15])
def test_the_fat_fraction_of_drawn_columns(columns):
    rows, _ = measure_supraspinatus(*make_shoulder_case(fat_columns=columns))
    assert _value(rows, "fat_fraction") == pytest.approx(100 * columns / 30, abs=1.0)
    assert _value(rows, "fat_fraction_otsu") == pytest.approx(100 * columns / 30, abs=0.5)


@pytest.mark.parametrize(("top", "height_mm"), [(25, -2.5), (20, 0.0), (16, 2.0)])
def test_the_muscle_against_a_level_tangent(top, height_mm):
    tangent = find_tangent(_box(slice(20, 40), slice(top, 45)), SPINE, CORACOID, DIRECTIONS)
    assert tangent.height_mm == pytest.approx(height_mm, abs=1e-9)
    assert tangent.positive == (height_mm <= 0)
    assert tangent.spine[1] == tangent.coracoid[1] == 20


def test_a_tilted_tangent_by_hand():
    """The line from (10, 30) to (50, 10) passes (30, 20), so a voxel at (30, 12) lies 8 voxels over it, upright."""
    spine, coracoid, muscle = _box(50, slice(10, 20)), _box(10, slice(30, 40)), _box(30, 12)
    tangent = find_tangent(muscle, spine, coracoid, DIRECTIONS)
    assert (tangent.spine, tangent.coracoid) == ((50, 10), (10, 30))
    assert tangent.height_mm == pytest.approx(0.5 * 8 * 40 / np.hypot(40, 20))


@pytest.mark.parametrize("turned", [np.array([[0, 0], [0, -0.5], [-0.5, 0]]), np.array([[0, 0], [0.5, 0], [0, 0.5]])])
def test_the_tangent_does_not_depend_on_the_arrays_axes(turned):
    """Transposed, or flipped along both axes, the same shapes have the same height."""
    muscle = _box(slice(20, 40), slice(16, 45))
    if turned[1, 0] == 0:
        masks = [mask.T for mask in (muscle, SPINE, CORACOID)]
    else:
        masks = [mask[::-1, ::-1] for mask in (muscle, SPINE, CORACOID)]
    assert find_tangent(*masks, turned).height_mm == pytest.approx(2.0)


def test_stray_voxels_do_not_decide():
    muscle = _box(slice(20, 40), slice(25, 45))
    muscle[30, 2] = True
    assert find_tangent(muscle, SPINE, CORACOID, DIRECTIONS).positive


def test_no_tangent_without_both_bones_or_with_one_beneath_the_other():
    muscle, nothing = _box(slice(20, 40), slice(25, 45)), np.zeros((60, 60), bool)
    assert find_tangent(muscle, nothing, CORACOID, DIRECTIONS) is None
    assert find_tangent(nothing, SPINE, CORACOID, DIRECTIONS) is None
    wide, under = _box(slice(0, 60), slice(0, 4)), _box(slice(20, 40), slice(50, 55))
    assert find_tangent(muscle, wide, under, DIRECTIONS) is None


def test_an_absent_bone_is_named():
    volume, label_map = make_shoulder_case()
    rows, _ = measure_supraspinatus(volume, _with_labels(label_map, np.where(label_map.array == 4, 0, label_map.array)))
    row = _rows(rows)["supraspinatus", "tangent_sign", "total"]
    assert (row.value, row.flags) == (None, ("coracoid_process_absent",))


def test_a_grading_becomes_rows():
    rows = _rows(measure_supraspinatus(*make_shoulder_case(), _grading(flags=("poor_signal",)))[0])
    assert rows["supraspinatus", "positive_probability", "B"].value == 0.75
    assert rows["supraspinatus", "positive_probability", "B"].method == "grades 2-4 against 0-1"
    assert rows["supraspinatus", "grade_probability", "grade_3"].value == 0.2
    assert rows["supraspinatus", "goutallier_grade", "total"].value == 2
    _, flags = measure_supraspinatus(*make_shoulder_case(), _grading(flags=("poor_signal",)))
    assert flags == ("poor_signal",)


def test_without_a_muscle_nothing_is_measured_and_no_grade_given():
    volume, label_map = make_shoulder_case()
    empty = _with_labels(label_map, np.where(label_map.array <= 2, 0, label_map.array))
    rows, flags = measure_supraspinatus(volume, empty, _grading())
    assert flags == ("no_supraspinatus_found",)
    assert all(row.value is None and row.flags == ("absent",) for row in rows)
    assert find_y_view(empty) is None


def test_suppressed_fat_by_the_header_gives_no_fat_fraction():
    volume, label_map = make_shoulder_case()
    suppressed = replace(volume, acquisition=replace(volume.acquisition, fat_suppressed=True))
    rows = _rows(measure_supraspinatus(suppressed, label_map)[0])
    for measure in ("fat_fraction", "fat_fraction_otsu"):
        row = rows["supraspinatus", measure, "total"]
        assert (row.value, row.flags) == (None, ("fat_suppressed",))
    assert rows["supraspinatus", "area", "total"].value == pytest.approx(MUSCLE_CM2)


def test_a_small_muscle_warns_of_retraction():
    volume, label_map = make_shoulder_case()
    labels = label_map.array.copy()
    labels[BOXES[1][0], 50:63, 0] = 2
    rows, flags = measure_supraspinatus(volume, _with_labels(label_map, labels))
    assert _value(rows, "occupation_ratio") == pytest.approx(100 * 12 / 33)
    assert flags == ("retraction_suspected",)


def test_a_muscle_at_the_border_is_truncated():
    volume, label_map = make_shoulder_case()
    labels = label_map.array.copy()
    labels[40:70, 75:, 0] = 1
    row = _rows(measure_supraspinatus(volume, _with_labels(label_map, labels))[0])["supraspinatus", "area", "total"]
    assert row.flags == ("truncated",)


def test_the_labelled_slice_of_a_volume_is_measured():
    volume, label_map = make_shoulder_case(slices=5, y_view=3)
    rows, flags = measure_supraspinatus(volume, label_map)
    assert _value(rows, "y_view_slice") == 3
    assert _value(rows, "area") == pytest.approx(MUSCLE_CM2)
    assert flags == ()
    both = label_map.array.copy()
    both[45:50, 55:60, 1] = 1
    rows, flags = measure_supraspinatus(volume, _with_labels(label_map, both))
    assert _value(rows, "y_view_slice") == 3
    assert flags == ("several_slices_labelled",)


def test_wrong_input_is_refused_with_a_sentence():
    volume, label_map = make_shoulder_case()
    with pytest.raises(InputError, match="this image is CT: give the MR series"):
        measure_supraspinatus(replace(volume, modality="CT"), label_map)
    other = LabelMap(label_map.array, label_map.grid, read_label_schema("respiratory_muscle_ct"))
    with pytest.raises(InputError, match="needs those of 'supraspinatus_mri'"):
        measure_supraspinatus(volume, other)
    moved = np.array(volume.grid.affine)
    moved[0, 3] += SPACING_MM
    with pytest.raises(InputError, match="not on the image's grid"):
        measure_supraspinatus(Volume(volume.array, Grid(volume.grid.shape, moved), "MR"), label_map)


@pytest.mark.parametrize("seed", range(300_700, 300_705))
def test_phantoms_have_their_true_areas_and_tangent(seed):
    case = make_shoulder(seed, grade=seed % 5)
    rows, _ = measure_supraspinatus(case.volume, case.label_map)
    assert _value(rows, "area") == pytest.approx(case.truth["muscle_cm2"], rel=0.03)
    assert _value(rows, "area", "supraspinous_fossa") == pytest.approx(case.truth["fossa_cm2"], rel=0.03)
    assert _value(rows, "occupation_ratio") == pytest.approx(case.truth["occupation_ratio_percent"], abs=2.0)
    assert _value(rows, "height_above_tangent") == pytest.approx(case.truth["height_above_tangent_mm"], abs=1.0)
