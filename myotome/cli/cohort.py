"""``myotome cohort``: from one scan to thousands."""

from __future__ import annotations

import json
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from myotome.cli.analyze import Device, EngineName, Precision
from myotome.cli.cohort_quality import quality, serve
from myotome.cli.tables import print_files
from myotome.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from myotome.cohort.clusters import ClusterOptions
    from myotome.cohort.run import RunRequest, RunSummary

__all__ = ["SeriesChoice", "cohort", "compare", "describe_cluster", "export", "query", "retry", "run", "status"]

_FAILED = 6
_SHOWN_FAILURES = 10
_SHOWN_ROWS = 200

cohort = typer.Typer(
    help="Measure many scans: run, look, ask, compare. One folder holds it all and can be taken up again at any time.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class SeriesChoice(StrEnum):
    """Which series of a study are cases."""

    best = "best"
    all = "all"


_Folder = Annotated[Path, typer.Argument(metavar="OUT", help="The cohort's folder.")]
_Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Workers; each does one case at a time.")]
_Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of one worker; by default the cores shared out.")
]
_Memory = Annotated[
    float | None, typer.Option("--memory-gb", min=0.3, help="Most memory of one worker; a case that takes more fails.")
]
_Timeout = Annotated[float | None, typer.Option("--timeout-min", min=0.1, help="Give a case up after so many minutes.")]
_Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Address of a dask scheduler that runs already.")]
_Slurm = Annotated[bool, typer.Option("--slurm", help="Ask SLURM for the workers; see docs/cluster.md.")]
_SlurmOption = Annotated[
    list[str] | None,
    typer.Option("--slurm-option", help="Passed to sbatch, such as --slurm-option=--partition=long; repeatable."),
]
_SlurmMinutes = Annotated[int, typer.Option("--slurm-minutes", min=1, help="Walltime of one worker's job.")]
_Shard = Annotated[str, typer.Option("--shard", help="Do only part k of n, as in 3/20: for job arrays.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@cohort.command()
def run(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Folders, NIfTI files, zips, a CSV of paths, a DICOMweb address."),
    ],
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="Name of a shipped bundle, or a bundle's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The cohort's folder; a run goes on in it.")],
    jobs: _Jobs = 1,
    threads: _Threads = None,
    memory_gb: _Memory = None,
    timeout_min: _Timeout = None,
    scheduler: _Scheduler = None,
    slurm: _Slurm = False,
    slurm_option: _SlurmOption = None,
    slurm_minutes: _SlurmMinutes = 240,
    shard: _Shard = "1/1",
    series: Annotated[
        SeriesChoice, typer.Option("--series", help="One case per study (its best series), or one per series.")
    ] = SeriesChoice.best,
    pattern: Annotated[str, typer.Option("--pattern", help="NIfTI files to take, by name.")] = "*",
    outputs: Annotated[
        str, typer.Option("--outputs", help="Kept of each case, of labels, overview, report, thumbnail.")
    ] = "labels,report,thumbnail",
    dicom: Annotated[
        bool,
        typer.Option("--dicom", help="Also write DICOM SEG and SR, into the private folder: they name the patient."),
    ] = False,
    uncertainty: Annotated[
        int, typer.Option("--uncertainty", min=0, help="Ask the model on so many slices how sure it is.")
    ] = 0,
    device: Annotated[Device, typer.Option("--device", help="Where the network runs.")] = Device.auto,
    engine: Annotated[EngineName, typer.Option("--engine", help="How the networks are computed.")] = EngineName.auto,
    precision: Annotated[Precision, typer.Option("--precision", help="Arithmetic; one for a whole cohort.")] = (
        Precision.float32
    ),
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Measure every scan of the sources, on this machine or on a cluster.

    A run can be stopped and started again at any time: it does what is missing, what failed, and what another version
    of the bundle or other weights have made. What cannot be measured becomes a row with its reason. Patients'
    identifiers are replaced by a keyed hash everywhere but in the folder OUT/private; keep that one to yourself.

    A CSV of paths has a column path and may have subject_id, sex, age_years, height_m, weight_kg and study_date. A
    DICOMweb address may carry a query; its user and password are read from MYOTOME_DICOMWEB_USER and
    MYOTOME_DICOMWEB_PASSWORD.

    Exit code 6: the run is over, and some cases failed.

    Example: myotome cohort run scans/ -b respiratory_muscle_ct_segmentation -o cohort --jobs 4

    Example: myotome cohort run "https://pacs/dicom-web?StudyDate=20240101-20241231" -b BUNDLE -o cohort --slurm -j 40
    """
    from myotome.cohort.analysis import AnalysisOptions
    from myotome.cohort.run import Shard
    from myotome.cohort.sources import SourceOptions

    cluster = describe_cluster(output, jobs, threads, memory_gb, scheduler, (slurm, slurm_option, slurm_minutes))
    recipe = {"root": bundle, "device": device.value, "engine": engine.value, "precision": precision.value}
    names = tuple(name.strip() for name in outputs.split(",") if name.strip())
    request = _make_request(
        tuple(sources),
        output,
        recipe,
        finding=SourceOptions(series.value, pattern, _modality_of(bundle)),
        analysis=AnalysisOptions(names, dicom, uncertainty),
        cluster=cluster,
        shard=Shard.parse(shard),
        timeout_s=None if timeout_min is None else 60 * timeout_min,
    )
    _run(request, as_json, quiet)


@cohort.command()
def retry(
    output: _Folder,
    jobs: _Jobs = 1,
    threads: _Threads = None,
    memory_gb: _Memory = None,
    timeout_min: _Timeout = None,
    refused: Annotated[bool, typer.Option(help="Also the refused ones.")] = True,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Do the failed and refused cases of a cohort once more, with the sources and the bundle of its last run.

    Example: myotome cohort retry cohort --memory-gb 16
    """
    from myotome.cohort.analysis import AnalysisOptions
    from myotome.cohort.run import read_recipe
    from myotome.cohort.sources import SourceOptions

    recipe = read_recipe(output)
    if "root" not in recipe["bundle"]:
        raise InputError("this cohort was not made by 'myotome cohort run', so a retry does not know its bundle.")
    request = _make_request(
        tuple(recipe["sources"]),
        output,
        recipe["bundle"],
        finding=SourceOptions(**recipe["finding"]),
        analysis=AnalysisOptions(**{**recipe["analysis"], "outputs": tuple(recipe["analysis"]["outputs"])}),
        cluster=describe_cluster(output, jobs, threads, memory_gb, None, (False, None, 0)),
        redo=("failed", "refused") if refused else ("failed",),
        timeout_s=None if timeout_min is None else 60 * timeout_min,
    )
    _run(request, as_json, quiet)


