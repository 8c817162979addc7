"""A SLURM of one node (scripts/slurm_node) for the tests, and a light segmenter that notes what it did where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import pytest

from myotome.geometry import Volume
from myotome.structures import LabelMap
from tests.integration import cohort_faults

_SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm_node"
# Workers cannot import the tests: what they need of them travels with the tasks.
cloudpickle.register_pickle_by_value(cohort_faults)
cloudpickle.register_pickle_by_value(sys.modules[__name__])
_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")


class SlurmNode:
    """What a person at a login node would ask and do."""

    def jobs(self, *states: str) -> list[str]:
        """Ids of the jobs in these states (PENDING, RUNNING, ...), oldest first; of all that have not ended if none."""
        words = [
            "squeue",
            "--noheader",
            "--sort=i",
            "--format=%i",
            *([f"--states={','.join(states)}"] if states else []),
        ]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout.split()

    def cancel(self, job: str) -> None:
        subprocess.run(["scancel", job], check=True, timeout=30)

    def submit(self, *words: str) -> str:
        """Id of a job that sbatch takes."""
        done = subprocess.run(["sbatch", "--parsable", *words], check=True, capture_output=True, text=True, timeout=30)
        return done.stdout.strip()

    def wait_until(self, holds: Callable[[], bool], timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end, f"not so after {timeout_s} s; jobs: {self.jobs()}"
            time.sleep(0.1)


@contextmanager
def open_slurm_node(folder: Path) -> Iterator[SlurmNode]:
    """A node of its own, which sbatch and its sisters speak to as long as the block lasts; a skip without SLURM."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed: scripts/system_packages {' '.join(_PROGRAMS)}")
    subprocess.run([_SCRIPT, "start", folder], check=True, timeout=120)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            yield SlurmNode()
        finally:
            subprocess.run([_SCRIPT, "stop", folder], check=True, timeout=120)


@dataclass(frozen=True)
class Note:
    """That a job of SLURM has begun or finished to segment a subject."""

    what: str
    job: str
    subject: str


@dataclass(frozen=True)
class NotingOpener:
    """Opens a light segmenter that takes its time and notes in a folder what it does.

    ``gates`` are (n, jobs): after n finished cases, the next ones wait until so many jobs have begun one (a minute at
    most), so that what a test does in between has had its effect, however busy the machine is.
    """

    notes: Path
    seconds: float
    gates: tuple[tuple[int, int], ...]

    def __call__(self) -> NotingSegmenter:
        return NotingSegmenter(self)

    def write(self, note: Note) -> None:
        (self.notes / f"{note.what}-{note.job}-{note.subject}-{uuid.uuid4().hex}").touch()

    def read(self) -> list[Note]:
        return [Note(*path.name.split("-")[:3]) for path in self.notes.iterdir()]

    def jobs(self) -> set[str]:
        """Ids of the jobs that have begun to segment somebody."""
        return {note.job for note in self.read()}


class NotingSegmenter(cohort_faults.LightSegmenter):
    def __init__(self, opener: NotingOpener) -> None:
        super().__init__(opener.seconds)
        self._opener = opener

    def segment(self, volume: Volume) -> LabelMap:
        opener, subject = self._opener, volume.acquisition.subject_id
        job = os.environ["SLURM_JOB_ID"]
        opener.write(Note("began", job, subject))
        finished = sum(note.what == "finished" for note in opener.read())
        wanted = max((jobs for after, jobs in opener.gates if finished >= after), default=0)
        end = time.monotonic() + 60
        while len(opener.jobs()) < wanted and time.monotonic() < end:
            time.sleep(0.1)
        label_map = super().segment(volume)
        opener.write(Note("finished", job, subject))
        return label_map
