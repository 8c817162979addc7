"""Scores of several patients and the leak between two splits, each worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from myotome.errors import InputError
from myotome.metrics import ObjectSet
from myotome.studies.lumbar_disc.analysis import (
    MEASURES,
    compare_splits,
    compute_patient_means,
    estimate_scores,
    tabulate_objects,
)
from tests.unit.studies.lumbar_disc.finders import draw_box


def make_rows(patients, **columns):
    plain = {"precision": 1.0, "recall": 1.0, "dice": 1.0, "hd95_mm": 0.0, "nsd": 1.0}
    plain |= {"found": 1, "missed": 0, "invented": 0, "overlap": 1.0}
    rows = pd.DataFrame({"patient": patients, "slice": 0, "case": [f"c{n}" for n in range(len(patients))]})
    return rows.assign(**{**plain, **columns})


def make_pairs(count):
    box = draw_box(5)
    return [(ObjectSet((box,)), ObjectSet((box,), (0.9,)))] * count


def test_a_patient_counts_once_however_many_slices():
    """A has 1, 1 and 0.4 (mean 0.8), B 0.6: the mean over patients is 0.7, over slices 0.75."""
    rows = make_rows(["A", "A", "A", "B"], dice=[1.0, 1.0, 0.4, 0.6])
    means = compute_patient_means(rows)
    assert means["dice"].tolist() == pytest.approx([0.8, 0.6])
    scores = estimate_scores(rows, tabulate_objects(rows, make_pairs(4)), resamples=200).set_index("measure")
    assert scores.loc["dice", "value"] == pytest.approx(0.7)
    assert (scores.loc["dice", "lower"], scores.loc["dice", "upper"]) == pytest.approx((0.6, 0.8))
    assert set(scores.index) == set(MEASURES) and scores.loc["dice", "patients"] == 2


def test_objects_are_of_all_patients_together():
    """3 found, 1 missed, 2 invented, IoU 2.4 in all: precision 3/5, recall 3/4, SQ 0.8, RQ 3/4.5."""
    rows = make_rows(["A", "B", "C"], found=[1, 2, 0], missed=[0, 0, 1], invented=[1, 0, 1], overlap=[0.9, 1.5, 0.0])
    scores = estimate_scores(rows, tabulate_objects(rows, make_pairs(3)), resamples=50).set_index("measure")["value"]
    assert scores["object_precision"] == pytest.approx(3 / 5)
    assert scores["object_recall"] == pytest.approx(3 / 4)
    assert scores["sq"] == pytest.approx(0.8)
    assert scores["rq"] == pytest.approx(3 / 4.5)
    assert scores["pq"] == pytest.approx(0.8 * 3 / 4.5)


def test_average_precision_of_the_table():
    """Two of three patients' discs are found at IoU 9/11 by the surest predictions: AP50 is 67 of 101 recalls."""
    rows = make_rows(["A", "B", "C"])
    box, moved, none = draw_box(5), draw_box(7), ObjectSet(())
    pairs = [(ObjectSet((box,)), ObjectSet((moved,), (0.9,)))] * 2 + [(ObjectSet((box,)), none)]
    scores = estimate_scores(rows, tabulate_objects(rows, pairs), resamples=50).set_index("measure")["value"]
    assert scores["ap50"] == pytest.approx(67 / 101)
    assert scores["ap"] == pytest.approx(0.7 * 67 / 101)  # IoU 0.818 reaches 0.50 to 0.80


def test_a_score_that_no_slice_has_is_missing():
    rows = make_rows(["A", "B"], precision=np.nan, hd95_mm=[np.nan, 3.0], found=0, missed=1, overlap=0.0)
    scores = estimate_scores(rows, tabulate_objects(rows, make_pairs(2)), resamples=50).set_index("measure")["value"]
    assert np.isnan(scores["precision"]) and np.isnan(scores["sq"]) and np.isnan(scores["object_precision"])
    assert scores["hd95_mm"] == 3.0 and scores["object_recall"] == 0


def test_rows_and_objects_belong_together():
    with pytest.raises(InputError, match="2 rows stand against the objects of 3"):
        tabulate_objects(make_rows(["A", "B"]), make_pairs(3))
    with pytest.raises(InputError, match="1 patients stand against 2"):
        estimate_scores(make_rows(["A"]), tabulate_objects(make_rows(["A", "B"]), make_pairs(2)))


def make_splits():
    """Images c0-c5 are tested by the patient split, c3-c8 by the image split, so that c3-c5 are shared."""
    owners = [f"P{n}" for n in range(9)]
    by_patient = make_rows(owners, dice=[0.8] * 3 + [0.90, 0.92, 0.94] + [0] * 3).iloc[:6].assign(split="patient")
    by_image = make_rows(owners, dice=[0] * 3 + [0.93, 0.94, 0.95] + [1.0] * 3).iloc[3:].assign(split="image")
    return pd.concat([by_patient, by_image])


def test_the_leak_over_all_and_on_shared_images():
    leak = compare_splits(make_splits(), resamples=500).set_index(["measure", "over"])
    everything, shared = leak.loc[("dice", "all")], leak.loc[("dice", "shared")]
    assert everything["patient_split"] == pytest.approx((3 * 0.8 + 0.90 + 0.92 + 0.94) / 6)
    assert everything["image_split"] == pytest.approx((0.93 + 0.94 + 0.95 + 3) / 6)
    assert everything["value"] == pytest.approx(everything["image_split"] - everything["patient_split"])
    assert everything["lower"] < everything["value"] < everything["upper"]
    assert shared["value"] == pytest.approx(0.02)  # 0.03, 0.02 and 0.01
    assert 0.01 - 1e-9 <= shared["lower"] < 0.015 and 0.025 < shared["upper"] <= 0.03 + 1e-9
    assert shared["p"] == pytest.approx(0.25)  # the exact two-sided p of three ranks of one sign
    assert shared["patients"] == 3
    assert leak.loc[("recall", "shared"), "value"] == 0


def test_too_few_shared_patients_are_not_compared():
    rows = make_splits()
    rows = rows[~((rows["split"] == "image") & rows["case"].isin(["c3"]))]
    leak = compare_splits(rows, resamples=50)
    assert set(leak[leak["measure"] == "dice"]["over"]) == {"all"}
