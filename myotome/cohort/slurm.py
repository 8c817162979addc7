"""Workers that are jobs of a SLURM cluster, and whose number is kept when jobs end before the work does."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import dask
from dask.typing import Key
from distributed import Security
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import WorkerState

from myotome.cohort.clusters import THREAD_VARIABLES
from myotome.errors import InputError

# When it is imported, dask-jobqueue makes Ctrl-C end the program at once and without a word.
_on_interrupt = signal.getsignal(signal.SIGINT)
from dask_jobqueue import SLURMCluster  # noqa: E402
from dask_jobqueue.slurm import SLURMJob  # noqa: E402

with contextlib.suppress(ValueError):  # only the main thread may, and only it could have changed it
    signal.signal(signal.SIGINT, _on_interrupt)

__all__ = ["SlurmOptions", "SlurmWorkers", "open_slurm_cluster"]

_log = logging.getLogger(__name__)
_PROGRAMS = ("sbatch", "squeue", "scancel")
# A worker is given no more cases when a quarter of its walltime, and at most this much, is left of it.
_LONGEST_LEAVE_S = 900
# Seconds for which a worker that finds no scheduler waits for one.
_DEATH_TIMEOUT_S = 60
# So many jobs that end with no result from any worker in between, and twice as many as workers, are no accident.
_FEWEST_VAIN_JOBS = 4


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What the job of one worker asks SLURM for, beside its cores and memory.

    Attributes
    ----------
    log_folder : Path
        Where SLURM writes what the workers say, job by job, and where the keys of the connection lie while it is open.
        The nodes must see it under the same path. What workers say may name original files: keep it private.
    partition, account : str, optional
        As in ``sbatch --partition`` and ``--account``; the cluster's default when not given.
    walltime_minutes : int
        How long one job may run. A job that ends is followed by another, so this need not cover the whole run.
    gpus_per_worker : int
    directives : tuple of str
        More options of sbatch, such as ``"--qos=low"`` or ``"--constraint=avx512"``.
    prologue : tuple of str
        Lines of shell that run before the worker, such as ``"module load cuda"``.
    interface : str, optional
        Network interface over which scheduler and workers speak, such as ``"ib0"``; the default route's if not given.
    check_s : float
        Seconds between two looks at squeue.

    Raises
    ------
    InputError
        When a number is out of its range, or a directive is not an option of sbatch in one line.
    """

    log_folder: Path
    partition: str | None = None
    account: str | None = None
    walltime_minutes: int = 240
    gpus_per_worker: int = 0
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    interface: str | None = None
    check_s: float = 15.0

    def __post_init__(self) -> None:
        if self.walltime_minutes < 1:
            raise InputError(f"a walltime of {self.walltime_minutes} minutes is none: give at least 1.")
        if self.gpus_per_worker < 0:
            raise InputError(f"a worker cannot have {self.gpus_per_worker} GPUs: give 0 or more.")
        for directive in self.directives:
            if not directive.startswith("-") or "\n" in directive:
                raise InputError(f"'{directive}' is not an option of sbatch: write it as in --qos=low.")


class _WorkerJob(SLURMJob):
    """A job that says when it is closed, which dask wants to know of one that could not be submitted."""

    async def close(self) -> None:
        await super().close()
        self.status = Status.closed


class SlurmWorkers(SLURMCluster):
    """A SLURMCluster that keeps its number of workers.

    dask-jobqueue submits no other job for one that was cancelled, ran out of time or lost its node, unless it adapts;
    and then only for jobs whose worker had been there. Here squeue is asked which jobs are left.

    Attributes
    ----------
    failure : str or None
        Why no more jobs are submitted, in one sentence: one after the other ended while no worker had a result. The
        cluster is closed then, and what waits for its results is cancelled.
    """

    job_cls = _WorkerJob

    def __init__(self, **options) -> None:
        self.failure: str | None = None
        self._numbers = count()
        super().__init__(**options)

    def _new_worker_name(self, worker_number: int) -> str:
        """A name never given before: dask closes what bears the name of a lost worker when it has waited for that."""
        return f"{self._name}-{next(self._numbers)}"

    def submit(self, workers: int) -> None:
        """Submit the first jobs.

        Raises
        ------
        RuntimeError
            When sbatch refuses one.
        """
        for _ in range(workers):
            self.worker_spec.update(self.new_worker_spec())
        self.sync(self._correct_state)

    def give_up(self, vain_jobs: int) -> None:
        """Submit nothing more, say why in ``failure``, and close."""
        if self.failure is None:
            folder = self.shared_temp_directory
            self.failure = f"{vain_jobs} jobs of SLURM in a row ended without a result: see their logs in '{folder}'."
            _log.error(self.failure)
            self.loop.add_callback(self._close)


class _ResultCounter(SchedulerPlugin):
    """Counts the tasks that have given a result."""

    def __init__(self) -> None:
        self.results = 0

    def transition(self, key: Key, start: str, finish: str, *args, **kwargs) -> None:
        self.results += (start, finish) == ("processing", "memory")


