"""The whole study with a detector that remembers patients: the leak it must show is known beforehand."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from typer.testing import CliRunner

from myotome.cli.app import app
from myotome.errors import InputError, OutputError
from myotome.studies.lumbar_disc.images import read_datalist
from myotome.studies.lumbar_disc.report import write_report
from myotome.studies.lumbar_disc.run import run_splits
from myotome.studies.lumbar_disc.settings import make_study_settings, read_study_settings
from myotome.studies.lumbar_disc.splits import make_split
from myotome.studies.lumbar_disc.study import run_study
from tests.unit.studies.lumbar_disc.finders import MOVED, RememberingFinder, remember, write_images

PATIENTS, TEST_PATIENTS = 12, 4


@pytest.fixture
def settings(tmp_path):
    datalist = write_images(tmp_path / "data", PATIENTS)
    return read_study_settings().changed(
        datalist=str(datalist), test_patients=TEST_PATIENTS, validation_patients=1, resamples=200
    )


def test_the_leak_of_a_detector_that_remembers(settings, tmp_path):
    """By patient every test image is of a stranger: Dice 0.9. By image those of known patients have Dice 1."""
    findings = run_study(settings, tmp_path / "out", train=remember, open_finder=RememberingFinder)
    scores = findings.scores.set_index(["split", "measure"])["value"]
    assert scores["patient", "dice"] == pytest.approx(MOVED["dice"])
    assert scores["patient", "sq"] == pytest.approx(MOVED["iou"])
    assert scores["patient", "ap50"] == 1 and scores["patient", "ap"] == pytest.approx(0.7)
    assert scores["patient", "object_recall"] == 1

    rows = findings.rows[findings.rows["split"] == "image"]
    trained = json.loads((tmp_path / "out" / "image" / "datalist.json").read_text())["training"]
    known = {row["patient"] for row in trained}
    expected = rows["patient"].map(lambda patient: 1.0 if patient in known else MOVED["dice"])
    assert rows["dice"].tolist() == pytest.approx(expected.tolist())
    leak = findings.leak.set_index(["measure", "over"])
    assert leak.loc[("dice", "all"), "value"] == pytest.approx(
        expected.groupby(rows["patient"]).mean().mean() - MOVED["dice"]
    )
    worth = leak.loc[("dice", "all"), "value"]
    assert worth > 0.05
    assert any(f"each on its own test part: Dice {worth:+.4f} (" in sentence for sentence in findings.conclusion)


def test_validation_patients_are_no_training_patients(settings, tmp_path):
    run_splits(settings, tmp_path / "out", train=remember, open_finder=RememberingFinder)
    for name in ("patient", "image"):
        lists = json.loads((tmp_path / "out" / name / "datalist.json").read_text())
        sides = [{row["patient"] for row in lists[part]} for part in ("training", "validation")]
        assert sides[1] and not sides[0] & sides[1]
    images = read_datalist(tmp_path / "data" / "datalist.json")
    test = make_split("patient", images["patient"].tolist(), TEST_PATIENTS, settings.seed).test
    lists = json.loads((tmp_path / "out" / "patient" / "datalist.json").read_text())
    trained = {row["patient"] for part in lists.values() for row in part}
    assert not trained & set(images["patient"].iloc[test])


def test_a_stopped_run_goes_on_and_other_settings_are_refused(settings, tmp_path):
    def stop(training, report):
        if "image" in str(training.weights):
            raise KeyboardInterrupt
        return remember(training, report)

    with pytest.raises(KeyboardInterrupt):
        run_splits(settings, tmp_path / "out", train=stop, open_finder=RememberingFinder)

    def only_image(training, report):
        assert "image" in str(training.weights), "the split by patient was done"
        return remember(training, report)

    results = run_splits(settings, tmp_path / "out", train=only_image, open_finder=RememberingFinder)
    assert [(one.name, one.training_images, one.test_images) for one in results] == [
        ("patient", 24, 12),
        ("image", 24, 12),
    ]
    assert results[0].shared == 0 < results[1].shared
    with pytest.raises(OutputError, match="this study with other settings"):
        run_splits(settings.changed(seed=1), tmp_path / "out", train=remember, open_finder=RememberingFinder)


def test_what_is_trained(settings, tmp_path):
    seen = []

    def record(training, report):
        seen.append(training)
        return remember(training, report)

    changed = replace(settings, training={"iterations": 7}, overlays=("paper",), splits=("patient",))
    findings = run_study(changed, tmp_path / "out", train=record, open_finder=RememberingFinder)
    (training,) = seen
    assert training.overrides == {"seed": settings.seed, "backbone": "mobile", "iterations": 7}
    assert training.overlays == ("paper",) and training.bundle.name == settings.bundle
    assert findings.leak.empty and len(findings.conclusion) == 1


def test_the_report_has_every_score_and_table(settings, tmp_path):
    findings = run_study(settings, tmp_path / "out", train=remember, open_finder=RememberingFinder)
    write_report(tmp_path / "out", findings, settings)
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 2
    for word in ("AP[.5:.95]", "Precision, objects at IoU 0.5", "0.977", "own test part", "0.9000"):
        assert word in text, word
    assert findings.conclusion[0].split(" (")[0] in text.replace("&#39;", "'")
    table = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert len(table) == 2 * 12
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["study"] == "lumbar_disc"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1, 2]", "is not a data list"),
        ('{"training": [{"image": "a", "label": "b"}]}', "has no 'patient'"),
        ('{"training": []}', "has no rows, or two of one image"),
    ],
)
def test_a_data_list_that_cannot_be_used(tmp_path, text, sentence):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_datalist(tmp_path / "list.json")


def test_the_configuration_is_checked():
    table = {name: getattr(read_study_settings(), name) for name in read_study_settings().__dataclass_fields__}
    table["phantoms"] = {"seed": 1, "count": 9}
    assert make_study_settings(table).phantoms.count == 9
    for change, sentence in (
        ({"backbone": "vgg"}, "backbone is 'vgg': choose mobile or resnet50"),
        ({"splits": ["patient", "patient"]}, "name each of patient, image once"),
        ({"least_score": 2}, "least_score lies between 0 and 1"),
        ({"phantoms": {"seed": 1}}, "a part of another kind"),
        ({"colour": "red"}, "unknown one"),
    ):
        with pytest.raises(InputError, match=sentence):
            make_study_settings(table | change)


def test_the_command_says_what_is_wrong(tmp_path):
    words = ["study", "lumbar-disc", "-o", str(tmp_path / "out")]
    for more, sentence in (
        (["--preset", "fast"], "no preset 'fast': it has quick"),
        (["--data", str(tmp_path / "absent.json")], "is not a data list"),
        (["--backbone", "vgg"], "backbone is 'vgg'"),
    ):
        result = CliRunner().invoke(app, [*words, *more])
        assert result.exit_code != 0 and sentence in str(result.exception)
