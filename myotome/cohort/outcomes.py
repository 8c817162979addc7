"""What becomes of a job on a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from myotome.errors import MyotomeError

__all__ = ["Lost", "Outcome", "SchedulerLost"]


@dataclass(frozen=True)
class Outcome:
    """What became of a job; ``status`` is done, refused or failed."""

    job_id: str
    status: str
    reason: str | None = None


@dataclass(frozen=True)
class Lost:
    """A job that took its worker down with it twice, the second time alone, or ran out of time."""

    job: Any
    reason: str
    attempts: int


class SchedulerLost(MyotomeError):
    """The scheduler is gone: nothing can be computed until the run is started again."""
