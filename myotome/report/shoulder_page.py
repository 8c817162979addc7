"""The report of a graded shoulder: grade group, calibrated probabilities, fat fraction, areas, flags, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from myotome.biomarkers.goutallier import GRADES, read_definition
from myotome.geometry import Volume
from myotome.measurement import CaseResult, Grading, Measurement
from myotome.report.case_page import describe_case, flag_words
from myotome.report.measure_names import format_value, name_measure
from myotome.report.pages import render_page, write_page

__all__ = ["write_shoulder_report"]

_GROUPS = (("0-1", (0, 1)), ("2", (2,)), ("3-4", (3, 4)))
_OF_A_GRADING = {"positive_probability", "grade_probability", "goutallier_grade"}
_PLAIN = {"y_view_slice", "tangent_sign"}


def write_shoulder_report(
    path: Path | str, volume: Volume, result: CaseResult, overview_path: Path | str | None
) -> None:
    """Write the report as one HTML file without anything outside it; the same input gives the same bytes.

    Parameters
    ----------
    overview_path : PNG made by ``write_shoulder_overview``; left out when ``None``

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    values = describe_case(volume, result, list(result.measurements), overview_path)
    rows = [_describe_row(row, result) for row in result.measurements if row.measure not in _OF_A_GRADING]
    grading = None if result.grading is None else _describe_grading(result.grading)
    write_page(path, render_page("shoulder.html.j2", **values, rows=rows, grading=grading))


def _describe_row(row: Measurement, result: CaseResult) -> dict[str, str]:
    """Cells of the table of measurements."""
    title = result.label_map.schema[row.structure].title
    value = format_value(row, 0 if row.measure in _PLAIN else 1)
    if row.measure == "tangent_sign" and row.value is not None:
        value = "positive: the muscle lies below the line" if row.value else "negative: the muscle rises above the line"
    flags = ", ".join(dict.fromkeys(flag_words(flag) for flag in row.flags))
    return {"title": title, "measure": name_measure(row), "value": value, "method": row.method, "flags": flags}


def _describe_grading(grading: Grading) -> dict[str, Any]:
    """Groups, grades and definitions with their probabilities in per cent."""
    grades = grading.grade_probabilities
    groups = [(name, sum(grades[grade] for grade in members)) for name, members in _GROUPS]
    likeliest = max(groups, key=lambda group: group[1])[0]
    return {
        "grade": grading.grade,
        "group": likeliest,
        "groups": [(name, _percent(share)) for name, share in groups],
        "grades": [(grade, _percent(grades[grade])) for grade in GRADES],
        "definitions": [
            (name, read_definition(name).title, _percent(share)) for name, share in grading.probabilities.items()
        ],
        "reason": grading.reason,
        "attention_of": grading.attention_of,
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
