"""The command's launcher: jobs of a study on workers of the cohort engine; and what the command refuses."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from myotome.cli.app import app
from myotome.cli.study_l3_transfer import make_launcher
from myotome.cohort.clusters import ClusterOptions
from myotome.errors import BundleError, MyotomeError
from myotome.studies.l3_transfer.jobs import Job
from myotome.studies.launching import Finished

JOBS = [Job("scratch", 5, fold, 1) for fold in (1, 2, 3)]


def open_work(folder: Path, deed: str = ""):
    return functools.partial(work, folder, deed)


def work(folder: Path, deed: str, job: Job, attempt: int) -> Finished:
    if job.fold == 2 and deed == "dies":
        os._exit(1)
    if deed == "fails":
        raise BundleError("the training failed")
    (folder / f"fold_{job.fold}").write_text(str(os.getpid()))
    return Finished(job.job_id, 1.0)


@pytest.mark.parametrize(("deed", "error"), [("", None), ("fails", "the training failed"), ("dies", "1 jobs are lost")])
def test_jobs_are_done_by_other_processes(tmp_path, deed, error):
    launch, done = make_launcher(ClusterOptions(jobs=1, threads=1, memory_mb=1500), tmp_path / "workers"), []
    opener = functools.partial(open_work, tmp_path, deed)
    if error is None:
        launch(JOBS, opener, done.append)
        assert sorted(found.job_id for found in done) == sorted(job.job_id for job in JOBS)
        assert (tmp_path / "fold_3").read_text() != str(os.getpid())
        return
    with pytest.raises(MyotomeError, match=error):
        launch(JOBS, opener, done.append)
    if deed == "dies":
        assert {found.job_id for found in done} == {JOBS[0].job_id, JOBS[2].job_id}


def test_what_cannot_be_is_said_in_a_sentence(tmp_path):
    words = ["study", "l3-transfer", "-o", str(tmp_path / "out")]
    for more, sentence in (
        (["--preset", "fast"], "no preset 'fast': it has quick"),
        (["--observers", str(tmp_path / "absent")], "is not a folder: give one with a folder per reader"),
        (["--data", str(tmp_path / "absent.json")], "is not a list of slices"),
        (["--slurm"], "give --memory-gb"),
    ):
        result = CliRunner().invoke(app, [*words, *more])
        assert result.exit_code != 0 and sentence in str(result.exception)
