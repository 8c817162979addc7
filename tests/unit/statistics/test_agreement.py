"""Agreement: published examples, an analysis of variance done elsewhere, and intervals that hold what they promise."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import integrate, stats
from statsmodels.stats.anova import anova_lm

from myotome.errors import InputError
from myotome.statistics.agreement import (
    compute_bland_altman,
    compute_concordance,
    compute_intraclass_correlation,
    compute_least_significant_change,
)
from myotome.statistics.intervals import estimate_limit

# Shrout and Fleiss, Psychol Bull 1979;86:420, table 2: six targets, four judges.
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
# Bland and Altman, Lancet 1986;1:307: peak flow (L/min) by a Wright and a mini Wright meter, first readings.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def holds(estimate, truth):
    return estimate.lower <= truth <= estimate.upper


def test_icc_of_the_published_example():
    icc = compute_intraclass_correlation(SHROUT_FLEISS)
    assert (icc.between_cases, icc.between_raters, icc.residual) == pytest.approx((11.24, 32.49, 1.02), abs=0.005)
    assert icc.agreement.value == pytest.approx(0.29, abs=0.005)
    assert icc.consistency.value == pytest.approx(0.71, abs=0.005)
    assert (icc.agreement.lower, icc.agreement.upper) == pytest.approx((0.019, 0.761), abs=0.0005)
    assert (icc.consistency.lower, icc.consistency.upper) == pytest.approx((0.342, 0.946), abs=0.0005)


def test_mean_squares_are_those_of_an_analysis_of_variance():
    rng = np.random.default_rng(3)
    ratings = rng.normal(size=(12, 3)) + 2 * rng.normal(size=(12, 1)) + [0.0, 0.4, 1.0]
    table = pd.DataFrame(
        [(case, rater, value) for case, row in enumerate(ratings) for rater, value in enumerate(row)],
        columns=["case", "rater", "value"],
    )
    anova = anova_lm(smf.ols("value ~ C(case) + C(rater)", table).fit())["mean_sq"]
    icc = compute_intraclass_correlation(ratings)
    assert icc.between_cases == pytest.approx(anova["C(case)"])
    assert icc.between_raters == pytest.approx(anova["C(rater)"])
    assert icc.residual == pytest.approx(anova["Residual"])


def test_a_constant_shift_lowers_agreement_and_not_consistency():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    icc = compute_intraclass_correlation(np.column_stack([a, a + 1]))
    # MSR = 10/3, MSC = 2, MSE = 0: 10/3 / (10/3 + 2 * 2 / 4) = 10/13
    assert icc.agreement.value == pytest.approx(10 / 13)
    assert (icc.consistency.value, icc.consistency.lower, icc.consistency.upper) == (1, 1, 1)


def test_equal_ratings_agree_completely():
    icc = compute_intraclass_correlation(np.repeat(np.array([[0.1], [0.7], [0.3]]), 3, axis=1))
    assert (icc.agreement.value, icc.agreement.lower, icc.agreement.upper) == (1, 1, 1)


@pytest.mark.parametrize("factor, shift", [(1e-6, 0), (1000, 0), (1, -1e5)])
def test_icc_does_not_depend_on_the_unit(factor, shift):
    before = compute_intraclass_correlation(SHROUT_FLEISS)
    after = compute_intraclass_correlation(np.array(SHROUT_FLEISS) * factor + shift)
    for name in ("agreement", "consistency"):
        one, other = getattr(before, name), getattr(after, name)
        assert (one.value, one.lower, one.upper) == pytest.approx((other.value, other.lower, other.upper), rel=1e-6)


def test_icc_below_zero_is_said_and_bounded():
    icc = compute_intraclass_correlation([[1, 9], [9, 1], [2, 8], [8, 3]])
    assert icc.consistency.value < icc.consistency.upper < 0.75
    assert -1 <= icc.consistency.lower < icc.consistency.value < 0
    assert icc.agreement.lower < icc.agreement.value < icc.agreement.upper


def test_icc_intervals_hold_the_truth_in_95_of_100():
    rng, within = np.random.default_rng(1996), {"agreement": 0, "consistency": 0}
    for _ in range(1000):
        x = 10 * rng.normal(size=(20, 1)) + 2 * rng.normal(size=(1, 2)) + 4 * rng.normal(size=(20, 2))
        icc = compute_intraclass_correlation(x)
        within["agreement"] += holds(icc.agreement, 100 / 120)
        within["consistency"] += holds(icc.consistency, 100 / 116)
    assert within["consistency"] / 1000 == pytest.approx(0.95, abs=0.021)  # three standard errors
    assert within["agreement"] / 1000 == pytest.approx(0.95, abs=0.021)


def test_bland_altman_of_the_published_example():
    bland = compute_bland_altman(MINI, WRIGHT)  # b - a: Wright less mini, as there
    assert bland.bias.value == pytest.approx(-2.1, abs=0.05)
    assert bland.sd == pytest.approx(38.8, abs=0.05)
    assert (bland.bias.lower, bland.bias.upper) == pytest.approx((-22.0, 17.8), abs=0.06)
    assert bland.lower_limit.value == pytest.approx(-2.1176 - 1.96 * 38.765, abs=0.01)
    assert bland.upper_limit.value == pytest.approx(-2.1176 + 1.96 * 38.765, abs=0.01)


def test_the_slope_of_the_difference_is_the_regression_done_elsewhere():
    bland = compute_bland_altman(WRIGHT, MINI)
    means, differences = (np.array(WRIGHT) + MINI) / 2, np.array(MINI) - WRIGHT
    fit = smf.ols("d ~ m", pd.DataFrame({"d": differences, "m": means})).fit()
    low, high = fit.conf_int().loc["m"]
    slope = bland.line.slope
    assert (slope.value, slope.lower, slope.upper) == pytest.approx((fit.params["m"], low, high))
    assert bland.line.slope_p == pytest.approx(fit.pvalues["m"])
    low, high = fit.conf_int().loc["Intercept"]
    assert (bland.line.intercept.lower, bland.line.intercept.upper) == pytest.approx((low, high))


def test_in_percent_a_proportional_error_is_one_number():
    a = np.array([100.0, 200.0, 400.0, 50.0])
    bland = compute_bland_altman(a, 1.5 * a, percent=True)
    assert bland.bias.value == pytest.approx(40) and bland.sd == pytest.approx(0, abs=1e-12)  # 0.5 / 1.25


@pytest.mark.parametrize("count", [3, 17])
def test_the_interval_of_a_limit_is_exact(count):
    """The chance that ``mean + k SD`` lies above the limit, by integrating over the chi distribution of the SD."""
    z = stats.norm.ppf(0.975)
    limit = estimate_limit(0.0, 1.0, count, z)

    def above(factor):
        degrees = count - 1
        return integrate.quad(
            lambda q: stats.norm.cdf(np.sqrt(count) * (factor * q / np.sqrt(degrees) - z)) * stats.chi.pdf(q, degrees),
            0,
            np.inf,
            epsabs=1e-10,
        )[0]

    assert above(limit.upper) == pytest.approx(0.975, abs=1e-6)
    assert above(limit.lower) == pytest.approx(0.025, abs=1e-6)


def test_the_lower_limit_mirrors_the_upper():
    low, high = estimate_limit(0.0, 2.0, 12, -1.96), estimate_limit(0.0, 2.0, 12, 1.96)
    assert (low.lower, low.value, low.upper) == pytest.approx((-high.upper, -high.value, -high.lower))


def test_concordance_of_the_published_example():
    concordance = compute_concordance(WRIGHT, MINI)
    assert concordance.coefficient.value == pytest.approx(0.943, abs=0.0005)
    assert concordance.pearson == pytest.approx(np.corrcoef(WRIGHT, MINI)[0, 1])
    assert concordance.pearson * concordance.bias_correction == pytest.approx(concordance.coefficient.value)


def test_concordance_by_hand():
    # variances 2/3, covariance 2/3, means 2 and 3: 4/3 / (4/3 + 1)
    assert compute_concordance([1, 2, 3], [2, 3, 4]).coefficient.value == pytest.approx(4 / 7)
    equal = compute_concordance([1, 2, 3], [1, 2, 3]).coefficient
    assert (equal.value, equal.lower, equal.upper) == pytest.approx((1, 1, 1))


def test_without_correlation_concordance_has_no_interval():
    concordance = compute_concordance([1, 1, 3, 3], [1, 3, 1, 3]).coefficient
    assert (concordance.value, concordance.lower, concordance.upper) == (0, None, None)


def test_intervals_of_bias_limit_and_concordance_hold_the_truth_in_95_of_100():
    rng, within = np.random.default_rng(1986), np.zeros(3)
    truth = 2 * 110 / (109 + 130 + 7**2)  # of variances 100 + 9 and 121 + 9, covariance 110, means 50 and 57
    for _ in range(1000):
        size = 50 + 10 * rng.normal(size=100)
        a, b = size + 3 * rng.normal(size=100), 2 + 1.1 * size + 3 * rng.normal(size=100)
        bland = compute_bland_altman(a, b)
        limit = 7 + stats.norm.ppf(0.975) * np.sqrt(1 + 18)
        concordance = compute_concordance(a, b).coefficient
        within += [holds(bland.bias, 7), holds(bland.upper_limit, limit), holds(concordance, truth)]
    assert within / 1000 == pytest.approx([0.95] * 3, abs=0.021)


def test_least_significant_change_by_hand():
    change = compute_least_significant_change([[10, 12], [20, 20], [30, 26]])
    # variances 2, 0, 8; squared coefficients of variation 2/121, 0, 8/784
    assert change.rms_sd == pytest.approx(np.sqrt(10 / 3))
    assert change.change == pytest.approx(2.77 * np.sqrt(10 / 3))
    assert change.rms_cv_percent == pytest.approx(100 * np.sqrt((2 / 121 + 8 / 784) / 3))
    assert change.change_percent == pytest.approx(2.77 * change.rms_cv_percent)


def test_least_significant_change_takes_repeats_and_gives_no_percent_of_negative_values():
    change = compute_least_significant_change([[-1, 0, 1], [5, 5, 5], [2, 4, 6]])
    assert change.rms_sd == pytest.approx(np.sqrt((1 + 0 + 4) / 3))
    assert (change.rms_cv_percent, change.change_percent) == (None, None)


@pytest.mark.parametrize("compute", [compute_bland_altman, compute_concordance])
@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ([1, 2], [1, 2], "only 2 cases were measured by both: agreement needs 3 or more."),
        ([], [], "only 0 cases were measured by both"),
        ([1, 2, 3], [1, 2], "3 values stand against 2"),
        ([1, 2, np.nan], [1, 2, 3], "missing or infinite"),
        ([1, 2, np.inf], [1, 2, 3], "missing or infinite"),
    ],
)
def test_pairs_that_are_refused(compute, a, b, sentence):
    with pytest.raises(InputError, match=sentence):
        compute(a, b)


@pytest.mark.parametrize(
    ("compute", "values", "sentence"),
    [
        (compute_intraclass_correlation, [[5, 6], [5, 6], [5, 6]], "do not vary between cases"),
        (compute_intraclass_correlation, [[0.1, 0.1], [0.1, 0.1], [0.1, 0.1]], "do not vary between cases"),
        (compute_intraclass_correlation, [[5], [6], [7]], "only one rater"),
        (compute_intraclass_correlation, [5, 6, 7], "1 dimensions"),
        (compute_least_significant_change, [[5, 5]], "only 1 case was measured"),
        (lambda v: compute_concordance(*v), [[0.1, 0.1, 0.1], [1, 2, 3]], "is the same in every case"),
        (lambda v: compute_bland_altman(*v, percent=True), [[-1, 1, 2], [1, 2, 3]], "not positive"),
    ],
)
def test_ratings_that_are_refused(compute, values, sentence):
    with pytest.raises(InputError, match=sentence):
        compute(values)


def test_a_mean_that_does_not_vary_has_no_line():
    bland = compute_bland_altman([1, 2, 3], [3, 2, 1])
    assert bland.line is None and bland.bias.value == 0
