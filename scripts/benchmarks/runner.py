"""What the timed processes of the single-network comparison share: their words, their clock, their one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.recipe import CLASSES
from benchmarks.stopwatch import Stopwatch

__all__ = ["Segment", "make_parser", "print_line", "run_pipeline", "thread_count", "versions"]

Segment = Callable[[Path, Path], None]


def thread_count() -> int:
    """Threads that every pipeline may use: the environment's, else the processors of this process."""
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The options every pipeline understands."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--image", type=Path, required=True, help="NIfTI image")
    parser.add_argument("--output", type=Path, required=True, help="label map to write, .nii.gz")
    parser.add_argument("--weights", type=Path, help="state dict of the network; untrained without it")
    parser.add_argument("--classes", type=int, default=CLASSES, help="outputs of an untrained network")
    parser.add_argument("--volumes", type=int, default=1, help="how often the image is read and segmented, in a row")
    return parser


def run_pipeline(
    options: argparse.Namespace,
    open_pipeline: Callable[[argparse.Namespace, Stopwatch], Segment],
    libraries: Sequence[str],
) -> None:
    """Open a pipeline, segment the image as often as asked, and print one line of JSON.

    Opening (network, weights, engine) is the stage ``open`` and is part of the wall time; imports are not. What the
    libraries print goes to standard error.
    """
    clock = Stopwatch()
    clock.start()
    with redirect_stdout(sys.stderr):
        with clock.stage("open"):
            segment = open_pipeline(options, clock)
        for _ in range(options.volumes):
            with clock.lap():
                segment(options.image, options.output)
        line = clock.stop()
    print_line({**line, "threads": thread_count(), "versions": versions(libraries)})


def print_line(values: dict) -> None:
    """The result, as the last line of standard output."""
    print(json.dumps(values), flush=True)


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Versions of the installed ones among some distributions, and of Python."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
