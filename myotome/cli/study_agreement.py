"""``myotome study agreement``: how well two raters, tools or versions agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from myotome.cli.tables import print_files

if TYPE_CHECKING:
    from myotome.report.comparisons import Agreement
    from myotome.report.pairing import Pairing
    from myotome.statistics.intervals import Estimate

__all__ = ["agreement", "make_json", "print_agreements"]


def agreement(
    a: Annotated[Path, typer.Option("--a", help="The first table (CSV): the reference, or the first rater.")],
    b: Annotated[Path, typer.Option("--b", help="The second table; may be the same file with --pair.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for table, figures and report; must not exist.")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="COLUMN", help="Column that names the cases; found by its name if not given."),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="COLUMN", help="Also by subgroup, such as sex.")] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            metavar="NAME=A_COLUMN:B_COLUMN",
            help="Columns to compare, several times if need be; NAME may end in a unit in square brackets.",
        ),
    ] = None,
    slices: Annotated[
        bool, typer.Option("--slices", help="Compare rows of single slices, not of whole volumes (long tables).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON, and nothing else.")] = False,
) -> None:
    """Compare two measurements of the same cases: bias, limits of agreement, ICC, CCC and least significant change.

    The tables are Myotome's own (rows of measurements.csv, of as many cases as there are) or have one row per case.
    Differences are B minus A. With -o: agreement.csv, figures, report.html and report.pdf.

    Example: myotome study agreement --a reader_1.csv --b reader_2.csv --by sex -o agreement

    Example: myotome study agreement --a saros.csv --b saros.csv --pair "muscle volume=manual_ml:tool_ml" -o agreement
    """
    from myotome.report.agreement import write_agreement
    from myotome.report.comparisons import compute_agreements
    from myotome.studies.agreement import AgreementRequest, pair_tables, parse_column_pair

    pairs = tuple(parse_column_pair(text) for text in pair or ())
    pairing = pair_tables(AgreementRequest(a, b, on, by, pairs, slices))
    if output is None:
        agreements = compute_agreements(pairing.comparisons)
    else:
        agreements = write_agreement(output, pairing.comparisons, _title(a, b), pairing.notes)
    if as_json:
        print(make_json(agreements, pairing))
        return
    print_agreements(agreements, pairing.notes)
    if output is not None:
        print_files(output, ("agreement.csv", "report.html", "report.pdf"))


def _title(a: Path, b: Path) -> str:
    return f"Agreement within {a.stem}" if a.resolve() == b.resolve() else f"Agreement of {a.stem} and {b.stem}"


def print_agreements(agreements: Sequence[Agreement], notes: Sequence[str]) -> None:
    """Print one line per measure and subgroup, then the notes."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from myotome.report.agreement_figures import format_number, pick_decimals
    from myotome.report.comparisons import ALL, format_unit

    table = Table()
    table.add_column("measure", overflow="fold")
    for heading in ("cases", "bias\nb - a", "limits of\nagreement", "ICC(2,1)", "ICC(3,1)", "LSC"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in agreements:
        unit, bland = format_unit(item.comparison.unit), item.bland_altman
        measure = f"{item.comparison.measure}, {unit}" if unit else item.comparison.measure
        name = Text(measure if item.group == ALL else f"  {item.group}")
        if bland is None:
            table.add_row(name, str(item.cases), *["-"] * 5)
            continue
        decimals = pick_decimals(bland.sd)
        limits = " to ".join(format_number(limit.value, decimals) for limit in (bland.lower_limit, bland.upper_limit))
        cells = [format_number(estimate.value, 3) if estimate else "-" for estimate in _ratios(item)]
        table.add_row(name, str(item.cases), format_number(bland.bias.value, decimals), limits, *cells,
                      format_number(item.change.change, decimals))  # fmt: skip
    console = Console(highlight=False)
    console.print(table)
    for note in notes:
        console.print(f"Beware: {note}", markup=False, soft_wrap=True)


def _ratios(item: Agreement) -> tuple[Estimate | None, ...]:
    return item.icc and item.icc.agreement, item.icc and item.icc.consistency


def make_json(agreements: Sequence[Agreement], pairing: Pairing) -> str:
    """The table, the notes and who was not matched, for machines."""
    from myotome.report.comparisons import make_row

    document = {
        "notes": list(pairing.notes),
        "unmatched_a": list(pairing.unmatched_a),
        "unmatched_b": list(pairing.unmatched_b),
        "agreement": [make_row(item) for item in agreements],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
