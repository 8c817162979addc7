"""``myotome measure``: labels of any schema, on the image they belong to."""

import json

import pytest

from myotome.cli import main
from myotome.io import write_label_map, write_volume
from tests.unit.phantoms.shoulders import MUSCLE_CM2, make_shoulder_case


@pytest.fixture
def shoulder(tmp_path):
    volume, label_map = make_shoulder_case()
    write_volume(tmp_path / "mr.nii.gz", volume)
    write_label_map(tmp_path / "labels.nii.gz", label_map)
    return str(tmp_path / "mr.nii.gz"), str(tmp_path / "labels.nii.gz")


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(["measure", *words])
    printed = capsys.readouterr()
    return stop.value.code or 0, printed.out, printed.err


def test_a_shoulder_is_measured_by_its_schema(shoulder, capsys):
    code, out, _ = run(capsys, *shoulder, "--schema", "supraspinatus_mri", "--json")
    rows = {(row["structure"], row["measure"]): row["value"] for row in json.loads(out)["measurements"]}
    assert code == 0
    assert rows["supraspinatus", "area"] == pytest.approx(MUSCLE_CM2)


def test_an_unknown_schema_is_refused_with_those_there_are(shoulder, capsys):
    code, _, err = run(capsys, *shoulder, "--schema", "knee")
    assert code == 3 and "no label schema 'knee'" in err and "supraspinatus_mri" in err


def test_a_shoulder_taken_for_a_chest_is_refused(shoulder, capsys):
    code, _, err = run(capsys, *shoulder)
    assert code == 3 and "not in Hounsfield units" in err
