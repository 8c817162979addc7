"""The study's jobs: the pretext trainings, then one training per source, subset, fold and repeat.

A job is done by a worker that has everything in the study's folder, so it may stand on another machine. How jobs get to
workers is the launcher's matter: `myotome.studies.launching.launch_in_turn` does them here, one after the other; the
command line has one that gives them to the cohort engine.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myotome.errors import MyotomeError
from myotome.inference.slice_batch import SliceSegmenter
from myotome.io.atomic import atomic_path
from myotome.resources import bundle_root
from myotome.studies.goutallier.folds import Fold
from myotome.studies.l3_transfer.cases import L3Slice, read_slices
from myotome.studies.l3_transfer.folds import divide, order_training
from myotome.studies.l3_transfer.scoring import score_slice
from myotome.studies.l3_transfer.settings import StudySettings
from myotome.studies.launching import Finished
from myotome.training import BundleTraining
from myotome.training.warm import WarmTrainer

__all__ = [
    "DONE",
    "Job",
    "PretextJob",
    "Report",
    "Train",
    "Worker",
    "list_jobs",
    "pretext_path",
    "read_cases",
    "read_scores",
]

Train = Callable[..., Path]
Report = Callable[[str, float], None]
DONE = "done.json"


@dataclass(frozen=True)
class Job:
    """One training of the target task from a source, on ``n`` slices of a fold; ``repeat`` counts from 1."""

    source: str
    n: int
    fold: int
    repeat: int

    @property
    def job_id(self) -> str:
        """Name, and folder below ``jobs``."""
        return f"{self.source}/n_{self.n:03d}/repeat_{self.repeat}/fold_{self.fold}"


@dataclass(frozen=True)
class PretextJob:
    """The training of a source's own task: reconstruction, jigsaw, or the segmentation of other phantoms."""

    source: str

    @property
    def job_id(self) -> str:
        """Name."""
        return f"pretext/{self.source}"


def list_jobs(settings: StudySettings, sources: Sequence[str]) -> list[Job]:
    """Every job of the sources, smallest subsets first, so that a study that is stopped has the whole of those."""
    return [
        Job(source, n, fold, repeat)
        for n in settings.subset_sizes
        for repeat in range(1, settings.repeats + 1)
        for fold in range(1, settings.fold_count + 1)
        for source in sources
    ]


