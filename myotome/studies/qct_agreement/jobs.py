"""The study's jobs: one scan each, made or read, surveyed, and kept as a row of its own.

A worker has everything in the job and the settings, so it may stand anywhere. A row that is there is not made again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from myotome.biomarkers.bone_density import (
    SCHEMA,
    BoneDensitySettings,
    BoneSurvey,
    References,
    read_bone_density_settings,
    survey_bone,
)
from myotome.errors import InputError, MyotomeError
from myotome.geometry import Volume
from myotome.inference.segmenter import BundleSegmenter, Segmenter
from myotome.io import read_label_map, read_volume
from myotome.io.atomic import atomic_path
from myotome.phantoms.bone import BoneCase, make_bone, make_bone_scan
from myotome.structures import LabelMap, read_label_schema
from myotome.studies.launching import Finished
from myotome.studies.qct_agreement.changes import Changes, change_scan
from myotome.studies.qct_agreement.faults import break_case
from myotome.studies.qct_agreement.readings import SEGMENTER_REFUSED, Reference, describe_survey, read_reference
from myotome.studies.qct_agreement.settings import StudySettings

__all__ = [
    "BROKEN",
    "REPEAT",
    "TEST",
    "TRAINING",
    "WHOLE",
    "Job",
    "Tools",
    "Worker",
    "list_jobs",
    "read_rows",
    "row_path",
]

TRAINING = "training"
TEST = "test"
REPEAT = "repeat"
BROKEN = "broken"
WHOLE = "whole"
"""Factor or fault of a scan of the repeats and of the broken part that nothing was changed of."""


@dataclass(frozen=True)
class Job:
    """One scan of one person.

    ``factor`` and ``step`` say which change of the repeats is made, ``fault`` how it is broken. A scan of a site has
    ``image`` and may have ``label`` (paths) and ``qct_mg_cm3``; others are phantoms of ``seed``.
    """

    part: str
    case: str
    patient: str
    seed: int | None = None
    factor: str = ""
    step: int = 0
    fault: str = ""
    image: str | None = None
    label: str | None = None
    qct_mg_cm3: float | None = None

    @property
    def job_id(self) -> str:
        """Name, and file below ``rows``."""
        what = [self.factor, str(self.step)] if self.factor else [self.fault] if self.fault else []
        return "/".join([self.part, *what, self.case])


@dataclass(frozen=True)
class Tools:
    """What makes a phantom and what labels it; a test may have others.

    A segmenter that refuses a scan raises `InputError`: such a scan has a row without a number.
    """

    make: Callable[..., BoneCase] = make_bone
    segmenter: Callable[[str], Segmenter] = BundleSegmenter
    bone: BoneDensitySettings = field(default_factory=read_bone_density_settings)


def list_jobs(settings: StudySettings) -> list[Job]:
    """Every scan of the phantoms: training, test, repeats and broken calibrations, each with its whole scan."""
    jobs = []
    for part, people in ((TRAINING, settings.training), (TEST, settings.test)):
        jobs += [_phantom_job(part, people.seed + number) for number in range(people.count)]
    for seed in range(settings.repeats.people.seed, settings.repeats.people.seed + settings.repeats.people.count):
        jobs.append(_phantom_job(REPEAT, seed, factor=WHOLE))
        for factor, steps in settings.repeats.factors.items():
            jobs += [_phantom_job(REPEAT, seed, factor=factor, step=step) for step in range(1, len(steps) + 1)]
    for seed in range(settings.broken.people.seed, settings.broken.people.seed + settings.broken.people.count):
        jobs += [_phantom_job(BROKEN, seed, fault=fault) for fault in (WHOLE, *settings.broken.faults)]
    return jobs


def _phantom_job(part: str, seed: int, **more: Any) -> Job:
    case = f"case_{seed:07d}"
    return Job(part, case, case, seed, **more)


@dataclass
class Worker:
    """Does jobs in a study's folder; a row that is there already is left as it is."""

    settings: StudySettings
    output: Path
    tools: Tools = field(default_factory=Tools)

    def __call__(self, job: Job, attempt: int = 1) -> Finished:
        """Do a job; how long it took."""
        path = row_path(self.output, job)
        if not path.is_file():
            begun = time.monotonic()
            row = self._survey(job)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                row |= {"job_id": job.job_id, "job": asdict(job), "seconds": round(time.monotonic() - begun, 3)}
                temporary.write_text(json.dumps(row), encoding="utf-8")
        return Finished(job.job_id, json.loads(path.read_text(encoding="utf-8"))["seconds"])

    def _survey(self, job: Job) -> dict[str, Any]:
        """A phantom's or a site's scan: facts, survey, reference and truth."""
        if job.image is not None:
            volume, labels = self._read(job)
            survey, refusal = self._look_at(volume, labels)
            reference = Reference(job.qct_mg_cm3, reason="" if job.qct_mg_cm3 is not None else "not in qct.csv")
            return self._row(volume, {}, survey, reference) | {"truth_mg_cm3": None, "refusal": refusal}
        case = self._make(job)
        drawn = self.settings.segmenter == "truth"
        survey, refusal = self._look_at(case.volume, case.label_map if drawn else None)
        reference = Reference(None, reason="the calibration is broken")
        if not job.fault:
            reader = survey if drawn else survey_bone(case.volume, case.label_map, self.tools.bone)
            reference = read_reference(case.volume, reader, self.settings.levels, self.tools.bone)
        row = self._row(case.volume, case.truth, survey, reference)
        return row | {"truth_mg_cm3": case.truth["bmd_mg_cm3"], "refusal": refusal}

    def _look_at(self, volume: Volume, labels: LabelMap | None) -> tuple[BoneSurvey, str]:
        """The survey by labels, those of the bundle when there are none; and the sentence of a bundle that refuses."""
        if labels is None:
            segmenter = self._bundle
            try:
                labels = segmenter.segment(volume)
            except InputError as error:
                nothing = References({}, volume.acquisition.tube_voltage_kv)
                return BoneSurvey({}, nothing, (SEGMENTER_REFUSED,)), str(error)
        return survey_bone(volume, labels, self.tools.bone), ""

    def _make(self, job: Job) -> BoneCase:
        scan = change_scan(make_bone_scan(job.seed), self.settings.scan)
        scan = replace(change_scan(scan, self._change(job)), acquisition_seed=_noise_seed(job))
        case = self.tools.make(job.seed, scan)
        if job.fault in ("", WHOLE):
            return case
        return break_case(case, job.fault, self.settings.broken.faults[job.fault], job.seed)

    def _change(self, job: Job) -> Changes:
        if job.part == REPEAT and job.factor != WHOLE:
            return self.settings.repeats.factors[job.factor][job.step - 1]
        if job.part == BROKEN and job.fault != WHOLE:
            return self.settings.broken.faults[job.fault].scan
        return {}

    def _read(self, job: Job) -> tuple[Volume, LabelMap | None]:
        try:
            volume = read_volume(job.image, modality="CT")
            if job.label is None:
                return volume, None
            return volume, read_label_map(job.label, read_label_schema(SCHEMA), grid=volume.grid)
        except MyotomeError as error:
            raise InputError(f"case '{job.case}': {error}") from error

    @cached_property
    def _bundle(self) -> Segmenter:
        return self.tools.segmenter(self.settings.bundle)

    def _row(
        self, volume: Volume, truth: Mapping[str, Any], survey: BoneSurvey, reference: Reference
    ) -> dict[str, Any]:
        acquisition = volume.acquisition
        facts = {
            "sex": acquisition.sex,
            "age_years": truth.get("age_years"),
            "tube_voltage_kv": acquisition.tube_voltage_kv,
            "kernel": acquisition.kernel,
            "scanner": truth.get("scanner", acquisition.manufacturer),
            "slice_thickness_mm": acquisition.slice_thickness_mm,
            "noise_hu": truth.get("noise_hu"),
        }
        return {"facts": facts, "survey": describe_survey(survey), "reference": asdict(reference)}


def _noise_seed(job: Job) -> int:
    """Of the acquisition: another one for every repeat, so that noise is part of what differs."""
    return job.seed if job.part != REPEAT else job.seed + 1_000_003 * sum(map(ord, job.factor)) + job.step


def row_path(output: Path, job: Job) -> Path:
    """Where the row of a job is kept."""
    return output / "rows" / f"{job.job_id}.json"


def read_rows(output: Path, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """The rows of jobs that are done.

    Raises
    ------
    MyotomeError
        When one is not.
    """
    rows = []
    for job in jobs:
        path = row_path(output, job)
        if not path.is_file():
            raise MyotomeError(f"the scan '{job.job_id}' is not done: the same command goes on where it was.")
        rows.append(json.loads(path.read_text(encoding="utf-8")))
    return rows
