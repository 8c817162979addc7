"""One timed process: what to run, in which environment, and what it printed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.machine import CHECKOUT, describe_machine, digest_of_code, find_commit, load_average

__all__ = ["Job", "digest_of_file", "identify", "run_job"]

_LIMIT_S = 3600


@dataclass(frozen=True)
class Job:
    """One run of one of the ``run_*.py``.

    Parameters
    ----------
    part, name, source : which table it belongs to, which row, and which input it reads
    module : ``run_stock`` ...
    arguments : its words
    settings : what of them decides the figures, without paths
    repeat : 0, 1, ... ; a job is run once per number
    after : the job it was run right after, where runs are paired
    python : interpreter of the environment it runs in
    expected_s : a guess, for the time left, until there is a measured one
    gpu : whether it may see the GPUs
    """

    part: str
    name: str
    source: str
    module: str
    arguments: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    repeat: int = 0
    after: str = ""
    python: Path = Path(sys.executable)
    expected_s: float = 60.0
    gpu: bool = False


def identify(job: Job) -> dict[str, Any]:
    """The record of a job that was not run yet."""
    return {
        "part": job.part,
        "name": job.name,
        "input": job.source,
        "settings": job.settings,
        "repeat": job.repeat,
        "after": job.after,
        "code": digest_of_code(),
        "machine": describe_machine(),
    }


def run_job(job: Job, log: Path) -> dict[str, Any]:
    """Run a job to its end; returns its record, with ``result`` or ``error``. Its standard error goes to ``log``."""
    threads = str(len(os.sched_getaffinity(0)))
    record = identify(job) | {
        "commit": find_commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": load_average(),
    }
    begun = time.perf_counter()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors:
        try:
            done = subprocess.run(
                [str(job.python), "-m", f"benchmarks.{job.module}", *job.arguments],
                cwd=log.parent,
                env=_environment(threads, log.parent, job.gpu),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=_LIMIT_S,
            )
            code, lines = done.returncode, done.stdout.strip().splitlines()
        except subprocess.TimeoutExpired:
            code, lines = -1, [f"not done within {_LIMIT_S} s"]
    record["process_s"] = round(time.perf_counter() - begun, 2)
    try:
        if code:
            raise ValueError
        record["result"] = json.loads(lines[-1])
    except (ValueError, IndexError):
        said = log.read_text(errors="replace").strip().splitlines() or lines or ["nothing was printed"]
        record["error"] = f"exit {code}: {said[-1][:300]} (see {log.name})"
    return record


def _environment(threads: str, folder: Path, gpu: bool) -> dict[str, str]:
    """One number of threads for every library, no GPU unless asked, and nnU-Net's folders where they do no harm."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "nnUNet_def_n_proc"), threads)
    folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "TOTALSEG_HOME_DIR", "MPLCONFIGDIR")
    paths = os.pathsep.join((str(CHECKOUT / "scripts"), str(CHECKOUT)))
    quiet = {"PYTHONWARNINGS": "ignore", **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})}
    return {**os.environ, **counts, **dict.fromkeys(folders, str(folder)), **quiet, "PYTHONPATH": paths}


@cache
def digest_of_file(path: Path) -> str:
    """First letters of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
