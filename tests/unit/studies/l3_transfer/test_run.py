"""The run of the jobs: who trains on whom from what, what is kept, and the report. Training is stood in for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from myotome.errors import BundleError, InputError
from myotome.io import write_label_map, write_volume
from myotome.studies.l3_transfer import jobs as jobs_module
from myotome.studies.l3_transfer.jobs import Job, list_jobs
from myotome.studies.l3_transfer.report import write_report
from myotome.studies.l3_transfer.run import Means, find_sources, run_jobs
from myotome.studies.l3_transfer.settings import ObserverModel
from myotome.studies.l3_transfer.study import run_study
from myotome.studies.launching import Finished, launch_in_turn
from myotome.studies.protocol import People
from myotome.training import BundleTraining
from tests.unit.studies.l3_transfer.answers import make_settings, make_volume

COUNT, OTHERS = 12, 4
SETTINGS = make_settings(
    phantoms=People(720000, COUNT),
    unlabelled=People(740000, OTHERS),
    phantom_people=People(760000, OTHERS),
    fold_count=2,
    validation_count=2,
    subset_sizes=(2, 4),
    gain_sizes=(2, 4),
    repeats=1,
    sources=("scratch", "imagenet", "jigsaw", "phantom"),
    observers=ObserverModel(3, 0.0, 0.5, 0.5, 15.0, 1),
    resamples=50,
    training={"iterations": 7},
    pretext_training={"reconstruction": {}, "jigsaw": {"iterations": 3}, "phantom": {"iterations": 4}},
)


@dataclass
class Trainer:
    """Stands for training: writes what it was asked for where weights would be, and remembers it."""

    fails_at: int = 1000
    asked: list[tuple[str, dict, dict]] = field(default_factory=list)

    def __call__(self, training: BundleTraining, report) -> Path:
        if len(self.asked) == self.fails_at:
            raise BundleError("the training failed")
        lists = json.loads(training.datalist.read_text())
        self.asked.append((training.only[0], dict(training.overrides), lists))
        training.weights.write_text(json.dumps([training.overrides.get("source"), len(lists["training"])]))
        report("all of it", 1.0)
        return training.weights


class Labeller:
    """Stands for a network: the better the source and the more slices, the fewer rows of the reference it misses."""

    def __init__(self, weights: Path) -> None:
        source, n = json.loads(Path(weights).read_text())
        self.missed = 40 // n - {"jigsaw": 2, "phantom": 4}.get(source, 0)

    def label(self, slices) -> list[np.ndarray]:
        found = []
        for item in slices:
            label = item.label.copy()
            first = int(np.flatnonzero(label.any(axis=1))[0])
            label[: first + 15 + self.missed] = 0
            found.append(label)
        return found


def make_people(people: People, folder: Path, jobs: int = 1, progress=None) -> pd.DataFrame:
    rows = []
    for number in range(people.count):
        case = folder / f"case_{people.seed + number:06d}"
        if not case.is_dir():
            volume, label_map = make_volume(number)
            write_volume(case / "image.nii.gz", volume)
            write_label_map(case / "labels.nii.gz", label_map)
        paths = {"image": str(case / "image.nii.gz"), "label": str(case / "labels.nii.gz")}
        rows.append({"case": case.name, "patient": case.name, **paths, "height_m": 1.6 + 0.01 * number})
    return pd.DataFrame(rows)


def offline(source: str) -> None:
    raise BundleError(f"the weights of {source} could not be reached: choose scratch.")


@pytest.fixture(scope="module", autouse=True)
def stands_in():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("myotome.studies.l3_transfer.run.make_people", make_people)
        patch.setattr(jobs_module, "bundle_root", Path)
        patch.setattr(jobs_module, "SliceSegmenter", Labeller)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study from beginning to end: its trainings, findings, and folder."""
    trainer, folder, told = Trainer(), tmp_path_factory.mktemp("whole"), []
    means = Means(train=trainer, probe=offline, progress=lambda *words: told.append(words))
    findings = run_study(SETTINGS, folder, means)
    write_report(folder, findings, SETTINGS)
    return trainer, findings, folder, told


def test_jobs_are_every_source_subset_fold_and_repeat_once():
    jobs = list_jobs(SETTINGS, ("scratch", "jigsaw"))
    assert len(jobs) == len(set(jobs)) == 2 * 2 * 2 and {job.n for job in jobs[:4]} == {2}
    assert jobs[0].job_id == "scratch/n_002/repeat_1/fold_1"
    full = make_settings()
    assert len(list_jobs(full, full.sources)) == 6 * 7 * 4 * 3


def test_pretexts_come_first_on_other_people(whole):
    trainer, *_ = whole
    stages = [(stage, overrides.get("source")) for stage, overrides, _ in trainer.asked]
    assert stages[:2] == [("jigsaw", None), ("muscle", "scratch")] and len(stages) == 2 + 3 * 2 * 2
    for (_, overrides, lists), seed, iterations in zip(trainer.asked, (740000, 760000), (3, 4), strict=False):
        cases = {row["case"] for rows in lists.values() for row in rows}
        assert cases == {f"case_{seed + number:06d}" for number in range(OTHERS)}
        assert overrides["iterations"] == iterations


