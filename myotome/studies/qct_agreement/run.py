"""The study's run: every scan surveyed. What is done is kept, so a run that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from myotome import __version__
from myotome.biomarkers.bone_density import BoneDensitySettings
from myotome.studies.launching import Finished, Launcher, launch_in_turn
from myotome.studies.protocol import claim_folder, compute_fingerprint
from myotome.studies.qct_agreement.jobs import Job, Tools, Worker, list_jobs, read_rows, row_path
from myotome.studies.qct_agreement.settings import StudySettings
from myotome.studies.qct_agreement.site import list_site_jobs

__all__ = ["STUDY", "Means", "SiteFiles", "Surveyed", "survey_people"]

Progress = Callable[[int, int, str], None]

STUDY = "qct-agreement"


@dataclass(frozen=True)
class Means:
    """What a run needs beside its settings: who does the jobs, with what, and who is told."""

    launch: Launcher = launch_in_turn
    tools: Tools = field(default_factory=Tools)
    progress: Progress | None = None


@dataclass(frozen=True)
class SiteFiles:
    """A site's own list of scans, and its table of QCT."""

    data: Path
    qct: Path


@dataclass(frozen=True, eq=False)
class Surveyed:
    """Rows of every scan; ``fingerprint`` of what they are of; scans of a site that have no QCT."""

    rows: list[dict[str, Any]]
    fingerprint: str
    without_qct: int = 0


@dataclass(frozen=True)
class _Opener:
    """Makes a worker where it is called, which may be in another process."""

    settings: StudySettings
    output: Path
    tools: Tools

    def __call__(self) -> Worker:
        return Worker(self.settings, self.output, self.tools)


def survey_people(
    settings: StudySettings, output: Path, means: Means | None = None, site: SiteFiles | None = None
) -> Surveyed:
    """Survey every scan that is missing: the protocol's phantoms, or a site's own scans.

    Raises
    ------
    InputError
        When a site's files are refused, or a scan of it cannot be measured.
    BundleError
        When the networks are to label, and there are no weights.
    OutputError
        When the folder cannot be claimed or written.
    """
    means = means or Means()
    parts: dict[str, Any] = {"version": __version__, "survey": _of_the_survey(means.tools.bone)}
    if site is None:
        jobs, without = list_jobs(settings), 0
        parts["study"] = settings.fingerprint
    else:
        jobs, without = list_site_jobs(site.data, site.qct, settings.site, settings.seed)
        parts |= {"bundle": settings.bundle, "jobs": [asdict(job) for job in jobs]}
    fingerprint = compute_fingerprint(parts)
    claim_folder(output, STUDY, fingerprint)
    _do(jobs, settings, output, means)
    return Surveyed(read_rows(output, jobs), fingerprint, without)


def _of_the_survey(bone: BoneDensitySettings) -> dict[str, Any]:
    """What of the product's settings a row depends on; the rest can change without another scan."""
    parts = asdict(bone)
    return {name: parts[name] for name in ("region", "references", "phantom", "mean")}


def _do(jobs: Sequence[Job], settings: StudySettings, output: Path, means: Means) -> None:
    missing = [job for job in jobs if not row_path(output, job).is_file()]
    done = len(jobs) - len(missing)

    def count(finished: Finished | None = None) -> None:
        nonlocal done
        done += finished is not None
        if means.progress:
            means.progress(done, len(jobs), "scans")

    count()
    if missing:
        means.launch(missing, _Opener(settings, output, means.tools), count)