@dataclass
class Worker:
    """Does jobs in a study's folder; what is done already is left as it is.

    ``report`` is called with words and the share of a job's training that is done.
    """

    settings: StudySettings
    output: Path
    train: Train = field(default_factory=WarmTrainer)
    report: Report = lambda words, share: None
    _slices: dict[str, L3Slice] = field(default_factory=dict)
    _folds: list[Fold] = field(default_factory=list)

    def __call__(self, job: Job | PretextJob, attempt: int = 1) -> Finished:
        """Do a job; how long it took."""
        begun = time.monotonic()
        if isinstance(job, PretextJob):
            self._train_pretext(job)
            return Finished(job.job_id, time.monotonic() - begun)
        folder = self.output / "jobs" / job.job_id
        if not (folder / DONE).is_file():
            self._do(job, folder, begun)
        return Finished(job.job_id, json.loads((folder / DONE).read_text(encoding="utf-8"))["seconds"])

    # -- trainings -----------------------------------------------------------------------------------------------

    def _train_pretext(self, job: PretextJob) -> None:
        target = pretext_path(self.output, job.source)
        if target.is_file():
            return
        stage = "muscle" if job.source == "phantom" else job.source
        overrides = {"cache_dir": str(self.output / "cache"), **self.settings.pretext_training[job.source]}
        if job.source == "phantom":
            overrides = {"source": "scratch", **overrides}
        people = "phantom_people" if job.source == "phantom" else "unlabelled"
        table = read_cases(self.output / f"{people}.csv")
        aside = max(1, round(0.1 * len(table)))
        parts = {"training": table.iloc[:-aside], "validation": table.iloc[-aside:]}
        self._train(stage, target, parts, {"seed": self.settings.seed, **overrides})

    def _do(self, job: Job, folder: Path, begun: float) -> None:
        cases, fold = self._read(), self._fold(job.fold)
        chosen = order_training(fold, self.settings.seed, job.repeat)[: job.n]
        parts = {"training": cases.iloc[chosen], "validation": cases.iloc[fold.validation]}
        overrides = {
            "source": job.source,
            "seed": self.settings.seed + 1000 * job.repeat + job.fold,
            "cache_dir": str(self.output / "cache"),
            **self.settings.training,
        }
        if pretext_path(self.output, job.source).is_file():
            overrides["source_path"] = pretext_path(self.output, job.source)
        weights = folder / "model.pt"
        if not weights.is_file():
            self._train("muscle", weights, parts, overrides)
        self._score(job, folder, weights, cases.iloc[fold.test])
        facts = {"job": asdict(job), "cases": parts["training"]["case"].tolist(), "seconds": time.monotonic() - begun}
        if not self.settings.keep_weights:
            weights.unlink()
        with atomic_path(folder / DONE) as temporary:
            temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def _train(self, stage: str, weights: Path, parts: Mapping[str, pd.DataFrame], overrides: dict[str, Any]) -> None:
        """Train beside the place of the weights, so that a file in that place is a finished one."""
        work = weights.with_name(f"{weights.stem}.training")
        work.mkdir(parents=True, exist_ok=True)
        lists = {name: table[["image", "label", "case"]].to_dict("records") for name, table in parts.items()}
        with atomic_path(work / "datalist.json") as temporary:
            temporary.write_text(json.dumps(lists, indent=1), encoding="utf-8")
        training = BundleTraining(
            bundle=bundle_root(self.settings.bundle),
            datalist=work / "datalist.json",
            weights=work / "model.pt",
            checkpoints=work,
            overrides=overrides,
            only=(stage,),
        )
        os.replace(self.train(training, self.report), weights)
        shutil.rmtree(work)

    # -- scores --------------------------------------------------------------------------------------------------

    def _score(self, job: Job, folder: Path, weights: Path, test: pd.DataFrame) -> None:
        """Write ``scores.csv``, and of the first repeat the labels, of which the report shows some."""
        slices = [self._slices[case] for case in test["case"]]
        labels = SliceSegmenter(weights).label(slices)
        rows = [
            {**asdict(job), "case": item.case, "patient": patient, **score_slice(item, label)}
            for item, patient, label in zip(slices, test["patient"], labels, strict=True)
        ]
        with atomic_path(folder / "scores.csv") as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
        if job.repeat == 1:
            with atomic_path(folder / "labels.npz") as temporary:
                np.savez_compressed(temporary, **{item.case: label for item, label in zip(slices, labels, strict=True)})

    def _read(self) -> pd.DataFrame:
        cases = read_cases(self.output / "cases.csv")
        if not self._slices:
            self._slices = {item.case: item for item in read_slices(cases)}
            self._folds = divide(cases, self.settings)
        return cases

    def _fold(self, number: int) -> Fold:
        return next(fold for fold in self._folds if fold.number == number)


def pretext_path(output: Path, source: str) -> Path:
    """Where the weights of a source's own task are kept."""
    return output / "sources" / f"{source}.pt"


def read_cases(path: Path) -> pd.DataFrame:
    """A table of cases that the study has written."""
    return pd.read_csv(path, dtype={"case": str, "patient": str})


def read_scores(output: Path, jobs: Sequence[Job]) -> pd.DataFrame:
    """The scores of jobs that are done.

    Raises
    ------
    MyotomeError
        When one is not.
    """
    tables = []
    for job in jobs:
        folder = output / "jobs" / job.job_id
        if not (folder / DONE).is_file():
            raise MyotomeError(f"the job '{job.job_id}' is not done: the same command goes on where it was.")
        tables.append(pd.read_csv(folder / "scores.csv", dtype={"case": str, "patient": str}))
    return pd.concat(tables, ignore_index=True)
