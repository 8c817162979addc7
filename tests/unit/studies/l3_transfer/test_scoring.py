"""Scores of discs and rings whose areas and distances are known, and the same measures as the pipeline's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.body_composition import measure_body_composition
from myotome.studies.l3_transfer.scoring import masks_of, measure_slice, score_slice
from tests.unit.studies.l3_transfer.answers import INNER_MM, MUSCLE_HU, OUTER_MM, make_disc, make_slice, make_volume


def test_the_reference_agrees_with_itself():
    item = make_slice()
    scores = score_slice(item, item.label)
    for name in ("skeletal_muscle", "muscle_compartment"):
        assert scores[f"{name}_dice"] == 1 and scores[f"{name}_rms_dta_mm"] == 0
    assert scores["sma_cm2"] == scores["reference_sma_cm2"] and scores["smd_hu"] == MUSCLE_HU


def test_areas_of_a_ring():
    item = make_slice(height_m=1.8)
    arc = np.count_nonzero(item.label == 4) * item.pixel_cm2
    ring = np.pi * (OUTER_MM**2 - INNER_MM**2) / 100
    measures = measure_slice(item, item.label)
    assert measures["sma_cm2"] == pytest.approx(ring - arc, rel=0.01)
    assert measures["smi_cm2_m2"] == pytest.approx(measures["sma_cm2"] / 1.8**2)
    masks = masks_of(item.label)
    assert masks["muscle_compartment"].sum() - masks["skeletal_muscle"].sum() == np.count_nonzero(item.label == 4)


def test_measures_are_the_pipeline_s():
    volume, label_map = make_volume(3)
    rows, _ = measure_body_composition(volume, label_map, height_m=1.7)
    found = {(row.structure, row.measure): row.value for row in rows}
    measures = measure_slice(make_slice(3), make_slice(3).label)
    for name, measure in (("sma_cm2", "muscle_area"), ("smd_hu", "density"), ("smi_cm2_m2", "area_per_height2")):
        assert measures[name] == pytest.approx(found["skeletal_muscle", measure])


def test_a_ring_that_is_two_millimetres_too_wide():
    """Outer boundary 2 mm out, inner boundary where it was: distances 2 and 0, weighted by the boundaries' lengths."""
    item = make_slice()
    wider = np.where(make_disc(OUTER_MM + 2) & (item.label == 2), 1, item.label).astype(np.uint8)
    scores = score_slice(item, wider)
    outer, inner = 2 * np.pi * (OUTER_MM + 1), 2 * np.pi * INNER_MM
    expected = np.sqrt(4 * outer / (outer + inner))
    assert scores["muscle_compartment_rms_dta_mm"] == pytest.approx(expected, abs=0.25)
    true, drawn = np.pi * (OUTER_MM**2 - INNER_MM**2), np.pi * ((OUTER_MM + 2) ** 2 - INNER_MM**2)
    assert scores["muscle_compartment_dice"] == pytest.approx(2 * true / (true + drawn), abs=0.005)
    assert scores["sma_cm2"] == scores["reference_sma_cm2"], "what was added is fat, which the HU range leaves out"


def test_an_empty_prediction_has_no_distance():
    item = make_slice()
    scores = score_slice(item, np.zeros_like(item.label))
    assert scores["skeletal_muscle_dice"] == 0 and scores["skeletal_muscle_rms_dta_mm"] is None
    assert scores["sma_cm2"] == 0 and scores["smd_hu"] is None


def test_what_is_not_annotated_counts_for_nothing():
    item = make_slice()
    half = np.zeros(item.label.shape, bool)
    half[: half.shape[0] // 2] = True
    wrong = np.where(half, 0, item.label).astype(np.uint8)
    scores = score_slice(replace(item, ignore=half), wrong)
    assert scores["skeletal_muscle_dice"] == 1 and scores["skeletal_muscle_rms_dta_mm"] == 0
    assert scores["sma_cm2"] == scores["reference_sma_cm2"]
