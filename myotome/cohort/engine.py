"""Many jobs on workers that may die: bounded, watched, and every loss put down to the job that caused it."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from distributed import Client, Future, get_worker, wait
from distributed.client import FutureCancelledError
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker

from myotome.cohort.outcomes import Lost, Outcome, SchedulerLost

__all__ = ["Watch", "run_jobs"]

Work = Callable[[Any, int], Outcome]

_PLUGIN = "myotome-work"
_POLL_S = 1.0
_FETCH_S = 5.0
_RECOUNT_S = 2.0
_EVENT_TRIES = 8
_OVERDUE = "it was not done"


@dataclass(frozen=True)
class Watch:
    """What is looked after while jobs are done.

    ``traces`` is a folder, seen by the workers too, for what they leave behind when they crash. A job that takes longer
    than ``job_timeout_s`` is given up and its worker started anew. ``on_beat`` is called every second or so.
    """

    traces: Path
    job_timeout_s: float | None = None
    on_beat: Callable[[], None] = lambda: None


class _Crew(WorkerPlugin):
    """Opens the work once per worker, when its first job comes, and leaves a trace when the process crashes."""

    name = _PLUGIN

    def __init__(self, open_work: Callable[[], Work], traces: Path, job_timeout_s: float | None) -> None:
        self._open_work, self._traces, self._timeout_s = open_work, traces, job_timeout_s
        self._work: Work | None = None

    def setup(self, worker: Any) -> None:
        self._file = self._open_trace(worker.address)
        faulthandler.enable(self._file)
        with contextlib.suppress(ValueError):  # of a worker that is not its process's main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which closes its workers
        warnings.simplefilter("ignore")
        logging.basicConfig(level=logging.ERROR)

    def teardown(self, worker: Any) -> None:
        faulthandler.disable()
        self._file.close()

    def work(self, job: Any, attempt: int) -> Outcome:
        if self._work is None:
            self._work = self._open_work()
        self._note(f"{job.job_id}\n".encode())
        if self._timeout_s is not None:  # watched from outside Python, which the job may hold for ever
            faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=self._file)
        try:
            return self._work(job, attempt)
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._note(b"")

    def _open_trace(self, address: str) -> BinaryIO:
        try:
            self._traces.mkdir(parents=True, exist_ok=True)
            return _trace(self._traces, address).open("wb", buffering=0)
        except OSError:  # a full disk, which is for the driver to notice: a death is told less precisely then
            return open(os.devnull, "wb", buffering=0)

    def _note(self, text: bytes) -> None:
        """Leave word of the job under way, where the disk has room; what the fault handler says comes after it."""
        with contextlib.suppress(OSError):
            self._file.seek(0)
            self._file.truncate()
            self._file.write(text)


def _trace(traces: Path, address: str) -> Path:
    return traces / f"{address.split('//')[-1].replace(':', '-')}.txt"


def _do(job: Any, attempt: int) -> Outcome:
    return get_worker().plugins[_PLUGIN].work(job, attempt)


def run_jobs(
    client: Client,
    jobs: Sequence[Any],
    open_work: Callable[[], Work],
    on_result: Callable[[Outcome | Lost], None],
    watch: Watch,
) -> None:
    """Do every job once, a few at a time, whatever happens to the workers.

    Every worker has one job, and one more waits, so that a death can be put down to a job. A job whose worker died is
    tried a second time when all the others are done, and alone; if its worker dies again it is lost, and the reason is
    what the worker's trace or the memory watch says.

    Parameters
    ----------
    jobs : values that pickle, each with a ``job_id``
    open_work : called once in each worker; what it gives is called with a job and the number of the attempt
    on_result : called here, once per job

    Raises
    ------
    SchedulerLost
        When the scheduler is gone.
    Exception
        What the work raised: the work itself turns into an outcome whatever is one job's own fault.
    """
    client.register_plugin(_Crew(open_work, watch.traces, watch.job_timeout_s))
    with _noticed_interrupts() as interrupted:
        dispatcher = _Dispatcher(client, on_result, watch, interrupted)
        try:
            dispatcher.run(jobs, attempt=1)
            for job in dispatcher.suspects:
                dispatcher.run([job], attempt=2)
        finally:
            dispatcher.cancel()
            with contextlib.suppress(Exception):  # whatever became of the cluster
                client.unregister_worker_plugin(_PLUGIN)


@contextmanager
def _noticed_interrupts() -> Iterator[threading.Event]:
    """An event that remembers Ctrl-C: a library may be at work that swallows the exception."""
    interrupted = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def notice(number: int, frame: Any) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    signal.signal(signal.SIGINT, notice)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


class _Dispatcher:
    def __init__(
        self,
        client: Client,
        on_result: Callable[[Outcome | Lost], None],
        watch: Watch,
        interrupted: threading.Event,
    ) -> None:
        self._client, self._on_result, self._watch = client, on_result, watch
        self._interrupted = interrupted
        self._running: dict[Future, Any] = {}
        self._room, self._recount = 1, 0.0
        self.suspects: list[Any] = []

    def run(self, jobs: Sequence[Any], attempt: int) -> None:
        waiting = deque(jobs)
        while waiting or self._running:
            while waiting and len(self._running) < self._count_room():
                job = waiting.popleft()
                key = f"case-{job.job_id}-{attempt}-{time.monotonic_ns()}"
                self._running[self._client.submit(_do, job, attempt, key=key, pure=False)] = job
            for future in self._wait():
                if self._settle(future, self._running[future], attempt):
                    del self._running[future]
                    future.release()
            self._watch.on_beat()
            if self._interrupted.is_set():
                raise KeyboardInterrupt

    def cancel(self) -> None:
        if self._running:
            with contextlib.suppress(Exception):
                self._client.cancel(list(self._running), force=True)
            self._running.clear()

    def _count_room(self) -> int:
        """How many jobs may be under way: one for each worker, and a few that wait."""
        if time.monotonic() >= self._recount:
            workers = len(self._client.nthreads())
            self._room = workers + max(1, workers // 8)
            self._recount = time.monotonic() + _RECOUNT_S
        return self._room

    def _wait(self) -> list[Future]:
        if self._client.status != "running":
            raise SchedulerLost("the scheduler is gone: start the run again, and it goes on where it was.")
        with contextlib.suppress(TimeoutError):
            wait(list(self._running), timeout=_POLL_S, return_when="FIRST_COMPLETED")
        return [future for future in self._running if future.done()]

    def _settle(self, future: Future, job: Any, attempt: int) -> bool:
        """Hand on what became of a job; False when its worker died with the result, so that it is done once more."""
        try:
            result = future.result(timeout=_FETCH_S)
        except TimeoutError:
            if future.status == "error":  # raised by the work itself
                raise
            return False
        except KilledWorker as error:
            reason = self._explain(error.last_worker.address, job, patient=attempt > 1)
            if attempt == 1 and not reason.startswith(_OVERDUE):
                self.suspects.append(job)
            else:
                self._on_result(Lost(job, reason, attempt))
        except FutureCancelledError as error:
            raise SchedulerLost("the scheduler is gone: start the run again, and it goes on where it was.") from error
        else:
            self._on_result(result)
        return True

    def _explain(self, address: str, job: Any, patient: bool) -> str:
        """Why a job's worker died, from what is left of it; the patient wait for the memory watch's word."""
        with contextlib.suppress(OSError):
            lines = _trace(self._watch.traces, address).read_text(errors="replace").strip().splitlines()
            if lines[:1] != [job.job_id]:
                return "the worker's process was gone while it waited for it"
            if lines[1:] and lines[1].startswith("Timeout"):
                return f"{_OVERDUE} after {self._watch.job_timeout_s:g} s"
            if lines[1:]:
                return f"the worker's process crashed on it ({lines[1].removeprefix('Fatal Python error: ')})"
        for _ in range(_EVENT_TRIES if patient else 1):  # it may come after the worker's end
            events = self._client.get_events("worker-restart-memory")
            if any(event.get("worker") == address for _, event in events):
                return "it needs more memory than a worker is allowed (--memory-gb): the worker was stopped"
            time.sleep(_POLL_S / 2 if patient else 0.0)
        return "the worker's process was killed while it worked on it (by the system, a scheduler or a person)"
