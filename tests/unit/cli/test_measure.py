"""``myotome measure``: labels of any schema, on the image they belong to."""

import json

import pytest

from myotome.cli import main
from myotome.io import write_label_map, write_volume
from tests.unit.biomarkers.abdomens import SMA_CM2, make_abdomen_case
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


@pytest.fixture
def abdomen(tmp_path):
    volume, label_map = make_abdomen_case(labelled=(2, 3, 4))
    write_volume(tmp_path / "ct.nii.gz", volume)
    write_label_map(tmp_path / "l3.nii.gz", label_map)
    return str(tmp_path / "ct.nii.gz"), str(tmp_path / "l3.nii.gz"), "--schema", "l3_muscle_ct"


def test_muscle_at_l3_is_measured_in_the_named_slice(abdomen, capsys):
    code, out, _ = run(capsys, *abdomen, "--slice", "4", "--height-m", "1.6", "--json")
    document = json.loads(out)
    rows = {row["measure"]: row["value"] for row in document["measurements"] if row["structure"] == "skeletal_muscle"}
    assert code == 0
    assert rows["muscle_area"] == pytest.approx(SMA_CM2)
    assert rows["area_per_height2"] == pytest.approx(SMA_CM2 / 2.56)
    assert (rows["l3_slice"], rows["slices_measured"]) == (4, 1)
    assert document["level"]["reason"] == "given by hand"
    code, out, _ = run(capsys, *abdomen, "--slice", "3", "--average", "--json")
    assert code == 0 and json.loads(out)["measurements"][0]["method"].endswith("mean of 3 slices")


def test_the_table_shows_the_case_and_the_cutoff_of_the_sex(abdomen, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(capsys, *abdomen, "--sex", "F")
    (line,) = [line for line in out.splitlines() if "Muscle area (SMA)" in line]
    assert code == 0 and "30.6" in line and "below the cut-off of 92.2 cm² (women)" in line
    _, out, _ = run(capsys, *abdomen)
    assert "cut-off" not in out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--height-m", "172"], 3, "give it in metres, 1.72 if 172 are centimetres"),
        (["--slice", "6"], 3, "nothing is labelled in slice 6: labelled are slices 2, 3, 4"),
        (["--slice", "99"], 3, "slice 99 is outside the image"),
        (["--vertebrae", "nowhere.nii.gz"], 3, "there is no vertebra mask"),
        (["--sex", "X"], 2, "Invalid value for '--sex'"),
    ],
)
def test_bad_options_are_sentences(abdomen, capsys, words, code, sentence):
    seen, out, err = run(capsys, *abdomen, *words)
    assert (seen, out) == (code, "") and sentence in err


def test_a_shoulder_takes_no_level(shoulder, capsys):
    code, _, err = run(capsys, *shoulder, "--schema", "supraspinatus_mri", "--slice", "0")
    assert code == 3 and "belong to no single vertebral level" in err


@pytest.mark.parametrize("command", ["analyze", "measure"])
def test_help_names_the_options_of_a_level(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    printed = capsys.readouterr().out
    for option in ("--slice", "--vertebrae", "--l3-label", "--average", "--sex", "--height-m"):
        assert option in printed
