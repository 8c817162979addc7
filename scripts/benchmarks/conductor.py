"""Runs the jobs that are not done, in order, with the time left on the screen; then makes the tables and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.agreement import compare_label_maps
from benchmarks.launch import Job, identify, run_job
from benchmarks.ledger import Ledger
from benchmarks.machine import load_average
from benchmarks.parts import PARTS, Bench
from benchmarks.plots import draw_plots
from benchmarks.tables import write_summary
from benchmarks.volumes import REAL_SERIES

__all__ = ["conduct"]

_BUSY = 0.5


def conduct(bench: Bench, names: Sequence[str], only_plan: bool = False) -> int:
    """Run the parts, then print and keep the summary; 1 when a run failed."""
    screen, ledger = Console(stderr=True), Ledger(bench.folder / "runs.jsonl")
    failed = 0
    if names:
        if bench.weights is None:
            screen.print(
                "There is no network.pt: the 3D network is untrained, so agreement means little. "
                "On a GPU, benchmarks.run_training --recipe ours --save network.pt makes one in two minutes."
            )
        if "compare" in names and not (bench.quick or REAL_SERIES.is_dir()):
            screen.print(f"There is no real series at {REAL_SERIES}: the comparison is on the phantom alone.")
        with screen.status("making the inputs"):
            jobs = [job for name in names for job in PARTS[name](bench)]
            jobs = list({json.dumps(identify(job), sort_keys=True): job for job in jobs}.values())
        left = [job for job in jobs if not ledger.holds(identify(job))]
        if only_plan:
            for job in left:
                screen.print(f"{job.part:<11} {job.repeat + 1} {job.source} {job.name}", highlight=False)
        minutes = sum(_expected(job, ledger) for job in left) / 60
        screen.print(
            f"{len(jobs) - len(left)} of {len(jobs)} runs are kept; {len(left)} left, about {minutes:.0f} min."
        )
        if only_plan:
            return 0
        failed = _run(bench, left, ledger, screen)
    summary = write_summary(ledger)
    bench.folder.mkdir(parents=True, exist_ok=True)
    (bench.folder / "summary.md").write_text(summary)
    print(summary)
    plots = draw_plots(ledger, bench.folder / "plots")
    screen.print(f"Kept in {bench.folder}: runs.jsonl, summary.md" + "".join(f", plots/{p.name}" for p in plots))
    return 1 if failed else 0


def _expected(job: Job, ledger: Ledger) -> float:
    return ledger.usual_seconds(job.part, job.name, job.source) or job.expected_s


def _run(bench: Bench, jobs: list[Job], ledger: Ledger, screen: Console) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    failed = 0
    with Progress(*columns, console=screen) as bars:
        for part, some in groupby(jobs, key=lambda job: job.part):
            todo = list(some)
            task = bars.add_task(part, total=sum(_expected(job, ledger) for job in todo), left="")
            for place, job in enumerate(todo):
                _announce(bars, task, job, todo[place:], ledger)
                record = run_job(job, bench.folder / "logs" / f"{_slug(job)}.log")
                if "result" in record:
                    _add_agreement(bench, job, record)
                else:
                    failed += 1
                    screen.print(f"[red]failed[/red] {part}: {job.name}, {job.source}: {record['error']}")
                ledger.add(record)
                bars.advance(task, record["process_s"])
            bars.update(task, description=part, completed=1, total=1, left="done")
    return failed


def _announce(bars: Progress, task: TaskID, job: Job, rest: list[Job], ledger: Ledger) -> None:
    seconds = sum(_expected(other, ledger) for other in rest)
    done = bars.tasks[bars.task_ids.index(task)].completed
    busy = f", load {load_average()}" if load_average() > _BUSY * 4 else ""
    left = f"{len(rest)} left, about {seconds / 60:.0f} min{busy}"
    bars.update(
        task, description=f"{job.part}: {job.name} {job.source} #{job.repeat + 1}", total=done + seconds, left=left
    )


def _add_agreement(bench: Bench, job: Job, record: dict) -> None:
    """Compare a label map with (a)'s of the same input; once per pipeline is enough, as runs repeat exactly."""
    if job.part != "compare" or job.repeat > 0 or job.name == "stock" or job.after not in ("", "stock"):
        return
    reference = bench.label_map(job.source, "stock")
    if reference.is_file():
        record["result"]["agreement"] = compare_label_maps(bench.label_map(job.source, job.name), reference)


def _slug(job: Job) -> str:
    words = f"{job.part}_{job.name}_{Path(job.source).name}_{job.repeat}_{job.after}"
    return "".join(letter if letter.isalnum() else "_" for letter in words).strip("_")
