"""``myotome study pft-correlation`` and its proof: muscle on CT against lung function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from myotome.cli.progress import show_counts
from myotome.cli.tables import print_files

__all__ = ["pft_correlation", "pft_coverage", "pft_phantoms"]

_CONFIG = typer.Option("--config", help="YAML like configs/studies/pft_correlation.yaml.")
_QUIET = typer.Option("--quiet", "-q", help="Print nothing but errors.")


def pft_correlation(
    measurements: Annotated[Path, typer.Option("--measurements", help="Folder of the cohort, with its private key.")],
    pft: Annotated[Path, typer.Option("--pft", help="CSV with one line per lung-function test.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report and its tables.")],
    reference: Annotated[
        str | None, typer.Option("--reference", help="Spirometry: gli_global_2022 (default) or gli_2012.")
    ] = None,
    window_days: Annotated[
        int | None, typer.Option("--window-days", min=0, help="Most days between scan and test (default 365).")
    ] = None,
    undated: Annotated[
        bool, typer.Option("--include-undated", help="Use scans without a date, with the patient's latest test.")
    ] = False,
    repeated: Annotated[
        str | None,
        typer.Option("--repeated", help="Several scans of a patient: nearest (default) or all (mixed models)."),
    ] = None,
    config: Annotated[Path | None, _CONFIG] = None,
    quiet: Annotated[bool, _QUIET] = False,
) -> None:
    """Correlate muscle volume and density with lung function, and write one report as HTML and PDF.

    Patients are matched by the cohort's keyed hash of their identifier. Columns of the table: subject_id, test_date,
    sex, age_years, height_cm, and any of fvc_l, fev1_l, fev1_fvc, dlco_mmol_min_kpa or dlco_ml_min_mmhg, mip_cmh2o or
    mip_kpa, mep_cmh2o or mep_kpa; for GLI-2012 also ethnicity.

    Example: myotome study pft-correlation --measurements OUT --pft pft.csv -o result
    """
    from myotome.studies.pft.report import check_folder, write_report
    from myotome.studies.pft.settings import read_settings
    from myotome.studies.pft.study import run_study

    check_folder(output)
    settings = read_settings(config).changed(
        reference=reference, window_days=window_days, undated="include" if undated else None, repeated=repeated
    )
    findings = run_study(measurements, pft, settings)
    write_report(output, findings, settings)
    if not quiet:
        for sentence in findings.conclusion:
            print(sentence)
        print_files(output, ("report.html", "report.pdf", "correlations.csv"))


def pft_phantoms(
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for cohort/ and pft.csv.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many people.")] = 3200,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first one.")] = 7_000_000,
    config: Annotated[Path | None, _CONFIG] = None,
    quiet: Annotated[bool, _QUIET] = False,
) -> None:
    """Make a cohort of phantom people and their lung-function tests, to try pft-correlation on.

    Example: myotome study pft-phantoms -n 400 -o demo
    """
    from myotome.studies.pft.cohort import write_phantom_cohort
    from myotome.studies.pft.settings import read_settings

    with show_counts(quiet) as advance:
        cohort, table = write_phantom_cohort(output, count, seed, read_settings(config), advance)
    if not quiet:
        print(f"myotome study pft-correlation --measurements {cohort} --pft {table} -o {output / 'study'}")


def pft_coverage(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the population and the results.")],
    replications: Annotated[int | None, typer.Option("--replications", min=1, help="How many (default 200).")] = None,
    people: Annotated[int | None, typer.Option("--people", min=50, help="In each replication (default 3200).")] = None,
    population: Annotated[
        int | None, typer.Option("--population", min=100, help="People whose correlations are the truth.")
    ] = None,
    config: Annotated[Path | None, _CONFIG] = None,
    quiet: Annotated[bool, _QUIET] = False,
) -> None:
    """Replicate the study on phantom people: do its intervals hold the known truth, and is chance kept out?

    The population is drawn once and kept in the output folder. Leaves coverage.csv (a row per pair) and coverage.json.

    Example: myotome study pft-coverage --replications 2000 -o runs/pft_coverage
    """
    from myotome.errors import InputError
    from myotome.studies.pft.coverage import replicate, write_coverage
    from myotome.studies.pft.phantoms import open_population
    from myotome.studies.pft.settings import read_settings

    settings = read_settings(config)
    plan = settings.coverage
    size = (population or plan["population"], plan["population_seed"])
    people = people or plan["people"]
    if people > size[0]:
        raise InputError(f"{people} people cannot be drawn from {size[0]}: ask for a larger population.")
    with show_counts(quiet) as advance:
        everyone = open_population(output / "population.npz", settings.phantoms["truth"], size, advance)
        done = replicate(everyone, settings, replications or plan["replications"], people, advance)
    summary = write_coverage(output, done, settings)
    if not quiet:
        print(
            f"{summary['replications']} replications of {people} people: intervals hold the truth in "
            f"{100 * summary['lowest_coverage']:.1f} to {100 * summary['highest_coverage']:.1f} % "
            f"(mean {100 * summary['mean_coverage']:.1f} %), {summary['pairs_within_93_to_97_percent']} of "
            f"{summary['pairs']} pairs within 93 to 97 %."
        )
        share = 100 * summary["null_families_with_a_discovery"]
        print(f"Families without any truth in which something is discovered: {share:.1f} %.")
        print(output / "coverage.csv")
