"""Many tests at once: which differences may be called discoveries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from myotome.errors import InputError

__all__ = ["adjust_fdr"]


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
    given = np.array([np.nan if p is None else p for p in p_values], dtype=float)
    made = np.isfinite(given)
    if ((given[made] < 0) | (given[made] > 1)).any():
        raise InputError("a p value lies outside 0 to 1.")
    adjusted = stats.false_discovery_control(given[made], method="bh") if made.any() else np.array([])
    results = iter(adjusted.tolist())
    return [next(results) if ok else None for ok in made]
