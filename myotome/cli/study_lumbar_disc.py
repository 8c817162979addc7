"""``myotome study lumbar-disc``: discs by Mask R-CNN, and what a patient leak is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from myotome.cli.progress import show_counts
from myotome.cli.tables import print_files

__all__ = ["lumbar_disc"]


def lumbar_disc(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the splits, the report and its tables.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML like configs/studies/lumbar_disc.yaml (the default).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Settings of the YAML's presets; quick: a sketch of the study.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data list (JSON) whose rows have image, label and patient, in place of phantoms."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="mobile (default), or resnet50: the paper's, for a GPU.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train and score the disc detector twice, divided by patient and by image, and write one report.

    515 synthetic people with an axial slice through each of the three lowest discs, 365 to train on and 150 to test, or
    the images of a data list. Scored by pixels, boundary and objects, per patient and with intervals. A run that is
    stopped goes on where it was when the same command is given again.

    Example: myotome study lumbar-disc --preset quick -o runs/lumbar_disc
    """
    from myotome.studies.lumbar_disc.report import write_report
    from myotome.studies.lumbar_disc.settings import read_study_settings
    from myotome.studies.lumbar_disc.study import run_study

    settings = read_study_settings(config, preset).changed(
        datalist=None if data is None else str(data.resolve()), backbone=backbone
    )
    with show_counts(quiet) as advance:
        findings = run_study(settings, output, advance)
    write_report(output, findings, settings)
    if not quiet:
        for sentence in findings.conclusion:
            print(sentence)
        print_files(output, ("report.html", "report.pdf", "scores.csv", "leak.csv"))
