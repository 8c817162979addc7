"""Correlations with intervals that hold without normality: raw, partial, by rank, corrected for measurement error.

Each person's influence on the estimate is computed, and the standard error follows from its spread (the delta method).
For normal values it is that of Fisher's z; where the spread differs between groups, as it does between men and women,
Fisher's is too small and this one is not. Intervals are symmetric on Fisher's scale, z = atanh(r).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from myotome.errors import InputError
from myotome.statistics.measurement_error import MeasurementError

__all__ = ["Correlation", "correct_correlation", "correlate", "rank_correlate"]

_CLOSE_TO_ONE = 1 - 1e-12


@dataclass(frozen=True)
class Correlation:
    """An estimate and its interval; ``value`` is ``None`` when it cannot be given, and ``note`` then says why.

    ``count`` is the number of people. ``reliability`` is the share of the measured variance (covariates removed) that
    is not measurement error, where that was corrected for.
    """

    value: float | None
    lower: float | None
    upper: float | None
    p_value: float | None
    count: int
    reliability: float | None = None
    note: str = ""


def correlate(x: np.ndarray, y: np.ndarray, covariates: np.ndarray | None = None, level: float = 0.95) -> Correlation:
    """Pearson's correlation, partial when there are covariates.

    Parameters
    ----------
    x, y : (n,); people with a NaN anywhere are left out.
    covariates : (n, k), adjusted for linearly.
    level : of the interval.

    Returns
    -------
    Correlation : without a value for fewer than k + 5 people or when x or y does not vary.
    The standard error of z is sqrt(mean(psi^2) / (n - 3 - k)) / (1 - r^2), with psi = uv - r (u^2 + v^2) / 2 for
    standardised residuals u and v; p is of z over it, by Student's t with n - 2 - k degrees of freedom.

    Raises
    ------
    InputError
        When lengths differ.
    """
    given = _prepare(x, y, covariates)
    if isinstance(given, Correlation):
        return given
    r = float(np.mean(given.u * given.v))
    if abs(r) > _CLOSE_TO_ONE:
        return Correlation(r, r, r, 0.0, given.count)
    psi = given.u * given.v - r * (given.u**2 + given.v**2) / 2
    error = float(np.sqrt(np.mean(psi**2) / (given.count - 3 - given.used))) / (1 - r**2)
    return _interval(r, error, given, level)


def rank_correlate(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> Correlation:
    """Spearman's correlation; ties have their mean rank.

    Parameters
    ----------
    x, y : (n,); people with a NaN are left out.

    Returns
    -------
    Correlation : with the interval of Bonett and Wright (Psychometrika 2000;65:23), in which the standard error of z is
    sqrt((1 + r^2 / 2) / (n - 3)), and p by Student's t, which is close enough from ten people on.
    """
    x, y, _ = _complete(x, y, None)
    given = _prepare(stats.rankdata(x), stats.rankdata(y), None)
    if isinstance(given, Correlation):
        return given
    r, count = float(np.mean(given.u * given.v)), given.count
    if abs(r) > _CLOSE_TO_ONE:
        return Correlation(r, r, r, 0.0, count)
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((1 + r**2 / 2) / (count - 3))
    t = r * np.sqrt((count - 2) / (1 - r**2))
    p = float(2 * stats.t.sf(abs(t), count - 2))
    return Correlation(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)), p, count)


def correct_correlation(
    x: np.ndarray,
    y: np.ndarray,
    error: MeasurementError,
    covariates: np.ndarray | None = None,
    level: float = 0.95,
) -> Correlation:
    """Correlation (partial when there are covariates) of y with what x would be without its measurement error.

    With u and v the residuals of x and y, s the error's variance in x and ``reliability`` = 1 - s / var(u), the
    estimate is r / sqrt(reliability) (Spearman, Am J Psychol 1904;15:72). For partial correlations the reliability is
    that of the residuals, since covariates take away true variance and leave the error. Assumed: the error does not
    depend on the truth (a relative one grows with it), on y or on the covariates; y is taken as measured.
    The interval holds the sampling of people and the uncertainty of the error's size. p is that of the uncorrected
    correlation, because a correlation is zero before the correction when it is after.

    Returns
    -------
    Correlation : without a value when the error leaves no true variance, or the estimate is not below 1.
    """
    plain = correlate(x, y, covariates, level)
    given = _prepare(x, y, covariates)
    if isinstance(given, Correlation):
        return given
    count, u, v = given.count, given.u, given.v
    squares = given.x**2 if error.kind == "relative" else np.ones(count)
    noise = error.share * squares / given.x_spread**2
    reliability = 1 - float(noise.mean())
    if reliability <= 0:
        return replace(_nothing(count, "the measurement error is as large as the spread"), p_value=plain.p_value)
    r = float(np.mean(u * v) / np.sqrt(reliability))
    if abs(r) > _CLOSE_TO_ONE:
        nothing = _nothing(count, "the correction leads beyond 1")
        return replace(nothing, p_value=plain.p_value, reliability=reliability)
    psi = u * v / np.sqrt(reliability) - r / 2 * ((u**2 - noise) / reliability + v**2)
    of_people = np.mean(psi**2) / (count - 3 - given.used)
    relative_error = error.share_error / error.share if error.share else 0.0
    of_error = (r / 2 * (1 - reliability) / reliability * relative_error) ** 2
    result = _interval(r, float(np.sqrt(of_people + of_error)) / (1 - r**2), given, level)
    return replace(result, p_value=plain.p_value, reliability=reliability)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """x as measured, standardised residuals of x and y, the spread of x's, and how many covariates were independent."""

    x: np.ndarray
    u: np.ndarray
    v: np.ndarray
    x_spread: float
    used: int

    @property
    def count(self) -> int:
        return len(self.x)


