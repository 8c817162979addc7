"""The signal of cerebrospinal fluid behind each disc of a sagittal T2-weighted MR, where it can be found.

Behind a disc lies the thecal sac: near the middle a bright column that runs on above and below the disc. It is looked
for in the disc's own slice, in a window that begins at the line through the back ends of the discs, is 16 mm deep and
reaches from 14 mm below to 14 mm above the disc's back end. Fluid is the largest connected part of what is brighter
than Otsu's threshold there. It has to fill a fifth of the window, run through seven tenths of its height, and be
brighter than the disc. Its signal is the upper quartile of its pixels, since nerve roots lie in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import label as label_components

from myotome.biomarkers.disc_shape import DiscAxes, DiscCut
from myotome.biomarkers.tissue_levels import compute_otsu_threshold

__all__ = ["estimate_fluid_signals", "find_back_mm"]

_DEPTH_MM, _REACH_MM = 16.0, 14.0
_LEAST_SHARE = 0.2
_LEAST_HEIGHT_SHARE = 0.7
_UPPER_QUARTILE = 75.0
_FEWEST_PIXELS = 20


def find_back_mm(cut: DiscCut, axes: DiscAxes) -> np.ndarray:
    """(3,) place in patient space of a sagittal cut's back end, in the middle of its height."""
    points = np.argwhere(cut.mask) * cut.spacing_mm
    places = points @ axes.front
    hindmost = points[places <= places.min() + 2 * cut.spacing_mm.max()].mean(axis=0)
    return cut.origin_mm + cut.steps @ (hindmost / cut.spacing_mm)


def estimate_fluid_signals(
    images: Sequence[np.ndarray], cuts: Sequence[tuple[DiscCut, DiscAxes]]
) -> list[float | None]:
    """Signal of the fluid behind each disc; ``None`` where no such column lies behind it.

    Parameters
    ----------
    images : (X, Y) intensities of each disc's slice
    cuts : each disc in its slice, and its axes; any order
    """
    backs = np.array([find_back_mm(cut, axes) for cut, axes in cuts]).reshape(-1, 3)
    order = np.argsort(backs[:, 2])
    line = backs[order]
    return [_estimate_one(image, cut, back, line) for image, (cut, _), back in zip(images, cuts, backs, strict=True)]


def _estimate_one(image: np.ndarray, cut: DiscCut, back: np.ndarray, line: np.ndarray) -> float | None:
    indices = np.indices(image.shape).reshape(2, -1).T
    places = cut.origin_mm + indices @ cut.steps.T
    behind_mm = np.interp(places[:, 2], line[:, 2], line[:, 1]) - places[:, 1]
    above_mm = places[:, 2] - back[2]
    window = (behind_mm > 0) & (behind_mm <= _DEPTH_MM) & (np.abs(above_mm) <= _REACH_MM)
    values = image.ravel()[window].astype(np.float64)
    threshold = compute_otsu_threshold(values) if values.size >= _FEWEST_PIXELS else None
    if threshold is None:
        return None
    bright = (window & (image.ravel() > threshold)).reshape(image.shape)
    components, _ = label_components(bright)
    column = components == 1 + int(np.bincount(components.ravel())[1:].argmax())
    heights = above_mm[column.ravel()]
    fills = np.count_nonzero(column) >= _LEAST_SHARE * values.size
    runs = np.ptp(heights) >= _LEAST_HEIGHT_SHARE * np.ptp(above_mm[window])
    signal = float(np.percentile(image[column], _UPPER_QUARTILE))
    return signal if fills and runs and signal > float(image[cut.mask].mean()) else None
