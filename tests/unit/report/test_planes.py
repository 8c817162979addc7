"""Planes are the right ones, the right way round."""

import numpy as np
import pytest

from myotome.report.planes import choose_axial, choose_coronal, choose_sagittal, cut, make_case
from tests.unit.report.cases import make_case as make_result


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASL", "IRP"])
def test_the_patients_right_lies_on_the_viewers_left(codes):
    volume, result = make_result(codes)
    case = make_case(volume, result.label_map)
    axial = cut(case, 2, 10)
    rows, columns = np.nonzero(axial.labels == 1)
    middle_row, middle_column = (size / 2 for size in axial.labels.shape)
    assert columns.max() < middle_column and rows.max() < middle_row
    rows, columns = np.nonzero(axial.labels == 2)
    assert columns.mean() == pytest.approx(middle_column, abs=1) and rows.min() > middle_row
    assert axial.edges == ("R", "L", "A", "P")
    assert axial.spacing_mm == pytest.approx((2, 2))


def test_coronal_is_seen_from_the_front_and_sagittal_from_the_right():
    volume, result = make_result()
    case = make_case(volume, result.label_map)
    coronal = cut(case, 1, choose_coronal(case))
    assert coronal.edges == ("R", "L", "S", "I") and coronal.spacing_mm == pytest.approx((6, 2))
    sagittal = cut(case, 0, choose_sagittal(case))
    assert sagittal.edges == ("A", "P", "S", "I")
    rows, columns = np.nonzero(sagittal.labels == 1)
    assert columns.max() < sagittal.labels.shape[1] / 2
    assert (rows.min(), rows.max()) == (20 - 16, 19 - 8)


def test_axial_levels_hold_labels_from_top_to_bottom():
    volume, result = make_result()
    case = make_case(volume, result.label_map)
    levels = choose_axial(case)
    assert levels == sorted(levels, reverse=True) and len(set(levels)) == 3
    assert all(case.labels[..., z].any() for z in levels)


def test_slice_numbers_are_those_of_the_volume():
    volume, result = make_result("RAI")
    case = make_case(volume, result.label_map)
    z = 15
    index = case.slice_numbers[z]
    assert np.count_nonzero(volume.array[..., index] == 50) == np.count_nonzero(case.image[..., z] == 50) > 0
    assert index == 4


def test_the_body_is_kept_and_the_table_is_not():
    volume, result = make_result()
    array = volume.array.copy()
    array[:, 2:4] = 100
    case = make_case(type(volume)(array, volume.grid), result.label_map)
    assert case.image.shape[:2] == (pytest.approx(120 + 10, abs=4), pytest.approx(80 + 10, abs=4))
    assert (case.image == -80).sum() == (volume.array == -80).sum()


def test_an_empty_label_map_still_gives_planes():
    volume, result = make_result()
    nothing = type(result.label_map)(np.zeros_like(result.label_map.array), volume.grid, result.label_map.schema)
    case = make_case(volume, nothing)
    assert len(choose_axial(case)) == 3
    assert 0 <= choose_coronal(case) < case.labels.shape[1]
    assert 0 <= choose_sagittal(case) < case.labels.shape[0]
