"""``myotome simulate-annotation``: which strategy asks for the right cases, replayed with an oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from myotome.cli.progress import show_counts

__all__ = ["simulate_annotation"]


def simulate_annotation(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; a run goes on in it.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Labelled data set: a folder with datalist.json. Without it, phantoms are drawn."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML like configs/studies/annotation_simulation.yaml.")
    ] = None,
    strategies: Annotated[
        str, typer.Option("--strategies", help="Names with commas between; those of the configuration by default.")
    ] = "",
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How often the whole is repeated.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Seeds that run at the same time.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Replay the annotation loop on a labelled data set, and say whether choosing cases saves labels.

    Every strategy labels case after case with an oracle; a small network is trained and scored after each round. Leaves
    records.jsonl, summary.csv, summary.json, curves.png and report.html in the output folder. A run that was stopped
    goes on where it was; more seeds or strategies can be added to a finished one.

    Example: myotome simulate-annotation --seeds 5 -o runs/annotation_simulation

    Example: myotome simulate-annotation --data people --strategies random,measurement --seeds 3 -o result
    """
    from myotome.active_learning.study import read_settings, run_study

    names = [name.strip() for name in strategies.split(",") if name.strip()]
    settings = read_settings(config).chosen(names, seeds)
    with show_counts(quiet) as show:

        def advance(step: str, done: int, total: int) -> None:
            show(done, total, step)

        from myotome.training.quick import make_quick_learner

        learner = make_quick_learner(settings.reduction.schema, settings.training)
        conclusion = run_study(settings, learner, output, data, jobs, advance)
    if not quiet:
        for sentence in conclusion:
            print(sentence)
        for name in ("curves.png", "report.html"):
            print(output / name)
