"""Tables whose every figure is known by hand or by the statistics' own functions."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.statistics.agreement import compute_least_significant_change
from myotome.studies.qct_agreement.analysis import (
    compare_methods,
    count_flow,
    score_agreement,
    score_areas,
    score_coverage,
    score_decisions,
)
from myotome.studies.qct_agreement.bars import judge_bars, state_limit
from myotome.studies.qct_agreement.conclusion import find_row
from myotome.studies.qct_agreement.ordeal import PLAIN_HU, score_ordeal, score_precision
from myotome.studies.qct_agreement.readings import HU
from myotome.studies.qct_agreement.settings import Fault, Precision
from tests.unit.studies.qct_agreement.answers import make_readings, make_settings

QCT = [60.0, 70.0, 78.0, 90.0, 110.0, 130.0, 150.0, 170.0]
CUTOFFS = {"osteoporosis": 80.0, "low": 120.0}


def readings_of(errors, **more):
    return make_readings(
        [{"bmd": qct + error, "qct": qct, "truth": qct, **more} for qct, error in zip(QCT, errors, strict=True)]
    )


def value(table, **where):
    return find_row(table, **where)["value"]


def test_a_shift_is_a_bias_and_a_stretch_is_proportional():
    where = {"method": "two_tissue", "reference": "qct"}
    shifted = score_agreement(readings_of([3.0] * 8))
    assert value(shifted, measure="bias", **where) == pytest.approx(3) and value(
        shifted, measure="sd", **where
    ) == pytest.approx(0, abs=1e-9)
    assert value(shifted, measure="spearman", **where) == pytest.approx(1)
    assert value(shifted, measure="pearson", **where) == pytest.approx(1)
    assert value(shifted, measure="icc", **where) < 1, "absolute agreement sees a shift"
    stretched = score_agreement(readings_of([0.5 * qct for qct in QCT]))
    assert value(stretched, measure="slope", **where) == pytest.approx(0.4), "0.5 x on a mean of 1.25 x"
    assert set(shifted["reference"]) == {"qct", "truth"} and (shifted["cases"] == 8).all()


def test_subgroups_are_counted_by_themselves():
    table = readings_of([1.0] * 4 + [-1.0] * 4)
    table["sex"] = ["F"] * 4 + ["M"] * 4
    scores = score_agreement(table, ["sex", "tube_voltage_kv"], fewest=3)
    bias = scores[(scores["measure"] == "bias") & (scores["reference"] == "qct") & (scores["by"] == "sex")]
    assert dict(zip(bias["group"], bias["value"], strict=True)) == {"F": pytest.approx(1), "M": pytest.approx(-1)}
    assert "tube_voltage_kv" not in set(scores["by"]), "one voltage is no division"
    assert "sex" not in set(score_agreement(table, ["sex"], fewest=5)["by"])


def test_values_that_are_not_counted_are_left_out():
    table = readings_of([0.0] * 8)
    table.loc[0, ["counted", "outcome", "reason"]] = False, "refused", "fat_missing"
    table.loc[0, ["bmd", "positive"]] = np.nan, True
    assert find_row(score_agreement(table), measure="bias", reference="qct")["cases"] == 7
    flow = count_flow(table)
    assert flow[["outcome", "scans", "osteoporosis"]].values.tolist() == [["refused", 1, 1], ["compared", 7, 0]]


def test_decisions_at_the_fixed_and_the_training_cutoff():
    table = readings_of([25.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0])  # 85, 70, 82: one of three is found
    scores = score_decisions(table, CUTOFFS, {"two_tissue": 83.0})
    where = {"reference": "qct", "question": "osteoporosis", "people": "measured"}
    fixed = find_row(scores, measure="sensitivity", rule="fixed", **where)
    assert (fixed["tp"], fixed["fn"], fixed["fp"], fixed["tn"]) == (1, 2, 0, 5)
    assert fixed["value"] == pytest.approx(1 / 3) and 0 < fixed["lower"] < fixed["value"] < fixed["upper"] < 1
    assert value(scores, measure="sensitivity", rule="youden", **where) == pytest.approx(2 / 3)
    assert value(scores, measure="specificity", rule="fixed", **where) == 1
    low = find_row(scores, measure="accuracy", question="low", reference="qct", people="measured")
    assert low["value"] == 1 and low["cutoff"] == 120


def test_a_scan_without_a_number_counts_as_missed_among_all():
    table = readings_of([0.0] * 8)
    table.loc[1, "counted"] = False
    table.loc[1, "bmd"] = np.nan
    scores = score_decisions(table, CUTOFFS, {})
    where = {"measure": "sensitivity", "question": "osteoporosis", "reference": "qct"}
    assert value(scores, people="measured", **where) == 1
    assert value(scores, people="all", **where) == pytest.approx(2 / 3)
    assert "youden" not in set(scores["rule"])


def test_areas_and_differences_of_methods():
    good, bad = readings_of([0.0] * 8), readings_of([0.0, 40.0, 0.0, -15.0, 0.0, 0.0, 0.0, 0.0], method="multi_tissue")
    both = make_readings([*good.to_dict("records"), *bad.to_dict("records")])
    areas = score_areas(both, 80.0)
    assert value(areas, method="two_tissue", reference="qct") == 1
    assert find_row(areas, method="multi_tissue", reference="qct")["positives"] == 3
    # Of 15 pairs, 110 ties with the densest positive (half a pair), and 75 lies below two of the three.
    assert value(areas, method="multi_tissue", reference="qct") == pytest.approx((15 - 2 - 0.5) / 15)
    changes = compare_methods(both, "two_tissue", 80.0)
    error = find_row(changes, measure="absolute_error", reference="qct", method="multi_tissue")
    assert error["value"] == pytest.approx(55 / 8) and error["cases"] == 8
    assert score_areas(readings_of([0.0] * 8), 10.0).empty


def test_coverage_is_the_share_of_intervals_that_hold_the_reference():
    table = readings_of([0.0] * 6 + [9.0, -9.0])
    table["lower"], table["upper"] = table["bmd"] - 5, table["bmd"] + 5
    found = find_row(score_coverage(table), reference="truth")
    assert found["value"] == pytest.approx(0.75) and found["width"] == pytest.approx(10)
    assert score_coverage(readings_of([0.0] * 8)).empty


# -- repeats and faults ------------------------------------------------------------------------------------------------


def make_repeats():
    """Six people; a dose changes the density by -+2 %, a drift the HU by 15 and the density by nothing."""
    rows, plain = [], {}
    for person in range(6):
        bmd = 90.0 + 10 * person
        for factor, step, density, hu in (
            ("whole", 0, bmd, bmd),
            ("dose", 1, 1.02 * bmd, bmd),
            ("dose", 2, 0.98 * bmd, bmd),
            ("drift", 1, bmd, bmd + 15),
        ):
            for method in ("two_tissue", HU):
                job_id = f"repeat/{factor}/{step}/{person}"
                row = {"part": "repeat", "factor": factor, "step": step, "patient": f"p{person}", "job_id": job_id}
                rows.append({**row, "method": method, "bmd": density if method == "two_tissue" else hu})
                plain[job_id] = hu
    return make_readings(rows), plain


def test_the_cv_is_over_the_repeats_of_the_named_factors():
    settings = make_settings(
        precision={"dose": Precision("Dose", ("dose",)), "drift": Precision("Drift", ("drift",))}, resamples=200
    )
    table, plain = make_repeats()
    scores = score_precision(table, plain, settings)
    dose = find_row(scores, measure="dose", method="two_tissue")
    assert dose["value"] == pytest.approx(2.0) and dose["people"] == 6 and dose["repeats"] == 3
    assert dose["lower"] == pytest.approx(2.0) and dose["upper"] == pytest.approx(2.0), "everybody has the same CV"
    assert value(scores, measure="drift", method="two_tissue") == 0
    pairs = np.array([[90.0 + 10 * p, 105.0 + 10 * p] for p in range(6)])
    expected = compute_least_significant_change(pairs)
    drift = find_row(scores, measure="drift", method=PLAIN_HU)
    assert drift["value"] == pytest.approx(expected.rms_cv_percent) and drift["rms_sd"] == pytest.approx(
        15 / np.sqrt(2)
    )


def test_people_without_a_number_in_a_repeat_are_left_out():
    table, plain = make_repeats()
    table.loc[(table["patient"] == "p1") & (table["factor"] == "dose") & (table["method"] == "two_tissue"), "bmd"] = (
        np.nan
    )
    settings = make_settings(precision={"dose": Precision("Dose", ("dose",))})
    row = find_row(score_precision(table, plain, settings), measure="dose", method="two_tissue")
    assert (row["people"], row["left_out"]) == (5, 1)


def test_a_number_without_the_faults_flag_is_silent():
    faults = {"contrast": Fault("Contrast", ("contrast",)), "metal": Fault("Metal", ("metal",))}
    broken = {"part": "broken", "truth": 100.0}
    table = make_readings(
        [
            {**broken, "fault": "contrast", "bmd": np.nan, "flags": "contrast_suspected; thick_slices"},
            {**broken, "fault": "contrast", "bmd": 120.0, "flags": "contrast_suspected"},
            {**broken, "fault": "contrast", "bmd": 120.0, "flags": "thick_slices"},
            {**broken, "fault": "metal", "bmd": 130.0, "flags": ""},
            {**broken, "fault": "metal", "bmd": np.nan, "flags": "fat_missing"},
            {**broken, "fault": "whole", "bmd": 100.0, "flags": ""},
        ]
    )
    cases, counts = score_ordeal(table, faults)
    assert cases["outcome"].tolist() == ["refused", "flagged", "silent", "silent", "refused", "silent"]
    row = find_row(counts, fault="all", method="two_tissue")
    assert [row[name] for name in ("refused", "flagged", "silent", "named", "calibrations")] == [2, 1, 2, 2, 5]
    assert find_row(counts, fault="metal")["named"] == 0 and find_row(counts, fault="whole")["calibrations"] == 1


# -- bars --------------------------------------------------------------------------------------------------------------


def test_bars_say_met_or_not_and_against_what():
    table, plain = make_repeats()
    readings = readings_of([1.0] * 8)
    settings = make_settings(precision={"drift": Precision("Drift", ("drift",))})
    broken = make_readings([{"part": "broken", "fault": "metal", "bmd": 1.0}])
    _, counts = score_ordeal(broken, {"metal": Fault("M", ())})
    tables = {
        "agreement": score_agreement(readings),
        "precision": score_precision(table, plain, settings),
        "ordeal": counts,
        "coverage": score_coverage(readings),
    }
    bars = [
        {"title": "Bias", "table": "agreement", "measure": "bias", "within": 2},
        {"title": "Small bias", "table": "agreement", "measure": "bias", "at_most": 0.5},
        {"title": "Drift", "table": "precision", "measure": "drift", "at_most": 3},
        {"title": "Silent", "table": "ordeal", "measure": "silent", "at_most": 0},
        {"title": "Cover", "table": "coverage", "measure": "coverage", "at_least": 0.93, "at_most": 0.97},
    ]
    found = judge_bars(tables, bars, ["two_tissue"])
    verdicts = {(row.title, row.reference): row.verdict for row in found.itertuples()}
    assert verdicts == {
        ("Bias", "qct"): "met",
        ("Bias", "truth"): "met",
        ("Small bias", "qct"): "not met",
        ("Small bias", "truth"): "not met",
        ("Drift", ""): "met",
        ("Silent", ""): "not met",
        ("Cover", "truth"): "no value",
    }
    assert [state_limit(bar) for bar in bars] == ["−2 to 2", "≤ 0.5", "≤ 3", "≤ 0", "0.93 to 0.97"]
