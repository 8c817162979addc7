"""The table of lung-function tests: read, checked, and refused with the lines to mend; never converted by a guess."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myotome.errors import InputError
from myotome.studies.pft.reference import ETHNICITIES

__all__ = ["MEASURES", "TestTable", "read_tests"]

MEASURES = ("fvc_l", "fev1_l", "fev1_fvc", "dlco_mmol_min_kpa", "mip_cmh2o", "mep_cmh2o")
# Columns in another unit, named in the column itself: (column kept, what its values are multiplied by)
_CONVERTED = {
    "dlco_ml_min_mmhg": ("dlco_mmol_min_kpa", 1 / 2.986421),
    "mip_kpa": ("mip_cmh2o", 10.19716),
    "mep_kpa": ("mep_cmh2o", 10.19716),
}
_REQUIRED = ("subject_id", "test_date", "sex", "age_years", "height_cm")
_OPTIONAL = ("ethnicity",)
_STEMS = ("fvc", "fev1", "dlco", "tlco", "mip", "mep", "pimax", "pemax", "height", "age")
_EMPTY = ("", "na", "nan", "n/a", ".")
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}
_LISTED = 6
_RATIO_TOLERANCE = 0.03
# Of the long form: (measure, unit) to the column of the wide form
_LONG = ("measure", "value", "unit")
_LONG_NAMES = {
    ("fvc", "l"): "fvc_l",
    ("fev1", "l"): "fev1_l",
    ("fev1_fvc", "1"): "fev1_fvc",
    ("dlco", "mmol/min/kpa"): "dlco_mmol_min_kpa",
    ("dlco", "ml/min/mmhg"): "dlco_ml_min_mmhg",
    ("mip", "cmh2o"): "mip_cmh2o",
    ("mip", "kpa"): "mip_kpa",
    ("mep", "cmh2o"): "mep_cmh2o",
    ("mep", "kpa"): "mep_kpa",
}


@dataclass(frozen=True, eq=False)
class TestTable:
    """Checked tests, one row each, and how many there were.

    ``tests`` has the columns subject_id (keyed hash), test_date, sex ("M", "F"), age_years, height_cm, ethnicity and
    :data:`MEASURES`; what was not measured is NaN, an ethnicity that was not given is ``None``.
    """

    tests: pd.DataFrame
    sha256: str


def read_tests(
    path: Path, columns: dict[str, dict[str, Any]], subject_key: Callable[[str], str], ethnicity_needed: bool = False
) -> TestTable:
    """Read and check a CSV table of tests.

    Parameters
    ----------
    columns : ranges by column: the section of that name in the study's configuration.
    subject_key : turns an original identifier into the cohort's keyed hash; the original goes no further.
    ethnicity_needed : refuse tests whose ethnicity is not one of GLI-2012.

    Raises
    ------
    InputError
        When the file is not such a table, a column's unit is not told, a value is not believed, or a patient has two
        tests on one date. The sentence names lines (the header is line 1), never a file or a patient.
    """
    text, digest = _read_text(path)
    rows = _read_rows(text)
    if set(_LONG) & set(rows[0]) and "value" in rows[0]:
        rows = _widen(rows)
    names = _check_names(list(rows[0]))
    table = pd.DataFrame({"line": [row["line"] for row in rows]})
    table["subject_id"] = _keys(rows, subject_key)
    table["test_date"] = _dates(rows)
    table["sex"] = _coded(rows, "sex", _SEXES, "M or F")
    _refuse_repeated(table)
    for name in names:
        if name in columns:
            table[name] = _numbers(rows, name, columns[name])
    given = {name: name for name in ETHNICITIES}
    there = "ethnicity" in rows[0]
    if ethnicity_needed and not there:
        raise InputError(
            f"GLI-2012 needs the column 'ethnicity' (one of {', '.join(ETHNICITIES)}): add it, or use gli_global_2022."
        )
    known = ", ".join(ETHNICITIES) + ", or choose the reference gli_global_2022, which needs none"
    table["ethnicity"] = _coded(rows, "ethnicity", given, known) if ethnicity_needed else None
    return TestTable(_complete(table), digest)


def _read_text(path: Path) -> tuple[str, str]:
    import hashlib

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the table of tests cannot be read ({error.strerror}): give a CSV file.") from error
    try:
        return content.decode("utf-8-sig"), hashlib.sha256(content).hexdigest()
    except UnicodeDecodeError as error:
        raise InputError("the table of tests is not UTF-8 text: save it as CSV (UTF-8).") from error


def _read_rows(text: str) -> list[dict[str, Any]]:
    """One dictionary per line with text in it, by column; the key ``line`` holds where it stands in the file."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if len(header) == 1 and ";" in header[0]:
            raise InputError("the table of tests has semicolons between its columns: save it with commas.")
        twice = [name for name, count in Counter(header).items() if count > 1 and name]
        if twice:
            raise InputError(f"the table of tests has the column '{twice[0]}' twice: keep one.")
        rows = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InputError(
                    f"{_lines([reader.line_num])} has {len(cells)} cells, and the header has {len(header)}: "
                    "mend the line (a decimal comma needs to be a point)."
                )
            rows.append({**dict(zip(header, (cell.strip() for cell in cells), strict=True)), "line": reader.line_num})
    except csv.Error as error:
        raise InputError(f"the table of tests is not CSV ({error}): save it as CSV with commas.") from error
    if not rows:
        raise InputError("the table of tests holds no test: give a header and one line per test.")
    return rows


