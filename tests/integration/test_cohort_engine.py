"""The engine with workers of its own and of somebody else, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from myotome.cohort import run as run_module
from myotome.cohort.analysis import AnalysisOptions, Fingerprint
from myotome.cohort.clusters import ClusterOptions, open_cluster
from myotome.cohort.run import RunRequest, Shard, read_status, run_cohort
from myotome.cohort.sources import SourceOptions
from myotome.errors import BundleError, InputError
from myotome.store import Store

sys.path.insert(0, str(Path(__file__).parent))
import cohort_faults as faults
from cohort_ordeal import workers_of

STATUSES = "SELECT status, reason, attempts FROM cases ORDER BY status, reason"


@pytest.fixture
def people(tmp_path) -> Path:
    for number in range(6):
        faults.write_small_case(tmp_path / "people" / f"{number}.nii.gz", number)
    return tmp_path / "people"


@pytest.fixture(scope="module")
def somebody_elses():
    """A cluster that was there before, and stays."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        yield cluster


@pytest.fixture
def request_for(people, tmp_path, somebody_elses):
    """A run of those people with the light segmenter."""

    def make(**changes) -> RunRequest:
        words = {
            "sources": (str(people),),
            "output": tmp_path / "cohort",
            "fingerprint": faults.FINGERPRINT,
            "open_segmenter": faults.LightOpener(),
            "analysis": AnalysisOptions(outputs=()),
            "cluster": ClusterOptions(scheduler=somebody_elses.scheduler_address),
        }
        return RunRequest(**{**words, **changes})

    return make


@pytest.mark.alone
def test_a_case_that_never_ends_is_given_up_and_those_that_wait_are_not(request_for, people):
    """Each of the others takes a third of the limit: what waits for a worker is not running."""
    faults.write_small_case(people / "3.nii.gz", 3, faults.SLEEP)
    cluster = ClusterOptions(jobs=2, threads=1, memory_mb=700)
    opener = faults.LightOpener(1.0)
    summary = run_cohort(request_for(timeout_s=3.0, cluster=cluster, open_segmenter=opener))
    assert (summary.counts.done, summary.counts.failed) == (5, 1)
    assert "it was not done after 3 s" in summary.failures[0][1]


