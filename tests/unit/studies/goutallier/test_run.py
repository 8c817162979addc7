"""The run of the folds: who trains on whom, what is kept, and a report at its end. Training is stood in for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from myotome.cli.app import app
from myotome.errors import BundleError, InputError
from myotome.networks import SupraspinatusGrader, write_weights
from myotome.studies.goutallier.report import write_report
from myotome.studies.goutallier.run import run_folds
from myotome.studies.goutallier.settings import Shoulders
from myotome.studies.goutallier.shoulders import list_grades, make_shoulders
from myotome.studies.goutallier.study import find_out
from myotome.training import BundleTraining
from tests.unit.studies.goutallier.answers import make_predictions, make_regions, make_settings

SETTINGS = make_settings(
    phantoms=Shoulders(760000, (4, 3, 3, 3, 3)), fold_count=2, definitions=("A", "B"), validation_share=0.2
)


@dataclass
class Trainer:
    """Stands for training: writes a network that has learned nothing, and remembers what it was asked."""

    fails_at: int = 1000
    asked: list[tuple[str, dict, dict]] = field(default_factory=list)

    def __call__(self, training: BundleTraining, report) -> Path:
        if len(self.asked) == self.fails_at:
            raise BundleError("the training failed")
        lists = json.loads(training.datalist.read_text())
        self.asked.append((training.only[0], dict(training.overrides), lists))
        torch.manual_seed(len(self.asked))
        write_weights(SupraspinatusGrader(training.overrides["classifier"]).state_dict(), training.weights)
        report("all of it", 1.0)
        return training.weights


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shoulders") / "phantoms"
    return make_shoulders(SETTINGS.phantoms, folder)


@pytest.fixture(scope="module")
def shared(phantoms):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("myotome.studies.goutallier.run.make_shoulders", lambda *arguments: phantoms)
        patch.setattr("myotome.studies.goutallier.run.bundle_root", Path)
        yield


@pytest.fixture
def output(tmp_path, shared):
    return tmp_path / "study"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, shared):
    """The study from beginning to end: its trainings, predictions, scores of the region, and folder."""
    trainer, folder = Trainer(), tmp_path_factory.mktemp("whole")
    return trainer, *run_folds(SETTINGS, folder, train=trainer), folder


def test_there_are_as_many_shoulders_of_each_grade_as_asked_for(phantoms):
    assert list(np.bincount(phantoms["grade"], minlength=5)) == [4, 3, 3, 3, 3]
    assert list(phantoms["grade"]) == list(list_grades(SETTINGS.phantoms))
    assert sorted(list_grades(SETTINGS.phantoms)) != list(list_grades(SETTINGS.phantoms))


def test_every_shoulder_is_scored_once_by_a_fold_that_did_not_see_it(whole, phantoms):
    trainer, predictions, regions, _ = whole
    arms = [arm.name for arm in SETTINGS.arms]
    assert list(predictions["arm"].unique()) == arms
    for _, part in predictions.groupby("arm"):
        assert sorted(part["case"]) == sorted(phantoms["case"])
    assert len(regions) == 16 * 6
    assert [stage for stage, *_ in trainer.asked] == ["region", "grade", "grade", "grade", "grade"] * 2
    fold_of = predictions.drop_duplicates("case").set_index("case")["fold"]
    for number, (_, _, lists) in enumerate(trainer.asked):
        seen = {Path(row["image"]).parent.name for rows in lists.values() for row in rows}
        assert seen == set(fold_of.index[fold_of != number // 5 + 1])


def test_arms_are_trained_by_their_masks_and_grades(whole, phantoms):
    trainer, *_, folder = whole
    graders = [(overrides, lists) for stage, overrides, lists in trainer.asked if stage == "grade"]
    assert [overrides["mask"] for overrides, _ in graders[:4]] == ["reference", "predicted", "none", "predicted"]
    assert all(Path(overrides["start_path"]).name == "region.pt" for overrides, _ in graders)
    by_case = phantoms.set_index("case")
    for (_, lists), column in zip(graders[:4], ["grade"] * 3 + ["rated_grade"], strict=True):
        for row in lists["training"] + lists["validation"]:
            assert row["grade"] == by_case.loc[Path(row["image"]).parent.name, column]
    assert not list(folder.glob("fold_*/*.pt")), "weights of finished folds are not kept"


def test_arms_that_train_alike_share_a_training(output):
    first, second, *_ = SETTINGS.arms
    settings = SETTINGS.changed(
        arms=(second, *(type(first)(n, n, "predicted", n, "grade") for n in ("none", "reference")))
    )
    trainer = Trainer()
    predictions, _ = run_folds(settings.changed(keep_weights=True), output, train=trainer)
    assert [stage for stage, *_ in trainer.asked] == ["region", "grade"] * 2
    assert len(predictions["arm"].unique()) == 3 and (output / "fold_2" / "predicted_masks_grade.pt").is_file()


def test_a_run_that_was_stopped_goes_on(output):
    settings = SETTINGS.changed(arms=(SETTINGS.arms[1],))
    with pytest.raises(BundleError, match="the training failed"):
        run_folds(settings, output, train=Trainer(fails_at=3))
    second = Trainer()
    stopped, _ = run_folds(settings, output, train=second)
    assert [stage for stage, *_ in second.asked] == ["grade"]
    third = Trainer()
    again, _ = run_folds(settings, output, train=third)
    assert not third.asked and again.equals(stopped)


def test_a_fold_without_positives_is_refused_before_anything_is_trained(output, phantoms, monkeypatch):
    poor = phantoms.assign(grade=[0, 1] * 7 + [2, 3])
    monkeypatch.setattr("myotome.studies.goutallier.run.make_shoulders", lambda *arguments: poor)
    trainer = Trainer()
    with pytest.raises(InputError, match="fold 1 of 2 has . positive and . negative cases of definition A in its"):
        run_folds(SETTINGS, output, train=trainer)
    assert not trainer.asked


def test_the_report_holds_the_scores(tmp_path):
    predictions = make_predictions()
    settings = make_settings(phantoms=Shoulders(1, (60, 30, 20, 15, 10)))
    findings = find_out(predictions, make_regions(predictions), settings)
    write_report(tmp_path, findings, settings)
    page = (tmp_path / "report.html").read_text()
    for sentence in findings.conclusion:
        assert sentence.replace("'", "&#39;") in page
    assert page.count("data:image/png;base64,") == 5 and "0.9731 ± 0.0230" in page
    scores = pd.read_csv(tmp_path / "scores.csv")
    row = scores.query("arm == 'predicted' and truth == 'grade' and definition == 'B' and measure == 'auroc'").iloc[1]
    assert f"{row['value']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})" in page
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == len(predictions)
    assert json.loads((tmp_path / "summary.json").read_text())["conclusion"] == findings.conclusion


def test_the_command_says_what_is_wrong(tmp_path):
    found = CliRunner().invoke(app, ["study", "goutallier", "--preset", "fast", "-o", str(tmp_path / "new")])
    assert found.exit_code == 3 or "no preset 'fast'" in str(found.exception)
    assert not (tmp_path / "new").exists()
