"""The phantom command makes what was asked for, and says where it is."""

from __future__ import annotations

import csv
import json

import pytest

from myotome.cli import main
from myotome.io import read_label_map
from myotome.structures import read_label_schema


def test_even_grades_come_one_after_the_other(tmp_path, capsys):
    folder = tmp_path / "shoulders"
    words = ["phantom", "shoulder", "-n", "5", "--grades", "even", "--recipe", "clinical", "-o", str(folder)]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    printed = [line.rsplit("/", 1)[-1] for line in capsys.readouterr().out.split()]
    assert printed == [f"case_{seed:06d}" for seed in range(5)]
    with (folder / "truth.csv").open() as file:
        assert [row["grade"] for row in csv.DictReader(file)] == ["0", "1", "2", "3", "4"]


def test_an_abdomen_is_one_labelled_slice(tmp_path, capsys):
    folder = tmp_path / "slices"
    with pytest.raises(SystemExit) as stop:
        main(["phantom", "abdomen", "-n", "1", "--seed", "7", "--recipe", "clinical", "-o", str(folder)])
    assert not stop.value.code
    assert capsys.readouterr().out.split() == [str(folder / "case_000007")]
    truth = json.loads((folder / "case_000007" / "truth.json").read_text())
    labels = read_label_map(folder / "case_000007" / "labels.nii.gz", read_label_schema("l3_muscle_ct"))
    assert labels.grid.shape == (512, 512, 1)
    counted_cm2 = (labels.array == 2).sum() * 0.8**2 / 100
    assert counted_cm2 == pytest.approx(truth["sat_cm2"])
