"""The report: one self-contained page for people, with every volume, density, flag and what made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from myotome.geometry import Volume
from myotome.measurement import CaseResult, Measurement
from myotome.report.case_page import describe_case, flag_words
from myotome.report.chart import hex_colour, make_area_chart
from myotome.report.pages import render_page, write_page

__all__ = ["write_report"]

# (heading, unit, measure, statistic, digits)
_COLUMNS = (
    ("Volume", "mL", "volume", "total", 1),
    ("Muscle volume", "mL", "muscle_volume", "total", 1),
    ("Mean density", "HU", "density", "mean", 1),
    ("Median", "HU", "density", "median", 0),
    ("SD", "HU", "density", "sd", 1),
    ("NAMA", "%", "nama_share", "total", 1),
    ("LAMA", "%", "lama_share", "total", 1),
    ("IMAT", "%", "imat_share", "total", 1),
    ("Volume per length", "mL/cm", "volume_per_length", "total", 2),
    ("Volume / height²", "cm³/m²", "volume_per_height2", "total", 1),
    ("Volume / height³", "cm³/m³", "volume_per_height3", "total", 1),
)
_LEVEL_COLUMNS = (
    ("Area", "cm²", "area", "total", 1),
    ("Muscle area", "cm²", "muscle_area", "total", 1),
    ("Mean density", "HU", "density", "mean", 1),
    ("IMAT", "%", "imat_share", "total", 1),
    ("Area / height²", "cm²/m²", "area_per_height2", "total", 1),
)
_SIDES = ("right", "left", "both")


@dataclass(frozen=True)
class _Row:
    """One structure and side of a table: its cells as text, and the flags that do not hold for the whole case."""

    title: str
    colour: str
    side: str
    cells: tuple[str, ...]
    flags: tuple[str, ...]


def write_report(path: Path | str, volume: Volume, result: CaseResult, overview_path: Path | str | None) -> None:
    """Write the report as one HTML file without anything outside it: the overview is embedded, nothing is loaded.

    No name of a patient is shown, only the identifiers of the provenance. The same input gives the same bytes.

    Parameters
    ----------
    overview_path : PNG made by ``write_overview``; left out when ``None``

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    write_page(path, render_page("report.html.j2", **_describe(volume, result, overview_path)))


def _describe(volume: Volume, result: CaseResult, overview_path: Path | str | None) -> dict:
    """Everything the template shows."""
    axis = volume.grid.axis("IS")
    spacing = volume.grid.spacing_mm
    whole = [row for row in result.measurements if row.slice_index is None and row.level is None]
    columns = [column for column in _COLUMNS if any((m.measure, m.statistic) == column[2:4] for m in whole)]
    return describe_case(volume, result, whole, overview_path) | {
        "columns": columns,
        "rows": _tabulate(result, whole, columns),
        "levels": _levels(result),
        "chart": make_area_chart(result, volume.grid.shape[axis], spacing[axis], volume.grid.axis_codes[axis] == "S"),
    }


def _tabulate(result: CaseResult, measurements: list[Measurement], columns: list[tuple]) -> list[_Row]:
    values = {(m.structure, m.side, m.measure, m.statistic): m for m in measurements}
    rows = []
    for structure in result.label_map.schema.structures:
        for side in _SIDES if structure.sided else ("both",):
            found = [values.get((structure.name, side, measure, statistic)) for _, _, measure, statistic, _ in columns]
            if any(found):
                cells = tuple(_text(m, column[4]) for m, column in zip(found, columns, strict=True))
                own = (flag for m in found if m for flag in m.flags if flag not in result.flags)
                flags = tuple(dict.fromkeys(flag_words(flag) for flag in own))
                colour = hex_colour(structure.colour)
                rows.append(_Row(structure.title, colour, side, cells, flags))
    return rows


def _levels(result: CaseResult) -> list[dict]:
    """One table per named level."""
    names = dict.fromkeys(m.level for m in result.measurements if m.level is not None)
    tables = []
    for name in names:
        found = [m for m in result.measurements if m.level == name]
        columns = [column for column in _LEVEL_COLUMNS if any((m.measure, m.statistic) == column[2:4] for m in found)]
        rows = _tabulate(result, found, columns)
        tables.append({"name": name, "slice": found[0].slice_index, "columns": columns, "rows": rows})
    return tables


def _text(measurement: Measurement | None, digits: int) -> str:
    if measurement is None or measurement.value is None:
        return "–"
    return f"{measurement.value:.{digits}f}"
