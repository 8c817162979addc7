"""Paired comparisons against a hand-counted signed-rank test and the size of a known difference."""

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.statistics.paired import compare_pairs


def test_signed_ranks_counted_by_hand():
    # differences 1, 2, 3, 4, -5: the negative rank sum is 5; of 32 sign patterns, those with a smaller or equal rank
    # sum on one side are 0, 1, 2, 3, 1+2, 4, 1+3, 5, 1+4, 2+3: ten, and as many on the other side
    found = compare_pairs([0, 0, 0, 0, 5], [1, 2, 3, 4, 0], resamples=50)
    assert found.p_value == pytest.approx(20 / 32)
    assert found.difference.value == pytest.approx(1.0) and found.median == 2 and found.cases == 5


def test_a_known_difference_lies_in_its_interval():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        a = rng.normal(0.9, 0.05, 60)
        found = compare_pairs(a, a + rng.normal(0.02, 0.03, 60), resamples=400, seed=seed)
        hits += found.difference.lower <= 0.02 <= found.difference.upper
    assert 0.90 <= hits / 200 <= 0.985


def test_what_never_differs_is_no_evidence():
    found = compare_pairs([0.9, 0.8, 0.7], [0.9, 0.8, 0.7], resamples=20)
    assert found.p_value == 1 and found.difference.value == 0


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ([1, 2, 3], [1, 2], "3 scores stand against 2"),
        ([1, 2], [1, 2], "give 3 or more"),
        ([1, 2, np.nan], [1, 2, 3], "missing or infinite"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, sentence):
    with pytest.raises(InputError, match=sentence):
        compare_pairs(a, b)
