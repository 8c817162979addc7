"""The table that a person reads: each number in its row, a dash where there is none, and why."""

import numpy as np
import pytest

from myotome.cli.tables import make_warnings, print_result
from myotome.geometry import Grid
from myotome.measurement import CaseResult, Measurement, Provenance
from myotome.structures import LabelMap, read_label_schema


@pytest.fixture
def result():
    label_map = LabelMap(np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4)), read_label_schema())
    hu = "[hnsf'U]"
    measurements = (
        Measurement("pectoralis", "volume", 123.456, "mL", side="right", flags=("truncated_right", "thick_slices")),
        Measurement("pectoralis", "density", 41.04, hu, side="right", statistic="mean"),
        Measurement("pectoralis", "density", 99.0, hu, side="right", statistic="median"),
        Measurement("pectoralis", "area", 77.0, "cm2", side="right", slice_index=1),
        Measurement("pectoralis", "imat_share", 8.25, "%", side="right"),
        Measurement("pectoralis", "volume", None, "mL", side="left", flags=("absent",)),
    )
    provenance = Provenance("b", "1", "s", {}, "cpu", {}, notes=("no DICOM",))
    return CaseResult(label_map, measurements, provenance, ("thick_slices",))


def rows(printed):
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]
    return {cells_[1]: cells_ for cells_ in cells if cells_[1] in ("right", "left", "both")}


def test_each_number_stands_in_its_row(result, capsys):
    print_result(result, None)
    printed = capsys.readouterr().out
    found = rows(printed)
    assert found["right"] == ["Pectoralis", "right", "123.5", "41.0", "-", "-", "-", "8.2"]
    assert found["left"] == ["", "left", "-", "-", "-", "-", "-", "-"]
    assert "both" not in found and "77.0" not in printed and "99.0" not in printed


def test_each_flag_is_said_once_with_its_places(result):
    assert make_warnings(result) == [
        "Beware: thick_slices",
        "Beware: truncated_right (pectoralis right)",
        "Beware: absent (pectoralis left)",
        "Note: no DICOM",
    ]


def test_it_says_where_the_pictures_are(result, capsys, tmp_path):
    print_result(result, tmp_path / "out")
    printed = capsys.readouterr().out
    assert str(tmp_path / "out" / "overview.png") in printed
    assert str(tmp_path / "out" / "report.html") in printed


def test_in_a_narrow_terminal_no_number_is_cut(result, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    measures = {
        "volume": "total",
        "density": "mean",
        "nama_share": "total",
        "lama_share": "total",
        "imat_share": "total",
    }
    wide = [
        Measurement("erector_spinae", measure, 10000.0 if measure == "volume" else 100.0, "1", statistic=statistic)
        for measure, statistic in (*measures.items(), ("density", "sd"))
    ]
    print_result(CaseResult(result.label_map, tuple(wide), result.provenance), None)
    printed = capsys.readouterr().out
    assert rows(printed)["both"] == ["Erector spinae", "both", "10000.0", *["100.0"] * 5]
