"""Tables from scores whose means, gains and agreement are known beforehand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from myotome.studies.l3_transfer.analysis import (
    Band,
    Scoring,
    add_errors,
    compare_with_scratch,
    find_band,
    find_needed,
    rank_sources,
    score_agreement,
    summarise,
    summarise_observers,
)
from myotome.studies.l3_transfer.conclusion import conclude
from tests.unit.studies.l3_transfer.answers import make_readings, make_scores, make_settings

SCORING = Scoring("skeletal_muscle", resamples=300)
DICE, AWAY = SCORING.overlap, SCORING.distance


@pytest.fixture(scope="module")
def scores():
    return add_errors(make_scores())


@pytest.fixture(scope="module")
def summary(scores):
    return summarise(scores, [DICE, AWAY, "sma_error_percent", "smd_error_hu"], SCORING)


def pick(table: pd.DataFrame, **where) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_a_mean_is_over_patients_and_repeats_count_once(scores, summary):
    row = pick(summary, source="phantom", n=10, measure=DICE, over="pooled")
    part = scores[(scores["source"] == "phantom") & (scores["n"] == 10)]
    assert row["value"] == pytest.approx(part[DICE].mean()) and row["cases"] == 24 and row["undefined"] == 0
    assert row["value"] == pytest.approx(0.92, abs=0.02)
    assert row["sd"] == pytest.approx(part.groupby("case")[DICE].mean().std())
    half = 1.96 * row["sd"] / np.sqrt(24)
    assert row["upper"] - row["lower"] == pytest.approx(2 * half, rel=0.2)


def test_over_folds_by_student(scores, summary):
    row = pick(summary, source="scratch", n=5, measure=DICE, over="folds")
    part = scores[(scores["source"] == "scratch") & (scores["n"] == 5)]
    means = part.groupby("fold")[DICE].mean().to_numpy()
    assert row["value"] == pytest.approx(means.mean())
    assert row["upper"] - row["value"] == pytest.approx(3.1824 * means.std(ddof=1) / 2, rel=1e-4)


def test_errors_have_the_sign_of_the_network_less_the_reference(summary):
    assert pick(summary, source="jigsaw", n=5, measure="sma_error_percent", over="pooled")["value"] == pytest.approx(
        -10
    )
    assert pick(summary, source="jigsaw", n=5, measure="smd_error_hu", over="pooled")["value"] == pytest.approx(1)


def test_a_case_without_a_distance_is_left_out_and_counted(scores):
    some = scores.copy()
    some.loc[(some["case"] == "case_000000") & (some["source"] == "scratch") & (some["n"] == 5), AWAY] = np.nan
    row = pick(summarise(some, [AWAY], SCORING), source="scratch", n=5, measure=AWAY, over="pooled")
    assert row["cases"] == 23 and row["undefined"] == 1


def test_the_gain_over_scratch_is_paired(scores):
    table = compare_with_scratch(scores, [DICE, AWAY], SCORING)
    row = pick(table, source="jigsaw", n=5, measure=DICE)
    assert row["value"] == pytest.approx(0.05, abs=0.002)
    assert row["upper"] - row["lower"] < 0.004, "patients differ by ten times as much, which cancels"
    # every one of 24 patients gains: the exact two-sided p is 2 / 2^24; six comparisons in the family of a score
    assert row["p"] == pytest.approx(2 / 2**24) and row["p_holm"] == pytest.approx(6 * 2 / 2**24)
    assert pick(table, source="phantom", n=25, measure=AWAY)["value"] == pytest.approx(-3.0, abs=0.06)
    assert set(table["source"]) == {"jigsaw", "phantom"} and len(table) == 12


def test_sources_that_do_nothing_are_not_better_than_scratch(scores):
    alike = scores[scores["source"] == "scratch"]
    rng = np.random.default_rng(5)
    noisy = alike.assign(source="jigsaw", **{DICE: alike[DICE] + rng.normal(0, 0.01, len(alike))})
    table = compare_with_scratch(pd.concat([alike, noisy]), [DICE], SCORING)
    assert (table["p_holm"] > 0.05).all() and (table["p_holm"] >= table["p"]).all()


def test_agreement_of_an_area_that_is_a_tenth_too_small(scores):
    row = pick(score_agreement(scores), source="phantom", n=25, measure="sma_cm2")
    area = 120.0 + 2 * np.arange(24)
    assert row["cases"] == 24, "one repeat alone, as one network measures"
    assert row["bias"] == pytest.approx(-0.1 * area.mean())
    assert row["upper_limit"] - row["lower_limit"] == pytest.approx(2 * 1.96 * 0.1 * area.std(ddof=1), rel=1e-3)
    shift = pick(score_agreement(scores), source="phantom", n=25, measure="smd_hu")
    variance = np.arange(24).var(ddof=1)
    # a shift of 1 in every case: MSR = 2 var, MSE = 0, MSC = 24 / 2, so ICC(2,1) = 2 var / (2 var + 2 (24 / 2) / 24)
    assert shift["icc"] == pytest.approx(2 * variance / (2 * variance + 1))
    assert shift["bias"] == pytest.approx(1) and shift["sd"] == pytest.approx(0, abs=1e-9)


def test_measures_without_a_value_say_why(scores):
    nobody = scores.assign(smi_cm2_m2=np.nan, reference_smi_cm2_m2=np.nan)
    row = pick(score_agreement(nobody), source="scratch", n=5, measure="smi_cm2_m2")
    assert row["cases"] == 0 and pd.isna(row["bias"]) and "3 or more" in row["reason"]


def test_the_band_is_the_observers_lowest_to_highest_mean():
    table, spread = summarise_observers(make_readings(), SCORING)
    assert find_band(table, "dice") == Band(pytest.approx(0.90), pytest.approx(0.95), pytest.approx(0.925))
    assert find_band(table, "rms_dta_mm") == Band(pytest.approx(1.5), pytest.approx(3.0), pytest.approx(2.25))
    # three readers at 98, 100 and 102 % of the truth: SD 2 % of the mean in every case
    assert spread["sma_cv_percent"] == pytest.approx(2.0)
    assert list(table["sma_error_percent"]) == pytest.approx([-2, 0, 2])


def test_the_fewest_slices_within_the_band(summary):
    bands = {"dice": Band(0.90, 0.95, 0.925), "rms_dta_mm": Band(1.5, 3.0, 2.25)}
    table = find_needed(summary, bands, SCORING)
    values = summary[(summary["measure"] == DICE) & (summary["over"] == "pooled")].set_index(["source", "n"])
    for source in ("scratch", "jigsaw", "phantom"):
        expected = [n for n in (5, 10, 25) if values.loc[(source, n), "value"] >= 0.90]
        sure = [n for n in (5, 10, 25) if values.loc[(source, n), "lower"] >= 0.90]
        row = pick(table, source=source, measure="dice")
        assert (None if pd.isna(row["n"]) else row["n"]) == (expected[0] if expected else None)
        assert (None if pd.isna(row["n_sure"]) else row["n_sure"]) == (sure[0] if sure else None)
        assert pd.isna(pick(table, source="scratch", measure="dice")["n"])


def test_the_best_source_leads(summary):
    assert rank_sources(summary, SCORING) == ["phantom", "jigsaw", "scratch"]


def test_sentences_say_the_gain_the_band_and_what_is_missing(scores, summary):
    settings = make_settings(subset_sizes=(5, 10, 25))
    table, _ = summarise_observers(make_readings(), SCORING)
    bands = {name: find_band(table, name) for name in ("dice", "rms_dta_mm")}
    tables = {
        "summary": summary,
        "comparisons": compare_with_scratch(scores, [DICE, AWAY], SCORING),
        "needed": find_needed(summary, bands, SCORING),
        "agreement": score_agreement(scores),
    }
    said = conclude(tables, bands, {"imagenet": "the server could not be reached."}, settings)
    assert said[0].startswith("Best over all n is phantom segmentation: DSC 0.8") or "DSC 0.9" in said[0]
    gains = [sentence for sentence in said if sentence.startswith("Gain in DSC over scratch at n = 5")]
    assert len(gains) == 1 and "p < 0.001" in gains[0] and "2 of 2 sources are better than scratch" in gains[0]
    assert any("not reached: from scratch" in sentence for sentence in said)
    assert said[-1] == "Left out: ImageNet classification, for the server could not be reached."
