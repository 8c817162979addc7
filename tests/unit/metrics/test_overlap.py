"""Overlap scores against values worked out by hand and against MONAI."""

import numpy as np
import pytest

from myotome.metrics import compute_dice, compute_f1, compute_generalized_dice, compute_precision, compute_recall


def test_dice_of_half_overlapping_bars():
    reference, prediction = np.zeros(10, bool), np.zeros(10, bool)
    reference[0:4], prediction[2:6] = True, True
    assert compute_dice(reference, prediction) == 0.5
    assert compute_f1(reference, prediction) == 0.5


def test_precision_and_recall_by_hand():
    """Four voxels of five predicted are right, and four of eight are found."""
    reference, prediction = np.zeros(20, bool), np.zeros(20, bool)
    reference[0:8], prediction[4:9] = True, True
    assert compute_precision(reference, prediction) == pytest.approx(0.8)
    assert compute_recall(reference, prediction) == pytest.approx(0.5)
    empty = np.zeros(20, bool)
    assert (compute_precision(reference, empty), compute_recall(reference, empty)) == (None, 0)
    assert (compute_precision(empty, prediction), compute_recall(empty, prediction)) == (0, None)


def test_f1_equals_dice_on_random_masks():
    rng = np.random.default_rng(0)
    reference, prediction = rng.random((2, 9, 8, 7)) > 0.6
    assert compute_f1(reference, prediction) == pytest.approx(compute_dice(reference, prediction), abs=1e-15)


@pytest.mark.parametrize("compute", [compute_dice, compute_f1])
def test_empty_masks(compute):
    empty, full = np.zeros(5, bool), np.ones(5, bool)
    assert compute(empty, empty) is None
    assert compute(empty, full) == 0
    assert compute(full, empty) == 0


def test_generalized_dice_by_hand():
    # background 10 -> 9 right; class 1: 4 voxels, 3 found, 1 called background; class 2: 2 voxels, both found, 1 extra.
    reference = np.array([0] * 10 + [1] * 4 + [2] * 2)
    prediction = np.array([0] * 9 + [2] + [1] * 3 + [0] + [2] * 2)
    without = 2 * (3 / 16 + 2 / 4) / ((4 + 3) / 16 + (2 + 3) / 4)
    assert compute_generalized_dice(reference, prediction, 3) == pytest.approx(without)
    with_background = 2 * (9 / 100 + 3 / 16 + 2 / 4) / ((10 + 10) / 100 + (4 + 3) / 16 + (2 + 3) / 4)
    assert compute_generalized_dice(reference, prediction, 3, include_background=True) == pytest.approx(with_background)


def test_generalized_dice_punishes_an_invented_class():
    reference = np.array([0] * 6 + [1] * 4)
    prediction = np.array([0] * 4 + [2] * 2 + [1] * 4)
    assert compute_generalized_dice(reference, prediction, 3) == pytest.approx(2 * 4 / (8 + 2))


def test_generalized_dice_of_nothing():
    nothing = np.zeros(5, np.uint8)
    assert compute_generalized_dice(nothing, nothing, 3) is None
    assert compute_generalized_dice(nothing, nothing, 3, include_background=True) == 1.0


@pytest.mark.parametrize("include_background", [False, True])
def test_generalized_dice_equals_monai(include_background):
    import torch
    from monai.metrics import compute_generalized_dice as monai_generalized_dice

    rng = np.random.default_rng(1)
    reference, prediction = rng.integers(0, 4, (2, 6, 6, 6))
    one_hot = [
        torch.from_numpy(np.eye(4)[array]).permute(3, 0, 1, 2)[None].float() for array in (prediction, reference)
    ]
    expected = monai_generalized_dice(*one_hot, include_background=include_background, sum_over_classes=True)
    ours = compute_generalized_dice(reference, prediction, 4, include_background=include_background)
    assert ours == pytest.approx(float(expected), rel=1e-5)
