"""The cross-validated study with real trainings, as small as they can be: from nothing to the report."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from myotome.cli.app import app
from myotome.resources import config_path

pytestmark = pytest.mark.slow


def test_two_folds_are_trained_scored_and_reported(tmp_path):
    yaml = YAML(typ="safe")
    table = yaml.load(config_path("studies/goutallier.yaml"))
    table |= {
        "phantoms": {"seed": 780000, "grades": [6, 4, 4, 4, 4]},
        "fold_count": 2,
        "validation_share": 0.25,
        "resamples": 100,
        "region_training": {"iterations": 150, "epoch_length": 150, "batch_size": 4, "val_interval": 0},
        "grade_training": {"iterations": 20, "epoch_length": 20, "batch_size": 8, "val_interval": 0},
        "arms": [row for row in table["arms"] if row["name"] in ("reference", "predicted")],
    }
    yaml.dump(table, tmp_path / "study.yaml")
    words = ["study", "goutallier", "--config", str(tmp_path / "study.yaml"), "-o", str(tmp_path / "study")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert result.output.startswith(summary["conclusion"][0]) and (tmp_path / "study" / "report.html").is_file()
    assert len(pd.read_csv(tmp_path / "study" / "predictions.csv")) == 2 * 22
    regions = pd.read_csv(tmp_path / "study" / "regions.csv")
    found = regions[(regions["structure"] == "region") & (regions["measure"] == "dice")]
    assert found["value"].mean() > 0.05, "the region network has begun to learn"
