import numpy as np
import pytest

from myotome.errors import InputError
from myotome.statistics.multiple_testing import adjust_fdr, adjust_holm


def test_a_hand_worked_family():
    # in order 0.005 0.01 0.03 0.04, times 4 / rank: 0.02 0.02 0.04 0.04
    assert adjust_fdr([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_tests_that_were_not_made_do_not_count():
    assert adjust_fdr([0.01, None, 0.04, np.nan]) == [pytest.approx(0.02), None, pytest.approx(0.04), None]
    assert adjust_fdr([]) == []
    assert adjust_fdr([None]) == [None]


def test_chance_alone_is_kept_below_the_rate():
    rng = np.random.default_rng(1)
    families = [min(adjust_fdr(rng.random(36))) <= 0.05 for _ in range(2000)]
    assert 0.035 <= np.mean(families) <= 0.065


def test_holm_s_own_steps_by_hand():
    # in order 0.005 0.01 0.03 0.04, times 4, 3, 2, 1: 0.02 0.03 0.06 0.04, and never below the one before
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.9, 0.8]) == [1, 1]
    assert adjust_holm([0.01, None, 0.04, np.nan]) == [pytest.approx(0.02), None, pytest.approx(0.04), None]
    assert adjust_holm([]) == []


def test_holm_keeps_any_false_alarm_below_the_level():
    rng = np.random.default_rng(2)
    families = [min(adjust_holm(rng.random(12))) <= 0.05 for _ in range(2000)]
    assert 0.035 <= np.mean(families) <= 0.065


@pytest.mark.parametrize("adjust", [adjust_fdr, adjust_holm])
def test_an_impossible_p_is_refused(adjust):
    with pytest.raises(InputError, match="outside 0 to 1"):
        adjust([0.5, 1.2])
