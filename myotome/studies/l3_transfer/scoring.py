"""One slice scored: overlap and distance of two contours, and the measures that follow from each."""

from __future__ import annotations

import numpy as np

from myotome.biomarkers.tally import MUSCLE_HU
from myotome.metrics import compute_dice, compute_rms_dta, compute_surface_distances
from myotome.studies.l3_transfer.cases import L3Slice

__all__ = ["MEASURES", "masks_of", "measure_slice", "score_slice"]

MEASURES = ("sma_cm2", "smd_hu", "smi_cm2_m2")
_MUSCLE, _FAT_BETWEEN = 1, 4


def masks_of(label: np.ndarray) -> dict[str, np.ndarray]:
    """Boolean masks of a label map of the schema ``l3_muscle_ct``.

    ``skeletal_muscle`` is label 1; ``muscle_compartment`` is what a reader outlines, labels 1 and 4 (fat between and in
    the muscles).
    """
    muscle = label == _MUSCLE
    return {"skeletal_muscle": muscle, "muscle_compartment": muscle | (label == _FAT_BETWEEN)}


def measure_slice(item: L3Slice, label: np.ndarray) -> dict[str, float | None]:
    """SMA (cm2), SMD (HU) and SMI (cm2/m2) of a label map on the slice's pixels.

    SMA is the area of pixels of -29 to 150 HU in the muscle compartment, SMD their mean HU, SMI = SMA / height^2.
    Without such a pixel the SMA is 0 and the SMD ``None``; without a height the SMI is ``None``.
    """
    density = np.rint(item.density_hu)
    inside = masks_of(label)["muscle_compartment"] & (density >= MUSCLE_HU[0]) & (density <= MUSCLE_HU[1])
    if item.ignore is not None:
        inside &= ~item.ignore
    count = int(np.count_nonzero(inside))
    area = count * item.pixel_cm2
    return {
        "sma_cm2": area,
        "smd_hu": float(item.density_hu[inside].mean(dtype=float)) if count else None,
        "smi_cm2_m2": None if item.height_m is None else area / item.height_m**2,
    }


def score_slice(item: L3Slice, label: np.ndarray) -> dict[str, float | None]:
    """Scores of a label map against the slice's own.

    Of each of `masks_of`: ``NAME_dice`` and ``NAME_rms_dta_mm`` (two-dimensional, both boundaries, by the pixels'
    spacing; ``None`` where a mask is empty). Then each measure, and ``reference_`` each measure.
    """
    scores: dict[str, float | None] = {}
    other = masks_of(label)
    for name, reference in masks_of(item.label).items():
        prediction = other[name]
        if item.ignore is not None:
            reference, prediction = reference & ~item.ignore, prediction & ~item.ignore
        scores[f"{name}_dice"] = compute_dice(reference, prediction)
        distances = compute_surface_distances(reference, prediction, item.spacing_mm, item.ignore)
        scores[f"{name}_rms_dta_mm"] = compute_rms_dta(distances)
    scores |= measure_slice(item, label)
    return scores | {f"reference_{name}": value for name, value in measure_slice(item, item.label).items()}
