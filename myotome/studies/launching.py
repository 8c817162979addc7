"""How a study's jobs get to workers: a job is a value, a worker does it wherever it is, and says how long it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Finished", "Launcher", "Work", "launch_in_turn"]


@dataclass(frozen=True)
class Finished:
    """A job that is done, and the seconds that it took."""

    job_id: str
    seconds: float


Work = Callable[[Any, int], Finished]
"""Of a job, and of how often it was tried."""

Launcher = Callable[[Sequence[Any], Callable[[], Work], Callable[[Finished], None]], None]
"""Of jobs, of what opens a worker, and of what is told of every job that is done."""


def launch_in_turn(jobs: Sequence[Any], open_work: Callable[[], Work], on_done: Callable[[Finished], None]) -> None:
    """Do the jobs in this process, one after the other."""
    work = open_work()
    for job in jobs:
        on_done(work(job, 1))
