"""The fat fraction of drawn muscles and of phantoms; what cannot give one is refused with a flag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.fat_fraction import estimate_fat_fraction
from myotome.phantoms.shoulder import make_shoulder, make_shoulder_scan
from tests.unit.biomarkers.muscles import SPACING_MM, draw_muscle

SPACING = (SPACING_MM, SPACING_MM)


def _estimate(drawn, around=True):
    return estimate_fat_fraction(drawn.image, drawn.muscle, SPACING, drawn.around if around else None)


@pytest.mark.parametrize("fat_percent", [0.0, 8.0, 30.0, 60.0])
@pytest.mark.parametrize("case", [{}, {"shift_px": 1.2}, {"bias": 1.0}, {"levels": (400.0, 720.0)}, {"noise": 25.0}])
def test_the_drawn_share_is_found(fat_percent, case):
    drawn = draw_muscle(fat_percent, **case)
    found = _estimate(drawn)
    assert found.percent == pytest.approx(drawn.fat_percent, abs=3.0)
    assert found.lower <= drawn.fat_percent <= found.upper
    assert found.flags == ()


def test_the_plain_mean_would_be_wrong_by_the_shift():
    drawn = draw_muscle(5.0, shift_px=1.5)
    found = _estimate(drawn)
    mean = (drawn.image[drawn.muscle].mean() - found.muscle_level) / (found.fat_level - found.muscle_level)
    assert 100 * mean - drawn.fat_percent > 3
    assert abs(found.percent - drawn.fat_percent) < 1.5


def test_scale_does_not_matter():
    drawn = draw_muscle(20.0)
    other = replace(drawn, image=drawn.image * 7.5)
    assert _estimate(other).percent == pytest.approx(_estimate(drawn).percent, abs=0.01)
    assert _estimate(other).otsu_percent == _estimate(drawn).otsu_percent


def test_it_needs_no_labelled_fat():
    drawn = draw_muscle(20.0)
    assert _estimate(drawn, around=False).percent == pytest.approx(drawn.fat_percent, abs=4.0)


def test_otsu_counts_the_bright_pixels():
    image = np.full((100, 100), 500.0)
    image[:, :20] = 100.0
    image[40:60, 40:60] = 100.0
    image[40:60, 40:45] = 500.0
    muscle, around = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    muscle[40:60, 40:60] = True
    around[30:40, 40:60] = True
    noise = np.random.default_rng(2).normal(0, 3, image.shape)
    assert estimate_fat_fraction(image + noise, muscle, (1.0, 1.0), around).otsu_percent == 25.0


def test_suppressed_fat_gives_no_fat_fraction():
    drawn = draw_muscle(10.0, levels=(400.0, 60.0))
    found = _estimate(drawn)
    assert found.percent is None
    assert found.otsu_percent is None
    assert found.flags[0] in ("fat_not_bright", "no_contrast")


def test_no_muscle_and_a_speck_give_none():
    drawn = draw_muscle()
    empty, speck = np.zeros_like(drawn.muscle), np.zeros_like(drawn.muscle)
    speck[60:63, 60:63] = True
    assert estimate_fat_fraction(drawn.image, empty, SPACING).flags == ("absent",)
    assert estimate_fat_fraction(drawn.image, speck, SPACING).flags == ("too_small",)


def test_an_image_without_contrast_gives_none():
    drawn = draw_muscle(levels=(500.0, 540.0))
    assert _estimate(drawn).percent is None


def test_phantoms_of_all_grades_are_near_the_truth():
    """The bar of 2 points is for many: `myotome study fat-fraction --phantoms 200` says how they do."""
    errors = []
    for seed in range(300_600, 300_615):
        scan = replace(make_shoulder_scan(seed), fat_suppression=0.0)
        case = make_shoulder(seed, scan, grade=seed % 5)
        labels = case.label_map.array[..., 0]
        found = estimate_fat_fraction(
            case.volume.array[..., 0], labels == 1, case.volume.grid.spacing_mm[:2], labels == 2
        )
        errors.append(found.percent - case.truth["fat_percent"])
    assert np.abs(errors).mean() <= 3.0
    assert abs(np.mean(errors)) <= 2.0
