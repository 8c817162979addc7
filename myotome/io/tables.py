"""Measurements as tables: CSV for people and spreadsheets, JSON with provenance for machines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from myotome.geometry import Volume
from myotome.io.atomic import atomic_path
from myotome.measurement import CaseResult, Grading, Instance

__all__ = ["COLUMNS", "make_rows", "write_measurements_csv", "write_measurements_json"]

COLUMNS = (
    "subject_id",
    "study_uid",
    "series_uid",
    "structure",
    "structure_code",
    "side",
    "level",
    "slice_index",
    "measure",
    "statistic",
    "value",
    "unit",
    "lower",
    "upper",
    "method",
    "bundle",
    "bundle_version",
    "weights_sha256",
    "software_version",
    "flags",
    "run_id",
)
_FORMAT = "myotome-measurements"
_FORMAT_VERSION = 1
_DIGITS = 10


def _rounded(value: float | None) -> float | None:
    """Ten significant digits: all that a measurement holds, and the same text on every machine."""
    return None if value is None else float(f"{float(value):.{_DIGITS}g}")


def _structure_codes(result: CaseResult) -> dict[str, str]:
    """``scheme:value`` of what was measured, by name; parts joined by ``+`` where no single code names the whole."""
    return {
        structure.name: "+".join(f"{code.scheme}:{code.value}" for code in structure.parts or (structure.code,))
        for structure in result.structures
    }


def make_rows(result: CaseResult, volume: Volume) -> list[dict[str, Any]]:
    """One dictionary per measurement with the keys `COLUMNS`; what is not known is ``None``."""
    acquisition, provenance = volume.acquisition, result.provenance
    common = {
        "subject_id": acquisition.subject_id,
        "study_uid": acquisition.study_uid,
        "series_uid": acquisition.series_uid,
        "bundle": provenance.bundle,
        "bundle_version": provenance.bundle_version,
        "weights_sha256": provenance.weights_sha256,
        "software_version": provenance.software.get("myotome"),
        "run_id": provenance.run_id,
    }
    rows, codes = [], _structure_codes(result)
    for measurement in result.measurements:
        row = {
            **common,
            "structure": measurement.structure,
            "structure_code": codes.get(measurement.structure, ""),
            "side": measurement.side,
            "level": measurement.level,
            "slice_index": measurement.slice_index,
            "measure": measurement.measure,
            "statistic": measurement.statistic,
            "value": _rounded(measurement.value),
            "unit": measurement.unit,
            "lower": _rounded(measurement.lower),
            "upper": _rounded(measurement.upper),
            "method": measurement.method,
            "flags": list(measurement.flags),
        }
        rows.append({column: row[column] for column in COLUMNS})
    return rows


def _cells(rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for row in rows:
        yield {**{key: "" if value is None else value for key, value in row.items()}, "flags": ";".join(row["flags"])}


def write_measurements_csv(path: Path | str, result: CaseResult, volume: Volume) -> None:
    """Write the long table: one row per measurement, an empty cell for what is not known, flags joined by ``;``.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_cells(make_rows(result, volume)))


def _acquisition_table(volume: Volume) -> dict[str, Any]:
    acquisition = volume.acquisition
    return {
        "modality": volume.modality,
        "shape": list(volume.grid.shape),
        "spacing_mm": [_rounded(spacing) for spacing in volume.grid.spacing_mm],
        "series_description": acquisition.series_description,
        "tube_voltage_kv": acquisition.tube_voltage_kv,
        "kernel": acquisition.kernel,
        "slice_thickness_mm": acquisition.slice_thickness_mm,
        "contrast_agent": acquisition.contrast_agent,
        "manufacturer": acquisition.manufacturer,
        "height_m": acquisition.height_m,
        "reconstruction_diameter_mm": acquisition.reconstruction_diameter_mm,
        "flags": list(acquisition.flags),
    } | (_mr_table(volume) if volume.modality == "MR" else {})


def _mr_table(volume: Volume) -> dict[str, Any]:
    names = ("body_part", "weighting", "fat_suppressed", "echo_time_ms", "repetition_time_ms", "field_strength_t")
    return {name: getattr(volume.acquisition, name) for name in names}


def _grading_table(grading: Grading) -> dict[str, Any]:
    return {
        "slice_index": grading.slice_index,
        "reason": grading.reason,
        "probabilities": {name: _rounded(value) for name, value in grading.probabilities.items()},
        "grade_probabilities": [_rounded(value) for value in grading.grade_probabilities],
        "box_mm": None if grading.box_mm is None else [_rounded(value) for value in grading.box_mm],
        "attention_of": grading.attention_of,
        "flags": list(grading.flags),
    }


def _instance_table(instance: Instance) -> dict[str, Any]:
    return {
        "structure": instance.structure,
        "score": _rounded(instance.score),
        "box": [list(corner) for corner in instance.box],
        "slice_scores": [[index, _rounded(score)] for index, score in instance.slice_scores],
    }


def write_measurements_json(path: Path | str, result: CaseResult, volume: Volume) -> None:
    """Write provenance, acquisition, flags and the rows of the long table (unknown is ``null``), what was found beside.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    document = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "provenance": asdict(result.provenance),
        "acquisition": _acquisition_table(volume),
        "flags": list(result.flags),
        "measurements": make_rows(result, volume),
    }
    if result.grading is not None:
        document["grading"] = _grading_table(result.grading)
    if result.level is not None:
        document["level"] = asdict(result.level) | {"z_mm": _rounded(result.level.z_mm)}
        document["subject"] = asdict(result.subject)
    if result.instances:
        document["instances"] = [_instance_table(instance) for instance in result.instances]
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
