"""The phantom command makes what was asked for, and says where it is."""

from __future__ import annotations

import csv
import json

import pytest

from myotome import phantom_dataset
from myotome.cli import main
from myotome.io import read_label_map
from myotome.phantoms.bone import BoneScan
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


def test_a_bone_phantom_lies_on_the_rods_it_was_asked_for(tmp_path, capsys, monkeypatch):
    coarse = BoneScan(matrix=110, in_plane_mm=4.0, slice_thickness_mm=8.0, top=12.0, bottom=12.4)
    monkeypatch.setattr(phantom_dataset, "BoneScan", lambda: coarse)
    words = ["phantom", "bone", "--seed", "7", "--recipe", "clinical", "--qct-phantom", "ha", "-o", str(tmp_path / "x")]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    folder = tmp_path / "x" / "case_000007"
    assert capsys.readouterr().out.split() == [str(folder)]
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["qct_phantom"]["kind"] == "ha" and list(truth["levels"]) == ["T12"]


def test_axial_lumbar_cases_are_one_disc_each(tmp_path, capsys):
    folder = tmp_path / "discs"
    words = ["phantom", "lumbar", "-n", "1", "--seed", "7", "--plane", "axial", "--slices", "1", "--recipe", "clinical"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "-o", str(folder)])
    assert not stop.value.code
    cases = [folder / f"case_000007_{level}" for level in ("l3_l4", "l4_l5", "l5_s1")]
    assert capsys.readouterr().out.split() == [str(case) for case in cases]
    for case in cases:
        (disc,) = json.loads((case / "truth.json").read_text())["discs"].values()
        labels = read_label_map(case / "labels.nii.gz", read_label_schema("lumbar_disc_mr"))
        assert labels.grid.shape == (320, 320, 1)
        assert (labels.array == 6).sum() * 0.6875**2 == pytest.approx(disc["area_mm2"], rel=0.03)
