"""Blur and chemical shift are found where they were put in, and a tendon is told from muscle."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.biomarkers.partial_volume import compute_dark_share, compute_own_share, measure_noise
from tests.unit.biomarkers.muscles import FAT, MUSCLE, draw_muscle

RATIO = MUSCLE / (FAT - MUSCLE)


def _shares(drawn):
    return (drawn.image - MUSCLE) / (FAT - MUSCLE)


@pytest.mark.parametrize("shift_px", [-1.5, 0.0, 1.0])
def test_the_chemical_shift_is_found_and_what_it_carried_in_is_taken_off(shift_px):
    drawn = draw_muscle(5.0, shift_px=shift_px, noise=5.0)
    shares = _shares(drawn)
    own, spread = compute_own_share(shares, drawn.muscle, drawn.around, RATIO, 0.01)
    assert spread.shift[1] == pytest.approx(shift_px, abs=0.25)
    assert spread.shift[0] == pytest.approx(0, abs=0.25)
    assert 100 * own == pytest.approx(drawn.fat_percent, abs=1.0)


def test_without_fat_around_the_expected_blur_is_taken():
    drawn = draw_muscle(5.0)
    _, spread = compute_own_share(_shares(drawn), drawn.muscle, np.zeros_like(drawn.muscle), RATIO, 0.01)
    assert spread.blur == (0.75, 0.75)
    assert spread.shift == (0.0, 0.0)


def test_noise_is_measured_in_pure_muscle():
    rng = np.random.default_rng(3)
    quiet, loud = (measure_noise(rng.normal(0, sd, (100, 100)), np.ones((100, 100), bool)) for sd in (0.02, 0.04))
    assert loud == pytest.approx(2 * quiet, rel=0.1)


def test_a_tendon_takes_its_area_times_the_level_of_muscle():
    plain, with_tendon = (draw_muscle(3.0, noise=4.0, tendon=tendon) for tendon in (False, True))
    rod = 14 * 2.8 / (np.pi * 30 * 20)
    shares = [compute_dark_share(_shares(drawn), drawn.muscle, 0.012) for drawn in (plain, with_tendon)]
    assert shares[0] < 0.004
    assert shares[1] - shares[0] == pytest.approx(rod * RATIO, rel=0.35)


def test_a_contour_too_small_to_have_a_core_has_no_dark_share():
    muscle = np.zeros((20, 20), bool)
    muscle[8:12, 8:12] = True
    assert compute_dark_share(np.full((20, 20), -1.0), muscle, 0.05) == 0
