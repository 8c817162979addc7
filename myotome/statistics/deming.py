"""Deming regression: the line between two measurements that both carry error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from myotome.errors import InputError
from myotome.statistics.agreement import check_pairs
from myotome.statistics.intervals import Estimate, Line

__all__ = ["fit_deming"]


def fit_deming(x: ArrayLike, y: ArrayLike, *, error_ratio: float = 1.0) -> Line:
    """Line ``y = intercept + slope * x`` when x and y are both measured with error.

    With sums of squares and products about the means, and the ratio ``d`` of error variances, y over x::

        slope = (S_yy - d S_xx + sqrt((S_yy - d S_xx)^2 + 4 d S_xy^2)) / (2 S_xy)

    A ratio of 1 is orthogonal regression. The intervals are by the jackknife: each case left out in turn, Student's t
    with n - 2 degrees of freedom (Linnet, Clin Chem 1990;36:2089 and 1993;39:424).

    Parameters
    ----------
    x, y : (cases,) both measurements of each case
    error_ratio : variance of y's error over that of x's

    Raises
    ------
    InputError
        When the pairs are refused (fewer than 3, unequal lengths, missing), the ratio is not positive, or x and y do
        not vary together, even when one case is left out.
    """
    first, second = check_pairs(x, y)
    if not (np.isfinite(error_ratio) and error_ratio > 0):
        raise InputError(f"the ratio of error variances is {error_ratio}: it is a positive number.")
    count = len(first)
    slopes, intercepts = _solve(first, second, error_ratio)
    if not np.isfinite(slopes).all():
        raise InputError("the two measurements do not vary together: a line between them needs cases that differ.")
    factor = float(stats.t.ppf(0.975, count - 2))
    estimates = []
    for values in (slopes, intercepts):
        pseudo = count * values[0] - (count - 1) * values[1:]
        half = factor * float(np.std(pseudo, ddof=1)) / np.sqrt(count)
        estimates.append(Estimate(float(values[0]), float(values[0] - half), float(values[0] + half)))
    return Line(*estimates)


def _solve(x: np.ndarray, y: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and intercepts, (n + 1,): of all cases, then without each case; NaN where there is no line."""
    centres = x.mean(), y.mean()
    u, v = x - centres[0], y - centres[1]
    left = len(x) - 1
    # Without case i the means move by -u_i / (n - 1), and each sum of products loses u_i v_i n / (n - 1).
    share = len(x) / left
    s_xx, s_yy, s_xy = (
        np.concatenate([[total], total - share * products])
        for products in (u * u, v * v, u * v)
        for total in (products.sum(),)
    )
    mean_x = centres[0] - np.concatenate([[0.0], u]) / left
    mean_y = centres[1] - np.concatenate([[0.0], v]) / left
    together = np.abs(s_xy) > 1e-12 * np.sqrt(u @ u) * np.sqrt(v @ v)
    contrast = s_yy - ratio * s_xx
    root = np.sqrt(contrast**2 + 4 * ratio * s_xy**2)
    # Of the two equal forms of the root, the one that does not subtract like from like.
    above = np.where(contrast >= 0, contrast + root, 2 * ratio * s_xy)
    below = np.where(contrast >= 0, 2 * s_xy, root - contrast)
    slopes = np.full(len(s_xy), np.nan)
    np.divide(above, below, out=slopes, where=together)
    return slopes, mean_y - slopes * mean_x
