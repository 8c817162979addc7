"""Wall time, processor time and memory of one process, stage by stage. Knows the standard library alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["Stopwatch"]

_MB = 2**20


class Stopwatch:
    """Measures from `start` to `stop`; made after the imports, so that they are in neither time nor memory.

    Memory is the resident set of this process, whose high-water mark is reset at `start` where Linux allows it.
    Libraries map code and make thread pools on first use, which counts. Child processes count in the processor time
    alone; no pipeline of the bench starts any. ``facts`` are kept with the figures as they are.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.steps: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}
        self.laps: list[float] = []
        self.facts: dict[str, Any] = {}

    def start(self) -> None:
        """Begin; what was resident before is `imports_mb`."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._imports_mb = _status_mb("VmRSS")
        self._cpu = _cpu_seconds()
        self._wall = time.perf_counter()

    @contextmanager
    def stage(self, name: str, step: str | None = None) -> Iterator[None]:
        """Add the time of a block to a stage, and to a finer step where one is named."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - begun
            self.seconds[name] = self.seconds.get(name, 0.0) + taken
            if step:
                self.steps[step] = self.steps.get(step, 0.0) + taken
            self.peak_mb[name] = _status_mb("VmHWM")

    @contextmanager
    def lap(self) -> Iterator[None]:
        """Time one of several volumes."""
        begun = time.perf_counter()
        yield
        self.laps.append(time.perf_counter() - begun)

    def add(self, stages: dict[str, float], within: float) -> None:
        """Take over stages that a library timed itself during ``within`` seconds; what they leave is ``other``."""
        for name, seconds in stages.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + float(seconds)
        rest = within - sum(stages.values())
        self.seconds["other"] = self.seconds.get("other", 0.0) + max(rest, 0.0)

    def stop(self) -> dict[str, Any]:
        """What was measured, ready for JSON: seconds, and megabytes of 2**20 bytes."""
        wall = time.perf_counter() - self._wall
        peak = _status_mb("VmHWM")
        return {
            "wall_s": round(wall, 4),
            "cpu_s": round(_cpu_seconds() - self._cpu, 3),
            "peak_mb": round(peak, 1),
            "imports_mb": round(self._imports_mb, 1),
            "peak_above_imports_mb": round(peak - self._imports_mb, 1),
            "seconds": {name: round(seconds, 4) for name, seconds in self.seconds.items()},
            "steps": {name: round(seconds, 4) for name, seconds in self.steps.items()},
            "stage_peak_mb": {name: round(value, 1) for name, value in self.peak_mb.items()},
            "laps_s": [round(seconds, 4) for seconds in self.laps],
            **self.facts,
        }


def _status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / _MB
    raise OSError(f"/proc/self/status has no {field}")


def _cpu_seconds() -> float:
    return sum(os.times()[:4])
