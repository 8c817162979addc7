import numpy as np
import pytest
from scipy import stats

from myotome.errors import InputError
from myotome.statistics.correlation import correct_correlation, correlate, rank_correlate
from myotome.statistics.measurement_error import MeasurementError, estimate_error


def _related(rng, count, r):
    x = rng.normal(size=count)
    return x, r * x + np.sqrt(1 - r**2) * rng.normal(size=count)


def test_a_hand_worked_correlation():
    # deviations -2 -1 0 1 2 and -2 0 -1 1 2: products 4 + 0 + 0 + 1 + 4 = 9, squares 10 and 10
    estimate = correlate(np.array([1, 2, 3, 4, 5.0]), np.array([1, 3, 2, 4, 5.0]))
    assert estimate.value == pytest.approx(0.9)
    assert estimate.count == 5


def test_for_normal_values_the_interval_is_fishers():
    x, y = _related(np.random.default_rng(1), 4000, 0.6)
    estimate, fisher = correlate(x, y), stats.pearsonr(x, y).confidence_interval(0.95)
    assert estimate.value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert estimate.lower == pytest.approx(fisher.low, abs=0.002)
    assert estimate.upper == pytest.approx(fisher.high, abs=0.002)


def test_the_partial_correlation_is_that_of_the_textbook():
    rng = np.random.default_rng(2)
    z = rng.normal(size=500)
    x, y = z + rng.normal(size=500), 2 * z + rng.normal(size=500)
    xy, xz, yz = (np.corrcoef(a, b)[0, 1] for a, b in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert correlate(x, y, z[:, None]).value == pytest.approx(expected)
    # a covariate that does not vary, and one that repeats another, change nothing
    assert correlate(x, y, np.column_stack([z, np.ones(500), 3 * z])).value == pytest.approx(expected)


def test_intervals_hold_the_truth_where_spread_differs_between_groups():
    rng = np.random.default_rng(3)
    held = {"ours": 0, "fisher": 0}
    for _ in range(600):
        scale = np.where(rng.random(400) < 0.5, 1.0, 4.0)
        x, y = scale * rng.normal(size=400), scale * rng.normal(size=400)
        ours, fisher = correlate(x, y), stats.pearsonr(x, y).confidence_interval(0.95)
        held["ours"] += ours.lower <= 0 <= ours.upper
        held["fisher"] += fisher.low <= 0 <= fisher.high
    assert 0.93 <= held["ours"] / 600 <= 0.97
    assert held["fisher"] / 600 < 0.90


def test_p_agrees_with_the_interval():
    rng = np.random.default_rng(4)
    for _ in range(50):
        estimate = correlate(*_related(rng, 60, 0.25))
        assert (estimate.p_value < 0.05) == (not estimate.lower <= 0 <= estimate.upper)


def test_ranks_are_spearmans_and_do_not_mind_the_scale():
    rng = np.random.default_rng(5)
    x, y = _related(rng, 200, 0.5)
    y = np.round(y, 1)  # ties
    estimate, oracle = rank_correlate(np.exp(x), y), stats.spearmanr(x, y)
    assert estimate.value == pytest.approx(oracle.statistic)
    assert estimate.p_value == pytest.approx(oracle.pvalue)
    assert estimate.lower < estimate.value < estimate.upper


def test_missing_values_leave_the_person_out():
    rng = np.random.default_rng(6)
    x, y = _related(rng, 50, 0.5)
    z = rng.normal(size=50)
    gaps = x.copy(), y.copy(), z.copy()
    gaps[0][0], gaps[1][1], gaps[2][2] = np.nan, np.inf, np.nan
    estimate, oracle = correlate(gaps[0], gaps[1], gaps[2]), correlate(x[3:], y[3:], z[3:])
    assert estimate == oracle
    assert estimate.count == 47


@pytest.mark.parametrize(
    ("x", "y", "note"),
    [
        (np.arange(4.0), np.arange(4.0), "too few people"),
        (np.arange(9.0), np.ones(9), "a value does not vary"),
        (np.full(9, np.nan), np.arange(9.0), "too few people"),
    ],
)
def test_what_cannot_be_given_is_none_with_a_note(x, y, note):
    estimate = correlate(x, y)
    assert estimate.value is None and estimate.lower is None and estimate.p_value is None
    assert estimate.note == note


def test_a_perfect_correlation_has_no_width():
    estimate = correlate(np.arange(20.0), -2 * np.arange(20.0))
    assert (estimate.value, estimate.lower, estimate.upper) == pytest.approx((-1, -1, -1))


def test_columns_of_different_length_are_refused():
    with pytest.raises(InputError, match="two columns of one length"):
        correlate(np.arange(5.0), np.arange(6.0))


def test_the_hand_worked_correction():
    x, y = np.array([1, 2, 3, 4, 5.0, 6]), np.array([2, 1, 4, 3, 6.0, 5])
    error = MeasurementError("absolute", 0.5, 0.0, 0.0, np.sqrt(0.5), 100)
    # variance of x is 35/12, so the reliability is 1 - 6/35 = 29/35
    plain, corrected = correlate(x, y), correct_correlation(x, y, error)
    assert corrected.reliability == pytest.approx(29 / 35)
    assert corrected.value == pytest.approx(plain.value / np.sqrt(29 / 35))
    assert corrected.p_value == plain.p_value


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_the_correction_finds_the_truth_under_error_and_bias(kind):
    rng = np.random.default_rng(7)
    count = 200_000
    height = rng.normal(size=count)
    truth = 20 + 3 * height + 4 * rng.normal(size=count)
    outcome = 0.2 * truth + 2 * height + rng.normal(size=count)
    known = correlate(truth, outcome, height).value
    errors = 0.1 + 0.15 * rng.standard_t(8, 4000) if kind == "relative" else -2 + 3 * rng.standard_t(8, 4000)
    drawn = rng.choice(errors, count)
    measured = truth * (1 + drawn) if kind == "relative" else truth + drawn
    corrected = correct_correlation(measured, outcome, estimate_error(kind, errors), height)
    assert abs(correlate(measured, outcome, height).value - known) > 0.08
    assert corrected.value == pytest.approx(known, abs=0.01)
    assert corrected.lower < known < corrected.upper


def test_adjusting_for_covariates_lowers_the_reliability():
    rng = np.random.default_rng(8)
    height = rng.normal(size=5000)
    truth = 3 * height + rng.normal(size=5000)
    measured = truth + 0.5 * rng.normal(size=5000)
    error = MeasurementError("absolute", 0.25, 0.0, 0.0, 0.5, 1000)
    raw = correct_correlation(measured, truth, error)
    partial = correct_correlation(measured, truth + rng.normal(size=5000), error, height)
    assert raw.reliability == pytest.approx(10 / 10.25, abs=0.01)
    assert partial.reliability == pytest.approx(1 / 1.25, abs=0.02)


def test_not_knowing_the_error_well_widens_the_interval():
    x, y = _related(np.random.default_rng(9), 500, 0.6)
    known, guessed = (MeasurementError("absolute", 0.3, doubt, 0, 0.5, 40) for doubt in (0.0, 0.1))
    narrow, wide = (correct_correlation(x, y, error) for error in (known, guessed))
    assert wide.value == narrow.value
    assert wide.upper - wide.lower > 1.2 * (narrow.upper - narrow.lower)


def test_without_error_nothing_changes():
    x, y = _related(np.random.default_rng(10), 300, -0.4)
    plain, same = correlate(x, y), correct_correlation(x, y, MeasurementError("absolute", 0.0, 0.0, 0.0, 0.0, 40))
    assert (same.value, same.lower, same.upper) == pytest.approx((plain.value, plain.lower, plain.upper))
    assert same.reliability == 1


def test_an_error_as_large_as_the_spread_gives_no_estimate():
    x, y = _related(np.random.default_rng(11), 300, 0.5)
    drowned = correct_correlation(x, y, MeasurementError("absolute", 2.0, 0.1, 0, 1.4, 40))
    assert drowned.value is None and drowned.note == "the measurement error is as large as the spread"
    beyond = correct_correlation(x, x + 0.1 * y, MeasurementError("absolute", 0.5, 0.1, 0, 0.7, 40))
    assert beyond.value is None and beyond.note == "the correction leads beyond 1"
    assert beyond.p_value < 1e-6
