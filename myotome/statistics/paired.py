"""The same cases scored in two ways: how much one is better, and whether chance alone would do that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from myotome.errors import InputError
from myotome.statistics.classification import bootstrap, weigh_mean
from myotome.statistics.intervals import Estimate

__all__ = ["PairedComparison", "compare_pairs"]

_LEAST_CASES = 3


@dataclass(frozen=True)
class PairedComparison:
    """Differences ``b - a`` of ``cases``: their mean with its bootstrap interval, median, and Wilcoxon's p value.

    ``p_value`` is 1 when no case differs: nothing speaks against chance.
    """

    cases: int
    difference: Estimate
    median: float
    p_value: float


def compare_pairs(a: ArrayLike, b: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> PairedComparison:
    """Compare two scores of independent cases by Wilcoxon's signed-rank test, two-sided (Biometrics 1945;1:80).

    Cases that do not differ are left out of the ranks. Up to 50 cases without ties the test is exact, otherwise
    normal with a correction for ties, as `scipy.stats.wilcoxon` chooses. The interval of the mean difference is the
    percentile interval of resampled cases (`myotome.statistics.classification.bootstrap`).

    Parameters
    ----------
    a, b : (cases,) scores, finite
    resamples, seed : of the bootstrap

    Raises
    ------
    InputError
        When the lengths differ, there are fewer than 3 cases, or a score is missing or infinite.
    """
    first, second = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    if len(first) != len(second):
        raise InputError(f"{len(first)} scores stand against {len(second)}: give both scores of every case.")
    if len(first) < _LEAST_CASES:
        raise InputError(f"{len(first)} cases cannot be compared in pairs: give 3 or more.")
    differences = second - first
    if not np.isfinite(differences).all():
        raise InputError("a score is missing or infinite: leave out the cases that are not complete.")
    estimate = bootstrap(
        lambda weights: weigh_mean(differences, weights), len(differences), resamples=resamples, seed=seed
    )
    p = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    return PairedComparison(len(differences), estimate, float(np.median(differences)), p)
