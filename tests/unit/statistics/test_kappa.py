"""Cohen's kappa against hand-worked values, scikit-learn and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from myotome.errors import InputError
from myotome.statistics.classification import count_confusion
from myotome.statistics.kappa import compute_kappa, weigh_kappa


def make_ratings(seed: int = 1):
    rng = np.random.default_rng(seed)
    first = rng.choice(5, size=300, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    return first, np.clip(first + rng.integers(-1, 2, size=300), 0, 4)


def test_kappa_by_hand():
    """20 yes-yes, 5 and 10 disagreements, 15 no-no: po 0.7, pe 0.5."""
    a, b = np.repeat([1, 1, 0, 0], [20, 5, 10, 15]), np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    found = compute_kappa(a, b, 2)
    assert found.agreement == pytest.approx(0.7) and found.chance == pytest.approx(0.5)
    assert found.estimate.value == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("weights", "scikit", "statsmodels"), [("none", None, None), ("linear", "linear", 1), ("quadratic", "quadratic", 2)]
)
def test_kappa_is_that_of_other_packages(weights, scikit, statsmodels):
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = make_ratings()
    found = compute_kappa(a, b, 5, weights)
    assert found.estimate.value == pytest.approx(metrics.cohen_kappa_score(a, b, weights=scikit))
    weighting = "toeplitz" if statsmodels else None
    distances = None if statsmodels is None else np.arange(5.0) ** statsmodels
    expected = cohens_kappa(count_confusion(a, b, 5), weights=distances, wt=weighting)
    assert found.standard_error == pytest.approx(expected.std_kappa)
    assert (found.estimate.lower, found.estimate.upper) == pytest.approx((expected.kappa_low, expected.kappa_upp))


@pytest.mark.parametrize("kind", ["none", "quadratic"])
def test_weights_count_cases_as_often_as_they_are_drawn(kind):
    a, b = make_ratings()
    drawn = np.random.default_rng(4).integers(300, size=(5, 300))
    weights = np.stack([np.bincount(row, minlength=300) for row in drawn]).astype(float)
    expected = [compute_kappa(a[row], b[row], 5, kind).estimate.value for row in drawn]
    assert weigh_kappa(a, b, 5, weights, kind) == pytest.approx(expected)


def test_raters_who_always_agree():
    found = compute_kappa([0, 1, 2], [0, 1, 2], 3, "quadratic")
    assert found.estimate.value == 1 and found.standard_error == pytest.approx(0, abs=1e-7)


def test_what_has_no_kappa_is_refused():
    with pytest.raises(InputError, match="the same grade"):
        compute_kappa([2, 2], [2, 2], 5)
    with pytest.raises(InputError, match="none, linear, quadratic"):
        compute_kappa([0, 1], [0, 1], 5, "cubic")
    with pytest.raises(InputError, match="no rated case"):
        compute_kappa([], [], 5)
