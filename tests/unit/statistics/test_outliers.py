"""Distances against hand-worked values, known laws and the chi-square distribution."""

import math

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.statistics.outliers import (
    compute_distances,
    compute_height_residuals,
    compute_largest_z,
    standardise,
)

HALF = np.array([[1.0, 0.5], [0.5, 1.0]])
MAD = 1.482602218505602


def correlated(count, measures, seed=3):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(measures, measures))
    return random.normal(size=(count, measures)) @ mixing.T, mixing @ mixing.T


def test_two_correlated_measures_by_hand():
    # r = (1, 1): r' S^-1 r = (1 - 0.5 - 0.5 + 1) / 0.75 = 4/3, and chi-square with 2 degrees has the tail exp(-x/2).
    found = compute_distances(np.array([[11.0, 21.0]]), np.array([10.0, 20.0]), HALF)
    assert found.distance[0] == pytest.approx(math.sqrt(2 / 3))
    assert found.tail[0] == pytest.approx(math.exp(-2 / 3))
    assert found.share[0] == pytest.approx([0.5, 0.5])
    assert found.expected[0] == pytest.approx([10.5, 20.5])


def test_the_known_measures_alone_are_judged():
    found = compute_distances(np.array([[1.0, np.nan], [np.nan, np.nan]]), np.zeros(2), HALF)
    assert found.distance[0] == pytest.approx(1.0)
    assert found.tail[0] == pytest.approx(math.erfc(1 / math.sqrt(2)))
    assert found.share[0].tolist() == [1.0, 0.0]
    assert found.expected[0][0] == pytest.approx(0.0) and np.isnan(found.expected[0][1])
    assert np.isnan([found.distance[1], found.tail[1]]).all() and found.share[1].tolist() == [0.0, 0.0]


def test_shares_sum_to_one_and_belong_to_the_measure_that_is_wrong():
    values, covariance = correlated(300, 5)
    values[7, 3] += 9 * math.sqrt(covariance[3, 3])
    found = compute_distances(values, np.zeros(5), covariance)
    assert found.share.sum(axis=1) == pytest.approx(np.ones(300))
    assert (found.share >= 0).all()
    assert found.distance.argmax() == 7 and found.share[7].argmax() == 3


def test_expected_is_the_regression_on_the_other_measures():
    values, covariance = correlated(20, 4)
    found = compute_distances(values, np.zeros(4), covariance)
    others = [0, 1, 3]
    weights = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, 2])
    assert found.expected[:, 2] == pytest.approx(values[:, others] @ weights)


def test_the_tail_is_uniform_for_normal_cases_whatever_is_missing():
    values, covariance = correlated(4000, 6)
    values[np.random.default_rng(4).random(values.shape) < 0.2] = np.nan
    tail = compute_distances(values, np.zeros(6), covariance).tail
    tail = tail[np.isfinite(tail)]
    # Three standard errors of a share among some 4000.
    for level in (0.05, 0.25, 0.5):
        assert abs((tail < level).mean() - level) < 3 * math.sqrt(level * (1 - level) / tail.size)


def test_units_do_not_matter():
    values, covariance = correlated(50, 3)
    scale = np.array([1e-3, 40.0, 7e5])
    plain = compute_distances(values, np.zeros(3), covariance)
    other = compute_distances(values * scale + 5, np.full(3, 5.0), covariance * np.outer(scale, scale))
    assert other.distance == pytest.approx(plain.distance)
    assert other.share == pytest.approx(plain.share)
    assert (other.expected - 5) / scale == pytest.approx(plain.expected)


def test_a_measure_that_does_not_vary_is_refused():
    with pytest.raises(InputError, match=r"a measure does not vary"):
        compute_distances(np.zeros((3, 2)), np.zeros(2), np.diag([1.0, 0.0]))


def test_standardise_by_hand():
    values = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0], [50.0, np.nan]])
    found = standardise(values, np.array(["all"] * 5), smallest_group=5)
    # Median 3, absolute deviations 2 1 0 1 47, of which the median is 1.
    assert found.z[:, 0] == pytest.approx((values[:, 0] - 3) / MAD)
    assert np.isnan(found.z[:, 1]).all()
    assert found.z[:, 0] * found.spread[0] + found.centre[:, 0] == pytest.approx(values[:, 0])


