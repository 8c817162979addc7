"""How far a case lies from the others: robust distance in several measures, and volume beside height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm, theilslopes

from myotome.errors import InputError

__all__ = [
    "Distances",
    "Standardised",
    "compute_distances",
    "compute_height_residuals",
    "compute_largest_z",
    "standardise",
]

_MAD_TO_SD = 1 / norm.ppf(0.75)
_SMALLEST_EIGENVALUE = 1e-6
_MOST_PAIRED = 2000


@dataclass(frozen=True, eq=False)
class Distances:
    """How far each of n cases lies from the middle of all, in units in which 1 is ordinary.

    Parameters
    ----------
    distance : (n,) array; NaN for a case without a value
    tail : (n,) array
        Share of normally distributed cases, with the same measures known, that would lie at least as far out; NaN
        where the distance is. Real measures have longer tails than the normal, so it orders cases and is no p value.
    share : (n, p) array
        What each measure adds to the squared distance, from 0 to 1 and 1 in all; 0 where it is missing.
    expected : (n, p) array
        The value of each known measure that would go best with the other known ones; NaN where that cannot be said.
    """

    distance: np.ndarray
    tail: np.ndarray
    share: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True, eq=False)
class Standardised:
    """Robust z (n, p), and the ``centre`` (n, p) and ``spread`` (p,) that give back the values: z spread + centre."""

    z: np.ndarray
    centre: np.ndarray
    spread: np.ndarray


def standardise(values: np.ndarray, groups: np.ndarray, smallest_group: int = 10) -> Standardised:
    """Robust z: each column less its group's median, over 1.4826 times the median absolute deviation of all cases.

    Parameters
    ----------
    values : (n, p) array; NaN is missing
    groups : (n,) array of labels, such as sexes
        A group with fewer than ``smallest_group`` values of a column takes the median of all cases.

    Returns
    -------
    Standardised
        z is the same whatever the unit or the scale of a column. It is NaN where the value is, and throughout a column
        that does not vary (a median absolute deviation of 0) or has no value, as are that column's centre and spread.
    """
    values = np.asarray(values, dtype=float)
    centres, spreads = np.full(values.shape, np.nan), np.full(values.shape[1], np.nan)
    for column in range(values.shape[1]):
        known = np.isfinite(values[:, column])
        if not known.any():
            continue
        centre = np.full(len(values), np.median(values[known, column]))
        for group in set(np.asarray(groups)[known].tolist()):
            inside = known & (np.asarray(groups) == group)
            if inside.sum() >= smallest_group:
                centre[inside] = np.median(values[inside, column])
        centred = values[:, column] - centre
        spread = _MAD_TO_SD * np.median(np.abs(centred[known]))
        if spread > 1e-12 * np.abs(values[known, column]).max():
            centres[:, column], spreads[column] = centre, spread
    return Standardised((values - centres) / spreads, centres, spreads)


def compute_distances(values: np.ndarray, location: np.ndarray, covariance: np.ndarray) -> Distances:
    """Mahalanobis distance of each case over the measures that it has, and what each of them adds.

    With r the deviation of the known measures and S their part of the covariance, the squared distance is r' S^-1 r,
    and the tail is that of chi-square with as many degrees of freedom as measures are known. The distance given is the
    square root of the squared distance over that number, so that cases with few measures stand beside the rest.
    The parts are the squares of R^-1/2 D^-1/2 r (R the correlation, D the variances): they are not negative, sum to the
    squared distance, and each belongs to the measure that it correlates with most (Garthwaite and Koch, Aust N Z J
    Stat 2016;58:35-59). What is expected of a measure is its mean given the others, x - (S^-1 r)_j / (S^-1)_jj.

    Parameters
    ----------
    values : (n, p) array; NaN is missing
    location : (p,) array
    covariance : (p, p) array; robust estimates of both, as by the minimum covariance determinant

    Raises
    ------
    InputError
        When a variance is not positive.
    """
    values = np.asarray(values, dtype=float)
    scale = np.sqrt(np.diag(covariance))
    if not (np.isfinite(covariance).all() and (scale > 0).all()):
        raise InputError("a measure does not vary, so no distance can be given in it: leave it out.")
    z = (values - location) / scale
    correlation = covariance / np.outer(scale, scale)
    known = np.isfinite(z)
    parts, expected = np.zeros(z.shape), np.full(z.shape, np.nan)
    for pattern in np.unique(known, axis=0):
        rows = (known == pattern).all(axis=1)
        if pattern.any():
            inside = np.ix_(rows, pattern)
            root = _inverse_root(correlation[np.ix_(pattern, pattern)])
            parts[inside] = (z[inside] @ root) ** 2
            precision = root @ root
            expected[inside] = z[inside] - (z[inside] @ precision) / np.diag(precision)
    squared, count = parts.sum(axis=1), known.sum(axis=1)
    unknown = count == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.sqrt(squared / count)
        share = np.where(squared[:, None] > 0, parts / squared[:, None], 0.0)
    tail = np.where(unknown, np.nan, chi2.sf(squared, np.maximum(count, 1)))
    return Distances(np.where(unknown, np.nan, distance), tail, share, location + scale * expected)


def _inverse_root(correlation: np.ndarray) -> np.ndarray:
    """Symmetric R^-1/2; directions that hardly vary count as if they varied by a millionth."""
    eigenvalues, vectors = np.linalg.eigh(correlation)
    return (vectors / np.sqrt(np.maximum(eigenvalues, _SMALLEST_EIGENVALUE))) @ vectors.T


def compute_largest_z(z: np.ndarray) -> Distances:
    """The largest absolute z of each case, for cohorts too small for a covariance.

    The tail is twice the normal tail times the number of known measures (Bonferroni), at most 1; the whole share goes
    to the measure with the largest z.

    Parameters
    ----------
    z : (n, p) array, as `standardise` gives it; NaN is missing
    """
    known = np.isfinite(z)
    size = np.where(known, np.abs(z), -1.0)
    distance = np.where(known.any(axis=1), size.max(axis=1, initial=-1.0), np.nan)
    tail = np.minimum(1.0, 2 * norm.sf(distance) * known.sum(axis=1))
    share = np.zeros(z.shape)
    rows = np.flatnonzero(known.any(axis=1))
    share[rows, size[rows].argmax(axis=1)] = 1.0
    return Distances(distance, tail, share, np.full(z.shape, np.nan))


def compute_height_residuals(
    volume_ml: np.ndarray, height_m: np.ndarray, groups: np.ndarray, smallest_group: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """How much more or less volume a case has than others of its group and height.

    log volume is fitted on log height within each group by the Theil-Sen line (the median of the slopes of all pairs;
    scipy.stats.theilslopes), which up to 29 % of outliers cannot turn. Of a group of more than 2,000 the line is that
    of 2,000 cases, evenly spread over the heights: memory grows with the square of their number.

    Parameters
    ----------
    volume_ml, height_m : (n,) arrays; NaN, or a value that is not positive, is missing
    groups : (n,) array of labels, such as sexes
    smallest_group : a group with fewer cases of known volume and height, or without two heights, is not fitted

    Returns
    -------
    z : (n,) array
        Residual over 1.4826 times the median absolute residual of the group; NaN where it cannot be given.
    ratio : (n,) array
        Volume over the volume expected at that height; NaN likewise.
    """
    volume, height = (np.asarray(a, dtype=float) for a in (volume_ml, height_m))
    known = (volume > 0) & (height > 0)
    z, ratio = np.full(volume.shape, np.nan), np.full(volume.shape, np.nan)
    for group in set(np.asarray(groups)[known].tolist()):
        inside = known & (np.asarray(groups) == group)
        if inside.sum() < smallest_group or np.ptp(height[inside]) == 0:
            continue
        x, y = np.log(height[inside]), np.log(volume[inside])
        slope = theilslopes(*_thin(y, x)).slope
        residual = y - slope * x
        residual -= np.median(residual)
        spread = _MAD_TO_SD * np.median(np.abs(residual))
        if spread > 1e-12:
            z[inside], ratio[inside] = residual / spread, np.exp(residual)
    return z, ratio


def _thin(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_MOST_PAIRED` of the pairs, evenly spread over x, and over y where x is equal."""
    order = np.lexsort((y, x))
    kept = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_PAIRED)).round().astype(int)]
    return y[kept], x[kept]
