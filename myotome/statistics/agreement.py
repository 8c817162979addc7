"""How well two or more measurements of the same cases agree.

Every function takes the cases once each and assumes that they are independent of one another. The intervals hold 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from myotome.errors import InputError
from myotome.statistics.intervals import Estimate, Line, estimate_limit, estimate_line, estimate_mean

__all__ = [
    "BlandAltman",
    "Concordance",
    "IntraclassCorrelation",
    "LeastSignificantChange",
    "check_pairs",
    "check_ratings",
    "compute_bland_altman",
    "compute_concordance",
    "compute_intraclass_correlation",
    "compute_least_significant_change",
]

_LEAST_CASES = 3
_UPPER = 0.975
_Z = float(stats.norm.ppf(_UPPER))
_LSC_FACTOR = 2.77  # 1.96 sqrt(2) as the ISCD rounds it


@dataclass(frozen=True)
class IntraclassCorrelation:
    """ICC(2,1) ``agreement``, ICC(3,1) ``consistency``, and the mean squares of ``cases`` rated by ``raters``."""

    cases: int
    raters: int
    agreement: Estimate
    consistency: Estimate
    between_cases: float
    between_raters: float
    residual: float


@dataclass(frozen=True)
class BlandAltman:
    """Differences ``b - a``: mean (``bias``), SD, limits, and line on the mean of both (``None`` if that is constant).

    In percent of each case's mean when ``percent`` is true, except for the line's x, which keeps its unit.
    """

    cases: int
    bias: Estimate
    sd: float
    lower_limit: Estimate
    upper_limit: Estimate
    line: Line | None
    percent: bool


@dataclass(frozen=True)
class Concordance:
    """Lin's coefficient, and its parts: ``pearson`` (precision) times ``bias_correction`` (accuracy, 1 is best)."""

    cases: int
    coefficient: Estimate
    pearson: float
    bias_correction: float


@dataclass(frozen=True)
class LeastSignificantChange:
    """Precision within cases: RMS-SD and LSC in the unit; RMS-CV and LSC in %, ``None`` unless all is positive."""

    cases: int
    rms_sd: float
    change: float
    rms_cv_percent: float | None
    change_percent: float | None


def check_ratings(ratings: ArrayLike) -> np.ndarray:
    """Ratings as a float64 array of shape (cases, raters).

    Raises
    ------
    InputError
        When it is not two-dimensional, has fewer than 3 cases or 2 raters, or holds NaN or infinity.
    """
    array = np.asarray(ratings, dtype=np.float64)
    if array.ndim != 2:
        raise InputError(f"ratings have {array.ndim} dimensions: give a table of cases by raters.")
    if len(array) < _LEAST_CASES:
        noun = "case was" if len(array) == 1 else "cases were"
        raise InputError(f"only {len(array)} {noun} measured by both: agreement needs 3 or more.")
    if array.shape[1] < 2:
        raise InputError("there is only one rater: agreement needs 2 or more.")
    if not np.isfinite(array).all():
        raise InputError("a measurement is missing or infinite: leave out the cases that are not complete.")
    return array