class _KeepWorkers(Adaptive):
    """Wants ``minimum`` workers at any time, and counts only those whose jobs are pending or running.

    A worker whose walltime is nearly over gets no more work, and is let go when it has done what it has: a task that is
    cut off would count as one that has killed its worker. (What dask calls a worker's lifetime cuts off.)
    """

    def __init__(self, cluster: SlurmWorkers, leave_s: float, **options) -> None:
        self._leave_s = leave_s
        self._counter, self._results_before, self._vain_jobs = _ResultCounter(), 0, 0
        cluster.scheduler.add_plugin(self._counter)
        super().__init__(cluster, **options)

    async def target(self) -> int:
        await self._replace_jobs()
        if self._vain_jobs >= max(_FEWEST_VAIN_JOBS, 2 * self.minimum):
            self.cluster.give_up(self._vain_jobs)
        return self.minimum

    async def _replace_jobs(self) -> None:
        jobs = {name: job.job_id for name, job in self.cluster.workers.items()}
        try:
            seconds_left = await _read_seconds_left()
        except RuntimeError as error:
            _log.warning("squeue does not answer and will be asked again: %s", _last_line(error))
            return
        workers = {state.name: state for state in self.cluster.scheduler.workers.values() if state.name in jobs}
        if self._counter.results > self._results_before:
            self._results_before, self._vain_jobs = self._counter.results, 0
        for name, job_id in jobs.items():
            if self.cluster.status != Status.running:
                return
            if job_id not in seconds_left:
                self._vain_jobs += 1
                what = f"job {job_id} of a worker has ended before the work has" if job_id else "sbatch refused a job"
                _log.warning("%s: another one follows", what)
                await self._forget(name)
            elif name in workers and seconds_left[job_id] < self._leave_s and self._is_free(workers[name]):
                await self._forget(name)

    def _is_free(self, worker: WorkerState) -> bool:
        """Give a worker nothing more to do; True when it has nothing left, nor a result that is not fetched yet."""
        if worker.status == Status.running:
            self.cluster.scheduler.handle_worker_status_change(Status.paused, worker, "walltime-is-over-soon")
        return not worker.processing and not worker.has_what

    async def _forget(self, name: str) -> None:
        """Cancel the job of a worker, if it is still there; ``adapt`` asks for another one then."""
        self.cluster.worker_spec.pop(name, None)
        job = self.cluster.workers.pop(name, None)
        if job is not None:
            await job.close()


async def _read_seconds_left() -> dict[str, float]:
    """Seconds of walltime left, by the id of each of one's jobs that is neither ended nor ending.

    Raises
    ------
    RuntimeError
        When squeue fails.
    """
    words = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%A %t %L"]
    rows = [line.split() for line in (await SLURMJob._call(words)).splitlines()]
    return {job_id: _parse_seconds(left) for job_id, state, left in rows if state != "CG"}


def _parse_seconds(text: str) -> float:
    """Seconds of ``1-02:03:04`` or less of it; infinity of a word such as ``UNLIMITED``."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return float("inf")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


def open_slurm_cluster(workers: int, threads: int, memory_mb: int, options: SlurmOptions) -> SlurmWorkers:
    """Submit one job per worker, and keep their number until the cluster is closed.

    It does not wait for the jobs to start, which a busy cluster may let one do for hours. The scheduler runs in this
    process. Scheduler and workers speak TLS with a key of this run, since other people can reach a login node's ports.

    Parameters
    ----------
    workers : int
        Jobs at the same time. Each works on one case at a time.
    threads : int
        Cores of each job.
    memory_mb : int
        Memory of each job; a worker that comes near it is ended and started anew.
    options : SlurmOptions

    Returns
    -------
    SlurmWorkers
        To be closed by the caller, which cancels the jobs; it is a context manager, too.

    Raises
    ------
    InputError
        When this machine has no SLURM, or SLURM refuses the jobs.
    """
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise InputError(f"{missing[0]} is not on this machine: start this where SLURM takes jobs, or without --slurm.")
    log_folder = options.log_folder.resolve()
    if len(str(log_folder).split()) > 1:
        raise InputError(f"jobs of SLURM need a path without blanks, which {log_folder} is not: choose another folder.")
    log_folder.mkdir(parents=True, exist_ok=True)
    cluster = SlurmWorkers(
        cores=1,
        processes=1,
        job_cpu=threads,
        memory=f"{memory_mb}MiB",
        job_mem=f"{memory_mb}M",
        job_name="myotome",
        queue=options.partition,
        account=options.account,
        walltime=str(options.walltime_minutes),
        job_extra_directives=_make_directives(options),
        job_script_prologue=_make_prologue(threads, options),
        worker_extra_args=["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        death_timeout=_DEATH_TIMEOUT_S,
        log_directory=str(log_folder),
        shared_temp_directory=str(log_folder),
        interface=options.interface,
        security=Security.temporary(),
        scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    )
    try:
        cluster.submit(workers)
    except RuntimeError as error:
        cluster.close()
        raise InputError(f"SLURM refuses the job of a worker: {_last_line(error)}") from None
    leave_s = min(_LONGEST_LEAVE_S, options.walltime_minutes * 60 / 4)
    number = {"minimum": workers, "maximum": workers}
    cluster.adapt(Adaptive=_KeepWorkers, leave_s=leave_s, interval=f"{options.check_s}s", **number)
    return cluster


def _make_directives(options: SlurmOptions) -> list[str] | None:
    """Lines after ``#SBATCH``; None leaves them to dask's own configuration of a site."""
    gpus = [f"--gres=gpu:{options.gpus_per_worker}"] if options.gpus_per_worker else []
    return [*gpus, *options.directives] or None


def _make_prologue(threads: int, options: SlurmOptions) -> list[str]:
    """Lines before the worker: its threads, and what dask is configured to here, which a job would not know."""
    config = dask.config.serialize({"distributed": dask.config.get("distributed")})
    exports = dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"DASK_INTERNAL_INHERIT_CONFIG": config}
    site = dask.config.get("jobqueue.slurm.job-script-prologue", []) or []
    return [*(f"export {name}={value}" for name, value in exports.items()), *site, *options.prologue]


def _last_line(error: RuntimeError) -> str:
    """The last thing that a program of SLURM said, without its own name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^(sbatch|squeue): (error|fatal): ", "", lines[-1])