@pytest.mark.slow
@pytest.mark.alone
def test_a_worker_that_needs_long_to_start_again_is_waited_for():
    """On a busy machine its libraries alone take longer than the 15 s after which dask gives a worker up."""
    with open_cluster(ClusterOptions(jobs=1, threads=1, memory_mb=700)) as client:
        (pid,) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not (started := [child for child in workers_of(os.getpid()) if child.pid != pid]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started[0].suspend()
        time.sleep(18)
        started[0].resume()
        assert client.submit(sum, (1, 2)).result(timeout=60) == 3


def test_workers_of_somebody_else_are_left_as_they_were(request_for, somebody_elses):
    assert run_cohort(request_for()).counts.done == 6
    with Client(somebody_elses) as client:
        assert len(client.nthreads()) == 1
        assert client.run(lambda dask_worker: "myotome-work" in dask_worker.plugins) == dict.fromkeys(
            client.nthreads(), False
        )


def test_no_scheduler_is_one_sentence(request_for, monkeypatch):
    monkeypatch.setattr("myotome.cohort.clusters._CONNECT_S", 1)
    with pytest.raises(InputError, match="no scheduler answers at 'tcp://127.0.0.1:9'"):
        run_cohort(request_for(cluster=ClusterOptions(scheduler="tcp://127.0.0.1:9")))


def test_a_bundle_that_cannot_be_opened_ends_the_run_at_once(request_for, tmp_path):
    def broken():
        raise BundleError("the bundle has no weights: download them.")

    with pytest.raises(BundleError, match="no weights"):
        run_cohort(request_for(open_segmenter=broken))
    assert read_status(tmp_path / "cohort")["runs"][0]["state"] == "stopped"


def test_another_version_makes_every_case_anew_and_the_same_one_none(request_for, tmp_path):
    run_cohort(request_for())
    before = Store(tmp_path / "cohort").cohort.case_stamps()
    assert run_cohort(request_for()).counts.before == 6
    assert Store(tmp_path / "cohort").cohort.case_stamps() == before
    newer = Fingerprint("light", "2", "0" * 64)
    assert run_cohort(request_for(fingerprint=newer)).counts.done == 6
    versions = Store(tmp_path / "cohort").frame("SELECT DISTINCT bundle_version FROM cases")
    assert list(versions["bundle_version"]) == ["2"]


def test_a_file_that_changed_is_measured_again(request_for, people):
    run_cohort(request_for())
    faults.write_small_case(people / "2.nii.gz", 77)
    counts = run_cohort(request_for()).counts
    assert (counts.before, counts.done) == (5, 1)


def test_shards_do_every_case_once(request_for, tmp_path):
    done = [run_cohort(request_for(shard=Shard(k, 3))).counts.done for k in (1, 2, 3)]
    assert sum(done) == 6
    assert [run["total"] for run in read_status(tmp_path / "cohort")["runs"]] == done
    assert run_cohort(request_for()).counts.before == 6


def test_two_runs_in_one_folder_are_kept_apart(request_for, tmp_path):
    from myotome.store import CohortFolder

    cohort = CohortFolder.create(tmp_path / "cohort")
    with run_module._alone(cohort, Shard()):
        with pytest.raises(InputError, match="another run is at work"):
            run_cohort(request_for())
        with pytest.raises(InputError, match="another run is at work"):
            run_cohort(request_for(shard=Shard(1, 2)))
    with run_module._alone(cohort, Shard(1, 2)):
        with pytest.raises(InputError, match="another run is at work"):
            run_cohort(request_for(shard=Shard(1, 2)))
        with pytest.raises(InputError, match="another run is at work"):
            run_cohort(request_for(shard=Shard(1, 3)))
        assert run_cohort(request_for(shard=Shard(2, 2))).counts.failed == 0


def test_shards_that_start_together_do_every_case_once(people, tmp_path):
    """Three processes on a folder that is not there yet, as the jobs of an array are."""
    for number in range(6, 18):
        faults.write_small_case(people / f"{number}.nii.gz", number)
    program = [sys.executable, str(Path(faults.__file__)), str(people), str(tmp_path / "cohort")]
    shards = [subprocess.Popen([*program, f"{k}/3"], stdout=subprocess.PIPE, text=True) for k in (1, 2, 3)]
    said = [shard.communicate(timeout=200)[0] for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0, 0], said
    frame = Store(tmp_path / "cohort").frame("SELECT count(*) AS n, count(DISTINCT case_id) AS ids FROM cases")
    assert frame.to_dict("records") == [{"n": 18, "ids": 18}]


def test_tables_gathered_while_cases_come_count_each_once(request_for, people, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "_COMPACT_EVERY", 2)
    for number in range(6, 24):
        faults.write_small_case(people / f"{number}.nii.gz", number)
    run_cohort(request_for())
    sql = "SELECT count(*) AS n, count(DISTINCT case_id) AS ids FROM {}"
    assert Store(tmp_path / "cohort").frame(sql.format("cases")).to_dict("records") == [{"n": 24, "ids": 24}]
    volumes = sql.format("measurements WHERE structure = 'pectoralis' AND side = 'both' AND measure = 'volume'")
    assert Store(tmp_path / "cohort").frame(volumes).to_dict("records") == [{"n": 24, "ids": 24}]


def test_cases_of_no_source_are_counted(request_for, people, tmp_path):
    run_cohort(request_for())
    people.rename(tmp_path / "moved")
    summary = run_cohort(request_for(sources=(str(tmp_path / "moved"),)))
    assert summary.counts.elsewhere == 6


def test_studies_and_series_are_not_mixed(request_for):
    run_cohort(request_for())
    with pytest.raises(InputError, match="were found with --series best"):
        run_cohort(request_for(finding=SourceOptions("all")))


def test_importing_slurm_leaves_ctrl_c_alone():
    """dask-jobqueue takes SIGINT for itself when it is imported."""
    program = (
        "import signal; before = signal.getsignal(signal.SIGINT); import myotome.cohort.slurm; "
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
