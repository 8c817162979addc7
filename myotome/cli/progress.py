"""A progress bar with the time left, on stderr, and nothing when nobody is watching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["show_counts", "show_progress"]

# Share of the whole at which each step begins: nearly all of the time goes into the network.
_BEGINS = {"starting": 0.0, "reading": 0.02, "segmenting": 0.05, "measuring": 0.93, "writing": 0.96, "done": 1.0}


@contextmanager
def show_progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Yield ``advance(step, share)``, which draws the share (0 to 1) of a step that is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<11}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)

        def advance(step: str, share: float) -> None:
            begins = list(_BEGINS.values())
            place = list(_BEGINS).index(step)
            done = begins[place] + share * (begins[min(place + 1, len(begins) - 1)] - begins[place])
            bar.update(task, description=step, completed=done)

        yield advance


@contextmanager
def show_counts(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Yield ``advance(done, total, step)``, for work of many like parts."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total, step: bar.update(task, description=step, completed=done, total=total)
