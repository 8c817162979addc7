"""Discs are counted upwards from L5-S1, and left without a level where that is not sure."""

import numpy as np
import pytest

from myotome.inference import LEVEL_FLOOR, name_levels


def stack(*heights_mm: float) -> np.ndarray:
    return np.array([(0.0, 0.0, height) for height in heights_mm])


def test_no_disc_has_no_name():
    found = name_levels(np.empty((0, 3)), [])
    assert found.labels == () and found.confidence == 0 and found.reason == "no disc is found"


def test_five_discs_are_named_from_below_in_whatever_order_they_come():
    found = name_levels(stack(72, 0, 144, 36, 108), [0.03, 0.97, 0.0, 0.05, 0.0])
    assert found.labels == (3, 5, 1, 4, 2)
    assert found.confidence > 0.95 and "counted upwards" in found.reason and "missed" not in found.reason


def test_what_lies_above_the_first_lumbar_disc_has_no_label():
    found = name_levels(stack(0, 36, 72, 108, 144, 178, 210), [0.99, 0, 0, 0, 0, 0, 0])
    assert found.labels == (5, 4, 3, 2, 1, 0, 0)


def test_what_lies_below_has_none_either_and_makes_it_less_sure():
    found = name_levels(stack(-30, 0, 36), [0.02, 0.98, 0.02])
    assert found.labels == (0, 5, 4)
    assert found.confidence < name_levels(stack(0, 36), [0.98, 0.02]).confidence


def test_a_disc_that_was_missed_leaves_its_level_out():
    found = name_levels(stack(0, 36, 108, 144), [0.98, 0, 0, 0])
    assert found.labels == (5, 4, 2, 1) and "missed" in found.reason
    assert name_levels(stack(0, 72), [0.98, 0]).labels == (5, 3)  # 45 mm is the longest step


def test_a_small_spine_is_counted_by_its_own_steps():
    assert name_levels(stack(0, 26, 52, 78), [0.98, 0, 0, 0]).labels == (5, 4, 3, 2)


@pytest.mark.parametrize("shares", [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.6, 0.1, 0.1)])
def test_where_it_is_not_sure_every_disc_is_without_a_level(shares):
    found = name_levels(stack(0, 36, 72), shares)
    assert found.labels == (6, 6, 6) and found.confidence < LEVEL_FLOOR
    assert f"{found.confidence:.2f}" in found.reason and "levels are left open" in found.reason


def test_the_probability_is_that_of_the_answers_weighed():
    """Two discs, 0.9 and 0.2: the odds are 0.9 x 0.8 : 0.1 x 0.2 x 0.1 : 0.1 x 0.8."""
    found = name_levels(stack(0, 36), [0.9, 0.2])
    assert found.confidence == pytest.approx(0.72 / (0.72 + 0.002 + 0.08))
    assert name_levels(stack(0, 36), [0.9, 0.2], floor=0.95).labels == (6, 6)
