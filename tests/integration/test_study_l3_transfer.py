"""The transfer study with real phantoms and trainings, as small as they can be: from nothing to the report."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from myotome.cli.app import app
from myotome.resources import config_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SHORT = {"iterations": 30, "epoch_length": 15, "val_interval": 1, "patience": 0, "batch_size": 2}


def test_two_sources_are_trained_scored_and_reported(tmp_path):
    yaml = YAML(typ="safe")
    table = yaml.load(config_path("studies/l3_transfer.yaml"))
    table |= {
        "phantoms": {"seed": 780000, "count": 14},
        "unlabelled": {"seed": 781000, "count": 4},
        "fold_count": 2,
        "validation_count": 2,
        "subset_sizes": [5],
        "gain_sizes": [5],
        "repeats": 1,
        "sources": ["scratch", "jigsaw"],
        "observers": {**table["observers"], "count": 3},
        "resamples": 100,
        "training": {**SHORT, "iterations": 60},
        "pretext_training": {"reconstruction": {}, "jigsaw": {**SHORT, "val_interval": 0}, "phantom": {}},
    }
    yaml.dump(table, tmp_path / "study.yaml")
    words = ["study", "l3-transfer", "--config", str(tmp_path / "study.yaml"), "-o", str(tmp_path / "study")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "study"
    summary = json.loads((folder / "summary.json").read_text())
    assert result.output.startswith(summary["conclusion"][0]) and (folder / "report.html").is_file()
    scores = pd.read_csv(folder / "scores.csv")
    assert len(scores) == 2 * 14 and set(scores["source"]) == {"scratch", "jigsaw"} and summary["left_out"] == {}
    assert scores["muscle_compartment_dice"].mean() > 0.15, "sixty iterations have begun to teach the muscle"
    assert summary["bands"]["dice"]["low"] > 0.9 and summary["observer_spread"]["sma_cv_percent"] < 5
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0 and again.output == result.output, "all is kept: nothing is trained a second time"
