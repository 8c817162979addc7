"""``myotome study qct-agreement``: bone density without a phantom in the scanner, against quantitative CT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from myotome.cli.cohort import describe_cluster
from myotome.cli.launcher import make_launcher
from myotome.cli.progress import show_counts
from myotome.cli.tables import print_files
from myotome.errors import InputError

__all__ = ["qct_agreement"]


def qct_agreement(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the rows, the report and its tables.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML like configs/studies/qct_agreement.yaml (the default).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Settings of the YAML's presets; quick: under half an hour.")
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option("--segmenter", help="truth (default): label maps as drawn; bundle: the networks.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="JSON list of your own scans (image, and label if there is one).")
    ] = None,
    qct: Annotated[
        Path | None, typer.Option("--qct", help="Their QCT: CSV with patient or case, bmd, unit (mg/cm3).")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Scans at the same time.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Fit the calibration on 985 synthetic people, test it on 421 others against QCT, and write one report.

    Two calibrations by the person's own tissues, and HU without any, against the phantom-based method on the same scans
    and against the known density; then repeats of one person (dose, kernel, scanner, position), and calibrations broken
    on purpose. Every scan is one row; a study that is stopped goes on where it was when the same command is given
    again. With --data and --qct a site's own scans take the place of the synthetic ones.

    Example, a sketch of the whole study: myotome study qct-agreement --preset quick -j 2 -o runs/qct

    Example, your own: myotome study qct-agreement --data scans.json --qct qct.csv -o runs/ours
    """
    from myotome.studies.qct_agreement.report import COEFFICIENTS, CONFIGURATION, write_report
    from myotome.studies.qct_agreement.run import Means, SiteFiles
    from myotome.studies.qct_agreement.settings import read_study_settings
    from myotome.studies.qct_agreement.study import run_study

    if (data is None) != (qct is None):
        raise InputError("--data and --qct belong together: give the list of scans and the table of their QCT.")
    settings = read_study_settings(config, preset).changed(segmenter=segmenter)
    site = None if data is None or qct is None else SiteFiles(data, qct)
    means: dict[str, Any] = {}
    if jobs > 1:
        cluster = describe_cluster(output, jobs, None, None, None, (False, None, 240))
        means["launch"] = make_launcher(cluster, output.resolve() / "workers")
    try:
        with show_counts(quiet) as advance:
            findings = run_study(settings, output, Means(progress=advance, **means), site)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on where it was.", err=True)
        raise typer.Exit(130) from None
    write_report(output, findings, settings)
    if not quiet:
        for sentence in findings.conclusion:
            print(sentence)
        print_files(output, ("report.html", "report.pdf", "summary.json", "readings.csv", COEFFICIENTS, CONFIGURATION))
