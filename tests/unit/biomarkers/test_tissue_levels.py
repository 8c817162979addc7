"""Otsu's threshold by hand; the levels of muscle and fat and the coil's field as they were drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from myotome.biomarkers.tissue_levels import compute_otsu_threshold, fit_tissue_levels
from tests.unit.biomarkers.muscles import FAT, MUSCLE, SIZE, SPACING_MM, draw_muscle


def test_otsu_cuts_between_two_clusters():
    assert compute_otsu_threshold(np.array([1.0, 2, 3, 9, 10, 11])) == 6.0
    assert compute_otsu_threshold(np.array([[0, 0], [0, 8]])) == 4.0


def test_otsu_has_the_greatest_variance_between_the_sides():
    values = np.random.default_rng(4).gamma(2.0, 10.0, 200)

    def between(threshold):
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    found = compute_otsu_threshold(values)
    assert between(found) == pytest.approx(max(between(value) for value in values[values < values.max()]))


@pytest.mark.parametrize("values", [[], [3.0], [2.0, 2.0, 2.0]])
def test_otsu_needs_two_values(values):
    assert compute_otsu_threshold(np.array(values)) is None


@pytest.mark.parametrize("bias", [0.0, 1.0])
@pytest.mark.parametrize("fat_percent", [0.0, 15.0, 60.0])
def test_levels_and_field_are_found(bias, fat_percent):
    drawn = draw_muscle(fat_percent, bias=bias)
    levels = fit_tissue_levels(drawn.image, drawn.muscle, (SPACING_MM, SPACING_MM))
    field = np.broadcast_to(np.exp(bias * np.linspace(-0.5, 0.5, SIZE))[:, None], drawn.image.shape)
    scale = field[drawn.muscle].mean()
    assert levels.muscle / scale == pytest.approx(MUSCLE, rel=0.03)
    assert levels.fat / scale == pytest.approx(FAT, rel=0.03)
    assert levels.field[drawn.muscle].mean() == pytest.approx(1, abs=1e-6)
    near = distance_transform_edt(~drawn.muscle, sampling=SPACING_MM) < 8
    assert np.abs(levels.field / (field / scale) - 1)[near].max() < 0.04


def test_an_image_of_one_tissue_has_no_levels():
    structure = np.zeros((SIZE, SIZE), bool)
    structure[50:70, 50:70] = True
    assert fit_tissue_levels(np.full((SIZE, SIZE), 5.0), structure, (SPACING_MM, SPACING_MM)) is None
    assert fit_tissue_levels(np.zeros((SIZE, SIZE)), structure, (SPACING_MM, SPACING_MM)) is None
