"""``myotome study l3-transfer``: how few annotated L3 slices a site needs, and which pre-training gets it there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from myotome.cli.cohort import describe_cluster
from myotome.cli.launcher import make_launcher
from myotome.cli.progress import show_counts
from myotome.cli.tables import print_files

__all__ = ["l3_transfer"]


def l3_transfer(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the jobs, the report and its tables.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML like configs/studies/l3_transfer.yaml (the default).")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Settings of the YAML's presets; quick: under an hour on two cores.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="JSON list of your own slices (image, label), instead of phantoms.")
    ] = None,
    observers: Annotated[
        Path | None, typer.Option("--observers", help="Readers' masks: a folder per reader, a NIfTI file per case.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Trainings at the same time.")] = 1,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of one training; by default the cores shared out.")
    ] = None,
    memory_gb: Annotated[float | None, typer.Option("--memory-gb", min=0.3, help="Memory of one worker.")] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of a dask scheduler that runs already.")
    ] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Ask SLURM for the workers; see docs/cluster.md.")] = False,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option("--slurm-option", help="Passed to sbatch, such as --slurm-option=--gres=gpu:1; repeatable."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Train one network from several sources on few annotated L3 slices, cross-validated, and write one report.

    Sources: scratch, ImageNet classification, natural-image segmentation, reconstruction, jigsaw and other phantoms.
    Every source, subset, fold and repeat is one job; a study that is stopped goes on where it was when the same command
    is given again. A source whose public weights cannot be reached is left out, and the report says so.

    Example, a sketch of the whole study: myotome study l3-transfer --preset quick --jobs 2 -o runs/l3

    Example, your own slices and readers: myotome study l3-transfer --data slices.json --observers readers -o runs/ours

    Example, on a cluster: myotome study l3-transfer --slurm -j 24 --memory-gb 8 -o /shared/runs/l3
    """
    from myotome.studies.l3_transfer.report import write_report
    from myotome.studies.l3_transfer.run import Means
    from myotome.studies.l3_transfer.settings import read_study_settings
    from myotome.studies.l3_transfer.study import run_study

    settings = read_study_settings(config, preset).changed(datalist=None if data is None else str(data.resolve()))
    means: dict[str, Any] = {"jobs": jobs}
    if jobs > 1 or slurm or scheduler:
        cluster = describe_cluster(output, jobs, threads, memory_gb, scheduler, (slurm, slurm_option, 240))
        means["launch"] = make_launcher(cluster, output.resolve() / "workers")
    try:
        with show_counts(quiet) as advance:
            findings = run_study(settings, output, Means(progress=advance, **means), observers)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on where it was.", err=True)
        raise typer.Exit(130) from None
    write_report(output, findings, settings)
    if not quiet:
        for sentence in findings.conclusion:
            print(sentence)
        print_files(output, ("report.html", "report.pdf", "summary.json", "summary.csv", "scores.csv"))
