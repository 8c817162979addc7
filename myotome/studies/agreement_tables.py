"""Tables of the agreement study: read as text, so that the case 007 stays 007, and checked cell by cell."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from myotome.errors import InputError

__all__ = ["Table", "find_unit", "read_numbers", "read_table"]

_DELIMITERS = ",;\t"
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
_LONG = frozenset({"structure", "measure", "value", "unit"})
_UNITS = {
    "ml": "mL", "l": "L", "cm3": "cm3", "mm3": "mm3", "cm2": "cm2", "mm2": "mm2", "cm": "cm", "mm": "mm",
    "hu": "HU", "kg": "kg", "g": "g", "percent": "%", "pct": "%",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Table:
    """A CSV file: ``frame`` of stripped text, empty where a value is missing, indexed by the line in the file."""

    path: Path
    frame: pd.DataFrame

    @property
    def is_long(self) -> bool:
        """True for one row per measurement (`myotome.io.tables`), false for one row per case."""
        return set(self.frame.columns) >= _LONG

    def require(self, column: str) -> pd.Series:
        """A column.

        Raises
        ------
        InputError
            When the table does not have it.
        """
        if column not in self.frame:
            raise InputError(
                f"'{self.path.name}' has no column '{column}'; it has {', '.join(map(str, self.frame.columns))}."
            )
        return self.frame[column]


def read_table(path: Path | str) -> Table:
    """Read a CSV file (UTF-8; comma, semicolon or tab between the cells; the first line names the columns).

    Raises
    ------
    InputError
        When the file is absent, empty, not text, or not a table: no rows, unnamed or doubled columns, lines of
        different length.
    """
    path = Path(path)
    text = _read_text(path)
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    if not header_line:
        raise InputError(f"'{path.name}' is empty: give a CSV file whose first line names the columns.")
    delimiter = max(_DELIMITERS, key=header_line.count)
    if delimiter not in header_line:
        raise InputError(
            f"'{path.name}' is not a table: its first line has one cell only; put commas, semicolons or tabs "
            "between cells."
        )
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(
            f"'{path.name}' is not CSV at line {reader.line_num} ({error}): save it as CSV again."
        ) from error
    _check_shape(path, rows, lines)
    return Table(path, pd.DataFrame(rows[1:], columns=rows[0], index=lines[1:], dtype=object))


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise InputError(f"cannot read '{path}' ({reason}): give a CSV file.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or data.startswith(b"PK\x03\x04"):
        raise InputError(f"'{path.name}' is not a CSV file of UTF-8 text: save it as 'CSV UTF-8'.")
    return text


def _check_shape(path: Path, rows: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
    header = rows[0]
    if "" in header:
        raise InputError(f"'{path.name}' has a column without a name (column {header.index('') + 1}): name it.")
    doubled = [name for name in header if header.count(name) > 1]
    if doubled:
        raise InputError(f"'{path.name}' has the column '{doubled[0]}' twice: rename one of them.")
    if len(rows) == 1:
        raise InputError(f"'{path.name}' has no rows below its first line: give a table with cases.")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise InputError(
                f"'{path.name}' has {len(row)} cells in line {line} where its first line names {len(header)} columns: "
                "correct that line."
            )


def read_numbers(table: Table, column: str) -> pd.Series:
    """A column as float64, NaN where the cell is empty or says NA.

    Raises
    ------
    InputError
        When the column is absent or a cell is not a finite number.
    """
    texts = table.require(column)
    texts = texts.where(~texts.str.lower().isin(_MISSING), "")
    numbers = pd.to_numeric(texts.where(texts != ""), errors="coerce").astype(np.float64)
    wrong = texts[(texts != "") & ~np.isfinite(numbers)]
    if not wrong.empty:
        hint = "write decimals with a point" if "," in wrong.iloc[0] else "correct it, or leave the cell empty"
        raise InputError(
            f"'{table.path.name}' has '{wrong.iloc[0]}' in column '{column}', line {wrong.index[0]}, which is not a "
            f"number: {hint}."
        )
    return numbers


def find_unit(column: str) -> str:
    """Unit that a column's name ends in (``muscle_volume_ml``, ``area (cm2)``), or empty."""
    words = column.lower().replace("[", " ").replace("(", " ").replace("_", " ").rstrip("]) ").split()
    return _UNITS.get(words[-1], "") if len(words) > 1 else ""
