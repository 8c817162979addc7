"""Overlap of masks and label maps, from counts of voxels."""

from __future__ import annotations

import numpy as np

__all__ = ["compute_dice", "compute_f1", "compute_generalized_dice", "compute_precision", "compute_recall"]


def compute_dice(reference: np.ndarray, prediction: np.ndarray) -> float | None:
    """Dice coefficient ``2 |R & P| / (|R| + |P|)`` of two boolean masks of one shape.

    Returns
    -------
    float or None
        ``None`` when both masks are empty (not defined), 0 when only one is.
    """
    total = np.count_nonzero(reference) + np.count_nonzero(prediction)
    return 2 * np.count_nonzero(reference & prediction) / total if total else None


def compute_f1(reference: np.ndarray, prediction: np.ndarray) -> float | None:
    """Voxel-wise F1, the harmonic mean of precision and recall, ``2 TP / (2 TP + FP + FN)``: equal to Dice."""
    true_positive = np.count_nonzero(reference & prediction)
    wrong = np.count_nonzero(reference ^ prediction)
    return 2 * true_positive / (2 * true_positive + wrong) if true_positive + wrong else None


def compute_precision(reference: np.ndarray, prediction: np.ndarray) -> float | None:
    """Share of the predicted voxels that are the reference's, ``|R & P| / |P|``; ``None`` for an empty prediction."""
    total = np.count_nonzero(prediction)
    return np.count_nonzero(reference & prediction) / total if total else None


def compute_recall(reference: np.ndarray, prediction: np.ndarray) -> float | None:
    """Share of the reference's voxels that are predicted, ``|R & P| / |R|``; ``None`` for an empty reference."""
    return compute_precision(prediction, reference)


def compute_generalized_dice(
    reference: np.ndarray, prediction: np.ndarray, class_count: int, *, include_background: bool = False
) -> float | None:
    """Generalized Dice score of two label maps.

    ``2 sum_l w_l |R_l & P_l| / sum_l w_l (|R_l| + |P_l|)`` with ``w_l = 1 / |R_l|^2``: the overlap of Crum et al. (IEEE
    TMI 2006) with the inverse squared reference volume of Sudre et al. (DLMIA 2017).

    Parameters
    ----------
    reference, prediction : integer arrays of one shape, labels 0 to ``class_count - 1``
    include_background : count label 0 as a class

    Returns
    -------
    float or None
        A class that only the prediction has takes the largest weight of the classes that the reference has, so that an
        invented small class costs. ``None`` when the reference has none of the classes.
    """
    first = 0 if include_background else 1
    counts = np.bincount(
        reference.astype(np.int64).ravel() * class_count + prediction.ravel(), minlength=class_count**2
    ).reshape(class_count, class_count)
    in_reference = counts.sum(axis=1)[first:].astype(float)
    in_prediction = counts.sum(axis=0)[first:].astype(float)
    if not in_reference.any():
        return None
    weights = np.zeros_like(in_reference)
    present = in_reference > 0
    weights[present] = in_reference[present] ** -2
    weights[~present] = weights.max()
    overlap = np.diagonal(counts)[first:]
    return float(2 * (weights @ overlap) / (weights @ (in_reference + in_prediction)))
