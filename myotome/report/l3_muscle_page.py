"""The report of muscle and fat at L3: level, values with published cut-offs beside them, flags, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from myotome.biomarkers.cutoffs import compare_with_cutoffs
from myotome.geometry import Volume
from myotome.measurement import CaseResult, Measurement
from myotome.report.case_page import describe_case, flag_words
from myotome.report.measure_names import format_value, name_measure, name_unit
from myotome.report.pages import render_page, write_page

__all__ = ["write_l3_report"]

_WHOLE_NUMBERS = {"l3_slice", "slices_measured"}
_RATIOS = {"l3_confidence", "visceral_per_subcutaneous"}


def write_l3_report(path: Path | str, volume: Volume, result: CaseResult, overview_path: Path | str | None) -> None:
    """Write the report as one HTML file without anything outside it; the same input gives the same bytes.

    Parameters
    ----------
    overview_path : PNG made by ``write_l3_overview``; left out when ``None``

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    whole = [row for row in result.measurements if row.slice_index is None]
    cutoffs = compare_with_cutoffs(whole, result.label_map.schema.name, result.subject.sex)
    beside = {row.measure: one.describe(row.value).replace(one.unit, name_unit(one.unit)) for row, one in cutoffs}
    values: dict[str, Any] = describe_case(volume, result, whole, overview_path)
    values |= {
        "rows": [_describe_row(row, result, beside.get(row.measure, "")) for row in whole],
        "slices": _describe_slices(result),
        "level": _describe_level(result),
        "cutoffs": list(dict.fromkeys((one.group, one.source) for _, one in cutoffs)),
        "sex_known": result.subject.sex is not None,
        "no_density": "density" not in beside,
    }
    write_page(path, render_page("l3_muscle.html.j2", **values))


def _text(row: Measurement) -> str:
    return format_value(row, 0 if row.measure in _WHOLE_NUMBERS else 2 if row.measure in _RATIOS else 1)


def _describe_row(row: Measurement, result: CaseResult, reference: str) -> dict[str, str]:
    """Cells of the table of measurements; flags of the whole case stand above it."""
    flags = ", ".join(dict.fromkeys(flag_words(flag) for flag in row.flags if flag not in result.flags))
    return {
        "title": result.label_map.schema[row.structure].title,
        "measure": name_measure(row),
        "value": _text(row),
        "reference": reference,
        "method": row.method,
        "flags": flags,
    }


def _describe_slices(result: CaseResult) -> dict[str, Any] | None:
    """A table with a column for each slice; ``None`` when one slice was measured."""
    rows = [row for row in result.measurements if row.slice_index is not None]
    indices = sorted({row.slice_index for row in rows if row.slice_index is not None})
    if not indices:
        return None
    cells: dict[tuple[str, str], dict[int | None, str]] = {}
    for row in rows:
        title = result.label_map.schema[row.structure].title
        cells.setdefault((title, name_measure(row)), {})[row.slice_index] = _text(row)
    table = [
        (title, measure, [found.get(index, "–") for index in indices]) for (title, measure), found in cells.items()
    ]
    return {"indices": indices, "table": table}


def _describe_level(result: CaseResult) -> dict[str, str] | None:
    """Where the level is, how sure that is, and why; ``None`` when nothing found or named it."""
    level = result.level
    if level is None:
        return None
    confidence = "not estimated" if level.confidence is None else f"{100 * level.confidence:.0f} %"
    return {
        "name": level.name,
        "slice": str(level.slice_index),
        "z_mm": f"{level.z_mm:.1f}",
        "confidence": confidence,
        "reason": level.reason,
    }
