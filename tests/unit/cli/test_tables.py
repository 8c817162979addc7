"""The table that a person reads: each number in its row, a dash where there is none, and why."""

import numpy as np
import pytest

from myotome.cli.tables import make_warnings, print_result
from myotome.geometry import Grid
from myotome.measurement import CaseResult, Grading, Measurement, Provenance
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


def test_structures_without_sides_have_a_row_per_measure(capsys):
    grid, grades = Grid((2, 2, 1), np.eye(4)), (0.1, 0.1, 0.1, 0.6, 0.1)
    label_map = LabelMap(np.zeros(grid.shape, np.uint8), grid, read_label_schema("supraspinatus_mri"))
    measurements = (
        Measurement("supraspinatus", "area", 4.84, "cm2"),
        Measurement("supraspinatus", "fat_fraction", 12.04, "%", lower=10.0, upper=14.0),
        Measurement("supraspinatus", "tangent_sign", None, "1", flags=("scapular_spine_absent",)),
        Measurement("supraspinatus", "positive_probability", 0.912, "1", statistic="A"),
    )
    square = np.zeros((4, 4))
    grading = Grading(0, "the image is this one slice", {"A": 0.912}, grades, square, square, square)
    result = CaseResult(label_map, measurements, Provenance("b", "1", "s", {}, "cpu", {}), (), grading)
    print_result(result, None)
    printed = capsys.readouterr().out
    assert printed.startswith("Goutallier grade 3 (60 %); the image is this one slice\n")
    cells = [[cell.strip() for cell in line.split("│")[2:-1]] for line in printed.splitlines() if "│" in line]
    found = {row[0]: row[1:] for row in cells}
    assert found["Area"] == ["4.8", "cm²", ""]
    assert found["Tangent sign"] == ["-", "", ""]
    assert found["Probability, definition A"] == ["0.91", "", ""]
    assert "12.0" in printed and "10.0 to 14.0" in printed
    assert make_warnings(result) == ["Beware: scapular_spine_absent (tangent sign)"]
