import numpy as np
import pytest

from myotome.errors import InputError
from myotome.statistics.multiple_testing import adjust_fdr


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


def test_an_impossible_p_is_refused():
    with pytest.raises(InputError, match="outside 0 to 1"):
        adjust_fdr([0.5, 1.2])
