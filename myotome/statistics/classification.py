"""How well a score or a decision tells two classes apart, with 95 % intervals.

Every function takes the cases once each and assumes that they are independent of one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, stats

from myotome.errors import InputError
from myotome.statistics.intervals import Estimate

__all__ = [
    "Auroc",
    "AurocDifference",
    "DecisionScores",
    "bootstrap",
    "check_scores",
    "compare_aurocs",
    "compute_auroc",
    "compute_decision_scores",
    "compute_roc",
    "count_confusion",
    "estimate_proportion",
    "find_youden",
    "weigh_auroc",
    "weigh_mean",
]

_UPPER = 0.975
_Z = float(stats.norm.ppf(_UPPER))
_RESAMPLES = 2000


@dataclass(frozen=True)
class DecisionScores:
    """Counts of a yes-or-no decision and the shares that follow; a share of nobody is ``None``."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    accuracy: Estimate
    sensitivity: Estimate | None
    specificity: Estimate | None
    positive_predictive_value: Estimate | None
    negative_predictive_value: Estimate | None


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve.

    Interval and standard error are ``None`` where a class has a single case, or the classes do not overlap at all
    (AUROC 1 or 0): such a sample does not tell how far it is from the truth.
    """

    estimate: Estimate
    standard_error: float | None
    positives: int
    negatives: int


@dataclass(frozen=True)
class AurocDifference:
    """``a`` less ``b`` on the same cases; interval and p are ``None`` where the difference has no known variance."""

    difference: Estimate
    p_value: float | None


def check_scores(target: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Targets as (n,) bool and scores as (n,) float64.

    Raises
    ------
    InputError
        When lengths differ, a target is neither 0 nor 1, a score is not finite, or one of the classes has no case.
    """
    target, score = np.asarray(target).ravel(), np.asarray(score, dtype=np.float64).ravel()
    if len(target) != len(score):
        raise InputError(f"{len(score)} scores stand against {len(target)} targets: give one of each per case.")
    if not np.isin(target, (0, 1)).all():
        raise InputError("a target is neither 0 nor 1: leave out the cases that a definition drops.")
    if not np.isfinite(score).all():
        raise InputError("a score is missing or infinite: leave out the cases without one.")
    positive = target.astype(bool)
    count = int(positive.sum())
    if count in (0, len(positive)):
        raise InputError(f"{count} of {len(positive)} cases are positive: cases of both classes are needed.")
    return positive, score


def estimate_proportion(successes: int, total: int) -> Estimate:
    """A share and its interval by Wilson (J Am Stat Assoc 1927;22:209), without continuity correction.

    With p = successes / total and z = 1.96::

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Raises
    ------
    InputError
        When ``total`` is 0, or ``successes`` is not between 0 and ``total``.
    """
    if total < 1 or not 0 <= successes <= total:
        raise InputError(f"{successes} of {total} is no share: count at least one case.")
    share, squared = successes / total, _Z**2 / total
    centre = share + squared / 2
    half = _Z * np.sqrt(share * (1 - share) / total + squared / (4 * total))
    low, high = (centre - half) / (1 + squared), (centre + half) / (1 + squared)
    return Estimate(share, float(low) if successes else 0.0, float(high) if successes < total else 1.0)


