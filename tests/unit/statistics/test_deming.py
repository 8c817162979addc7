"""Deming's line: orthogonal regression by a singular value decomposition, a jackknife by hand, and its coverage."""

import numpy as np
import pytest
from scipy import stats

from myotome.errors import InputError
from myotome.statistics.deming import fit_deming

X = np.array([1.0, 2.5, 3.0, 4.2, 5.1, 7.0])
Y = np.array([1.4, 2.0, 3.9, 4.0, 5.8, 6.4])


def principal_slope(x, y):
    direction = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]))[2][0]
    return direction[1] / direction[0]


def test_with_equal_errors_it_is_the_principal_axis():
    line = fit_deming(X, Y)
    assert line.slope.value == pytest.approx(principal_slope(X, Y))
    assert line.intercept.value == pytest.approx(Y.mean() - line.slope.value * X.mean())


@pytest.mark.parametrize("ratio", [0.25, 4.0])
def test_a_ratio_of_errors_is_a_change_of_unit(ratio):
    scaled = principal_slope(X * np.sqrt(ratio), Y) * np.sqrt(ratio)
    assert fit_deming(X, Y, error_ratio=ratio).slope.value == pytest.approx(scaled)


def test_exchanging_the_axes_gives_the_same_line():
    assert fit_deming(Y, X).slope.value == pytest.approx(1 / fit_deming(X, Y).slope.value)
    assert fit_deming(X, -Y).slope.value == pytest.approx(-fit_deming(X, Y).slope.value)


def test_the_interval_is_the_jackknife_by_hand():
    whole, count = principal_slope(X, Y), len(X)
    left_out = np.array([principal_slope(np.delete(X, i), np.delete(Y, i)) for i in range(count)])
    half = stats.t.ppf(0.975, count - 2) * np.std(count * whole - (count - 1) * left_out, ddof=1) / np.sqrt(count)
    slope = fit_deming(X, Y).slope
    assert (slope.lower, slope.upper) == pytest.approx((whole - half, whole + half))


def test_an_exact_line_is_found_exactly():
    line = fit_deming(X, 2 * X - 3)
    assert (line.slope.value, line.slope.lower, line.slope.upper) == pytest.approx((2, 2, 2))
    assert (line.intercept.value, line.intercept.lower) == pytest.approx((-3, -3))


def test_intervals_hold_the_truth_in_95_of_100():
    rng, within = np.random.default_rng(1990), np.zeros(2)
    for _ in range(1000):
        size = 50 + 10 * rng.normal(size=40)
        line = fit_deming(size + 3 * rng.normal(size=40), 2 + 1.1 * size + 3 * rng.normal(size=40))
        within += [line.slope.lower <= 1.1 <= line.slope.upper, line.intercept.lower <= 2 <= line.intercept.upper]
    assert within / 1000 == pytest.approx([0.95, 0.95], abs=0.021)


@pytest.mark.parametrize(
    ("x", "y", "options", "sentence"),
    [
        ([1, 2], [1, 2], {}, "only 2 cases"),
        ([1, 2, 3], [1, 2], {}, "3 values stand against 2"),
        ([1, 1, 1], [1, 2, 3], {}, "do not vary together"),
        ([1, 2, 3], [1, 2, 3], {"error_ratio": 0}, "is 0: it is a positive number"),
    ],
)
def test_refusals(x, y, options, sentence):
    with pytest.raises(InputError, match=sentence):
        fit_deming(x, y, **options)
