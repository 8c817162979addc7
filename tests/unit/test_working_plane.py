"""Slices come onto the working plane alike whatever the axes of the file, and go back to their own pixels."""

import itertools

import numpy as np
import pytest

from myotome.errors import GeometryError
from myotome.transforms import WorkingPlane, keep_largest_pieces, scale_to_percentiles

SPACING_MM = 0.5
# Columns to the back, rows to the feet, slices to the right and, turned by 25 degrees about the vertical, forwards.
TURN = np.radians(25)
SAGITTAL = np.eye(4)
SAGITTAL[:3, 0] = SPACING_MM * np.array([np.sin(TURN), -np.cos(TURN), 0])
SAGITTAL[:3, 1] = SPACING_MM * np.array([0, 0, -1])
SAGITTAL[:3, 2] = 4.0 * np.array([np.cos(TURN), np.sin(TURN), 0])


def make_image(slices: int = 3) -> np.ndarray:
    """A bright square behind and above the middle of slice 1: columns 100-119, rows 30-59."""
    image = np.zeros((160, 180, slices), np.float32)
    image[100:120, 30:60, min(1, slices - 1)] = 1
    return image


def reorder(image: np.ndarray, affine: np.ndarray, order: tuple, flipped: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The same image in the same place with its axes in another order, some of them backwards."""
    image, affine = image.transpose(order), affine[:, [*order, 3]].copy()
    for axis in flipped:
        affine[:, 3] += affine[:, axis] * (image.shape[axis] - 1)
        affine[:, axis] *= -1
        image = np.flip(image, axis)
    return image, affine


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flipped", [(), (0,), (1, 2), (0, 1, 2)])
def test_the_order_of_a_files_axes_does_not_matter(order, flipped):
    image, affine = reorder(make_image(), SAGITTAL, order, flipped)
    plane = WorkingPlane(image.shape, affine)
    assert plane.slice_axis == order.index(2)
    assert (plane.slice_count, plane.slice_spacing_mm) == (3, pytest.approx(4.0))
    taken = plane.resample(plane.take(image, 1))
    expected = WorkingPlane(make_image().shape, SAGITTAL)
    np.testing.assert_allclose(taken, expected.resample(expected.take(make_image(), 1)), atol=1e-5)


def test_anterior_is_left_and_superior_on_top_at_06_mm():
    plane = WorkingPlane(make_image().shape, SAGITTAL)
    rows, columns = np.nonzero(plane.resample(plane.take(make_image(), 1)) > 0.5)
    middle = 127.5
    assert columns.mean() == pytest.approx(middle + (109.5 - 79.5) * SPACING_MM / 0.6, abs=0.3)
    assert rows.mean() == pytest.approx(middle + (44.5 - 89.5) * SPACING_MM / 0.6, abs=0.3)
    assert np.ptp(columns) + 1 == pytest.approx(20 * SPACING_MM / 0.6, abs=1)


def test_a_mean_intensity_stays_and_what_is_outside_is_zero():
    plane = WorkingPlane((160, 180, 1), SAGITTAL)
    taken = plane.resample(np.full((180, 160), 7.0))
    inside = taken[60:190, 70:180]
    np.testing.assert_allclose(inside, 7.0, rtol=1e-5)
    assert taken[:50].max() == 0 and taken[:, :58].max() == 0


@pytest.mark.parametrize("spacing_mm", [0.3, 0.6, 1.1])
def test_labels_go_there_and_back(spacing_mm):
    affine = SAGITTAL @ np.diag([spacing_mm / SPACING_MM, spacing_mm / SPACING_MM, 1, 1])
    labels = np.zeros((120, 130, 1), np.uint8)
    labels[30:70, 40:90, 0] = 1
    labels[70:80, 40:90, 0] = 3
    plane = WorkingPlane(labels.shape, affine)
    there = plane.resample_labels(plane.take(labels, 0), 5)
    assert set(np.unique(there)) == {0, 1, 3}
    again = np.zeros_like(labels)
    plane.put(again, 0, plane.restore_labels(np.stack([there == index for index in range(5)])))
    for index in (1, 3):
        both = np.count_nonzero((again == index) & (labels == index))
        assert 2 * both / (np.count_nonzero(again == index) + np.count_nonzero(labels == index)) > 0.93


def test_no_label_is_no_label():
    plane = WorkingPlane((160, 180, 1), SAGITTAL)
    assert not plane.resample_labels(np.zeros((180, 160), np.uint8), 5).any()


def test_put_undoes_take():
    image = np.random.default_rng(1).random((5, 6, 7))
    for affine in (np.eye(4), SAGITTAL, SAGITTAL[:, [2, 0, 1, 3]]):
        plane, copy = WorkingPlane(image.shape, affine), np.zeros_like(image)
        for index in range(plane.slice_count):
            plane.put(copy, index, plane.take(image, index))
        assert np.array_equal(copy, image)


def test_a_single_slice_is_along_the_axis_of_length_one():
    assert WorkingPlane((1, 50, 60), SAGITTAL).slice_axis == 0
    with pytest.raises(GeometryError, match="no slices"):
        WorkingPlane((50, 60), np.eye(4))


def test_percentiles_of_what_is_not_zero_become_zero_and_one():
    plane = np.concatenate([np.zeros(500), np.arange(1, 102.0)])
    scaled = scale_to_percentiles(plane)
    assert scaled[500 + 1] == 0 and scaled[500 + 99] == 1  # 1st and 99th of 1 ... 101: 2 and 100
    assert scaled[500 + 50] == pytest.approx(0.5)
    assert scaled[:500].max() == 0 and scaled[-1] == 1
    for flat in (np.zeros((4, 4)), np.full((4, 4), 9.0)):
        assert not scale_to_percentiles(flat).any()


def test_the_networks_see_the_scaled_slice():
    image = make_image(1) * 300 + 20
    plane = WorkingPlane(image.shape, SAGITTAL)
    seen = plane.take_scaled(image, 0)
    assert seen.shape == (256, 256) and seen.dtype == np.float32 and seen.max() == 1
    assert np.array_equal(seen, plane.resample(scale_to_percentiles(plane.take(image, 0))))


AXIAL = np.diag([-0.8, -0.8, 5.0, 1.0])  # as DICOM: columns to the left, rows to the back


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flipped", [(), (0,), (1, 2)])
def test_axial_slices_have_the_patients_right_on_the_left_and_anterior_on_top(order, flipped):
    image = np.zeros((100, 90, 4), np.float32)
    image[20:30, 10:20, 2] = 1  # small indices: to the right of the patient, and in front
    image, affine = reorder(image, AXIAL, order, flipped)
    plane = WorkingPlane(image.shape, affine, 0.8, 96, view="axial", window_hu=(0, 1))
    index = 2 if order.index(2) not in flipped else 1
    assert plane.slice_axis == order.index(2)
    rows, columns = np.nonzero(plane.take_scaled(image, index) > 0.5)
    assert (rows.min(), rows.max()) == (10 + 3, 19 + 3)  # 90 rows in the middle of 96
    assert (columns.min(), columns.max()) == (20 - 2, 29 - 2)  # 96 of 100 columns
    back = np.zeros_like(image)
    plane.put(back, index, plane.restore(plane.take_scaled(image, index)) > 0.5)
    assert np.array_equal(back, image)


def test_a_window_scales_and_clips():
    plane = WorkingPlane((4, 4, 1), np.eye(4), 1.0, 4, view="axial", window_hu=(-150, 250))
    seen = plane.take_scaled(np.array([-1000, -150, 50, 250, 3000, 0, 0, 0] * 2, float).reshape(4, 4, 1), 0)
    assert set(np.round(np.unique(seen), 4)) == {0.0, 0.375, 0.5, 1.0}
    with pytest.raises(GeometryError, match="no view 'coronal'"):
        WorkingPlane((4, 4, 1), np.eye(4), view="coronal")


def test_what_is_not_annotated_stays_so():
    labels = np.zeros((40, 40, 1), np.uint8)
    labels[10:20, 10:30, 0], labels[20:30, 10:30, 0] = 1, 255
    plane = WorkingPlane(labels.shape, np.diag([-1.0, -1.0, 1.0, 1.0]), 1.0, 40, view="axial")
    seen = plane.resample_labels(plane.take(labels, 0), 5, ignored=255)
    assert np.array_equal(seen, plane.take(labels, 0))
    assert not (plane.resample_labels(plane.take(labels, 0), 5) == 255).any()


def test_of_a_group_the_largest_piece_is_kept():
    labels = np.zeros((6, 12), np.uint8)
    labels[0:2, 0:3] = 1  # six pixels of 1
    labels[2, 3] = 2  # touch at a corner: the same piece
    labels[3:6, 4:6] = 3
    labels[0:3, 8:10] = 1  # as many of the group, less one
    labels[5, 11] = 4  # in no group
    expected = labels.copy()
    expected[0:3, 8:10] = 0
    assert np.array_equal(keep_largest_pieces(labels, ((1, 2), (3,))), expected)
    alone = keep_largest_pieces(labels, ((1,),))
    assert (alone == 1).sum() == 6 and (alone == 2).sum() == 1