@cohort.command()
def status(output: _Folder, as_json: _Json = False) -> None:
    """Say how far a cohort is, on which machine, how long it will take, and why cases were refused.

    Example: watch myotome cohort status cohort
    """
    from myotome.cohort.run import read_status

    table = read_status(output)
    if as_json:
        print(json.dumps(table, indent=1))
        return
    print("   ".join(f"{name} {count}" for name, count in sorted(table["cases"].items())) or "no case yet")
    for one in table["runs"]:
        left = "" if one["seconds_left"] is None else f", about {_duration(one['seconds_left'])} left"
        there = f"{one['total'] - one['left']} of {one['total']} cases, {one['cases_per_hour']:g} an hour{left}"
        print(f"run {one['shard']} on {one['host']}: {one['state']}, {there}")
    for reason in table["reasons"]:
        print(f"{reason['cases']:>6} {reason['status']}: {reason['reason']} (such as {reason['first']})")


@cohort.command()
def query(
    output: _Folder,
    sql: Annotated[str, typer.Argument(help="One SELECT over cases, measurements, included_measurements, reviews.")],
    as_json: _Json = False,
    export: Annotated[Path | None, typer.Option("--output", "-o", help="CSV to write, instead of printing.")] = None,
) -> None:
    """Ask a cohort by SQL (DuckDB); it is only read.

    Example: myotome cohort query cohort "SELECT structure, side, median(value) FROM measurements
    WHERE measure = 'volume' GROUP BY ALL"
    """
    from myotome.store import Store

    frame = Store(output).frame(sql)
    if export is not None:
        from myotome.io.atomic import atomic_path

        with atomic_path(export) as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
    elif as_json:
        print(frame.to_json(orient="records", date_format="iso", indent=1))
    else:
        _print_frame(frame)


@cohort.command()
def export(
    output: _Folder,
    path: Annotated[Path, typer.Argument(help="File to write: .csv, .xlsx or .parquet.")],
    long: Annotated[bool, typer.Option("--long", help="One row per measurement instead of one per case.")] = False,
) -> None:
    """Write a cohort's measurements for a spreadsheet or a statistics program: one row per case.

    Example: myotome cohort export cohort measurements.xlsx
    """
    from myotome.store import Store
    from myotome.store.exports import write_export

    rows = write_export(Store(output), path, long=long)
    print(f"{path}: {rows} rows")


@cohort.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A cohort's folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another, of the same scans.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, figures and the report.")],
    as_json: _Json = False,
) -> None:
    """Compare two cohorts of the same scans, such as two versions of a bundle: per measure, worst cases first.

    Example: myotome cohort compare cohort_v1 cohort_v2 -o comparison
    """
    from myotome.cli.study_agreement import make_json, print_agreements
    from myotome.cohort.comparison import compare_cohorts

    agreements, pairing = compare_cohorts(first, second, output)
    if as_json:
        print(make_json(agreements, pairing))
        return
    print_agreements(agreements, pairing.notes)
    print_files(output, ("agreement.csv", "report.html", "report.pdf"))


