"""Decisions, ROC curves and their intervals, against hand-worked values and other people's implementations."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from myotome.errors import InputError
from myotome.statistics.classification import (
    bootstrap,
    compare_aurocs,
    compute_auroc,
    compute_decision_scores,
    compute_roc,
    count_confusion,
    estimate_proportion,
    find_youden,
    weigh_auroc,
    weigh_mean,
)


def make_scores(seed: int = 1, positives: int = 38, negatives: int = 517, ties: bool = False):
    rng = np.random.default_rng(seed)
    target = np.repeat([1, 0], [positives, negatives])
    score = rng.normal(target * 1.5, 1)
    return target, np.round(score) if ties else score


def test_a_proportion_is_wilsons():
    for successes, total in ((0, 8), (3, 8), (8, 8), (517, 555)):
        found = estimate_proportion(successes, total)
        assert (found.lower, found.upper) == pytest.approx(proportion_confint(successes, total, method="wilson"))
    assert estimate_proportion(0, 8).lower == 0 and estimate_proportion(8, 8).upper == 1
    with pytest.raises(InputError, match="0 of 0 is no share"):
        estimate_proportion(0, 0)


def test_decisions_by_hand():
    scores = compute_decision_scores([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0, 1, 1])
    assert (scores.true_positives, scores.false_negatives) == (3, 1)
    assert (scores.true_negatives, scores.false_positives) == (4, 2)
    assert scores.accuracy.value == 0.7
    assert scores.sensitivity.value == 0.75 and scores.specificity.value == pytest.approx(4 / 6)
    assert scores.positive_predictive_value.value == 0.6 and scores.negative_predictive_value.value == 0.8


def test_a_share_of_nobody_is_not_given():
    scores = compute_decision_scores([0, 0], [0, 0])
    assert scores.sensitivity is None and scores.positive_predictive_value is None
    assert scores.accuracy.value == 1


def test_the_confusion_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    reference, prediction = rng.integers(5, size=200), rng.integers(4, size=200)
    expected = metrics.confusion_matrix(reference, prediction, labels=range(5))
    assert np.array_equal(count_confusion(reference, prediction, 5), expected)
    with pytest.raises(InputError, match="from 0 to 4"):
        count_confusion([5], [0], 5)


def test_auroc_by_hand():
    found = compute_auroc([1, 1, 0, 0], [3, 1, 2, 1])
    assert found.estimate.value == (1 + 1 + 0 + 0.5) / 4
    # V10 = (1, 0.25) and V01 = (0.5, 0.75): variances 0.28125 / 2 and 0.03125 / 2
    assert found.standard_error == pytest.approx(np.sqrt(0.28125 / 2 + 0.03125 / 2))


@pytest.mark.parametrize("ties", [False, True])
def test_the_roc_is_scikit_learns(ties):
    metrics = pytest.importorskip("sklearn.metrics")
    target, score = make_scores(ties=ties)
    assert compute_auroc(target, score).estimate.value == pytest.approx(metrics.roc_auc_score(target, score))
    expected = metrics.roc_curve(target, score, drop_intermediate=False)
    for found, wanted in zip(compute_roc(target, score), expected, strict=True):
        assert np.allclose(found, wanted)


@pytest.mark.parametrize("ties", [False, True])
def test_the_standard_error_is_delongs(ties):
    """From its definition: the covariance of the placement values, pair by pair."""
    target, score = make_scores(2, 12, 40, ties)
    pairs = np.subtract.outer(score[target == 1], score[target == 0])
    wins = (pairs > 0) + 0.5 * (pairs == 0)
    expected = np.sqrt(wins.mean(axis=1).var(ddof=1) / 12 + wins.mean(axis=0).var(ddof=1) / 40)
    assert compute_auroc(target, score).standard_error == pytest.approx(expected)


def test_the_standard_error_is_that_of_other_packages():
    target, score = make_scores()
    found = compute_auroc(target, score)
    plain = found.estimate.value + np.array([-1, 1]) * 1.959964 * found.standard_error
    confidenceinterval = pytest.importorskip("confidenceinterval", reason="confidenceinterval is not installed")
    _, interval = confidenceinterval.roc_auc_score(target, score, method="delong")
    assert plain == pytest.approx(interval, abs=1e-6)


def test_the_comparison_is_that_of_mlstatkit():
    mlstatkit = pytest.importorskip("MLstatkit", reason="MLstatkit is not installed")
    target, score = make_scores()
    other = score + np.random.default_rng(5).normal(0, 1, len(score))
    _, p, *_ = mlstatkit.Delong_test(target, score, other)
    assert compare_aurocs(target, score, other).p_value == pytest.approx(p)


def test_paired_scores_are_compared_from_their_definition():
    target, score = make_scores(4, 15, 50)
    other = score + np.random.default_rng(5).normal(0, 1, len(score))
    found = compare_aurocs(target, score, other)
    wins = [np.subtract.outer(s[target == 1], s[target == 0]) > 0 for s in (score, other)]
    difference = wins[0].astype(float) - wins[1]
    error = np.sqrt(difference.mean(axis=1).var(ddof=1) / 15 + difference.mean(axis=0).var(ddof=1) / 50)
    assert found.difference.value == pytest.approx(difference.mean())
    assert found.difference.upper - found.difference.value == pytest.approx(1.959964 * error, rel=1e-6)
    assert compare_aurocs(target, score, score).p_value is None


def test_the_interval_of_auroc_holds_the_truth_as_often_as_it_says():
    truth = 0.9213503964748574  # P(N(2, 1) > N(0, 1)) = Phi(sqrt 2)
    held, rng = 0, np.random.default_rng(8)
    for _ in range(600):
        target = np.repeat([1, 0], [30, 120])
        found = compute_auroc(target, rng.normal(2 * target, 1)).estimate
        held += found.lower <= truth <= found.upper
    assert 0.92 <= held / 600 <= 0.98


def test_classes_that_do_not_overlap_have_no_interval():
    found = compute_auroc([1, 1, 0, 0], [4, 3, 2, 1])
    assert found.estimate.value == 1 and found.estimate.lower is None and found.standard_error is None


@pytest.mark.parametrize(
    ("target", "score", "sentence"),
    [
        ([0, 0, 0], [1, 2, 3], "0 of 3 cases are positive"),
        ([1, 1], [1, 2], "2 of 2 cases are positive"),
        ([1, 0], [1], "1 scores stand against 2 targets"),
        ([1, -1], [1, 2], "neither 0 nor 1"),
        ([1, 0], [1, np.nan], "missing or infinite"),
    ],
)
def test_what_cannot_be_scored_is_refused(target, score, sentence):
    with pytest.raises(InputError, match=sentence):
        compute_auroc(target, score)


def test_the_bootstrap_of_a_mean_is_students():
    values = np.random.default_rng(1).normal(5, 2, 200)

    def mean(weights: np.ndarray) -> np.ndarray:
        return weigh_mean(values, weights)

    found = bootstrap(mean, 200, resamples=4000, seed=3)
    half = 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert found.value == pytest.approx(values.mean())
    assert (found.lower, found.upper) == pytest.approx((found.value - half, found.value + half), abs=0.03)
    assert found == bootstrap(mean, 200, resamples=4000, seed=3)
    assert found != bootstrap(mean, 200, resamples=4000, seed=4)


def test_weights_count_cases_as_often_as_they_are_drawn():
    rng = np.random.default_rng(5)
    target, score = make_scores(3, 12, 30, ties=True)
    drawn = rng.integers(42, size=(6, 42))
    weights = np.stack([np.bincount(row, minlength=42) for row in drawn]).astype(float)
    areas = [compute_auroc(target[row], score[row]).estimate.value for row in drawn]
    assert weigh_auroc(target, score, weights) == pytest.approx(areas)
    assert weigh_mean(score, weights) == pytest.approx([score[row].mean() for row in drawn])
    positive = [score[row][target[row] == 1].mean() for row in drawn]
    assert weigh_mean(score, weights, target == 1) == pytest.approx(positive)


def test_the_bootstrap_of_an_area_is_delongs_away_from_one():
    target, score = make_scores(6, 60, 200)
    found = bootstrap(lambda weights: weigh_auroc(target, score, weights), 260, resamples=4000, seed=1)
    delong = compute_auroc(target, score).estimate
    assert (found.lower, found.upper) == pytest.approx((delong.lower, delong.upper), abs=0.012)


def test_a_statistic_that_is_often_undefined_has_no_interval():
    values, among = np.array([1.0, 0, 0]), np.array([1, 0, 0])
    found = bootstrap(lambda weights: weigh_mean(values, weights, among), 3)
    assert found.value == 1 and found.lower is None
    with pytest.raises(InputError, match="not defined for these 3 cases"):
        bootstrap(lambda weights: weigh_mean(values, weights, np.zeros(3)), 3)
    with pytest.raises(InputError, match="not defined for these 0 cases"):
        bootstrap(lambda weights: weigh_mean([], weights), 0)


def test_youdens_cutoff_lies_between_the_scores_that_it_divides():
    assert find_youden([0, 0, 0, 1, 1], [1.0, 2.0, 3.0, 5.0, 6.0]) == 4.0
    # One positive below the negatives: calling two of three at no false alarm is best.
    assert find_youden([0, 0, 1, 1, 1], [2.0, 3.0, 1.0, 5.0, 6.0]) == 4.0
    # Two cut-offs are as good (1/2 + 1, and 1 + 1/2): the higher one calls fewer positive.
    assert find_youden([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0]) == 3.5
    assert find_youden([1, 0], [1.0, 2.0]) == 1.0, "no cut-off is better than chance: the lowest score"
