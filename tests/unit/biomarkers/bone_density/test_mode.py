"""The main peak of a histogram, whatever lies beside it, and an error that is as large as the scatter."""

import numpy as np
import pytest

from myotome.biomarkers.bone_density.mode import HIGHEST_HU, LOWEST_HU, estimate_mode, find_mode


def histogram(hu):
    return np.bincount(np.rint(hu).astype(int) - LOWEST_HU, minlength=HIGHEST_HU - LOWEST_HU + 1)


def test_noise_without_anything_beside_it_has_its_mean_and_sd():
    hu = np.random.default_rng(1).normal(52.3, 18, 40000)
    place, sd = find_mode(histogram(hu))
    assert place == pytest.approx(52.3, abs=0.5)
    assert sd == pytest.approx(18, rel=0.05)


def test_a_tail_on_one_side_moves_the_mean_far_and_the_mode_little():
    rng = np.random.default_rng(2)
    muscle, streaks = rng.normal(55, 10, 20000), rng.uniform(-110, 55, 6000)
    hu = np.concatenate([muscle, streaks])
    assert hu.mean() < 40
    assert find_mode(histogram(hu))[0] == pytest.approx(55, abs=1.5)


def test_air_that_the_scanner_clipped_is_found_above_the_clip():
    hu = np.random.default_rng(3).normal(-1010, 20, 50000).clip(min=-1024)
    place, _ = find_mode(histogram(hu))
    assert place == pytest.approx(-1010, abs=3)


def test_a_tissue_without_noise_has_its_own_hu():
    assert find_mode(histogram(np.full(500, -108.0))) == (pytest.approx(-108), 3.0)


def test_the_error_is_as_large_as_the_modes_scatter():
    rng = np.random.default_rng(4)
    modes = []
    for _ in range(150):
        counts = np.stack([histogram(rng.normal(50, 20, 400)) for _ in range(6)])
        modes.append(estimate_mode(counts, 1.0, 1.0))
    scatter = np.std([mode.hu for mode in modes])
    assert np.mean([mode.se_hu for mode in modes]) == pytest.approx(scatter, rel=0.35)
    assert {mode.voxels for mode in modes} == {2400}


def test_shared_noise_makes_the_error_larger():
    counts = histogram(np.random.default_rng(5).normal(50, 20, 2000))[None]
    alone, shared = (estimate_mode(counts, 1.0, area).se_hu for area in (1.0, 9.0))
    assert shared == pytest.approx(3 * alone)


def test_slices_that_wander_show_in_the_error():
    counts = np.stack([histogram(np.full(2000, 40.0 + step)) for step in (-6, -2, 2, 6)])
    assert estimate_mode(counts, 1.0, 1.0).se_hu >= np.std([-6, -2, 2, 6], ddof=1) / 2


def test_no_voxel_has_no_mode():
    assert estimate_mode(np.zeros((3, HIGHEST_HU - LOWEST_HU + 1), int), 1.0, 1.0) is None
