"""The report of lumbar discs: a row of sizes, heights, signal and score for each disc, flags, on one page."""

from __future__ import annotations

from pathlib import Path

from myotome.biomarkers.lumbar_disc import find_plane
from myotome.geometry import Volume
from myotome.measurement import CaseResult, Measurement
from myotome.report.case_page import describe_case, flag_words
from myotome.report.measure_names import name_measure, name_unit
from myotome.report.pages import render_page, write_page

__all__ = ["write_disc_report"]

_AXIAL = (("area", 0), ("ap_diameter", 1), ("transverse_diameter", 1), ("detection_score", 2))
_SAGITTAL = (
    *_AXIAL[:3],
    ("volume", 1),
    ("anterior_height", 1),
    ("middle_height", 1),
    ("posterior_height", 1),
    ("disc_height", 1),
    ("disc_height_index", 2),
    ("signal_per_csf", 2),
    _AXIAL[3],
)


def write_disc_report(path: Path | str, volume: Volume, result: CaseResult, overview_path: Path | str | None) -> None:
    """Write the report as one HTML file without anything outside it; the same input gives the same bytes.

    Parameters
    ----------
    overview_path : PNG made by ``write_disc_overview``; left out when ``None``

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    sagittal = find_plane(result.label_map.grid) != "axial"
    columns = _SAGITTAL if sagittal else _AXIAL
    groups = _group_rows(result)
    values = describe_case(volume, result, list(result.measurements), overview_path)
    heads = [_head(measure, result) for measure, _ in columns]
    rows = [_describe(key, rows, columns, result) for key, rows in groups.items()]
    write_page(path, render_page("lumbar_disc.html.j2", **values, sagittal=sagittal, heads=heads, rows=rows))


def _group_rows(result: CaseResult) -> dict[tuple[str, str | None, int | None], dict[str, Measurement]]:
    """Rows by measure of each disc; those of a whole axial case are left out where its slices have their own."""
    groups: dict = {}
    for row in result.measurements:
        if row.statistic == "total":
            groups.setdefault((row.structure, row.level, row.slice_index), {})[row.measure] = row
    by_slice = any(index is not None for _, _, index in groups)
    return {key: rows for key, rows in groups.items() if key[2] is not None or not by_slice}


def _head(measure: str, result: CaseResult) -> tuple[str, str]:
    """Name and unit of a column."""
    row = next((row for row in result.measurements if row.measure == measure), None)
    return name_measure(row or Measurement("", measure, 0.0, "1")), name_unit(row.unit) if row else ""


def _describe(
    key: tuple[str, str | None, int | None],
    rows: dict[str, Measurement],
    columns: tuple[tuple[str, int], ...],
    result: CaseResult,
) -> dict:
    """Cells of one disc's line; its flags without those of the whole case."""
    structure, level, index = key
    title = result.label_map.schema[structure].title
    title = ", ".join(part for part in (title, level, None if index is None else f"slice {index}") if part)
    cells = []
    for measure, digits in columns:
        row = rows.get(measure)
        cells.append("–" if row is None or row.value is None else f"{row.value:.{digits}f}")
    flags = dict.fromkeys(flag for row in rows.values() for flag in row.flags if flag not in result.flags)
    return {"title": title, "cells": cells, "flags": ", ".join(flag_words(flag) for flag in flags)}
