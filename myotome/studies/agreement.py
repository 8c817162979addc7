"""How well two raters, tools or versions agree: from their tables to paired measures and a report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from myotome.errors import InputError
from myotome.report.comparisons import Comparison
from myotome.report.pairing import (
    Pairing,
    PairingRules,
    match_cases,
    name_groups,
    note_scales,
    note_subjects,
    pair_measurements,
)
from myotome.studies.agreement_tables import Table, find_unit, read_numbers, read_table

__all__ = ["AgreementRequest", "ColumnPair", "pair_tables", "parse_column_pair"]

_KEYS = (
    "case_id", "case", "subject_id", "subject", "patient_id", "patient", "participant_id", "participant",
    "series_uid", "study_uid", "image", "name", "id",
)  # fmt: skip


@dataclass(frozen=True)
class ColumnPair:
    """Two columns that hold one measure: ``a`` in the first table, ``b`` in the second; ``unit`` may be empty."""

    name: str
    unit: str
    a: str
    b: str


@dataclass(frozen=True)
class AgreementRequest:
    """What to compare: two CSV files, the column that names the cases (found when ``None``), subgroups, column pairs.

    ``slices`` compares the rows of single slices of long tables, instead of those of whole volumes.
    """

    a: Path
    b: Path
    on: str | None = None
    by: str | None = None
    pairs: tuple[ColumnPair, ...] = ()
    slices: bool = False


def parse_column_pair(text: str) -> ColumnPair:
    """``NAME=A_COLUMN:B_COLUMN``, in which NAME may end in a unit: ``muscle volume [mL]=manual_ml:tool_ml``.

    Raises
    ------
    InputError
        When the text is not of that form, or the columns' names end in different units.
    """
    match = re.fullmatch(r"\s*([^=]+?)\s*=\s*([^:]+?)\s*:\s*([^:]+?)\s*", text)
    if match is None:
        raise InputError(
            f"'{text}' is not a pair of columns: write NAME=A_COLUMN:B_COLUMN, such as volume=gt_ml:tool_ml."
        )
    name, a, b = match.groups()
    units = find_unit(a), find_unit(b)
    if all(units) and units[0] != units[1]:
        raise InputError(f"'{a}' is in {units[0]} and '{b}' in {units[1]}: bring both to one unit.")
    # The last brackets hold the unit, which may have brackets of its own, as UCUM's [hnsf'U] has.
    titled = re.fullmatch(r"(.+?)\s*\[((?:[^\[\]]|\[[^\[\]]*\])+)\]", name)
    if titled:
        return ColumnPair(titled[1], titled[2], a, b)
    return ColumnPair(name, units[0] or units[1], a, b)


def pair_tables(request: AgreementRequest) -> Pairing:
    """Read both tables and pair their measures.

    Long tables (one row per measurement) are paired by `pair_measurements`. In wide ones (one row per case) the
    columns of ``request.pairs`` are compared, or else every numeric column that both have.

    Raises
    ------
    InputError
        When a table cannot be read, one is long and the other wide, the cases cannot be told or matched, a case stands
        in a table twice, a column is absent or not numeric, or units differ.
    """
    same = request.a.resolve() == request.b.resolve()
    if same and not request.pairs:
        raise InputError(
            f"'{request.a.name}' is given twice: name the columns to compare with --pair NAME=COLUMN:COLUMN."
        )
    a = read_table(request.a)
    b = a if same else read_table(request.b)
    if a.is_long != b.is_long:
        long, wide = (a, b) if a.is_long else (b, a)
        raise InputError(
            f"'{long.path.name}' has one row per measurement and '{wide.path.name}' one per case: "
            "bring both to one form."
        )
    rules = PairingRules(_name_tables(request.a, request.b), request.on, request.by, request.slices)
    if not a.is_long:
        return _pair_wide(a, b, request, rules)
    if request.pairs:
        raise InputError("--pair names columns of tables with one row per case; these have one row per measurement.")
    return pair_measurements(a.frame, b.frame, rules)


def _pair_wide(a: Table, b: Table, request: AgreementRequest, rules: PairingRules) -> Pairing:
    if request.slices:
        raise InputError("--slices is for tables with one row per measurement; these have one row per case.")
    key = request.on or _find_key(a, b)
    for table in (a, b):
        _check_cases(table, key)
    common, unmatched, notes = match_cases(a.frame[key], b.frame[key], rules.names, key)
    notes += note_subjects(a.frame, key, common)
    groups = _read_groups(a, b, request.by, key, common)
    pairs, left_out = (request.pairs, []) if request.pairs else _find_pairs(a, b, key, request.by)
    comparisons = []
    for pair in pairs:
        if a is b and pair.a == pair.b:
            raise InputError(f"'{pair.name}' compares the column '{pair.a}' with itself: name two columns.")
        values = [
            read_numbers(table, column).set_axis(table.frame[key]).reindex(common).to_numpy()
            for table, column in ((a, pair.a), (b, pair.b))
        ]
        sides = (pair.a, pair.b) if pair.a != pair.b else rules.names
        comparisons.append(Comparison(pair.name, pair.unit, tuple(common), *values, groups, *sides))
    return Pairing(tuple(comparisons), tuple(notes + left_out + note_scales(comparisons)), *unmatched)


def _name_tables(a: Path, b: Path) -> tuple[str, str]:
    """Short names that differ: file names, with as many folders before them as it takes."""
    if a.resolve() == b.resolve():
        return a.name, a.name
    parts = [path.resolve().parts for path in (a, b)]
    for depth in range(1, max(map(len, parts)) + 1):
        names = tuple("/".join(part[-depth:]) for part in parts)
        if names[0] != names[1]:
            break
    return names


def _find_key(a: Table, b: Table) -> str:
    """Column that names the cases: a usual name that both have."""
    for name in _KEYS:
        for column in a.frame.columns:
            if column.lower() == name and column in b.frame:
                return column
    both = [column for column in a.frame.columns if column in b.frame]
    shared = f"both have {', '.join(both)}" if both else "they share no column"
    raise InputError(
        f"no column of '{a.path.name}' and '{b.path.name}' is known to name the cases ({shared}): "
        "say which does with --on."
    )


def _check_cases(table: Table, key: str) -> None:
    """Refuse a table in which a row names no case, or a case that stands in another row."""
    cases = table.require(key)
    if (cases == "").any():
        raise InputError(
            f"'{table.path.name}' names no case in line {cases.index[cases == ''][0]}: fill in column '{key}'."
        )
    doubled = cases[cases.duplicated()]
    if not doubled.empty:
        case = doubled.iloc[0]
        lines = " and ".join(map(str, cases.index[cases == case][:2]))
        raise InputError(
            f"'{table.path.name}' has the case '{case}' twice (lines {lines}, column '{key}'): keep one row of each "
            "case, or name a column that tells them apart with --on."
        )


def _read_groups(a: Table, b: Table, by: str | None, key: str, common: Sequence[str]) -> tuple[str, ...]:
    if by is None:
        return ()
    table = a if by in a.frame else b
    column = table.require(by)
    groups = name_groups(dict(zip(table.frame[key], column, strict=True)), common, by)
    return tuple(groups[case] for case in common)


def _find_pairs(a: Table, b: Table, key: str, by: str | None) -> tuple[tuple[ColumnPair, ...], list[str]]:
    """Numeric columns of both tables, and notes on the columns that are not compared."""
    pairs, notes, words = [], [], []
    for column in a.frame.columns:
        if column not in b.frame or column in (key, by) or column.lower() in _KEYS:
            continue
        try:
            numbers = [read_numbers(table, column) for table in (a, b)]
        except InputError as error:
            if any(pd.to_numeric(table.frame[column], errors="coerce").notna().any() for table in (a, b)):
                notes.append(f"Not compared: {error}")
            else:
                words.append(column)
            continue
        if any(values.notna().any() for values in numbers):
            pairs.append(ColumnPair(column, find_unit(column), column, column))
        else:
            notes.append(f"Not compared: column '{column}' is empty in both tables.")
    if words:
        notes.append(f"Not compared, for they hold words: {', '.join(words)}.")
    if not pairs:
        reason = f" ({notes[0].rstrip('.')})" if notes else ""
        raise InputError(
            f"'{a.path.name}' and '{b.path.name}' share no numeric column{reason}: name columns with "
            "--pair NAME=A_COLUMN:B_COLUMN."
        )
    for here, there in ((a, b), (b, a)):
        lone = [column for column in here.frame.columns if column not in there.frame and column != by]
        if lone:
            notes.append(f"Only '{here.path.name}' has {', '.join(lone)}: not compared.")
    return tuple(pairs), notes
