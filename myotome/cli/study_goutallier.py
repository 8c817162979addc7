"""``myotome study goutallier``: fatty infiltration of the supraspinatus, cross-validated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from myotome.cli.progress import show_counts
from myotome.cli.tables import print_files

__all__ = ["goutallier"]


def goutallier(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the folds, the report and its tables.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML like configs/studies/goutallier.yaml (the default).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Settings of the YAML's presets; quick: under 20 minutes.")
    ] = None,
    classifier: Annotated[
        str | None, typer.Option("--classifier", help="small (default), or vgg19: the paper's, for a GPU.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Folds at the same time.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train and score the two-step grader in five folds of 606 synthetic shoulders, and write one report.

    The folds are stratified by grade and keep patients together. Scored with given, predicted and no masks, against the
    true grade and against a reader's, for all five binary definitions and the five grades. A run that is stopped goes
    on where it was when the same command is given again.

    Example: myotome study goutallier --preset quick -o runs/goutallier
    """
    from myotome.studies.goutallier.report import write_report
    from myotome.studies.goutallier.settings import read_study_settings
    from myotome.studies.goutallier.study import run_study

    settings = read_study_settings(config, preset).changed(classifier=classifier)
    with show_counts(quiet) as advance:
        findings = run_study(settings, output, advance, jobs=jobs)
    write_report(output, findings, settings)
    if not quiet:
        for sentence in findings.conclusion:
            print(sentence)
        print_files(output, ("report.html", "report.pdf", "scores.csv", "predictions.csv"))
