"""``myotome study qct-agreement``: what the command refuses."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from myotome.cli.app import app


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--preset", "fast"], "no preset 'fast': it has quick"),
        (["--segmenter", "expert"], "segmenter is 'expert': choose truth or bundle"),
        (["--qct", "qct.csv"], "--data and --qct belong together"),
        (["--data", "scans.json"], "--data and --qct belong together"),
        (["--data", "absent.json", "--qct", "qct.csv"], "is not a list of scans"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path, more, sentence):
    result = CliRunner().invoke(app, ["study", "qct-agreement", "-o", str(tmp_path / "out"), *more])
    assert result.exit_code != 0 and sentence in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_table_in_grams_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "scan.nii.gz").write_text("")
    (tmp_path / "scans.json").write_text(json.dumps([{"image": "scan.nii.gz", "patient": "P1"}]))
    (tmp_path / "qct.csv").write_text("patient,bmd,unit\nP1,0.1,g/cm3\n")
    words = ["--data", str(tmp_path / "scans.json"), "--qct", str(tmp_path / "qct.csv")]
    result = CliRunner().invoke(app, ["study", "qct-agreement", "-o", str(tmp_path / "out"), *words])
    assert result.exit_code != 0 and "line 2: the unit is g/cm3" in str(result.exception)
