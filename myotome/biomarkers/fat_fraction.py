"""Share of a muscle's area that is fat, from one MR contrast without fat suppression.

A pixel of muscle and fat is as bright as its shares of both, so the fat fraction of a contour is where its mean
intensity lies between the levels of pure muscle and pure fat around it (`tissue_levels`: a Gaussian mixture, fitted
together with the coil's field). Three things would spoil that mean and are taken off: fat around the muscle that
blur and chemical shift carry across the contour, muscle that they carry out, and dark tendon (`partial_volume`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from myotome.biomarkers.partial_volume import compute_dark_share, compute_own_share, measure_noise
from myotome.biomarkers.tissue_levels import REACH_MM, TissueLevels, compute_otsu_threshold, fit_tissue_levels

__all__ = ["FatFraction", "estimate_fat_fraction"]

_FEWEST_PIXELS = 50
_LEAST_CONTRAST = 1.25
_FAT_POSITION = 0.5
_MOST_PERCENT = 85.0  # a muscle without muscle: fat is suppressed, and what is bright is muscle
# Standard deviation of the error in points: root of the sum of squares of these times 1, the fat fraction, and muscle's
# level over the contrast. Fitted to 243 phantoms of all grades (seeds 300000-300149 and 300600-300699), bias included.
_ERROR = (0.6, 5.3, 1.6)


@dataclass(frozen=True)
class FatFraction:
    """Fat fraction of a contour (% of its area), and the levels it rests on.

    ``lower`` and ``upper`` bound what held 95 % of the errors on phantoms: they know nothing of a wrong contour.
    ``otsu_percent`` is the share of pixels above Otsu's threshold. A value that cannot be given is ``None``, and the
    flags say why: ``too_small``, ``no_contrast``, ``fat_not_bright`` (as in an image with fat suppression).
    """

    percent: float | None
    lower: float | None = None
    upper: float | None = None
    otsu_percent: float | None = None
    muscle_level: float | None = None
    fat_level: float | None = None
    flags: tuple[str, ...] = ()


def estimate_fat_fraction(
    image: np.ndarray, muscle: np.ndarray, spacing_mm: tuple[float, float], around: np.ndarray | None = None
) -> FatFraction:
    """Estimate the fat fraction of a muscle's contour in one slice.

    Parameters
    ----------
    image : (x, y) intensities, from T1, T2 or proton weighting, in which fat is brighter than muscle
    muscle : boolean, the contour with the fat inside it
    spacing_mm : along both axes
    around : boolean, tissue next to the muscle that is mostly fat (the rest of the fossa), where it is labelled

    Returns
    -------
    FatFraction
        An empty contour gives ``None`` with the flag ``absent``.
    """
    image = np.asarray(image, dtype=np.float64)
    around = np.zeros(muscle.shape, bool) if around is None else around & ~muscle
    if muscle.sum() < _FEWEST_PIXELS:
        return FatFraction(None, flags=("too_small" if muscle.any() else "absent",))
    levels = fit_tissue_levels(image, muscle, spacing_mm)
    if levels is None or levels.fat < _LEAST_CONTRAST * levels.muscle:
        return FatFraction(None, flags=("no_contrast",))
    shares = (image / levels.field - levels.muscle) / levels.contrast
    if around.any() and np.percentile(shares[around], 75) < _FAT_POSITION:
        return FatFraction(None, flags=("fat_not_bright",))
    ratio = levels.muscle / levels.contrast
    noise = measure_noise(shares, distance_transform_edt(~muscle, sampling=spacing_mm) <= REACH_MM)
    own, _ = compute_own_share(shares, muscle, around, ratio, noise)
    percent = 100 * float(np.clip(own + compute_dark_share(shares, muscle, noise), 0, 1))
    if percent > _MOST_PERCENT:
        return FatFraction(None, flags=("fat_not_bright",))
    error = 1.96 * float(np.linalg.norm(np.array(_ERROR) * (1, percent / 100, ratio)))
    return FatFraction(
        percent=percent,
        lower=max(percent - error, 0.0),
        upper=min(percent + error, 100.0),
        otsu_percent=_otsu_percent(shares, muscle, around, levels),
        muscle_level=levels.muscle,
        fat_level=levels.fat,
    )


def _otsu_percent(shares: np.ndarray, muscle: np.ndarray, around: np.ndarray, levels: TissueLevels) -> float | None:
    """Share of the contour's pixels above Otsu's threshold of contour and fat around it.

    Without enough fat around, the threshold would cut muscle in two; both levels stand in for it.
    """
    threshold = compute_otsu_threshold(np.concatenate([shares[muscle], shares[around]]))
    if threshold is None or threshold < 0.2:
        threshold = 0.5
    return 100 * float((shares[muscle] > threshold).mean())
