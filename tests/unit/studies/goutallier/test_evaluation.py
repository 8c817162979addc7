"""The table of bars: met or missed, by the masks and the definition of the protocol."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from myotome.networks import SupraspinatusGrader, write_weights
from myotome.studies.goutallier.analysis import Scoring, score_arms, score_region
from myotome.studies.goutallier.evaluation import evaluate_grader, tabulate_bars, tabulate_definitions
from tests.unit.studies.goutallier.answers import make_predictions, make_regions, make_settings

HELD_OUT = make_settings().held_out


@pytest.fixture(scope="module")
def table():
    predictions = make_predictions(fog={"predicted": 0.0, "none": 2.0})
    scores = score_arms(predictions, Scoring(("A", "B"), resamples=50))
    return predictions, scores[scores["over"] == "pooled"]


def row(text: str, start: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_bar_is_met_or_missed(table):
    predictions, scores = table
    region = score_region(make_regions(predictions, dice=0.94), Scoring(("A",), resamples=50))
    text = tabulate_bars(pd.concat([region[region["over"] == "pooled"], scores]), HELD_OUT)
    assert row(text, "Dice of the muscle")[3:] == [">= 0.9441", "missed"]
    assert row(text, "Accuracy")[1].startswith("1.0000") and row(text, "Accuracy")[2:] == ["115", ">= 0.9731", "met"]
    assert row(text, "AUROC")[1:] == ["1.0000", "115", ">= 0.9903", "met"]
    assert row(text, "Expected calibration error")[3:] == ["<= 0.03", "met"]


def test_every_definition_is_published(table):
    text = tabulate_definitions(table[1])
    assert text.count("A: grades 3-4 against 0-1") == 2 and text.count("B: grades 2-4 against 0-1") == 2


def test_weights_are_scored_with_every_kind_of_mask(tmp_path):
    held_out = {**HELD_OUT, "phantoms": {"seed": 770000, "grades": [2, 2, 2, 2, 2]}}
    torch.manual_seed(0)
    write_weights(SupraspinatusGrader().state_dict(), tmp_path / "model.pt")
    settings = make_settings(held_out=held_out, resamples=20)
    found = evaluate_grader(tmp_path / "model.pt", settings, tmp_path)
    assert set(found.predictions["arm"]) == {"reference", "predicted", "none"} and len(found.predictions) == 30
    assert set(found.scores["over"]) == {"pooled"}
    assert found.predictions["calibrated_A"].to_numpy() == pytest.approx(found.predictions["probability_A"].to_numpy())
    assert "missed" in tabulate_bars(found.scores, held_out)