def check_pairs(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both measurements of each case as float64 arrays of shape (cases,).

    Raises
    ------
    InputError
        When the lengths are unequal, there are fewer than 3 cases, or a value is NaN or infinite.
    """
    first, second = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    if len(first) != len(second):
        raise InputError(f"{len(first)} values stand against {len(second)}: give both measurements of every case.")
    pairs = check_ratings(np.column_stack([first, second]))
    return pairs[:, 0], pairs[:, 1]


def compute_intraclass_correlation(ratings: ArrayLike) -> IntraclassCorrelation:
    """ICC for single ratings from a two-way analysis of variance, with F-based intervals.

    With the mean squares of n cases (MSR), k raters (MSC) and the residual (MSE)::

        ICC(2,1) = (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n)      absolute agreement, raters random
        ICC(3,1) = (MSR - MSE) / (MSR + (k - 1) MSE)                          consistency, raters fixed

    Their intervals are those of ICC(A,1) and ICC(C,1) in McGraw and Wong, Psychol Methods 1996;1:30 (table 7). The
    first takes Satterthwaite's degrees of freedom at the estimate; an estimate below 0 counts there as 0. Where every
    case is rated alike, both are 1 and so are their bounds.

    Parameters
    ----------
    ratings : (cases, raters), complete

    Raises
    ------
    InputError
        When `check_ratings` refuses, or the cases do not differ, so that no variance is there to share.
    """
    array = check_ratings(ratings)
    n, k = array.shape
    rows, columns, error = _mean_squares(array)
    if rows == 0 and error == 0:
        raise InputError("the measurements do not vary between cases: an ICC needs cases that differ.")
    consistency = (rows - error) / (rows + (k - 1) * error)
    agreement = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    return IntraclassCorrelation(
        cases=n,
        raters=k,
        agreement=_agreement_interval(agreement, (rows, columns, error), n, k),
        consistency=_consistency_interval(consistency, rows, error, n, k),
        between_cases=rows,
        between_raters=columns,
        residual=error,
    )


def _mean_squares(array: np.ndarray) -> tuple[float, float, float]:
    """MSR, MSC and MSE; what is only rounding counts as 0."""
    n, k = array.shape
    centred = array - array.mean()
    of_rows, of_columns = centred.mean(axis=1), centred.mean(axis=0)
    residuals = centred - of_rows[:, None] - of_columns
    sums = (k * of_rows @ of_rows, n * of_columns @ of_columns, np.sum(residuals**2))
    rounding = n * k * (8 * np.finfo(np.float64).eps * np.abs(array).max()) ** 2
    rows, columns, error = (0.0 if value <= rounding else float(value) for value in sums)
    return rows / (n - 1), columns / (k - 1), error / ((n - 1) * (k - 1))


def _consistency_interval(value: float, rows: float, error: float, n: int, k: int) -> Estimate:
    if error == 0:
        return Estimate(1.0, 1.0, 1.0)
    ratio, degrees = rows / error, (n - 1, (n - 1) * (k - 1))
    low = ratio / stats.f.ppf(_UPPER, *degrees)
    high = ratio * stats.f.ppf(_UPPER, *degrees[::-1])
    return Estimate(value, *(float((bound - 1) / (bound + k - 1)) for bound in (low, high)))


def _agreement_interval(value: float, mean_squares: tuple[float, float, float], n: int, k: int) -> Estimate:
    rows, columns, error = mean_squares
    if columns == 0 and error == 0:
        return Estimate(1.0, 1.0, 1.0)
    rho = max(value, 0.0)
    a = k * rho / (n * (1 - rho)) * columns
    b = (1 + k * rho * (n - 1) / (n * (1 - rho))) * error
    degrees = (a + b) ** 2 / (a**2 / (k - 1) + b**2 / ((n - 1) * (k - 1)))
    between = k * columns + (k * n - k - n) * error
    low_f, high_f = stats.f.ppf(_UPPER, n - 1, degrees), stats.f.ppf(_UPPER, degrees, n - 1)
    low = n * (rows - low_f * error) / (low_f * between + n * rows)
    high = n * (high_f * rows - error) / (between + n * high_f * rows)
    return Estimate(value, float(low), float(high))


def compute_bland_altman(a: ArrayLike, b: ArrayLike, *, percent: bool = False) -> BlandAltman:
    """Bias and 95 % limits of agreement of the differences ``b - a``, with intervals, and proportional bias.

    The limits are ``bias -+ 1.96 SD``; the interval of the bias is Student's, those of the limits are exact
    (`myotome.statistics.intervals.estimate_limit`). Proportional bias is the slope of the least-squares line of the
    difference on the mean of both (Bland and Altman, Lancet 1986;1:307; Stat Methods Med Res 1999;8:135).

    Parameters
    ----------
    a, b : (cases,) both measurements of each case
    percent : give differences in percent of each case's mean; only for quantities with a true zero

    Raises
    ------
    InputError
        When `check_pairs` refuses, or the mean of a case is not positive and percent are asked for.
    """
    first, second = check_pairs(a, b)
    means, differences = (first + second) / 2, second - first
    if percent:
        if (means <= 0).any():
            raise InputError("the mean of a case is not positive: differences cannot be given in percent of it.")
        differences = 100 * differences / means
    bias, sd = estimate_mean(differences), float(np.std(differences, ddof=1))
    try:
        line = estimate_line(means, differences)
    except InputError:
        line = None
    count = len(differences)
    limits = [estimate_limit(bias.value, sd, count, z) for z in (-_Z, _Z)]
    return BlandAltman(count, bias, sd, *limits, line, percent)


def compute_concordance(a: ArrayLike, b: ArrayLike) -> Concordance:
    """Lin's concordance correlation coefficient, with its interval by Fisher's z.

    ::

        CCC = 2 s_ab / (s_a^2 + s_b^2 + (mean_a - mean_b)^2)        variances and covariance with n in the denominator

    The standard error is that of Lin, Biometrics 1989;45:255, as corrected in 2000;56:324. Where a and b are equal
    the bounds are 1; without any correlation there is no interval.

    Raises
    ------
    InputError
        When `check_pairs` refuses, or one of the measurements does not vary.
    """
    first, second = check_pairs(a, b)
    count = len(first)
    sds = float(np.std(first)), float(np.std(second))
    _refuse_constant(first, sds[0])
    _refuse_constant(second, sds[1])
    shift = float(np.mean(second) - np.mean(first))
    covariance = float(np.mean((first - first.mean()) * (second - second.mean())))
    r = float(np.clip(covariance / (sds[0] * sds[1]), -1, 1))
    correction = 2 * sds[0] * sds[1] / (sds[0] ** 2 + sds[1] ** 2 + shift**2)
    value = r * correction
    return Concordance(count, _concordance_interval(value, r, shift**2 / (sds[0] * sds[1]), count), r, correction)


def _concordance_interval(value: float, r: float, shift_squared: float, count: int) -> Estimate:
    """``shift_squared`` is the squared difference of the means over the product of the SDs."""
    unexplained = 1 - value**2
    if unexplained <= np.finfo(np.float64).eps:
        return Estimate(value, value, value)
    if r == 0:
        return Estimate(value)
    variance = (
        (1 - r**2) * value**2 / (r**2 * unexplained)
        + 2 * value**3 * (1 - value) * shift_squared / (r * unexplained**2)
        - value**4 * shift_squared**2 / (2 * r**2 * unexplained**2)
    ) / (count - 2)
    half = _Z * np.sqrt(max(variance, 0.0))
    return Estimate(value, *(float(np.tanh(np.arctanh(value) + sign * half)) for sign in (-1, 1)))


def _refuse_constant(values: np.ndarray, sd: float) -> None:
    if sd <= 8 * np.finfo(np.float64).eps * np.abs(values).max():
        raise InputError("one of the measurements is the same in every case: correlation needs cases that differ.")


def compute_least_significant_change(ratings: ArrayLike) -> LeastSignificantChange:
    """The smallest change of one case that is more than the error of measuring it twice (95 %).

    ::

        RMS-SD = sqrt(mean of the cases' variances)      RMS-CV = sqrt(mean of (SD / mean)^2)      LSC = 2.77 RMS-SD

    (Glüer et al., Osteoporos Int 1995;5:262; ISCD). A difference that all cases share counts as error, too.

    Parameters
    ----------
    ratings : (cases, repeats), complete, repeats of what has not changed

    Raises
    ------
    InputError
        When `check_ratings` refuses.
    """
    array = check_ratings(ratings)
    means, variances = array.mean(axis=1), array.var(axis=1, ddof=1)
    rms_sd = float(np.sqrt(variances.mean()))
    rms_cv = float(100 * np.sqrt(np.mean(variances / means**2))) if (array > 0).all() else None
    change_percent = None if rms_cv is None else _LSC_FACTOR * rms_cv
    return LeastSignificantChange(len(array), rms_sd, _LSC_FACTOR * rms_sd, rms_cv, change_percent)