def test_each_group_has_its_own_middle_and_small_ones_that_of_all():
    values = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [30.0]])
    groups = np.array(["F"] * 3 + ["M"] * 3 + ["unknown"])
    z = standardise(values, groups, smallest_group=3).z[:, 0]
    assert z[[1, 4]].tolist() == [0.0, 0.0]
    # Deviations within groups -1 0 1 -1 0 1, and 30 - 10 = 20 from the median of all: their absolute median is 1.
    assert z == pytest.approx(np.array([-1, 0, 1, -1, 0, 1, 20]) / MAD)


def test_standardise_knows_no_units():
    values = np.random.default_rng(2).lognormal(size=(40, 2))
    groups = np.array(["F", "M"] * 20)
    assert standardise(values * [1e-6, 1e6], groups).z == pytest.approx(standardise(values, groups).z)


def test_the_largest_z_by_hand():
    z = np.array([[0.5, -3.0, np.nan], [np.nan, np.nan, np.nan]])
    found = compute_largest_z(z)
    assert found.distance[0] == 3.0
    assert found.tail[0] == pytest.approx(2 * math.erfc(3 / math.sqrt(2)))
    assert found.share[0].tolist() == [0.0, 1.0, 0.0]
    assert np.isnan([found.distance[1], found.tail[1]]).all()


def law_of_height(count=60, seed=5):
    """1000 h^2.5 mL in women and 1500 h^2.5 in men, with 5 % of scatter."""
    random = np.random.default_rng(seed)
    height = random.uniform(1.5, 1.95, count)
    sex = np.where(np.arange(count) % 2, "F", "M")
    return np.where(sex == "F", 1000, 1500) * height**2.5 * np.exp(random.normal(0, 0.05, count)), height, sex


def test_a_halved_volume_is_half_of_what_its_height_and_sex_have():
    volume, height, sex = law_of_height()
    true_ratio = volume[11] / (1000 * height[11] ** 2.5)
    volume[11] /= 2
    z, ratio = compute_height_residuals(volume, height, sex)
    assert ratio[11] == pytest.approx(true_ratio / 2, rel=0.05)
    assert np.argmax(np.abs(z)) == 11 and z[11] < -8


def test_a_fifth_of_wrong_volumes_does_not_move_the_line():
    volume, height, sex = law_of_height(200)
    clean = compute_height_residuals(volume, height, sex)[1]
    wrong = np.random.default_rng(6).permutation(200)[:40]
    volume[wrong] *= 4
    moved = np.log(compute_height_residuals(volume, height, sex)[1] / clean)
    moved[wrong] -= math.log(4)
    # Least squares would move by a fifth of log 4, 0.28.
    assert np.abs(moved).max() < 0.06


def test_a_hundred_thousand_cases_fit_into_memory():
    """Slopes of all pairs of 50,000 would need 20 GB; the truth stays within what 2,000 say of it."""
    volume, height, sex = law_of_height(100_000)
    truth = volume / (np.where(sex == "F", 1000, 1500) * height**2.5)
    ratio = compute_height_residuals(volume, height, sex)[1]
    assert np.abs(np.log(ratio / truth)).max() < 0.01


def test_litres_and_centimetres_give_the_same_residuals():
    volume, height, sex = law_of_height()
    plain, other = (
        compute_height_residuals(volume, height, sex),
        compute_height_residuals(volume / 1e3, 100 * height, sex),
    )
    assert other[0] == pytest.approx(plain[0], rel=1e-6) and other[1] == pytest.approx(plain[1], rel=1e-6)


def test_what_cannot_be_fitted_is_not_given():
    volume, height, sex = law_of_height(24)
    volume[3], height[4] = np.nan, 0.0
    z, ratio = compute_height_residuals(volume, height, sex)
    assert np.flatnonzero(np.isnan(z)).tolist() == [3, 4] == np.flatnonzero(np.isnan(ratio)).tolist()
    assert np.isnan(compute_height_residuals(volume[:12], height[:12], sex[:12])[0]).all()
    assert np.isnan(compute_height_residuals(volume, np.full(24, 1.7), sex)[0]).all()
