"""Small cohorts whose every number is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from myotome.io.tables import COLUMNS
from myotome.store import CaseRecord, CohortFolder, make_measurement_table


def make_row(**changes: Any) -> dict[str, Any]:
    """A row of the measurement table: 100 mL of pectoralis."""
    row = {
        "subject_id": "S0",
        "study_uid": "2.25.1",
        "series_uid": "2.25.2",
        "structure": "pectoralis",
        "structure_code": "SCT:60005003",
        "side": "both",
        "level": None,
        "slice_index": None,
        "measure": "volume",
        "statistic": "total",
        "value": 100.0,
        "unit": "mL",
        "lower": None,
        "upper": None,
        "method": "whole contour",
        "bundle": "light",
        "bundle_version": "1",
        "weights_sha256": "0" * 64,
        "software_version": "0.1.0",
        "flags": [],
        "run_id": "r",
    }
    return {column: {**row, **changes}[column] for column in COLUMNS}


def make_record(number: int, **changes: Any) -> CaseRecord:
    """The record of case ``number``: done, of the subject with the same number."""
    fields = {
        "case_id": f"{number:016x}",
        "status": "done",
        "subject_id": f"S{number:012x}",
        "sex": "F",
        "height_m": 1.6,
    }
    return CaseRecord(**{**fields, **changes})


def write_case(cohort: CohortFolder, number: int, volume_ml: float | None = None, **changes: Any) -> None:
    """Add a case with a volume (100 mL + its number by default) and two areas of slices."""
    record = make_record(number, **changes)
    volume = 100.0 + number if volume_ml is None else volume_ml
    rows = [make_row(value=volume, subject_id=record.subject_id)]
    rows += [make_row(measure="area", unit="cm2", value=5.0 + k, slice_index=k) for k in range(2)]
    cohort.write_case(record, make_measurement_table(record.case_id, rows))


def make_cohort(folder: Path, cases: int = 4) -> CohortFolder:
    """A cohort of that many done cases, and one that was refused."""
    cohort = CohortFolder.create(folder, {"bundle": "light", "bundle_version": "1"})
    for number in range(cases):
        write_case(cohort, number)
    cohort.write_case(make_record(0xFFFF, status="refused", reason="it is not a CT"))
    return cohort
