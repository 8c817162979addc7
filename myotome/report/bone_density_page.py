"""The report of bone density: the mean with its cut-offs, each body, the references and the verdict of the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from myotome.biomarkers.bone_density import SPINE, read_bone_density_settings
from myotome.geometry import Volume
from myotome.measurement import CaseResult, Measurement
from myotome.report.bone_density import describe_class, list_levels
from myotome.report.case_page import describe_case, flag_words
from myotome.report.measure_names import format_value, name_measure
from myotome.report.pages import render_page, write_page

__all__ = ["write_bone_report"]


def write_bone_report(path: Path | str, volume: Volume, result: CaseResult, overview_path: Path | str | None) -> None:
    """Write the report as one HTML file without anything outside it; the same input gives the same bytes.

    Parameters
    ----------
    overview_path : PNG made by ``write_bone_overview``; left out when ``None``

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    spine = {row.measure: row for row in result.measurements if row.structure == SPINE}
    cutoffs = read_bone_density_settings().cutoffs
    values: dict[str, Any] = describe_case(volume, result, list(result.measurements), overview_path)
    values |= {
        "mean": format_value(spine.get("bmd")),
        "mean_ha": format_value(spine.get("bmd_ha")),
        "mean_hu": format_value(spine.get("density"), 0),
        "method": spine["bmd"].method if "bmd" in spine else "",
        "given": "bmd" in spine and spine["bmd"].value is not None,
        "fixed": describe_class(result),
        "cutoffs": cutoffs,
        "youden": _describe_youden(spine.get("below_youden")),
        "others": [
            _describe_other(row)
            for name, row in spine.items()
            if name.startswith("bmd_") and row.unit != "1" and name != "bmd_ha"
        ],
        "energy": _describe_other(spine["effective_energy"]) if "effective_energy" in spine else None,
        "levels": [_describe_level(level, rows, result) for level, rows in list_levels(result).items()],
        "references": [
            _describe_reference(row, result) for row in result.measurements if row.measure == "reference_density"
        ],
    }
    write_page(path, render_page("bone_density.html.j2", **values))


def _own_flags(row: Measurement, result: CaseResult) -> str:
    return ", ".join(dict.fromkeys(flag_words(flag) for flag in row.flags if flag not in result.flags))


def _describe_youden(row: Measurement | None) -> str:
    if row is None or row.value is None:
        return "not given: no cut-off of a training is configured" if row and "no_youden_cutoff" in row.flags else "–"
    return f"{'below' if row.value else 'not below'} it ({row.method})"


def _describe_other(row: Measurement) -> dict[str, str]:
    return {"title": name_measure(row), "value": format_value(row), "method": row.method}


def _describe_level(level: str, rows: dict[str, Measurement], result: CaseResult) -> dict[str, str]:
    """Cells of one body's line; flags of the whole case stand above the table."""
    flags = dict.fromkeys(flag for row in rows.values() for flag in row.flags if flag not in result.flags)
    return {
        "level": level,
        "bmd": format_value(rows.get("bmd")),
        "bmd_ha": format_value(rows.get("bmd_ha")),
        "density": format_value(rows.get("density"), 0),
        "height_loss": format_value(rows.get("height_loss"), 0),
        "volume": format_value(rows.get("region_volume")),
        "why": rows["bmd"].method if rows["bmd"].value is None and "." in rows["bmd"].method else "",
        "flags": ", ".join(flag_words(flag) for flag in flags),
    }


def _describe_reference(row: Measurement, result: CaseResult) -> dict[str, str]:
    return {
        "title": result.label_map.schema[row.structure].title,
        "value": format_value(row),
        "method": row.method,
        "flags": _own_flags(row, result),
    }