def test_a_job_trains_on_n_cases_that_it_does_not_test(whole):
    trainer, findings, folder, _ = whole
    tested = findings.tables["scores"]
    fold_of = tested.drop_duplicates("case").set_index("case")["fold"]
    subsets = {}
    for stage, overrides, lists in trainer.asked[2:]:
        assert stage == "muscle" and overrides["iterations"] == 7 and len(lists["validation"]) == 2
        own = {row["case"] for row in lists["training"]}
        seen = own | {row["case"] for row in lists["validation"]}
        (fold,) = set(fold_of) - set(fold_of[list(seen)])
        subsets.setdefault((fold, len(own)), []).append(own)
        weights = overrides.get("source_path")
        expected = None if overrides["source"] == "scratch" else f"sources/{overrides['source']}.pt"
        assert weights == (None if expected is None else folder.resolve() / expected)
    for fold in (1, 2):
        assert len(subsets[fold, 2]) == 3 and all(own == subsets[fold, 2][0] for own in subsets[fold, 2])
        assert subsets[fold, 2][0] < subsets[fold, 4][0], "subsets are nested, and the same for every source"


def test_every_case_is_scored_once_per_source_and_n(whole):
    _, findings, folder, _ = whole
    scores = findings.tables["scores"]
    assert len(scores) == 3 * 2 * COUNT
    assert (scores.groupby(["source", "n"])["case"].nunique() == COUNT).all()
    assert not list((folder / "jobs").rglob("*.pt")), "weights of finished jobs are not kept"
    assert findings.best == "phantom"
    dice = findings.tables["summary"].query("measure == 'skeletal_muscle_dice' and over == 'pooled'")
    values = dice.set_index(["source", "n"])["value"]
    assert values["scratch", 2] < values["jigsaw", 2] < values["phantom", 2] < values["phantom", 4]


def test_a_source_without_weights_is_left_out_with_its_sentence(whole):
    _, findings, folder, _ = whole
    assert findings.left_out == {"imagenet": "the weights of imagenet could not be reached: choose scratch."}
    page = (folder / "report.html").read_text()
    assert page.count("the weights of imagenet could not be reached") == 2
    assert "imagenet" not in set(findings.tables["summary"]["source"])


def test_progress_is_told_in_hundredths_of_jobs(whole):
    told = [words for words in whole[3] if words[1] == 100 * (2 + 12)]
    done = [words[0] for words in told]
    assert done == sorted(done) and done[-1] == 1400


def test_the_report_holds_curves_tables_and_sentences(whole):
    _, findings, folder, _ = whole
    page = (folder / "report.html").read_text()
    for sentence in findings.conclusion:
        assert sentence.replace("'", "&#39;").replace("<", "&lt;") in page
    assert page.count("data:image/png;base64,") == 5 and "simulated" in page
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best"] == "phantom" and summary["left_out"] == findings.left_out
    assert {row["n"] for row in summary["summary"]} == {2, 4}
    for name in ("scores", "summary", "comparisons", "agreement", "needed", "observers", "readings"):
        assert len(pd.read_csv(folder / f"{name}.csv")) == len(findings.tables[name])


def test_a_run_that_was_stopped_goes_on(tmp_path):
    means = Means(train=Trainer(fails_at=5), probe=offline)
    with pytest.raises(BundleError, match="the training failed"):
        run_jobs(SETTINGS, tmp_path, means)
    second = Trainer()
    stopped = run_jobs(SETTINGS, tmp_path, replace(means, train=second))
    assert len(second.asked) == 14 - 5
    third = Trainer()
    again = run_jobs(SETTINGS, tmp_path, replace(means, train=third))
    assert not third.asked and again.scores.equals(stopped.scores)


def test_n_larger_than_the_data_is_refused_before_anything_is_trained(tmp_path):
    trainer = Trainer()
    with pytest.raises(InputError, match="n = 9 is larger than the data: of 12 cases, 2 folds"):
        run_jobs(SETTINGS.changed(subset_sizes=(2, 9)), tmp_path, Means(train=trainer, probe=offline))
    assert not trainer.asked


def test_jobs_go_through_the_launcher_that_is_given(tmp_path):
    given = []

    def launch(jobs, open_work, on_done):
        given.append([job.job_id for job in jobs])
        launch_in_turn(jobs, open_work, on_done)

    run_jobs(SETTINGS.changed(sources=("scratch", "jigsaw")), tmp_path, Means(Trainer(), launch, offline))
    assert given[0] == ["pretext/jigsaw"] and len(given[1]) == 8


def test_sources_that_can_be_had_stay():
    sources, left_out = find_sources(make_settings(), lambda source: offline(source) if source == "imagenet" else None)
    assert "imagenet" in left_out and "segmentation" in sources and len(sources) == 5


def test_values_that_travel_to_workers_pickle():
    import pickle

    assert pickle.loads(pickle.dumps(Job("scratch", 5, 1, 1))).job_id == "scratch/n_005/repeat_1/fold_1"
    assert pickle.loads(pickle.dumps(Finished("x", 1.0))) == Finished("x", 1.0)
    assert pickle.loads(pickle.dumps(SETTINGS)) == SETTINGS