cohort.command()(quality)
cohort.command()(serve)


def describe_cluster(
    output: Path,
    jobs: int,
    threads: int | None,
    memory_gb: float | None,
    scheduler: str | None,
    slurm: tuple[bool, list[str] | None, int],
) -> ClusterOptions:
    """Where work is done, from the options of a command.

    Parameters
    ----------
    output : folder of the work, whose ``private`` part takes what SLURM's workers say
    slurm : whether SLURM is asked for the workers, options of sbatch, and walltime in minutes

    Raises
    ------
    InputError
        When options exclude each other, or one is missing.
    """
    from myotome.cohort.clusters import ClusterOptions

    wanted, directives, minutes = slurm
    if wanted and scheduler:
        raise InputError("--slurm and --scheduler exclude each other: give one.")
    if wanted and memory_gb is None:
        raise InputError("SLURM has to be told how much memory a worker needs: give --memory-gb, such as 6.")
    options = None
    if wanted:
        from myotome.cohort.slurm import SlurmOptions

        logs = output / "private" / "slurm"
        options = SlurmOptions(log_folder=logs, walltime_minutes=minutes, directives=tuple(directives or ()))
        threads = threads or 1
    memory_mb = None if memory_gb is None else int(1024 * memory_gb)
    return ClusterOptions(jobs, threads, memory_mb, scheduler, options)


def _make_request(sources: tuple[str, ...], output: Path, recipe: dict[str, Any], **rest: Any) -> RunRequest:
    from myotome.cohort.bundles import BundleOpener
    from myotome.cohort.run import RunRequest
    from myotome.resources import bundle_root

    recipe = {**recipe, "root": str(bundle_root(recipe["root"]))}
    opener = BundleOpener(Path(recipe["root"]), recipe["device"], recipe["engine"], recipe["precision"])
    return RunRequest(sources, output, fingerprint=opener.fingerprint(), open_segmenter=opener, recipe=recipe, **rest)


def _modality_of(bundle: str) -> str:
    from myotome.resources import bundle_root, image_modality, read_metadata

    return image_modality(read_metadata(bundle_root(bundle)))


def _run(request: RunRequest, as_json: bool, quiet: bool) -> None:
    from myotome.cohort.run import run_cohort

    try:
        with _show_run(quiet or as_json) as progress:
            summary = run_cohort(request, progress)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on where it was.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(_summary_table(summary), indent=1))
    elif not quiet:
        _print_summary(summary, request.output)
    if summary.failures:
        raise typer.Exit(_FAILED)


@contextmanager
def _show_run(quiet: bool) -> Iterator[Any]:
    """A bar with cases done, refused and failed, cases an hour, and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("finding", total=None, words="")

        def advance(step: str, done: int, total: int, counts: Any) -> None:
            words = f"{done} files" if step == "finding" else ""
            if step == "running":
                speed = bar.tasks[task].speed
                words = f"{done}/{total}, {counts.refused} refused, {counts.failed} failed"
                words += f", {3600 * speed:.0f}/h" if speed else ""
            if bar.tasks[task].description != step:
                bar.reset(task, total=total or None)
            bar.update(task, description=step, completed=done, total=total or None, words=words)

        yield advance


def _summary_table(summary: RunSummary) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **asdict(summary.counts),
        "seconds": round(summary.seconds, 1),
        "failures": [{"case_id": case_id, "reason": reason} for case_id, reason in summary.failures],
    }


def _print_summary(summary: RunSummary, output: Path) -> None:
    counts = summary.counts
    before = f", {counts.before} were there before" if counts.before else ""
    if counts.elsewhere:
        print(
            f"Beware: {counts.elsewhere} cases of '{output}' come from no source of this run (moved, or other sources)."
        )
    print(
        f"{counts.total} cases{before}: {counts.done} done, {counts.refused} refused, {counts.failed} failed in "
        f"{_duration(summary.seconds)}"
    )
    for case_id, reason in summary.failures[:_SHOWN_FAILURES]:
        print(f"  {case_id} failed: {reason}")
    if len(summary.failures) > _SHOWN_FAILURES:
        print(f"  and {len(summary.failures) - _SHOWN_FAILURES} more: myotome cohort status {output}")
    print(f"look at them: myotome cohort serve {output}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _print_frame(frame: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        print(frame.to_csv(index=False, lineterminator="\n"), end="")
        return
    table = Table(*map(str, frame.columns))
    for row in frame.head(_SHOWN_ROWS).itertuples(index=False):
        table.add_row(*(_show(value) for value in row))
    console.print(table)
    if len(frame) > _SHOWN_ROWS:
        console.print(f"... {len(frame) - _SHOWN_ROWS} more rows: write them all with -o FILE.csv")


def _show(value: Any) -> str:
    import pandas as pd
    from rich.markup import escape

    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else escape(str(value))
