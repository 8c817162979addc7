"""The table of measurements that a person reads in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from myotome.measurement import CaseResult, Measurement

__all__ = ["make_result_table", "print_result"]

# (heading, measure, statistic, digits)
_COLUMNS = (
    ("volume\nmL", "volume", "total", 1),
    ("density\nHU", "density", "mean", 1),
    ("SD\nHU", "density", "sd", 1),
    ("normal\n%", "nama_share", "share", 1),
    ("fat-laden\n%", "lama_share", "share", 1),
    ("fat\n%", "imat_share", "share", 1),
)
_SIDES = ("right", "left", "both")


def print_result(result: CaseResult, folder: Path | None) -> None:
    """Print the measurement table, the case's flags, and where the files are."""
    console = Console()
    console.print(make_result_table(result))
    if result.flags:
        console.print(f"Beware: {', '.join(result.flags)}", highlight=False)
    for note in result.provenance.notes:
        console.print(f"Note: {note}.", highlight=False)
    if folder is not None:
        for name in ("overview.png", "report.html"):
            console.print(f"{folder / name}", highlight=False, soft_wrap=True)


def make_result_table(result: CaseResult) -> Table:
    """One row per structure and side: volume, density, and the shares of muscle, fat-laden muscle and fat."""
    values = {
        (item.structure, item.side, item.measure, item.statistic): item
        for item in result.measurements
        if item.slice_index is None and item.level is None
    }
    table = Table("muscle", "side", *(f"{heading}" for heading, *_ in _COLUMNS), "beware")
    for column in table.columns[2:-1]:
        column.justify = "right"
    for structure in result.label_map.schema.structures:
        for side in _SIDES if structure.sided else ("both",):
            row = [values.get((structure.name, side, measure, statistic)) for _, measure, statistic, _ in _COLUMNS]
            if not any(row):
                continue
            numbers = [_format(item, digits) for item, (*_, digits) in zip(row, _COLUMNS, strict=True)]
            flags = dict.fromkeys(flag for item in row if item for flag in item.flags)
            table.add_row(structure.title if side == _SIDES[0] else "", side, *numbers, ", ".join(flags))
        table.add_section()
    return table


def _format(measurement: Measurement | None, digits: int) -> str:
    if measurement is None or measurement.value is None:
        return "-"
    return f"{measurement.value:.{digits}f}"
