"""Held-out phantoms and real people scored with a known detector; bars met and missed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from myotome.geometry import Grid, Volume
from myotome.io import write_label_map, write_volume
from myotome.structures import LabelMap
from myotome.studies.lumbar_disc.evaluation import (
    Evaluation,
    evaluate_people,
    tabulate_bars,
    tabulate_real,
)
from myotome.studies.lumbar_disc.settings import read_study_settings
from tests.unit.studies.lumbar_disc.finders import SCHEMA, Seen

SHAPE = (3, 30, 120)


def write_person(folder, number):
    """Five discs of 20 x 10 mm in three slices; the darkest voxel is the person's number."""
    labels = np.zeros(SHAPE, np.uint8)
    for place in range(5):
        labels[:, 5:25, 5 + 22 * place : 15 + 22 * place] = 5 - place
    grid = Grid(SHAPE, np.diag([4.0, 1.0, 1.0, 1.0]))
    folder.mkdir(parents=True)
    image = np.where(labels > 0, 200 + labels, number).astype(np.int16)
    write_volume(folder / "image.nii.gz", Volume(image, grid, "MR"))
    write_label_map(folder / "labels.nii.gz", LabelMap(labels, grid, SCHEMA))
    paths = {"image": str(folder / "image.nii.gz"), "label": str(folder / "labels.nii.gz")}
    return {"case": folder.name, "patient": folder.name, **paths}


class NamingFinder:
    """Trained on somebody it names every disc; before that it calls each the one below."""

    def __init__(self, weights, backbone):
        self.trained = json.loads(weights.read_text())["trained"]

    def segment(self, volume):
        labels = np.where(volume.array >= 200, volume.array - 200, 0)
        if not self.trained:
            labels = np.where(labels > 0, np.minimum(labels + 1, 5), 0)
        return LabelMap(labels.astype(np.uint8), volume.grid, SCHEMA)

    def find_instances(self, volume, label_map):
        return ()

    def detect_slices(self, volume, least_score=0.05):
        return tuple(
            Seen(index, 0.9, volume.array[index] == 200 + label) for index in range(SHAPE[0]) for label in range(1, 6)
        )


def test_each_person_is_scored_by_weights_trained_on_the_other(tmp_path):
    images = pd.DataFrame([write_person(tmp_path / name, number) for number, name in enumerate(("a", "b"), start=1)])
    start = tmp_path / "start.pt"
    start.write_text(json.dumps({"trained": []}))
    seen = {}

    def train(training):
        rows = json.loads(training.datalist.read_text())["training"]
        seen[training.datalist.parent.name] = ([row["patient"] for row in rows], dict(training.overrides))
        assert training.overlays == ("finetune",)
        training.weights.write_text(json.dumps({"trained": [row["patient"] for row in rows]}))
        return training.weights

    settings = read_study_settings()
    scores = evaluate_people(start, images, settings, tmp_path / "tuned", train, NamingFinder)
    assert {name: patients for name, (patients, _) in seen.items()} == {"without_a": ["b"], "without_b": ["a"]}
    assert seen["without_a"][1]["source_path"] == start and seen["without_a"][1]["source"] == "phantom"
    by = scores.set_index(["weights", "case"])
    assert by.loc[("after", "a"), "named"] == 5 and by.loc[("after", "a"), "dice_volume"] == 1
    # Before: L5-S1 holds its own disc and that of L4-L5 (Dice 2/3), the other names are wrong.
    assert by.loc[("before", "b"), "named"] == 1
    assert by.loc[("before", "b"), "dice_volume"] == pytest.approx(2 / 3 / 5)
    assert by.loc[("before", "b"), "dice"] == 1  # whatever they are called
    text = tabulate_real(scores, settings.real["bars"])
    assert text.count("| met |") == 2 and "| before | a | 0.1333 | 1.0000 | 0.00 | 1 of 5 |  |" in text


def test_bars_are_met_from_their_figure_on():
    measures = ["dice", "precision", "ap50", "pq"]
    scores = pd.DataFrame(
        {"measure": measures, "value": [0.969, 0.9, np.nan, 0.5], "lower": [0.9, 0.8, np.nan, np.nan],
         "upper": [0.99, 0.95, np.nan, np.nan], "patients": 150, "slices": 450}
    )  # fmt: skip
    none = pd.DataFrame()
    lines = tabulate_bars({"axial": Evaluation(none, scores, none)}, read_study_settings().held_out).splitlines()
    assert "| axial | Dice | 0.9690 (0.9000-0.9900) | 150 | >= 0.969 | met |" in lines
    assert "| axial | Precision, pixels | 0.9000 (0.8000-0.9500) | 150 | >= 0.977 | missed |" in lines
    assert "| axial | AP50 | - | 150 | >= 0.98 | missed |" in lines
    assert "| axial | PQ | 0.5000 | 150 |  |  |" in lines
