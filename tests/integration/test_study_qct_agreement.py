"""The study of bone density on real phantoms, as few as they can be: from nothing to the report."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from myotome.cli.app import app
from myotome.resources import config_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_few_people_are_scanned_fitted_tested_and_reported(tmp_path):
    yaml = YAML(typ="safe")
    table = yaml.load(config_path("studies/qct_agreement.yaml"))
    quick = table["presets"]["quick"]
    drift = quick["repeats"]["factors"]["drift"]
    table |= quick | {
        "training": {"seed": 2190000, "count": 16},
        "test": {"seed": 2290000, "count": 8},
        "repeats": {"people": {"seed": 2390000, "count": 3}, "factors": {"drift": drift}},
        "precision": {"drift": table["precision"]["drift"]},
        "broken": {**quick["broken"], "people": {"seed": 2490000, "count": 2}},
        "bars": [bar for bar in table["bars"] if bar["measure"] != "dose_and_kernel"],
        "resamples": 100,
    }
    yaml.dump(table, tmp_path / "study.yaml")
    words = ["study", "qct-agreement", "--config", str(tmp_path / "study.yaml"), "-o", str(tmp_path / "study")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "study"
    summary = json.loads((folder / "summary.json").read_text())
    assert result.output.startswith(summary["conclusion"][0]) and (folder / "report.html").is_file()
    readings = pd.read_csv(folder / "readings.csv")
    own = readings[(readings["part"] == "test") & (readings["method"] == "two_tissue") & readings["counted"]]
    assert len(own) >= 6 and own[["qct", "bmd"]].corr(method="spearman").iloc[0, 1] > 0.7
    assert (own["qct"] - own["truth"]).abs().median() < 10, "the rods are found and read"
    ordeal = {(row["method"], row["fault"]): row for row in summary["ordeal"]}
    assert ordeal["two_tissue", "all"]["silent"] == 0 and ordeal["two_tissue", "all"]["calibrations"] == 8
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0 and again.output == result.output, "all is kept: nothing is scanned a second time"
