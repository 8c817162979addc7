"""Small tables of tests and small cohorts, for the tests of the lung-function study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from myotome.io.tables import COLUMNS
from myotome.store import CaseRecord, CohortFolder, Store, make_measurement_table

HEADER = ("subject_id", "test_date", "sex", "age_years", "height_cm", "fvc_l", "fev1_l")


def write_table(path: Path, *rows: tuple, header: tuple[str, ...] = HEADER) -> Path:
    lines = [",".join(map(str, row)) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def make_store(folder: Path, scans: list[dict[str, Any]]) -> Store:
    """A cohort of scans; each has ``case`` and ``patient``, and may have date, sex, thickness, status, volume."""
    cohort = CohortFolder.create(folder)
    for scan in scans:
        facts = {
            "case_id": scan["case"],
            "subject_id": cohort.subject_key(scan["patient"]),
            "study_date": scan.get("date", "2024-03-01"),
            "sex": scan.get("sex", "M"),
            "slice_thickness_mm": scan.get("thickness", 1.0),
        }
        if scan.get("status", "done") != "done":
            cohort.write_case(CaseRecord(status=scan["status"], reason="no luck.", **facts))
            continue
        rows = []
        for structure in ("pectoralis", "erector_spinae", "intercostal"):
            for measure, unit, statistic in (("volume", "mL", "total"), ("density", "[hnsf'U]", "mean")):
                row: dict[str, Any] = dict.fromkeys(COLUMNS, "x") | {"lower": None, "upper": None, "level": None}
                row |= {
                    "structure": structure,
                    "measure": measure,
                    "statistic": statistic,
                    "unit": unit,
                    "side": "both",
                }
                row |= {"value": float(scan.get("volume", 200)), "slice_index": None, "flags": []}
                if measure == "volume" and structure == "pectoralis":
                    row["flags"] = scan.get("flags", [])
                rows.append(row)
        cohort.write_case(CaseRecord(status="done", **facts), make_measurement_table(scan["case"], rows))
    return Store(folder)
