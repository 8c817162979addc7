"""The launcher of studies: jobs on workers of the cohort engine."""

from __future__ import annotations

import functools
import os
import pickle

import pytest

from myotome.cli.launcher import make_launcher
from myotome.cohort.clusters import ClusterOptions
from myotome.errors import MyotomeError
from myotome.studies.l3_transfer.jobs import Job
from tests.unit.cli.launched import Errand, open_work

JOBS = [Errand(fold) for fold in (1, 2, 3)]


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


def test_a_job_of_a_study_can_be_sent():
    job = Job("scratch", 5, 2, 1)
    assert pickle.loads(pickle.dumps(job)) == job
