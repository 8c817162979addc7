"""A value with its 95 % interval, and the intervals that several statistics share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from myotome.errors import InputError

__all__ = ["Estimate", "Line", "estimate_limit", "estimate_line", "estimate_mean"]

CONFIDENCE = 0.95
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval, which is ``None`` at an end that cannot be given."""

    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Line:
    """A straight line ``y = intercept + slope * x``; ``slope_p`` tests a slope of 0 (``None`` when it cannot)."""

    slope: Estimate
    intercept: Estimate
    slope_p: float | None = None


def estimate_mean(values: np.ndarray) -> Estimate:
    """Mean of (n,) values, n >= 2, with the interval of Student's t with n - 1 degrees of freedom."""
    half = stats.t.ppf(_TAILS[1], len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    mean = float(np.mean(values))
    return Estimate(mean, mean - float(half), mean + float(half))


def estimate_limit(mean: float, sd: float, count: int, z: float) -> Estimate:
    """The limit ``mean + z * sd`` of a normal distribution, with its exact interval.

    ``sqrt(n) (limit - mean) / sd`` of a sample follows a noncentral t distribution with n - 1 degrees of freedom and
    noncentrality ``z sqrt(n)``, so that its quantiles bound the limit (Carkeet, Optom Vis Sci 2015;92:e71, a limit by
    itself; Shieh, BMC Med Res Methodol 2018;18:45).

    Parameters
    ----------
    mean, sd : of the sample, ``sd`` with n - 1 in the denominator
    count : number of values, n >= 2
    z : standard normal quantile of the limit, negative for the lower one
    """
    root = np.sqrt(count)
    # The distribution for -z is the mirror image of that for z, which alone is computed.
    factors = stats.nct.ppf(_TAILS, count - 1, abs(z) * root) / root
    low, high = factors if z >= 0 else -factors[::-1]
    return Estimate(mean + z * sd, mean + float(low) * sd, mean + float(high) * sd)


def estimate_line(x: np.ndarray, y: np.ndarray) -> Line:
    """Least-squares line of (n,) ``y`` on (n,) ``x``, n >= 3, with t intervals (n - 2 degrees of freedom).

    Raises
    ------
    InputError
        When ``x`` does not vary.
    """
    count, centre = len(x), float(np.mean(x))
    offsets = x - centre
    spread = float(offsets @ offsets)
    if spread <= count * (np.finfo(float).eps * np.abs(x).max()) ** 2:
        raise InputError("a line cannot be fitted: every x is the same, give cases of different size.")
    slope = float(offsets @ y) / spread
    intercept = float(np.mean(y)) - slope * centre
    residuals = y - intercept - slope * x
    variance = float(residuals @ residuals) / (count - 2)
    slope_se, intercept_se = np.sqrt(variance / spread), np.sqrt(variance * (1 / count + centre**2 / spread))
    factor = float(stats.t.ppf(_TAILS[1], count - 2))
    p = float(2 * stats.t.sf(abs(slope) / slope_se, count - 2)) if slope_se > 0 else None
    return Line(_around(slope, factor * slope_se), _around(intercept, factor * intercept_se), p)


def _around(value: float, half: float) -> Estimate:
    return Estimate(value, value - float(half), value + float(half))
