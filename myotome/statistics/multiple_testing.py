"""Many tests at once: which differences may be called discoveries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from myotome.errors import InputError

__all__ = ["adjust_fdr", "adjust_holm"]


def adjust_fdr(p_values: Sequence[float | None] | np.ndarray) -> list[float | None]:
    """Benjamini and Hochberg's adjusted p values (J R Stat Soc B 1995;57:289) of one declared family.

    Calling those at or below q discoveries keeps the expected share of false ones among them at or below q, when the
    tests are independent or positively dependent.

    Parameters
    ----------
    p_values : one per test; ``None`` or NaN is a test that could not be made, which does not count to the family.

    Returns
    -------
    list : in the order given, ``None`` where the test was not made; empty for an empty family.

    Raises
    ------
    InputError
        When a p value is outside 0..1.
    """
    given, made = _check(p_values)
    adjusted = stats.false_discovery_control(given[made], method="bh") if made.any() else np.array([])
    return _put_back(adjusted, made)


def adjust_holm(p_values: Sequence[float | None] | np.ndarray) -> list[float | None]:
    """Holm's adjusted p values (Scand J Stat 1979;6:65) of one declared family.

    With the m p values in ascending order, the k-th becomes the largest of ``min(1, (m - j + 1) p_j)`` for j = 1 to k.
    Rejecting those at or below alpha keeps the chance of any false rejection at or below alpha, however the tests
    depend on one another.

    Parameters
    ----------
    p_values : one per test; ``None`` or NaN is a test that could not be made, which does not count to the family.

    Returns
    -------
    list : in the order given, ``None`` where the test was not made; empty for an empty family.

    Raises
    ------
    InputError
        When a p value is outside 0..1.
    """
    given, made = _check(p_values)
    family = given[made]
    order = np.argsort(family, kind="stable")
    stepped = np.minimum(1, (len(family) - np.arange(len(family))) * family[order])
    adjusted = np.empty(len(family))
    adjusted[order] = np.maximum.accumulate(stepped) if len(family) else stepped
    return _put_back(adjusted, made)


def _check(p_values: Sequence[float | None] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The p values, NaN where a test was not made, and where one was."""
    given = np.array([np.nan if p is None else p for p in p_values], dtype=float)
    made = np.isfinite(given)
    if ((given[made] < 0) | (given[made] > 1)).any():
        raise InputError("a p value lies outside 0 to 1.")
    return given, made


def _put_back(adjusted: np.ndarray, made: np.ndarray) -> list[float | None]:
    results = iter(adjusted.tolist())
    return [next(results) if ok else None for ok in made]
