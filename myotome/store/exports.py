"""A cohort's measurements for spreadsheets: one row per case, one column per measure, or the long table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from myotome.errors import InputError
from myotome.io.atomic import atomic_path
from myotome.store.database import Store

__all__ = ["make_wide_frame", "write_export"]

_CASE_COLUMNS = (
    "case_id",
    "subject_id",
    "status",
    "reason",
    "decision",
    "sex",
    "age_years",
    "height_m",
    "weight_kg",
    "study_date",
    "slices",
    "slice_thickness_mm",
    "tube_voltage_kv",
    "kernel",
    "contrast_agent",
    "flags",
    "uncertainty",
    "bundle",
    "bundle_version",
)
_WHOLE = """
SELECT case_id, concat_ws('_', structure, side, measure, nullif(statistic, 'total'), level) AS name, unit, value
FROM measurements WHERE slice_index IS NULL OR level IS NOT NULL
"""
_UNIT_WORDS = {"mL": "ml", "[hnsf'U]": "hu", "%": "percent", "cm2": "cm2", "mL/cm": "ml_per_cm"}
_FORMULA = ("=", "+", "-", "@")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_MOST_EXCEL_ROWS = 1_048_575


def make_wide_frame(store: Store) -> pd.DataFrame:
    """One row per case, refused and failed ones too: what is known of it, then its whole-volume measurements.

    Columns are named structure_side_measure_statistic_unit, such as ``pectoralis_both_volume_ml``.
    """
    cases = store.frame("SELECT c.*, r.decision FROM cases c LEFT JOIN reviews r USING (case_id) ORDER BY c.case_id")[
        list(_CASE_COLUMNS)
    ]
    cases["flags"] = [";".join(flags) if flags is not None else "" for flags in cases["flags"]]
    long = store.frame(_WHOLE)
    if long.empty:
        return cases
    long["column"] = long["name"] + "_" + long["unit"].map(_unit_word)
    order = long["column"].drop_duplicates()
    wide = long.pivot(index="case_id", columns="column", values="value")[list(order)]
    return cases.merge(wide, how="left", left_on="case_id", right_index=True)


def _plain(cell: Any) -> Any:
    """Text that no spreadsheet takes for a formula, without characters that it refuses."""
    if not isinstance(cell, str):
        return cell
    cell = _CONTROL.sub("", cell)
    return f"'{cell}" if cell[:1] in _FORMULA else cell


def _unit_word(unit: str) -> str:
    return _UNIT_WORDS.get(unit, unit.lower().replace("/", "_per_").replace("%", "percent"))


def write_export(store: Store, path: Path | str, *, long: bool = False) -> int:
    """Write the wide table (or the long one) as CSV, Excel or Parquet, told by the name's end.

    Returns
    -------
    int : rows written, without the heading.

    Raises
    ------
    InputError
        When the name ends in something else, or Excel cannot hold so many rows.
    OutputError
        When the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".csv", ".xlsx", ".parquet"):
        raise InputError(f"'{path.name}' is neither .csv nor .xlsx nor .parquet: choose one of them.")
    frame = store.frame("SELECT * FROM measurements ORDER BY case_id") if long else make_wide_frame(store)
    if kind == ".xlsx" and len(frame) > _MOST_EXCEL_ROWS:
        raise InputError(f"Excel holds {_MOST_EXCEL_ROWS} rows, not {len(frame)}: export CSV or Parquet.")
    if long and kind != ".parquet":
        frame["flags"] = [";".join(flags) for flags in frame["flags"]]
    if kind != ".parquet":
        frame = frame.map(_plain)
    with atomic_path(path) as temporary:
        if kind == ".csv":
            frame.to_csv(temporary, index=False, lineterminator="\n")
        elif kind == ".xlsx":
            frame.to_excel(temporary, index=False, sheet_name="measurements" if long else "cases", engine="openpyxl")
        else:
            frame.to_parquet(temporary, index=False)
    return len(frame)