def count_confusion(reference: ArrayLike, prediction: ArrayLike, classes: int) -> np.ndarray:
    """(classes, classes) counts of cases: reference down, prediction across; classes are 0 to ``classes - 1``.

    Raises
    ------
    InputError
        When lengths differ, or a value is not one of the classes.
    """
    first, second = np.asarray(reference).ravel(), np.asarray(prediction).ravel()
    if len(first) != len(second):
        raise InputError(f"{len(second)} predictions stand against {len(first)} references: give one per case.")
    for values in (first, second):
        if not np.isin(values, np.arange(classes)).all():
            raise InputError(f"a value is not a whole number from 0 to {classes - 1}: leave out what is not graded.")
    pairs = first.astype(np.intp) * classes + second.astype(np.intp)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def compute_decision_scores(target: ArrayLike, decision: ArrayLike) -> DecisionScores:
    """Accuracy, sensitivity, specificity and predictive values of (n,) decisions (1 is positive), n >= 1.

    The intervals are Wilson's (`estimate_proportion`); those of the predictive values hold for this prevalence.

    Raises
    ------
    InputError
        When `count_confusion` refuses, or there is no case.
    """
    (tn, fp), (fn, tp) = count_confusion(target, decision, 2).tolist()

    def share(part: int, whole: int) -> Estimate | None:
        return estimate_proportion(part, whole) if whole else None

    accuracy = estimate_proportion(tp + tn, tp + tn + fp + fn)
    shares = share(tp, tp + fn), share(tn, tn + fp), share(tp, tp + fp), share(tn, tn + fn)
    return DecisionScores(tp, fp, tn, fn, accuracy, *shares)


