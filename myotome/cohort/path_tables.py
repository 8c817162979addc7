"""A table of paths: what a researcher's spreadsheet says of scans and people."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from myotome.errors import InputError

__all__ = ["Person", "is_plausible", "read_path_table", "read_person"]

_PERSON_COLUMNS = ("subject_id", "sex", "age_years", "height_m", "weight_kg", "study_date")
_RANGES = {"age_years": (0.0, 120.0), "height_m": (0.4, 2.6), "weight_kg": (1.0, 400.0)}
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}


@dataclass(frozen=True)
class Person:
    """What a table of paths says of a person; it counts before what a header says."""

    subject_id: str | None = None
    sex: str | None = None
    age_years: float | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    study_date: str | None = None


def is_plausible(column: str, value: float) -> bool:
    """True when a person's ``age_years``, ``height_m`` or ``weight_kg`` can be what it says; NaN cannot."""
    low, high = _RANGES[column]
    return low <= value <= high


def read_path_table(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row that names a path; a cell that is absent is empty.

    Raises
    ------
    InputError
        When it is no CSV in UTF-8, has no column ``path``, or one that is not known.
    """
    known = ("path", *_PERSON_COLUMNS)
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [column.strip() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            if "path" not in columns:
                raise InputError(f"'{table.name}' has no column 'path': its first line names the columns.")
            strange = [column for column in columns if column not in known or columns.count(column) > 1]
            if strange:
                raise InputError(
                    f"'{table.name}' has a column '{strange[0]}' that is not known or stands there twice: known are "
                    f"{', '.join(known)} (heights in metres)."
                )
            for row in reader:
                cells = {column: (row.get(column) or "").strip() for column in known}
                if cells["path"]:
                    yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"'{table.name}' is not a CSV file in UTF-8: save it as one from the spreadsheet.") from error


def read_person(where: str, row: dict[str, str]) -> Person:
    """What a row says of a person, in range and in the units that the columns name.

    Parameters
    ----------
    where : the row's place, for a refusal

    Raises
    ------
    InputError
        When a cell cannot be what its column says.
    """
    numbers: dict[str, float | None] = {}
    for column, (low, high) in _RANGES.items():
        try:
            value = float(row[column]) if row[column] else None
        except ValueError as error:
            raise InputError(f"{where}: {column} is not a number.") from error
        if value is not None and not is_plausible(column, value):
            hint = " (heights are in metres)" if column == "height_m" else ""
            raise InputError(f"{where}: {column} is {value:g}, not {low:g} to {high:g}{hint}.")
        numbers[column] = value
    sex = _SEXES.get(row["sex"].casefold()) if row["sex"] else None
    if row["sex"] and sex is None:
        raise InputError(f"{where}: sex is '{row['sex']}', not M or F.")
    day = _read_date(row["study_date"], where) if row["study_date"] else None
    return Person(subject_id=row["subject_id"] or None, sex=sex, study_date=day, **numbers)


def _read_date(text: str, where: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise InputError(f"{where}: study_date is '{text}', not a date such as 2024-03-31.") from error
