"""Whether an image can be a shoulder MR in oblique-sagittal slices, and what about it makes a grade less sure."""

from __future__ import annotations

import numpy as np

from myotome.biomarkers.orientation import compute_tilt_degrees
from myotome.geometry import Volume

__all__ = ["SIDEWAYS_DEGREES", "compute_signal_to_noise", "flag_shoulder_image"]

SIDEWAYS_DEGREES = 60.0
"""Slices that are turned farther from sagittal are coronal or axial ones."""

_OBLIQUE_DEGREES = 45.0
_LEAST_SIGNAL_TO_NOISE = 5.0
_MAD_TO_SD = 1.4826


def compute_signal_to_noise(image: np.ndarray, mask: np.ndarray) -> float | None:
    """Median intensity in a mask over the noise's standard deviation there; ``None`` when the mask is empty.

    The noise is the median absolute deviation of what the mean of a pixel's four neighbours does not explain, times
    1.4826 / sqrt(1.25), which is right for white noise and counts texture as noise.

    Parameters
    ----------
    image : (X, Y) intensities of a slice
    mask : (X, Y) boolean
    """
    if not mask.any():
        return None
    padded = np.pad(image.astype(np.float64), 1, mode="edge")
    around = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    residue = (image - around)[mask]
    noise = _MAD_TO_SD * float(np.median(np.abs(residue - np.median(residue)))) / np.sqrt(1.25)
    signal = float(np.median(image[mask]))
    return signal / noise if noise > 0 else None


def flag_shoulder_image(
    volume: Volume, slice_index: int | None = None, muscle: np.ndarray | None = None
) -> tuple[str, ...]:
    """What makes the reading of a shoulder MR less sure.

    ``not_oblique_sagittal``: the slices are turned over 45 degrees from sagittal. ``wrong_sequence``: the header says
    that fat is suppressed. ``poor_signal``: the muscle's signal is below five times the noise.

    Parameters
    ----------
    slice_index : of the Y-view, across the slices
    muscle : boolean mask of the muscle in that slice, in the array's axis order
    """
    flags = []
    if compute_tilt_degrees(volume.grid) > _OBLIQUE_DEGREES:
        flags.append("not_oblique_sagittal")
    if volume.acquisition.fat_suppressed:
        flags.append("wrong_sequence")
    if slice_index is not None and muscle is not None:
        ratio = compute_signal_to_noise(np.take(volume.array, slice_index, volume.grid.slice_axis("LR")), muscle)
        if ratio is not None and ratio < _LEAST_SIGNAL_TO_NOISE:
            flags.append("poor_signal")
    return tuple(flags)
