"""Where the main peak of a histogram of HU lies, how wide it is, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

__all__ = ["HIGHEST_HU", "LOWEST_HU", "Mode", "estimate_mode", "find_mode"]

LOWEST_HU = -1499
HIGHEST_HU = 3100
"""Range of a histogram in whole HU; what lies outside is not counted."""

_SMOOTH_HU = 5.0
_NARROWEST_HU = 3.0
_ROUNDS, _STEPS, _CLOSE_HU = 3, 60, 0.005
_ONE_SD_SHARE = 0.6827
_INEFFICIENCY = 1.54  # variance of a mode by a Gaussian kernel of 1 SD, of that of the mean: 8 / 3 ** 1.5
_CLIPPED_SHARE = 0.02  # of all voxels, in the three values above
_GROUPS, _FEWEST_IN_GROUP = 6, 50
_BINS = np.arange(LOWEST_HU, HIGHEST_HU + 1, dtype=float)


@dataclass(frozen=True)
class Mode:
    """The main peak of a tissue's HU: its place, its standard error, the SD of the peak, and voxels counted."""

    hu: float
    se_hu: float
    sd_hu: float
    voxels: int


def find_mode(histogram: np.ndarray) -> tuple[float, float]:
    """Place and SD of the main peak of a histogram over whole HU from -1499 to 3100.

    The tallest place of the smoothed histogram is moved to the nearest peak of a Gaussian kernel density whose
    bandwidth is the peak's own SD. The SD is that of the cleaner side: a tissue's voxels mix with its neighbours on one
    side more than on the other, and 68 % of a side of a Gaussian lie within one SD.

    Parameters
    ----------
    histogram : (4600,) counts, of which at least one is above 0

    Returns
    -------
    place_hu, sd_hu : the mode, and the SD of the peak, at least 3 HU
    """
    counts = histogram.astype(float)
    floor = _find_clip(counts)
    if floor is not None:
        counts[: floor - LOWEST_HU] = 0
    place = float(_BINS[np.argmax(gaussian_filter1d(counts, _SMOOTH_HU))])
    width = _NARROWEST_HU
    for _ in range(_ROUNDS):
        lower = np.inf if floor is not None else _side_sd(counts, place, -1)
        width = max(_NARROWEST_HU, min(lower, _side_sd(counts, place, 1)))
        place = _climb(counts, place, width, floor)
    return place, width


def _find_clip(counts: np.ndarray) -> int | None:
    """The lowest HU that is not clipped, where noise was clipped, as 12-bit scanners do with air; ``None`` elsewhere.

    Clipped noise makes one tall value at the foot of a slope that is already high.
    """
    lowest = int(np.flatnonzero(counts)[0])
    above = counts[lowest + 1 : lowest + 4].mean()
    clipped = counts[lowest] > 3 * above and above > _CLIPPED_SHARE * counts.sum() / 3
    return LOWEST_HU + lowest + 1 if clipped else None


def _side_sd(counts: np.ndarray, place: float, step: int) -> float:
    """The distance from a place within which 68 % of what lies on one side of it is found."""
    away = step * (_BINS - place)
    side = away >= 0
    order = np.argsort(away[side])
    running = np.cumsum(counts[side][order])
    if running[-1] <= 0:
        return np.inf
    return float(np.interp(_ONE_SD_SHARE * running[-1], running, away[side][order])) + 0.5


def _climb(counts: np.ndarray, place: float, width: float, floor: int | None) -> float:
    """The nearest peak of the kernel density, by mean shift; beside a clip, only by what lies as far on both sides."""
    for _ in range(_STEPS):
        weights = counts * np.exp(-0.5 * ((_BINS - place) / width) ** 2)
        if floor is not None:
            weights *= np.abs(_BINS - place) <= max(place - floor, 1.0)
        moved = float(weights @ _BINS / weights.sum())
        if abs(moved - place) < _CLOSE_HU:
            return moved
        place = moved
    return place


def estimate_mode(histograms: np.ndarray, pixel_mm2: float, correlation_mm2: float) -> Mode | None:
    """Mode of a tissue in some slices, with its standard error; ``None`` without a voxel.

    The error is the larger of two: what noise of the peak's SD gives, one value per ``correlation_mm2``; and how far
    the modes of up to six groups of slices scatter, which also holds how the scanner's HU wander along the patient.

    Parameters
    ----------
    histograms : (slices, 4600) counts
    pixel_mm2 : area of a pixel
    correlation_mm2 : area over which neighbouring pixels share their noise
    """
    total = histograms.sum(axis=0)
    voxels = int(total.sum())
    if voxels == 0:
        return None
    place, width = find_mode(total)
    values = max(1.0, voxels * min(1.0, pixel_mm2 / correlation_mm2))
    se = width * float(np.sqrt(_INEFFICIENCY / values))
    groups = [group.sum(axis=0) for group in np.array_split(histograms, min(_GROUPS, len(histograms)))]
    places = [find_mode(group)[0] for group in groups if group.sum() >= _FEWEST_IN_GROUP]
    if len(places) > 2:
        se = max(se, float(np.std(places, ddof=1) / np.sqrt(len(places))))
    return Mode(place, se, width, voxels)
