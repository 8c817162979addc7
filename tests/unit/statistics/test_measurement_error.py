import numpy as np
import pytest

from myotome.errors import InputError
from myotome.statistics.measurement_error import estimate_error


def test_absolute_errors_by_hand():
    error = estimate_error("absolute", [1, 2, 3, 4, 5])
    assert error.bias == 3
    assert error.share == pytest.approx(2.5)  # (4 + 1 + 0 + 1 + 4) / 4
    assert error.spread == pytest.approx(np.sqrt(2.5))
    assert error.count == 5


def test_relative_errors_by_hand():
    # measured / true: 0.4, 0.5, 0.6, 0.5, 0.5: mean 0.5, variance 0.005, c = 0.005 / 0.25 = 0.02
    error = estimate_error("relative", [-0.6, -0.5, -0.4, -0.5, -0.5])
    assert error.share == pytest.approx(0.02 / 1.02)
    assert error.bias == pytest.approx(-0.5)


def test_a_constant_factor_leaves_the_share_alone():
    errors = np.random.default_rng(1).normal(0, 0.1, 30)
    plain, scaled = estimate_error("relative", errors), estimate_error("relative", 0.8 * (1 + errors) - 1)
    assert scaled.share == pytest.approx(plain.share)
    assert scaled.share_error == pytest.approx(plain.share_error)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_the_standard_error_is_the_spread_of_repeated_estimates(kind):
    rng = np.random.default_rng(2)
    estimates = [estimate_error(kind, 0.05 + 0.1 * rng.standard_t(12, 200)) for _ in range(1500)]
    spread = np.std([estimate.share for estimate in estimates])
    assert np.mean([estimate.share_error for estimate in estimates]) == pytest.approx(spread, rel=0.08)


@pytest.mark.parametrize(
    ("kind", "errors", "sentence"),
    [
        ("percent", [1, 2, 3, 4, 5], "is 'relative' or 'absolute', not 'percent'"),
        ("absolute", [1, 2, 3, 4], "at least 5 cases"),
        ("absolute", [1, 2, 3, 4, np.nan], "at least 5 cases"),
        ("relative", [-1.5, -1.2, -0.9, -1.0, -0.9], "cannot be -1 or less"),
    ],
)
def test_refusals(kind, errors, sentence):
    with pytest.raises(InputError, match=sentence):
        estimate_error(kind, errors)
