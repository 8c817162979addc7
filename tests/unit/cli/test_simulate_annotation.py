"""``myotome simulate-annotation`` from end to end in small, and its refusals in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from myotome.cli import main
from myotome.geometry import Grid, Volume
from myotome.io import write_label_map, write_volume
from myotome.structures import LabelMap, read_label_schema

SMALL = """
reduction: {slices: 2, spacing_mm: 10.0}
plan: {labelled: [1, 2], strategies: [random, measurement], seeds: 1, test_share: 0.25}
training: {iterations: 2, channels: [4, 8], batch_size: 2, patch: 32}
"""


@pytest.fixture
def data(tmp_path) -> Path:
    """Four bodies of 40 HU with the four structures as blocks of 60 to 120 HU, of another size in each case."""
    rows = []
    for number in range(4):
        hu = np.full((40, 40, 4), 40, np.int16)
        labels = np.zeros(hu.shape, np.uint8)
        for index in range(4):
            block = (slice(2 + 9 * index, 10 + 9 * index), slice(5, 25 + 3 * number))
            hu[block], labels[block] = 60 + 20 * index, index + 1
        grid = Grid(hu.shape, np.diag([8.0, 8.0, 5.0, 1.0]))
        write_volume(tmp_path / "data" / f"image_{number}.nii", Volume(hu, grid))
        write_label_map(tmp_path / "data" / f"label_{number}.nii", LabelMap(labels, grid, read_label_schema()))
        rows.append({"image": f"image_{number}.nii", "label": f"label_{number}.nii"})
    (tmp_path / "data" / "datalist.json").write_text(json.dumps({"training": rows}))
    return tmp_path / "data"


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(["simulate-annotation", *map(str, words)])
    printed = capsys.readouterr()
    return stop.value.code or 0, printed.out, printed.err


def test_a_small_study_leaves_its_results_and_adds_to_them(capsys, tmp_path, data):
    config, out = tmp_path / "small.yaml", tmp_path / "out"
    config.write_text(SMALL)
    code, printed, err = run(capsys, "--data", data, "--config", config, "-o", out)
    assert (code, err) == (0, "")
    assert "One seed cannot tell" in printed and str(out / "report.html") in printed
    kept = (out / "records.jsonl").read_text()
    assert len(kept.splitlines()) == 5
    for name in ("summary.csv", "curves.png", "report.html"):
        assert (out / name).stat().st_size > 300
    words = ("--data", data, "--config", config, "-o", out, "--strategies", "random,foreground_random", "-q")
    code, printed, _ = run(capsys, *words)
    assert (code, printed) == (0, "")
    assert (out / "records.jsonl").read_text().startswith(kept)
    assert len((out / "records.jsonl").read_text().splitlines()) == 7
    strategies = [row["strategy"] for row in json.loads((out / "summary.json").read_text())["strategies"]]
    assert strategies == ["random", "foreground_random"]


@pytest.mark.parametrize(
    ("words", "sentence", "expected"),
    [
        (["--data", "nowhere"], "no readable data list", 3),
        (["--config", "nowhere.yaml"], "no configuration at nowhere.yaml", 3),
        (["--strategies", "guess"], "no strategy guess", 3),
    ],
)
def test_a_refusal_is_one_sentence(capsys, tmp_path, words, sentence, expected):
    code, out, err = run(capsys, "-o", tmp_path / "out", *words)
    assert (code, out) == (expected, "")
    assert err.count("\n") == 1 and sentence in err


def test_help_shows_how_it_is_called(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0 and "myotome simulate-annotation --seeds 5" in out