def _nothing(count: int, note: str) -> Correlation:
    return Correlation(None, None, None, None, count, note=note)


def _interval(r: float, error: float, given: _Prepared, level: float) -> Correlation:
    freedom = given.count - 2 - given.used
    z, half = np.arctanh(r), stats.t.ppf((1 + level) / 2, freedom) * error
    p = float(2 * stats.t.sf(abs(z) / error, freedom)) if error > 0 else float(r == 0)
    return Correlation(r, float(np.tanh(z - half)), float(np.tanh(z + half)), p, given.count)


def _complete(x: np.ndarray, y: np.ndarray, covariates: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"{x.shape} and {y.shape} values cannot be correlated: give two columns of one length.")
    others = np.empty((len(x), 0)) if covariates is None else np.asarray(covariates, dtype=float).reshape(len(x), -1)
    there = np.isfinite(x) & np.isfinite(y) & np.isfinite(others).all(axis=1)
    return x[there], y[there], others[there]


def _prepare(x: np.ndarray, y: np.ndarray, covariates: np.ndarray | None) -> _Prepared | Correlation:
    x, y, others = _complete(x, y, covariates)
    if len(x) < others.shape[1] + 5:
        return _nothing(len(x), "too few people")
    both = np.column_stack([x, y])
    residuals, used = _residuals(both, others)
    spread = residuals.std(axis=0)
    if (spread <= 1e-10 * np.abs(both).max(axis=0)).any():
        return _nothing(len(x), "a value does not vary")
    u, v = (residuals / spread).T
    return _Prepared(x, u, v, float(spread[0]), used)


def _residuals(values: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, int]:
    """Values less their mean and what is linear in the covariates; and how many covariates are independent."""
    values, others = values - values.mean(axis=0), others - others.mean(axis=0)
    spread = others.std(axis=0)
    others = others[:, spread > 0] / spread[spread > 0]
    if not others.shape[1]:
        return values, 0
    slopes, _, rank, _ = np.linalg.lstsq(others, values, rcond=None)
    return values - others @ slopes, int(rank)
