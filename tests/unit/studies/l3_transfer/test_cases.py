"""Lists of somebody's own slices, and what is refused of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.io import write_label_map, write_volume
from myotome.structures import LabelMap
from myotome.studies.l3_transfer.cases import read_case_list, read_slices, take_slice
from tests.unit.studies.l3_transfer.answers import make_slice, make_volume


@pytest.fixture
def folder(tmp_path):
    for case in range(2):
        volume, label_map = make_volume(case)
        write_volume(tmp_path / f"scan_{case}" / "image.nii.gz", volume)
        write_label_map(tmp_path / f"scan_{case}" / "labels.nii.gz", label_map)
    return tmp_path


def write_list(folder, rows):
    path = folder / "slices.json"
    path.write_text(json.dumps(rows))
    return path


def make_rows(**first):
    rows = [{"image": f"scan_{case}/image.nii.gz", "label": f"scan_{case}/labels.nii.gz"} for case in range(2)]
    rows[0] |= first
    return rows


def test_slices_are_read_from_a_list_or_a_data_list(folder):
    table = read_case_list(write_list(folder, make_rows(patient="p", height_m=1.8)))
    assert list(table["case"]) == ["scan_0", "scan_1"] and list(table["patient"]) == ["p", "scan_1"]
    slices = read_slices(table)
    assert slices[0].height_m == 1.8 and slices[1].height_m is None
    assert np.array_equal(slices[1].label, make_slice(1).label) and slices[0].spacing_mm == pytest.approx((0.8, 0.8))
    rows = make_rows()
    divided = read_case_list(write_list(folder, {"training": rows[:1], "validation": rows[1:]}))
    assert list(divided["case"]) == ["scan_0", "scan_1"]


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        ({"height_m": 172}, "case 'scan_0': a height of 172 m is not plausible: give it in metres, 1.72 if 172 are"),
        ({"image": "absent.nii.gz"}, "the image of case 'absent', does not exist: correct 'slices.json'"),
        ({"case": "scan_1"}, "has the case 'scan_1' twice"),
        ({"height_m": "tall"}, "is not a list of slices"),
    ],
)
def test_what_is_wrong_in_a_list_is_said(folder, first, sentence):
    with pytest.raises(InputError, match=sentence):
        read_case_list(write_list(folder, make_rows(**first)))


def test_a_file_that_is_no_list_is_refused(folder):
    for text in ("[]", "{}", "[3]", "no json"):
        (folder / "slices.json").write_text(text)
        with pytest.raises(InputError, match="give a JSON list of rows with image and label"):
            read_case_list(folder / "slices.json")


def test_one_slice_is_annotated():
    volume, label_map = make_volume()
    nothing = LabelMap(np.zeros_like(label_map.array), label_map.grid, label_map.schema)
    with pytest.raises(InputError, match="case 'x' has 0 annotated slices: annotate one, at L3"):
        take_slice("x", volume, nothing)