def _widen(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """From one line per value (measure, value, unit) to one row per test."""
    missing = [name for name in (*_LONG, *_REQUIRED) if name not in rows[0]]
    if missing:
        raise InputError(
            f"a table with one value per line needs the column '{missing[0]}': add it to the table of tests."
        )
    tests: dict[tuple[str, ...], dict[str, Any]] = {}
    wide = []
    for row in rows:
        pair = (row["measure"].lower().replace("/", "_"), row["unit"].lower())
        if pair not in _LONG_NAMES:
            raise InputError(
                f"{_lines([row['line']])}: the measure and its unit are not known; known are "
                + ", ".join(f"{name} in {unit}" for name, unit in _LONG_NAMES)
                + "."
            )
        key = tuple(row[name] for name in (*_REQUIRED, *_OPTIONAL) if name in row)
        test = tests.get(key)
        if test is None:
            test = {**{name: row[name] for name in (*_REQUIRED, *_OPTIONAL) if name in row}, "line": row["line"]}
            tests[key] = test
            wide.append(test)
        if _LONG_NAMES[pair] in test:
            raise InputError(f"{_lines([row['line']])}: a measure of its test is there twice; keep one value.")
        test[_LONG_NAMES[pair]] = row["value"]
    found = [name for name in dict.fromkeys(_LONG_NAMES.values()) if any(name in test for test in wide)]
    return [{**dict.fromkeys(found, ""), **test} for test in wide]


def _check_names(header: Sequence[str]) -> list[str]:
    known = (*_REQUIRED, *_OPTIONAL, *MEASURES, *_CONVERTED)
    for name in header:
        if name not in known and any(name == stem or name.startswith(f"{stem}_") for stem in _STEMS):
            raise InputError(
                f"the column '{name}' of the table of tests does not tell a known unit: known names are "
                f"{', '.join(known)}."
            )
    for name in _REQUIRED:
        if name not in header:
            raise InputError(f"the table of tests lacks the column '{name}': needed are {', '.join(_REQUIRED)}.")
    for name, (kept, _) in _CONVERTED.items():
        if name in header and kept in header:
            raise InputError(f"the table of tests has '{name}' and '{kept}': keep one of them.")
    possible = (*MEASURES, *_CONVERTED)
    measures = [name for name in header if name in possible]
    if not measures:
        raise InputError(f"the table of tests has no measure of lung function: known are {', '.join(possible)}.")
    return ["age_years", "height_cm", *measures]


def _lines(lines: Sequence[int]) -> str:
    shown = ", ".join(str(line) for line in lines[:_LISTED])
    more = f" and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return f"line{'' if len(lines) == 1 else 's'} {shown}{more} of the table of tests"


def _keys(rows: list[dict[str, Any]], subject_key: Callable[[str], str]) -> list[str]:
    nameless = [row["line"] for row in rows if not row["subject_id"]]
    if nameless:
        raise InputError(f"{_lines(nameless)}: the subject_id is empty; fill it in.")
    return [subject_key(row["subject_id"]) for row in rows]


def _dates(rows: list[dict[str, Any]]) -> list[date]:
    dates, wrong = [], []
    for row in rows:
        try:
            dates.append(date.fromisoformat(row["test_date"]))
        except ValueError:
            wrong.append(row["line"])
    if wrong:
        raise InputError(f"{_lines(wrong)}: test_date is no date like 2024-05-31; write it so.")
    return dates


def _coded(rows: list[dict[str, Any]], name: str, codes: dict[str, str], known: str) -> list[str]:
    wrong = [row["line"] for row in rows if row[name].lower() not in codes]
    if wrong:
        raise InputError(f"{_lines(wrong)}: {name} is not known; write {known}.")
    return [codes[row[name].lower()] for row in rows]


def _refuse_repeated(table: pd.DataFrame) -> None:
    again = table[table.duplicated(["subject_id", "test_date"], keep=False)]
    if len(again):
        raise InputError(
            f"{_lines(again['line'].tolist())}: a patient has two tests on one date; keep the one that counts."
        )


def _numbers(rows: list[dict[str, Any]], name: str, rules: dict[str, Any]) -> np.ndarray:
    values, wrong = [], []
    for row in rows:
        text = row[name]
        try:
            values.append(math.nan if text.lower() in _EMPTY else float(text))
        except ValueError:
            wrong.append(row["line"])
    if wrong:
        raise InputError(f"{_lines(wrong)}: {name} is not a number; write it with a decimal point, or leave it empty.")
    array = np.array(values)
    array[~np.isfinite(array)] = np.nan
    _check_range(array, [row["line"] for row in rows], name, rules)
    if name in ("age_years", "height_cm") and np.isnan(array).any():
        missing = [row["line"] for row, value in zip(rows, array, strict=True) if np.isnan(value)]
        raise InputError(f"{_lines(missing)}: {name} is empty; fill it in, or leave the test out.")
    return array


def _check_range(values: np.ndarray, lines: list[int], name: str, rules: dict[str, Any]) -> None:
    low, high = rules["range"]
    outside = np.flatnonzero((values < low) | (values > high))
    where = [lines[index] for index in outside]
    for mistake in rules.get("mistakes", ()):
        mended = values[outside] * mistake["factor"]
        if len(outside) and ((mended >= low) & (mended <= high)).all():
            raise InputError(
                f"{_lines(where)}: {name} ({values[outside[0]]:g}) looks like {mistake['name']}, and the "
                f"column is in {rules['unit']}; multiply by {mistake['factor']:g}."
            )
    if len(outside):
        raise InputError(
            f"{_lines(where)}: {name} ({values[outside[0]]:g}) lies outside {low:g} to {high:g} "
            f"{rules['unit']}; correct it, or leave it empty."
        )
    if "median" in rules and np.isfinite(values).any():
        middle, (least, most) = float(np.nanmedian(values)), rules["median"]
        if not least <= middle <= most:
            other = rules["mistakes"][-1]["name"]
            raise InputError(
                f"the middle value of {name} in the table of tests is {middle:g}, which is not believed in "
                f"{rules['unit']}: if the values are {other}, name the column so or convert them."
            )


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """Other units converted as their column's name says, the ratio filled in, contradictions refused."""
    for name, (kept, factor) in _CONVERTED.items():
        if name in table:
            table[kept] = table.pop(name) * factor
    for name in MEASURES:
        if name not in table:
            table[name] = np.nan
    above = table.loc[table["fev1_l"] > table["fvc_l"] * 1.0001, "line"].tolist()
    if above:
        raise InputError(f"{_lines(above)}: FEV1 is above FVC; correct them.")
    ratio = table["fev1_l"] / table["fvc_l"]
    odd = table.loc[(ratio - table["fev1_fvc"]).abs() > _RATIO_TOLERANCE, "line"].tolist()
    if odd:
        raise InputError(f"{_lines(odd)}: fev1_fvc is not fev1_l / fvc_l; correct one of the three.")
    table["fev1_fvc"] = table["fev1_fvc"].fillna(ratio)
    return table.drop(columns="line")
