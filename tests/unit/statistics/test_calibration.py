"""Calibration against hand-worked values, scikit-learn, and probabilities that are true by construction."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.statistics.calibration import (
    compute_brier,
    compute_calibration_curve,
    compute_calibration_error,
    fit_temperature,
    scale_probabilities,
    simulate_calibration_error,
)


def make_forecast(count: int = 20000, seed: int = 3):
    """True probabilities, and what came of them."""
    rng = np.random.default_rng(seed)
    probability = rng.beta(0.4, 1.2, count)
    return (rng.random(count) < probability).astype(int), probability


def test_brier_by_hand_and_by_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    assert compute_brier([1, 0], [0.75, 0.5]) == pytest.approx((0.0625 + 0.25) / 2)
    target, probability = make_forecast(500)
    assert compute_brier(target, probability) == pytest.approx(metrics.brier_score_loss(target, probability))


@pytest.mark.parametrize(("equal", "strategy"), [("width", "uniform"), ("count", "quantile")])
def test_the_curve_is_scikit_learns(equal, strategy):
    calibration = pytest.importorskip("sklearn.calibration")
    target, probability = make_forecast(5000)
    curve = compute_calibration_curve(target, probability, 10, equal)
    observed, predicted = calibration.calibration_curve(target, probability, n_bins=10, strategy=strategy)
    assert [part.observed.value for part in curve] == pytest.approx(observed, abs=2e-3)
    assert [part.mean_probability for part in curve] == pytest.approx(predicted, abs=2e-3)
    assert sum(part.count for part in curve) == 5000


def test_bins_by_hand():
    curve = compute_calibration_curve([0, 0, 1, 1], [0.0, 0.1, 0.2, 1.0])
    assert [(part.lower, part.count) for part in curve] == [(0.0, 2), (0.1, 1), (0.9, 1)]
    error = compute_calibration_error([0, 0, 1, 1], [0.0, 0.1, 0.2, 1.0])
    assert error == pytest.approx(0.5 * 0.05 + 0.25 * 0.8 + 0.25 * 0)


def test_true_probabilities_have_no_calibration_error():
    target, probability = make_forecast()
    assert compute_calibration_error(target, probability) < 0.01
    shifted = np.clip(probability + 0.2, 0, 1)
    assert compute_calibration_error(target, shifted) == pytest.approx(np.mean(shifted - probability), abs=0.01)


def test_what_chance_alone_makes_of_the_error():
    """One bin, all probabilities 0.2 of 100 cases: |Binomial(100, 0.2) - 20| / 100 is at most 0.08 in 95 %."""
    assert simulate_calibration_error(np.full(100, 0.2), draws=4000, seed=1) == pytest.approx(0.08, abs=0.011)
    above = 0
    for seed in range(200):
        target, probability = make_forecast(300, seed)
        above += compute_calibration_error(target, probability) > simulate_calibration_error(probability, draws=200)
    assert 1 <= above <= 22


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_found_again(temperature):
    target, probability = make_forecast()
    pairs = np.column_stack([1 - probability, probability])
    distorted = scale_probabilities(pairs, 1 / temperature)
    found = fit_temperature(target, distorted)
    assert found == pytest.approx(temperature, rel=0.03)
    assert compute_calibration_error(target, scale_probabilities(distorted, found)[:, 1]) < 0.01


def test_scaling_by_hand():
    assert scale_probabilities([[0.8, 0.2]], 1)[0] == pytest.approx([0.8, 0.2])
    assert scale_probabilities([[0.8, 0.2]], 2)[0] == pytest.approx([2 / 3, 1 / 3])
    assert scale_probabilities([[1.0, 0.0, 0.0]], 3).sum() == pytest.approx(1)


def test_cases_that_are_all_right_leave_the_probabilities_soft():
    target = np.repeat([1, 0], 20)
    probability = np.where(target == 1, 0.9, 0.1)
    temperature = fit_temperature(target, np.column_stack([1 - probability, probability]))
    assert 0.2 < temperature < 1


def test_what_is_no_probability_is_refused():
    with pytest.raises(InputError, match="not within 0 to 1"):
        compute_brier([1, 0], [1.2, 0.1])
    with pytest.raises(InputError, match="neither 0 nor 1"):
        compute_calibration_error([1, -1], [0.2, 0.1])
    with pytest.raises(InputError, match="one of each"):
        compute_brier([], [])
    with pytest.raises(InputError, match="not one of 2 classes"):
        fit_temperature([2], [[0.5, 0.5]])
