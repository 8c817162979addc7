"""A cohort on a real SLURM of one node: a worker is cancelled, or never starts, and every case is done all the same."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, as_completed

from myotome.cohort.analysis import AnalysisOptions
from myotome.cohort.clusters import ClusterOptions
from myotome.cohort.run import RunRequest, run_cohort
from myotome.cohort.slurm import SlurmOptions, open_slurm_cluster
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.io import write_volume
from myotome.store import Store
from tests.integration.cohort_faults import FINGERPRINT, write_small_case
from tests.integration.slurm_cluster import NotingOpener, SlurmNode, open_slurm_node

pytestmark = pytest.mark.slow
CASES = 20
BUNDLE = "respiratory_muscle_ct_segmentation"


def write_cases(folder: Path) -> None:
    for seed in range(CASES):
        write_small_case(folder / f"p{seed}.nii.gz", seed)


def write_mask(path: Path) -> None:
    """A NIfTI of zeros and ones."""
    array = (np.indices((24, 20, 12)).sum(0) % 2).astype(np.int16)
    write_volume(path, Volume(array, Grid(array.shape, np.eye(4))))


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[SlurmNode]:
    with open_slurm_node(tmp_path_factory.mktemp("slurm")) as node:
        yield node


@pytest.fixture
def options(tmp_path: Path) -> SlurmOptions:
    return SlurmOptions(log_folder=tmp_path / "logs", interface="lo", check_s=1.0)


def test_a_cancelled_worker_is_replaced_and_every_case_is_done_once(node, options, tmp_path):
    write_cases(tmp_path / "scans")
    (tmp_path / "notes").mkdir()
    opener = NotingOpener(tmp_path / "notes", seconds=0.3, gates=((2, 2), (10, 3)))
    cancelled = []

    def cancel_one(step, done, total, counts):
        if step == "running" and done >= 4 and not cancelled:
            cancelled.extend(node.jobs("RUNNING")[:1])
            node.cancel(cancelled[0])

    request = RunRequest(
        sources=(str(tmp_path / "scans"),),
        output=tmp_path / "cohort",
        fingerprint=FINGERPRINT,
        open_segmenter=opener,
        analysis=AnalysisOptions(outputs=("labels",)),
        cluster=ClusterOptions(jobs=2, threads=1, memory_mb=1000, slurm=options),
    )
    summary = run_cohort(request, cancel_one)

    assert (summary.counts.done, summary.counts.refused, summary.counts.failed) == (CASES, 0, 0)
    cases = Store(tmp_path / "cohort").frame("SELECT case_id, subject_id, status, attempts FROM cases")
    assert len(cases) == cases.case_id.nunique() == cases.subject_id.nunique() == CASES
    assert set(cases.status) == {"done"}
    # Nothing was begun twice but the case that the cancelled worker had.
    begun = Counter(note.subject for note in opener.read() if note.what == "began")
    assert set(begun) == set(cases.subject_id)
    again = {subject for subject, times in begun.items() if times > 1}
    assert again <= set(cases.subject_id[cases.attempts == 2])
    assert len(again) <= 1
    # A third job took the place of the one that was cancelled after it had worked.
    assert cancelled[0] in opener.jobs()
    assert len(opener.jobs()) == 3
    node.wait_until(lambda: node.jobs() == [])


def test_a_job_cancelled_while_it_waits_is_submitted_again(node, options):
    """dask itself never learns of a job whose worker has not been there."""
    with open_slurm_cluster(2, 1, 500, replace(options, directives=("--begin=now+1hour",))):
        node.wait_until(lambda: len(node.jobs("PENDING")) == 2)
        first, second = node.jobs("PENDING")
        node.cancel(first)
        node.wait_until(lambda: len(set(node.jobs("PENDING")) - {first}) == 2)
        assert second in node.jobs("PENDING")
    node.wait_until(lambda: node.jobs() == [])


@pytest.mark.alone
def test_a_worker_whose_walltime_is_nearly_over_ends_its_task_and_is_replaced(node, options, tmp_path):
    """Its limit is lowered to a minute, of which the last quarter of four minutes is already more than is left."""

    def begin_and_end(number: int) -> tuple[int, str]:
        (tmp_path / f"began{number}").touch(exist_ok=False)
        time.sleep(1)
        return number, os.environ["SLURM_JOB_ID"]

    options, jobs = replace(options, walltime_minutes=4), {}
    with ExitStack() as stack:
        # A task that is cut off raises KilledWorker at once, as it does in a run.
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
        client = stack.enter_context(Client(stack.enter_context(open_slurm_cluster(1, 1, 500, options))))
        for future in as_completed(client.map(begin_and_end, range(6))):
            number, job = future.result()
            future.release()
            jobs[number] = job
            if len(jobs) == 2:
                subprocess.run(["scontrol", "update", f"jobid={job}", "timelimit=1"], check=True)
    assert sorted(jobs) == [0, 1, 2, 3, 4, 5]
    assert len(set(jobs.values())) == 2


def test_jobs_that_never_start_a_worker_are_not_submitted_for_ever(node, options):
    broken = replace(options, prologue=("exit 3",))
    with open_slurm_cluster(2, 1, 500, broken) as cluster:
        node.wait_until(lambda: cluster.failure is not None)
        assert str(options.log_folder) in cluster.failure
        node.wait_until(lambda: cluster.status.name == "closed")
    node.wait_until(lambda: node.jobs() == [])


def test_what_slurm_refuses_is_said(node, options):
    elsewhere = replace(options, partition="nowhere")
    with pytest.raises(InputError, match="refuses the job of a worker: .*[Ii]nvalid partition"):
        open_slurm_cluster(2, 1, 500, elsewhere)
    assert node.jobs() == []


def test_a_job_array_does_each_part_once_and_slurm_does_what_is_added(node, tmp_path, monkeypatch):
    """The program itself, as docs/cluster.md has it: a small CT, and masks, which are refused for what they are."""
    scans, output = tmp_path / "scans", tmp_path / "cohort"
    write_small_case(scans / "ct.nii.gz", seed=1)
    for number in range(3):
        write_mask(scans / f"mask{number}.nii.gz")
    command = [sys.executable, "-m", "myotome", "cohort", "run", str(scans), "-b", BUNDLE, "-o", str(output)]
    command += ["--outputs", "labels", "--threads", "1", "--memory-gb", "3", "--json"]
    wrapped = f'{shlex.join(command)} --shard "$SLURM_ARRAY_TASK_ID/2"'
    node.submit("--array=1-2", f"--output={tmp_path}/%a.json", f"--error={tmp_path}/%a.log", "--wrap", wrapped)
    node.wait_until(lambda: node.jobs() == [], timeout_s=300)

    parts = [json.loads((tmp_path / f"{part}.json").read_text()) for part in (1, 2)]
    assert sum(part["total"] for part in parts) == 4
    assert [sum(part[status] for part in parts) for status in ("done", "refused", "failed")] == [1, 3, 0]
    assert len(Store(output).cohort.case_stamps()) == 4

    write_mask(scans / "added.nii.gz")
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    done = subprocess.run([*command, "--slurm"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert [counts[name] for name in ("total", "before", "done", "refused", "failed")] == [5, 4, 0, 1, 0]
    assert list((output / "private" / "slurm").glob("myotome-*.err"))
    node.wait_until(lambda: node.jobs() == [])
