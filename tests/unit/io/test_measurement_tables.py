import csv
import json

import numpy as np
import pytest

from myotome.geometry import Grid
from myotome.io.tables import COLUMNS, write_measurements_csv, write_measurements_json
from myotome.measurement import CaseResult, Measurement, Provenance
from myotome.structures import LabelMap, read_label_schema


@pytest.fixture
def result(small_ct):
    label_map = LabelMap(np.zeros(small_ct.grid.shape, np.uint8), small_ct.grid, read_label_schema())
    provenance = Provenance(
        "respiratory", "0.1.0", "ab12", {"myotome": "0.1.0"}, "cpu", {"series_uid": "1.2.3"}, ("a note",), "run-1"
    )
    measurements = (
        Measurement("pectoralis", "volume", 100 / 3, "mL", side="right", lower=30.0, upper=35.5),
        Measurement("erector_spinae", "area", 12.5, "cm2", level="T12", slice_index=4, method="whole, contour"),
        Measurement("intercostal", "volume", None, "mL", side="left", flags=("absent", "truncated_left")),
    )
    return CaseResult(label_map, measurements, provenance, ("thick_slices",))


def test_the_long_table_has_one_row_per_measurement(tmp_path, result, small_ct):
    write_measurements_csv(tmp_path / "m.csv", result, small_ct)
    with (tmp_path / "m.csv").open(newline="") as file:
        first, second, third = csv.DictReader(file)
    assert tuple(first) == COLUMNS
    assert first["subject_id"] == "PHANTOM-000007"
    assert (first["structure"], first["side"], first["measure"]) == ("pectoralis", "right", "volume")
    assert first["structure_code"] == "SCT:60005003+SCT:18686000"
    assert float(first["value"]) == pytest.approx(33.3333333, abs=1e-7)
    assert (first["lower"], first["upper"], first["unit"]) == ("30.0", "35.5", "mL")
    assert (second["level"], second["slice_index"], second["method"]) == ("T12", "4", "whole, contour")
    assert second["structure_code"] == "SCT:44947003"
    assert (third["value"], third["flags"], third["series_uid"]) == ("", "absent;truncated_left", "")
    for row in (first, second, third):
        assert (row["bundle"], row["bundle_version"], row["weights_sha256"]) == ("respiratory", "0.1.0", "ab12")
        assert (row["software_version"], row["run_id"]) == ("0.1.0", "run-1")


def test_json_carries_provenance_flags_and_rows(tmp_path, result, small_ct):
    write_measurements_json(tmp_path / "m.json", result, small_ct)
    document = json.loads((tmp_path / "m.json").read_text())
    assert document["provenance"]["input"] == {"series_uid": "1.2.3"}
    assert document["provenance"]["notes"] == ["a note"]
    assert document["flags"] == ["thick_slices"]
    assert document["acquisition"]["spacing_mm"] == [0.8, 0.7, 2.5]
    assert [row["value"] for row in document["measurements"]] == [33.33333333, 12.5, None]
    assert document["measurements"][2]["flags"] == ["absent", "truncated_left"]


def test_the_same_result_gives_the_same_bytes(tmp_path, result, small_ct):
    for name in ("a", "b"):
        write_measurements_csv(tmp_path / f"{name}.csv", result, small_ct)
        write_measurements_json(tmp_path / f"{name}.json", result, small_ct)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_case_without_measurements_is_a_table_without_rows(tmp_path, small_ct):
    grid = Grid((2, 2, 2), np.eye(4))
    empty = CaseResult(
        LabelMap(np.zeros((2, 2, 2), np.uint8), grid, read_label_schema()),
        (),
        Provenance("none", "none", "none", {}, "none", {}),
    )
    write_measurements_csv(tmp_path / "m.csv", empty, small_ct)
    assert (tmp_path / "m.csv").read_text().splitlines() == [",".join(COLUMNS)]
