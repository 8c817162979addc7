"""The tables of bars: met or missed, L3 found, wrong or refused; real slices, and what is trained on of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from myotome.errors import InputError
from myotome.studies.l3_transfer import real as real_module
from myotome.studies.l3_transfer.evaluation import judge_level, tabulate_bars, tabulate_floors, tabulate_levels
from myotome.studies.l3_transfer.real import fine_tune, read_real_slices, score_real_slices, tabulate_real
from myotome.studies.l3_transfer.scoring import measure_slice
from tests.unit.studies.l3_transfer.answers import make_settings, make_slice

SETTINGS = make_settings()


def row(text: str, start: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("truth", "found", "verdict"),
    [
        (10.0, 14.9, "found"),
        (10.0, 15.1, "wrong"),
        (None, 15.1, "wrong"),
        (10.0, None, "refused"),
        (None, None, "rightly refused"),
    ],
)
def test_a_level_is_found_wrong_or_refused(truth, found, verdict):
    assert judge_level(truth, found, 5.0) == verdict


def test_a_higher_floor_refuses_what_is_less_sure():
    levels = pd.DataFrame(
        {"verdict": ["found", "found", "wrong", "refused", "wrong"], "truth_z_mm": [1.0, 1.0, 1.0, 1.0, None]}
    ).assign(confidence=[0.9, 0.6, 0.5, None, 0.3])
    text = tabulate_floors(levels, [0, 0.55, 0.95])
    assert row(text, "0") == ["0", "0.500", "0.400"]
    assert row(text, "0.55") == ["0.55", "0.500", "0.000"]
    assert row(text, "0.95") == ["0.95", "0.000", "0.000"]


def test_a_bar_is_met_or_missed():
    scores = pd.DataFrame(
        {
            "skeletal_muscle_dice": [0.98, 0.99, 0.97],
            "sma_absolute_percent": [1.0, 2.0, 6.0],
            "smd_absolute_hu": [0.5, 0.5, 0.5],
        }
    )
    verdicts = ["found"] * 49 + ["refused"] + ["wrong"] + ["rightly refused"] * 9
    levels = pd.DataFrame({"verdict": verdicts, "truth_z_mm": [1.0] * 50 + [None] * 10})
    text = tabulate_bars(scores, levels, SETTINGS)
    assert row(text, "DSC of the muscle")[1].startswith("0.9800") and row(text, "DSC of the muscle")[4] == "met"
    assert row(text, "SMA, mean absolute error (%)")[1].startswith("3.0000")
    assert row(text, "SMA, mean absolute error (%)")[3:] == ["<= 2", "missed"]
    found = row(text, "L3 within 5 mm, where it is in the scan (share)")
    assert found[1].startswith("0.9800") and found[2:] == ["50", ">= 0.98", "met"]
    assert row(text, "L3 told wrongly instead of refused (share)")[1].startswith("0.0167")
    table = tabulate_levels(levels)
    assert row(table, "yes") == ["yes", "50", "49", "0", "1"] and row(table, "no") == ["no", "10", "0", "1", "9"]


def test_real_scores_are_means_with_the_bar_of_the_reference(monkeypatch):
    class Labeller:
        def __init__(self, weights):
            self.weights = weights

        def label(self, slices):
            return [item.label if self.weights == "good" else np.zeros_like(item.label) for item in slices]

    monkeypatch.setattr(real_module, "SliceSegmenter", Labeller)
    slices = real_module.RealSlices((make_slice(0),), (), (make_slice(1), make_slice(2)))
    scores = score_real_slices({"before": "bad", "after": "good"}, slices)
    lines = tabulate_real(scores, {"before": 0.85, "after": 0.92}).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["before", "reference", "1", "0.0000", "-", "-100.00", ">= 0.85", "missed"]
    assert cells[2] == ["after", "reference", "1", "1.0000", "0.00", "+0.00", ">= 0.92", "met"]
    assert cells[3] == ["after", "crop", "2", "1.0000", "0.00", "+0.00", "", ""]


def make_table(people):
    first = SETTINGS.phantom_people.seed
    return pd.DataFrame(
        [{"case": f"phantom {n}", "image": "i", "label": "l"} for n in range(people.seed - first, people.count)]
    )


def test_fine_tuning_starts_from_the_weights_on_the_slices_given(tmp_path, monkeypatch):
    monkeypatch.setattr(real_module, "bundle_root", Path)
    asked = []

    def train(training, report=None):
        asked.append((training.only, training.overrides, json.loads(training.datalist.read_text())))
        training.weights.write_text("weights")
        return training.weights

    monkeypatch.setattr(real_module, "make_people", lambda people, folder: make_table(people))
    slices = [make_slice(case) for case in range(3)]
    settings = replace(SETTINGS, real={**SETTINGS.real, "rehearsed_phantoms": 6})
    weights = fine_tune(tmp_path / "start.pt", slices, settings, tmp_path / "tuned", train)
    assert (
        weights.read_text() == "weights" and fine_tune(tmp_path, slices, settings, tmp_path / "tuned", train) == weights
    )
    ((only, overrides, lists),) = asked
    assert only == ("muscle",) and overrides["source"] == "phantom"
    assert overrides["source_path"] == tmp_path / "start.pt"
    cases = [entry["case"] for entry in lists["training"]]
    assert cases[:6] == 2 * [item.case for item in slices] and cases[6:] == [f"phantom {n}" for n in range(6)]


# -- the real slices ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slices(shared_data):
    return read_real_slices(shared_data, SETTINGS.real)


def test_the_hand_drawn_slices_lie_on_their_series(slices):
    assert [item.case for item in slices.reference] == ["reference_06", "reference_07", "reference_08"]
    for item in slices.reference:
        muscle, below = item.density_hu[item.label == 1], item.density_hu[item.label == 2]
        assert 55 < np.median(muscle) < 75 and np.median(below) < -90, "contrast-enhanced muscle, and fat"
        assert item.ignore.sum() > 1000 and not item.label[item.ignore].any()
        assert 115 < measure_slice(item, item.label)["sma_cm2"] < 135


def test_slices_trained_on_and_tested_do_not_touch(slices):
    trained, tested = ({item.index for item in part} for part in (slices.training, slices.test))
    assert trained == set(range(10)) and tested == set(range(12, 30))
    for item in slices.test:
        assert 70 < measure_slice(item, item.label)["sma_cm2"] < 125
        assert (item.density_hu[item.label == 4] < -29).all()


def test_a_training_slice_outside_the_crop_is_refused(shared_data):
    with pytest.raises(InputError, match="training_slices has slice 30, and the crop has slices 0 to 29"):
        read_real_slices(shared_data, {**SETTINGS.real, "training_slices": [0, 30]})