def compute_roc(target: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False-positive rates, true-positive rates and thresholds of the ROC curve, each (k,), from (0, 0) to (1, 1).

    A case is called positive when its score is at least the threshold; the first threshold is infinite.

    Raises
    ------
    InputError
        When `check_scores` refuses.
    """
    positive, values = check_scores(target, score)
    thresholds, place = np.unique(-values, return_inverse=True)
    hits = np.bincount(place, weights=positive, minlength=len(thresholds))
    alarms = np.bincount(place, weights=~positive, minlength=len(thresholds))
    rates = [np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]) for counts in (alarms, hits)]
    return rates[0], rates[1], np.concatenate([[np.inf], -thresholds])


def find_youden(target: ArrayLike, score: ArrayLike) -> float:
    """The cut-off at which sensitivity + specificity is largest (Youden, Cancer 1950;3:32).

    It lies halfway between two scores that occur; at it or above, a case is called positive. Where several are as good,
    it is the highest of them, which calls the fewest positive; below the lowest score it is that score.

    Raises
    ------
    InputError
        When `check_scores` refuses.
    """
    false, true, thresholds = compute_roc(target, score)
    best = int(np.argmax((true - false)[1:])) + 1
    return float(np.mean(thresholds[best : best + 2]))


def compute_auroc(target: ArrayLike, score: ArrayLike) -> Auroc:
    """Area under the ROC curve, ties counted half, with DeLong's standard error.

    ::

        AUROC = mean over positives i and negatives j of [s_i > s_j] + [s_i = s_j] / 2
        variance = var(V10) / positives + var(V01) / negatives

    V10 and V01 are the placement values of each case (DeLong et al., Biometrics 1988;44:837), from midranks (Sun and
    Xu, IEEE Signal Process Lett 2014;21:1389). The interval is symmetric on the logit scale, where it stays within
    0 to 1 and covers better near 1 (Qin and Hotilovac, Stat Methods Med Res 2008;17:207).

    Raises
    ------
    InputError
        When `check_scores` refuses.
    """
    positive, values = check_scores(target, score)
    area, of_positives, of_negatives = _placements(positive, values)
    error = _standard_error(of_positives, of_negatives)
    counts = int(positive.sum()), int((~positive).sum())
    if error is None:
        return Auroc(Estimate(area), None, *counts)
    logit, half = np.log(area / (1 - area)), _Z * error / (area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-(logit + sign * half)))) for sign in (-1, 1))
    return Auroc(Estimate(area, low, high), error, *counts)


def compare_aurocs(target: ArrayLike, a: ArrayLike, b: ArrayLike) -> AurocDifference:
    """Difference ``a`` less ``b`` of two scores' AUROCs on the same cases, with DeLong's test (normal, two-sided).

    Raises
    ------
    InputError
        When `check_scores` refuses.
    """
    positive, first = check_scores(target, a)
    _, second = check_scores(target, b)
    (area_a, v10_a, v01_a), (area_b, v10_b, v01_b) = _placements(positive, first), _placements(positive, second)
    difference, error = area_a - area_b, _standard_error(v10_a - v10_b, v01_a - v01_b)
    if error is None:
        return AurocDifference(Estimate(difference), None)
    half = _Z * error
    p = float(2 * stats.norm.sf(abs(difference) / error))
    return AurocDifference(Estimate(difference, difference - half, difference + half), p)


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], cases: int, *, resamples: int = _RESAMPLES, seed: int = 0
) -> Estimate:
    """A statistic of cases (patients), with the percentile interval of resampled cases (Efron, Ann Stat 1979;7:1).

    Parameters
    ----------
    statistic : of (k, cases) weights, which say how often each case is drawn, to (k,) values; NaN where it is not
        defined. Such resamples are left out of the interval, which is ``None`` when more than one in twenty is.
        `weigh_mean` and `weigh_auroc` are two.
    cases : how many there are
    resamples, seed : how many draws with replacement; the same seed gives the same interval

    Raises
    ------
    InputError
        When there is no case, or the statistic of all of them is not defined.
    """
    value = float(statistic(np.ones((1, cases)))[0]) if cases else np.nan
    if not np.isfinite(value):
        raise InputError(f"the statistic is not defined for these {cases} cases: cases of every class are needed.")
    drawn = np.random.default_rng(seed).integers(cases, size=(resamples, cases))
    places = (drawn + cases * np.arange(resamples)[:, None]).ravel()
    draws = statistic(np.bincount(places, minlength=resamples * cases).reshape(resamples, cases).astype(float))
    known = draws[np.isfinite(draws)]
    if len(known) < 0.95 * resamples:
        return Estimate(value)
    low, high = np.quantile(known, (1 - _UPPER, _UPPER))
    return Estimate(value, float(low), float(high))


def weigh_mean(values: ArrayLike, weights: np.ndarray, among: ArrayLike | None = None) -> np.ndarray:
    """(k,) means of (n,) values under (k, n) weights, of the cases ``among`` (n,) when given; NaN where none weighs."""
    chosen = weights if among is None else weights * np.asarray(among, dtype=float)
    total = chosen.sum(axis=1)
    return np.divide(chosen @ np.asarray(values, dtype=float), total, out=np.full(len(total), np.nan), where=total > 0)


def weigh_auroc(target: ArrayLike, score: ArrayLike, weights: np.ndarray) -> np.ndarray:
    """(k,) areas under the ROC curve of (n,) scores under (k, n) weights; NaN where a class weighs nothing.

    Raises
    ------
    InputError
        When `check_scores` refuses.
    """
    positive, values = check_scores(target, score)
    levels, place = np.unique(values, return_inverse=True)
    member = sparse.csr_array((np.ones(len(place)), (np.arange(len(place)), place)), (len(place), len(levels)))
    hits, alarms = (weights * positive) @ member, (weights * ~positive) @ member
    below = np.cumsum(alarms, axis=1) - alarms / 2
    pairs = hits.sum(axis=1) * alarms.sum(axis=1)
    return np.divide((hits * below).sum(axis=1), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _placements(positive: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """AUROC; for each positive the share of negatives below it (V10), for each negative of positives above (V01)."""
    ranks = stats.rankdata(values)
    of_positives, of_negatives = ranks[positive], ranks[~positive]
    m, n = len(of_positives), len(of_negatives)
    v10 = (of_positives - stats.rankdata(values[positive])) / n
    v01 = 1 - (of_negatives - stats.rankdata(values[~positive])) / m
    return float(v10.mean()), v10, v01


def _standard_error(of_positives: np.ndarray, of_negatives: np.ndarray) -> float | None:
    """From the placement values; ``None`` for a class of one case, and where only rounding varies."""
    parts = (of_positives, of_negatives)
    if min(len(part) for part in parts) < 2:
        return None
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))
    return error if error > 8 * np.finfo(float).eps else None
