"""What every figure carries: the machine, the commit, and a digest of the code that was measured."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["CHECKOUT", "describe_machine", "digest_of_code", "find_commit", "find_gpu", "load_average"]

CHECKOUT = Path(__file__).resolve().parents[2]

_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")
_ROOMS = ("inference", "transforms", "biomarkers", "io", "report")
_MEASURED = ("myotome/*.py", *(f"myotome/{room}/**/*.py" for room in _ROOMS), "bundle/*/configs/inference.yaml")
_RUNNERS = ("run_*.py", "runner.py", "recipe.py", "network.py", "stopwatch.py", "nnunet_predictor.py")


@cache
def describe_machine() -> dict[str, Any]:
    """Processor, its telling flags, memory and system."""
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return {
        "processor": _lscpu_model() or fields.get("model name", platform.processor()),
        "family": f"{fields.get('cpu family')}/{fields.get('model')}/{fields.get('stepping')}",
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in _TELLING_FLAGS if flag in flags],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def _lscpu_model() -> str | None:
    try:
        listing = subprocess.run(["lscpu"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    except OSError:
        return None
    names = [line.partition(":")[2].strip() for line in listing.stdout.splitlines() if line.startswith("Model name:")]
    return names[0] if names else None


@cache
def find_gpu() -> str | None:
    """Name of the first NVIDIA GPU; ``None`` where there is none."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True
        )
    except OSError:
        return None
    names = listing.stdout.strip().splitlines()
    return names[0].strip() if listing.returncode == 0 and names else None


@cache
def find_commit() -> str:
    """The commit, with a plus sign where tracked files differ from it."""
    head = _git("rev-parse", "--short", "HEAD")
    return (head + "+" * bool(_git("status", "--porcelain", "--untracked-files=no"))) if head else "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()


@cache
def digest_of_code() -> str:
    """Digest of the package, its configurations, the pinned versions and the timed processes.

    What is read and drawn afterwards, documents and tests are not in it: changing those repeats no run.
    """
    files = [path for pattern in _MEASURED for path in CHECKOUT.glob(pattern)]
    files += [path for pattern in _RUNNERS for path in Path(__file__).parent.glob(pattern)]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        digest.update(str(path.relative_to(CHECKOUT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def load_average() -> float:
    """Processes that were running or waiting in the last minute."""
    return round(os.getloadavg()[0], 2)
