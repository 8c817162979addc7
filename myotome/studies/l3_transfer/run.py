"""The study's run: people, sources, jobs. What is finished is kept, so a run that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from myotome.errors import BundleError
from myotome.io.atomic import atomic_path
from myotome.networks.weights import read_mobilenet_weights
from myotome.studies.l3_transfer.cases import make_people, read_case_list
from myotome.studies.l3_transfer.folds import divide
from myotome.studies.l3_transfer.jobs import (
    DONE,
    PretextJob,
    Train,
    Worker,
    list_jobs,
    pretext_path,
    read_scores,
)
from myotome.studies.l3_transfer.settings import PRETEXTS, StudySettings
from myotome.studies.launching import Finished, Launcher, launch_in_turn
from myotome.studies.protocol import claim_folder
from myotome.training.warm import WarmTrainer

__all__ = ["STUDY", "Means", "Trained", "find_sources", "run_jobs"]

Progress = Callable[[int, int, str], None]
Probe = Callable[[str], object]

STUDY = "l3-transfer"
_PERCENT = 100
_PUBLIC = ("imagenet", "segmentation")


@dataclass(frozen=True)
class Means:
    """What a run needs beside its settings.

    ``train`` is as `myotome.training.train_bundle`, or what stands for it in a test; ``launch`` gives jobs to workers;
    ``probe`` raises a BundleError when the public weights of a source cannot be had; ``jobs`` phantoms are made at a
    time.
    """

    train: Train = field(default_factory=WarmTrainer)
    launch: Launcher = launch_in_turn
    probe: Probe | None = None
    jobs: int = 1
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """What the trainings gave: a row per job and test case; the cases, the sources, and why others are missing."""

    scores: pd.DataFrame
    cases: pd.DataFrame
    sources: tuple[str, ...]
    left_out: dict[str, str]
    seconds: dict[str, float]


def find_sources(settings: StudySettings, probe: Probe) -> tuple[tuple[str, ...], dict[str, str]]:
    """Sources whose weights can be had, and of each other one the sentence that says why not."""
    left_out = {}
    for source in settings.sources:
        if source in _PUBLIC:
            try:
                probe(source)
            except BundleError as error:
                left_out[source] = str(error)
    return tuple(source for source in settings.sources if source not in left_out), left_out


def run_jobs(settings: StudySettings, output: Path, means: Means = Means()) -> Trained:
    """Train and score everything that is missing.

    Raises
    ------
    InputError
        When n is larger than the data, or the cases cannot be read.
    BundleError
        When a training fails.
    OutputError
        When the folder cannot be claimed or written.
    """
    claim_folder(output, STUDY, settings.fingerprint)
    cases = _gather(settings, output, means)
    divide(cases, settings)
    sources, left_out = find_sources(settings, means.probe or _probe)
    pretexts = [PretextJob(name) for name in sources if name in PRETEXTS and not pretext_path(output, name).is_file()]
    jobs = list_jobs(settings, sources)
    done = [job for job in jobs if (output / "jobs" / job.job_id / DONE).is_file()]
    missing = [job for job in jobs if job not in set(done)]
    steps = _Steps(means.progress, len(jobs) + len(pretexts), len(done))
    for part in (pretexts, missing):  # the second begins with the weights of the first
        if part:
            means.launch(part, _Opener(settings, output, means.train, _reporter(means, steps)), steps.finish)
    seconds = {job.job_id: Worker(settings, output)(job).seconds for job in jobs}
    return Trained(read_scores(output, jobs), cases, sources, left_out, seconds)


@dataclass(frozen=True)
class _Opener:
    """Makes a worker where it is called, which may be on another machine."""

    settings: StudySettings
    output: Path
    train: Train
    report: Callable[[str, float], None] | None

    def __call__(self) -> Worker:
        if self.report is None:
            return Worker(self.settings, self.output, self.train)
        return Worker(self.settings, self.output, self.train, self.report)


class _Steps:
    """Jobs that are done, told in hundredths of a job."""

    def __init__(self, progress: Progress | None, total: int, done: int) -> None:
        self._progress, self._total, self._done = progress, total, done

    def finish(self, finished: Finished) -> None:
        self._done += 1
        self.report(finished.job_id, 0.0)

    def report(self, words: str, share: float) -> None:
        if self._progress:
            self._progress(round((self._done + share) * _PERCENT), self._total * _PERCENT, words)


def _reporter(means: Means, steps: _Steps) -> Callable[[str, float], None] | None:
    """What workers of this process tell; others cannot be heard until a job is done."""
    return steps.report if means.launch is launch_in_turn else None


def _gather(settings: StudySettings, output: Path, means: Means) -> pd.DataFrame:
    """The cases, and the people of the sources' own tasks, as tables in the study's folder."""
    made: dict[str, Any] = {}
    if settings.datalist is None:
        made["cases"] = make_people(settings.phantoms, output / "phantoms", means.jobs, means.progress)
    else:
        made["cases"] = read_case_list(Path(settings.datalist))
    if {"reconstruction", "jigsaw"} & set(settings.sources):
        made["unlabelled"] = make_people(settings.unlabelled, output / "unlabelled", means.jobs, means.progress)
    if "phantom" in settings.sources:
        folder = output / "phantom_people"
        made["phantom_people"] = make_people(settings.phantom_people, folder, means.jobs, means.progress)
    for name, table in made.items():
        with atomic_path(output / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    return made["cases"]


def _probe(source: str) -> None:
    """Fetch the public weights of a source, or take them from torchvision's cache."""
    read_mobilenet_weights(source)
