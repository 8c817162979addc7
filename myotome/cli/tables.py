"""The table of measurements that a person reads in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from myotome.measurement import CaseResult, Grading, Measurement

__all__ = ["describe_grading", "make_result_table", "make_warnings", "print_files", "print_result"]

# (heading, measure, statistic, digits)
_COLUMNS = (
    ("volume\nmL", "volume", "total", 1),
    ("density\nHU", "density", "mean", 1),
    ("SD\nHU", "density", "sd", 1),
    ("normal\n%", "nama_share", "total", 1),
    ("fatty\n%", "lama_share", "total", 1),
    ("fat\n%", "imat_share", "total", 1),
)
_SIDES = ("right", "left", "both")


def print_result(result: CaseResult, folder: Path | None) -> None:
    """Print the measurement table, what to beware of, and where the pictures are."""
    console = Console(highlight=False)
    if result.grading is not None:
        console.print(describe_grading(result.grading))
    console.print(make_result_table(result))
    for line in make_warnings(result):
        console.print(line)
    if folder is not None:
        for name in ("overview.png", "report.html"):
            console.print(str(folder / name), soft_wrap=True)


def describe_grading(grading: Grading) -> str:
    """The grade, how probable it is, and on which slice."""
    share = grading.grade_probabilities[grading.grade]
    return f"Goutallier grade {grading.grade} ({100 * share:.0f} %); {grading.reason}"


def make_result_table(result: CaseResult) -> Table:
    """One row per structure and side: volume, density, and the shares of normal muscle, fatty muscle and fat.

    Where no structure that has sides has any of these there is a row per measurement instead.
    """
    sided = {structure.name for structure in result.structures if structure.sided}
    shown = {(measure, statistic) for _, measure, statistic, _ in _COLUMNS}
    if not any(row.structure in sided and (row.measure, row.statistic) in shown for row in result.measurements):
        return _make_list(result)
    table = Table()
    table.add_column("muscle", no_wrap=True)
    table.add_column("side", no_wrap=True)
    for heading, *_ in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for structure, rows in _rows_by_structure(result).items():
        for place, (side, items) in enumerate(rows.items()):
            numbers = [_format(item, digits) for item, (*_, digits) in zip(items, _COLUMNS, strict=True)]
            table.add_row(structure if place == 0 else "", side, *numbers)
        table.add_section()
    return table


def _make_list(result: CaseResult) -> Table:
    from myotome.biomarkers.cutoffs import compare_with_cutoffs
    from myotome.report.measure_names import name_measure, name_unit

    whole = [row for row in result.measurements if row.slice_index is None]
    cutoffs = compare_with_cutoffs(whole, result.label_map.schema.name, result.subject.sex)
    beside = {row.measure: one.describe(row.value).replace(one.unit, name_unit(one.unit)) for row, one in cutoffs}
    table = Table("structure", "measure", Column("value", justify="right"), "unit", Column("95 %", justify="right"))
    if beside:
        table.add_column("reference")
    for structure in result.structures:
        for row in whole:
            if row.structure == structure.name:
                interval = "" if row.lower is None or row.upper is None else f"{row.lower:.1f} to {row.upper:.1f}"
                is_number = row.unit == "1" and float(row.value or 0).is_integer()
                digits = 0 if is_number else 2 if row.unit == "1" else 1
                cells = [structure.title, name_measure(row), _format(row, digits), name_unit(row.unit), interval]
                table.add_row(*cells, *([beside.get(row.measure, "")] if beside else []))
    return table


def make_warnings(result: CaseResult) -> list[str]:
    """One line per flag or note: of the case, then of its muscles with the places that carry it."""
    lines = [f"Beware: {flag.replace(':', ': ')}" for flag in result.flags]
    places: dict[str, list[str]] = {}
    for structure, rows in _rows_by_structure(result).items():
        for side in [side for side in rows if side != "both"] or ["both"]:
            for flag in dict.fromkeys(flag for item in rows[side] if item for flag in item.flags):
                places.setdefault(flag, []).append(f"{structure.lower()} {side}")
    if not places:
        places = _places_by_measure(result)
    lines += [f"Beware: {flag} ({', '.join(where)})" for flag, where in places.items() if flag not in result.flags]
    return lines + [f"Note: {note}" for note in result.provenance.notes]


def _places_by_measure(result: CaseResult) -> dict[str, list[str]]:
    """Flags of structures without sides, and the measures that carry them."""
    from myotome.report.measure_names import name_in_sentence

    unsided = {structure.name for structure in result.structures if not structure.sided}
    places: dict[str, list[str]] = {}
    for row in result.measurements:
        for flag in row.flags if row.structure in unsided and row.slice_index is None else ():
            places.setdefault(flag, []).append(f"{row.level or ''} {name_in_sentence(row)}".lstrip())
    return places


def _rows_by_structure(result: CaseResult) -> dict[str, dict[str, list[Measurement | None]]]:
    """Title, then side, to the measurements of the table's columns."""
    values = {
        (item.structure, item.side, item.measure, item.statistic): item
        for item in result.measurements
        if item.slice_index is None and item.level is None
    }
    rows: dict[str, dict[str, list[Measurement | None]]] = {}
    for structure in result.label_map.schema.structures:
        for side in _SIDES:
            items = [values.get((structure.name, side, measure, statistic)) for _, measure, statistic, _ in _COLUMNS]
            if any(items):
                rows.setdefault(structure.title, {})[side] = items
    return rows


def _format(measurement: Measurement | None, digits: int) -> str:
    if measurement is None or measurement.value is None:
        return "-"
    return f"{measurement.value:.{digits}f}"


def print_files(folder: Path, names: Sequence[str]) -> None:
    """Print where results are; what to do about a PDF that could not be made."""
    for name in names:
        if (folder / name).exists():
            print(folder / name)
        elif name.endswith(".pdf"):
            from myotome.report.pages import NO_PDF

            print(f"Note: {NO_PDF}")
