"""Two long tables of measurements brought together, case by case and measure by measure; nothing is lost unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from myotome.errors import InputError
from myotome.report.comparisons import Comparison

__all__ = ["Pairing", "PairingRules", "match_cases", "name_groups", "note_scales", "note_subjects", "pair_measurements"]

_IDENTITIES = ("case_id", "series_uid", "subject_id")
_NEEDED = ("structure", "measure", "value", "unit")
_MEASURE = ["structure", "side", "level", "measure", "statistic"]
_MOST_GROUPS = 12
_SHOWN = 5
NO_GROUP = "not given"


@dataclass(frozen=True)
class PairingRules:
    """How two tables are paired.

    ``names`` of the tables, ``on`` the column that names the cases (found when ``None``), ``by`` a column of
    subgroups, ``slices`` to pair rows of single slices instead of those of whole volumes.
    """

    names: tuple[str, str] = ("A", "B")
    on: str | None = None
    by: str | None = None
    slices: bool = False


@dataclass(frozen=True, eq=False)
class Pairing:
    """Paired measures, sentences on what a reader must know of the pairing, and cases that are in one table only."""

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    unmatched_a: tuple[str, ...]
    unmatched_b: tuple[str, ...]


def pair_measurements(a: pd.DataFrame, b: pd.DataFrame, rules: PairingRules | None = None) -> Pairing:
    """Pair two tables with one row per measurement, such as `myotome.io.tables` writes or a cohort's store holds.

    Cases are matched by ``rules.on``, else by the first of case_id, series_uid and subject_id that is filled in both
    tables; measures by structure, side, level, measure and statistic. A case of both tables that lacks a row or a
    value in one counts as missing there. Values may be text, with empty cells.

    Raises
    ------
    InputError
        When a column is lacking, a case has one measure twice, units differ, a value is no number, no case is in
        both tables, or the subgroups are too many.
    """
    rules = rules or PairingRules()
    on = _find_identity(a, b, rules)
    tables = [_tidy(frame, name, on, rules.slices) for frame, name in zip((a, b), rules.names, strict=True)]
    common, unmatched, notes = match_cases(*(table["case"].unique() for table in tables), rules.names, on)
    groups = _read_groups(a, b, rules, on)
    notes += note_subjects(a, on, common)
    if rules.slices:
        notes.append("Every slice counts as a case here, and slices of one person are alike: intervals are too narrow.")
    tables = [table[table["case"].isin(common)] for table in tables]
    units = _agree_units(tables, rules.names)
    notes += _note_lone_measures(tables, rules.names)
    comparisons = _compare(tables, units, common, rules, groups)
    if not comparisons:
        raise InputError(
            f"'{rules.names[0]}' and '{rules.names[1]}' share cases but no measure"
            f"{' of single slices' if rules.slices else ' of whole volumes'}: compare tables of one bundle."
        )
    return Pairing(tuple(comparisons), tuple(notes + note_scales(comparisons)), *unmatched)


# -- what wide and long tables share ---------------------------------------------------------------------------------


def match_cases(
    a: Iterable[str], b: Iterable[str], names: tuple[str, str], on: str
) -> tuple[list[str], tuple[tuple[str, ...], tuple[str, ...]], list[str]]:
    """Cases of both tables in the order of the first, those of one alone, and a note on each of these lots.

    Raises
    ------
    InputError
        When no case is in both.
    """
    a, b = list(dict.fromkeys(a)), list(dict.fromkeys(b))
    in_a, in_b = set(a), set(b)
    common = [case for case in a if case in in_b]
    if not common:
        shown = [f"'{name}' has {_list(cases, 2)}" for name, cases in zip(names, (a, b), strict=True)]
        raise InputError(
            f"no case is in both tables by column '{on}' ({'; '.join(shown)}): give tables of the same cases, or name "
            "another column with --on."
        )
    alone = tuple(case for case in a if case not in in_b), tuple(case for case in b if case not in in_a)
    notes = []
    for cases, here, there in zip(alone, names, names[::-1], strict=True):
        if cases:
            verb = "is" if len(cases) == 1 else "are"
            notes.append(f"{_count(cases)} of '{here}' {verb} not in '{there}' and left out: {_list(cases)}.")
    return common, alone, notes


def name_groups(values: Mapping[str, str], cases: Sequence[str], by: str) -> dict[str, str]:
    """Subgroup of each case; a case without one is in `NO_GROUP`.

    Raises
    ------
    InputError
        When there are more than 12 subgroups.
    """
    groups = {case: str(values.get(case, "")).strip() or NO_GROUP for case in cases}
    count = len(set(groups.values()))
    if count > _MOST_GROUPS:
        raise InputError(
            f"column '{by}' has {count} different values: --by takes one with {_MOST_GROUPS} or fewer, such as sex."
        )
    return groups


def note_subjects(frame: pd.DataFrame, on: str, cases: Sequence[str]) -> list[str]:
    """A note when cases outnumber the subjects that column ``subject_id`` names."""
    if on == "subject_id" or "subject_id" not in frame or not cases:
        return []
    subjects = frame.assign(_case=_text(frame[on]), _subject=_text(frame["subject_id"]))
    subjects = subjects[subjects["_case"].isin(set(cases)) & (subjects["_subject"] != "")]
    subjects = subjects.drop_duplicates("_case")["_subject"]
    count = subjects.nunique()
    if count in (0, len(subjects)):
        return []
    return [
        f"{len(subjects)} cases come from {count} {'subject' if count == 1 else 'subjects'}: they count as independent "
        "here, so that the intervals are narrower than they should be."
    ]


def note_scales(comparisons: Sequence[Comparison]) -> list[str]:
    """A note for each measure whose two sides differ by about a power of ten, as they do when units differ."""
    notes = []
    for comparison in comparisons:
        a, b = comparison.a[comparison.complete], comparison.b[comparison.complete]
        if len(a) == 0 or min(a.min(), b.min()) <= 0:
            continue
        power = float(np.median(np.log10(b / a)))
        if abs(round(power)) >= 1 and abs(power - round(power)) < 0.1:
            larger, smaller = (comparison.b_name, comparison.a_name)[:: 1 if power > 0 else -1]
            notes.append(
                f"{comparison.measure}: '{larger}' is about {10 ** abs(round(power))} times '{smaller}'. "
                "Are both in the same unit?"
            )
    return notes


# -- long tables -----------------------------------------------------------------------------------------------------


def _find_identity(a: pd.DataFrame, b: pd.DataFrame, rules: PairingRules) -> str:
    for frame, name in zip((a, b), rules.names, strict=True):
        wanted = (*_NEEDED, rules.on) if rules.on else _NEEDED
        for column in wanted:
            if column not in frame:
                raise InputError(
                    f"'{name}' has no column '{column}'; it has {_list(list(map(str, frame.columns)), 30)}."
                )
        if frame.empty:
            raise InputError(f"'{name}' has no rows: give a table with measurements.")
    if rules.on:
        return rules.on
    for column in _IDENTITIES:
        if all(column in frame and (_text(frame[column]) != "").all() for frame in (a, b)):
            return column
    raise InputError(
        f"'{rules.names[0]}' and '{rules.names[1]}' do not both name the case of every row in case_id, series_uid or "
        "subject_id: fill in one of these columns in both, or name another one with --on."
    )


def _tidy(frame: pd.DataFrame, name: str, on: str, slices: bool) -> pd.DataFrame:
    """Columns case, item (case, or case and slice), the measure's five, value and unit; each item and measure once."""
    frame = frame.reset_index(drop=True)
    tidy = pd.DataFrame({"case": _text(frame[on])})
    if (tidy["case"] == "").any():
        raise InputError(f"'{name}' has rows without '{on}': every row must name its case.")
    defaults = {"side": "both", "statistic": "total"}
    for column in (*_MEASURE, "unit"):
        texts = _text(frame[column]) if column in frame else pd.Series("", index=frame.index)
        tidy[column] = texts.where(texts != "", defaults.get(column, ""))
    tidy["value"] = _numbers(frame["value"], name)
    slice_index = _text(frame["slice_index"]) if "slice_index" in frame else pd.Series("", index=frame.index)
    chosen = (slice_index != "") == slices
    tidy, places = tidy[chosen].copy(), slice_index[chosen].str.removesuffix(".0")
    tidy["item"] = tidy["case"] + " · slice " + places if slices else tidy["case"]
    doubled = tidy[tidy.duplicated(["item", *_MEASURE])]
    if not doubled.empty:
        row = doubled.iloc[0]
        raise InputError(
            f"'{name}' has {_name_measure(row)} of {row['item']} twice (case by column '{on}'): keep one row, or "
            "name a column that tells the two apart with --on."
        )
    return tidy


def _numbers(column: pd.Series, name: str) -> pd.Series:
    texts = _text(column)
    numbers = pd.to_numeric(texts.where(texts != ""), errors="coerce").astype(float)
    wrong = texts[(texts != "") & ~np.isfinite(numbers)]
    if not wrong.empty:
        raise InputError(
            f"'{name}' has the value '{wrong.iloc[0]}', which is not a number: write it as 12.5, or leave it empty."
        )
    return numbers


def _agree_units(tables: Sequence[pd.DataFrame], names: tuple[str, str]) -> dict[tuple[str, ...], str]:
    """Unit of each measure, which must be one in both tables."""
    units: dict[tuple[str, ...], tuple[str, str]] = {}
    for table, name in zip(tables, names, strict=True):
        for row in table.drop_duplicates([*_MEASURE, "unit"]).to_dict("records"):
            key = tuple(row[column] for column in _MEASURE)
            unit, where = units.setdefault(key, (row["unit"], name))
            if unit != row["unit"]:
                raise InputError(
                    f"{_name_measure(row)} is in '{unit}' in '{where}' and in '{row['unit']}' in '{name}': "
                    "bring both to one unit."
                )
    return {key: unit for key, (unit, _) in units.items()}


def _note_lone_measures(tables: Sequence[pd.DataFrame], names: tuple[str, str]) -> list[str]:
    named = [dict.fromkeys(map(_name_measure, t.drop_duplicates(_MEASURE).to_dict("records"))) for t in tables]
    notes = []
    for mine, theirs, name in ((named[0], named[1], names[0]), (named[1], named[0], names[1])):
        lone = [measure for measure in mine if measure not in theirs]
        if lone:
            notes.append(f"Only '{name}' has {_list(lone)}: not compared.")
    return notes


def _compare(
    tables: Sequence[pd.DataFrame],
    units: Mapping[tuple[str, ...], str],
    common: Sequence[str],
    rules: PairingRules,
    groups: Mapping[str, str],
) -> list[Comparison]:
    sides = [
        {key: rows.set_index("item") for key, rows in table.groupby(_MEASURE, sort=False, dropna=False)}
        for table in tables
    ]
    group_of = name_groups(groups, common, rules.by) if rules.by else {}
    comparisons = []
    for key, rows_a in sides[0].items():
        if key not in sides[1]:
            continue
        rows_b = sides[1][key]
        items = list(dict.fromkeys([*rows_a.index, *rows_b.index])) if rules.slices else list(common)
        cases = rows_a["case"].to_dict() | rows_b["case"].to_dict()
        comparisons.append(
            Comparison(
                measure=_name_measure(dict(zip(_MEASURE, key, strict=True))),
                unit=units[key],
                case_ids=tuple(items),
                a=rows_a["value"].reindex(items).to_numpy(),
                b=rows_b["value"].reindex(items).to_numpy(),
                groups=tuple(group_of[cases.get(item, item)] for item in items) if rules.by else (),
                a_name=rules.names[0],
                b_name=rules.names[1],
            )
        )
    return comparisons


def _read_groups(a: pd.DataFrame, b: pd.DataFrame, rules: PairingRules, on: str) -> dict[str, str]:
    """Subgroup of each case by the first table that has the column."""
    if rules.by is None:
        return {}
    for frame, name in zip((a, b), rules.names, strict=True):
        if rules.by not in frame:
            continue
        rows = pd.DataFrame({"case": _text(frame[on]), "group": _text(frame[rules.by])}).drop_duplicates()
        doubled = rows[rows["case"].duplicated()]
        if not doubled.empty:
            raise InputError(
                f"'{name}' has more than one '{rules.by}' for {doubled['case'].iloc[0]}: --by takes a column that "
                "is the same in every row of a case."
            )
        return dict(zip(rows["case"], rows["group"], strict=True))
    raise InputError(f"neither table has the column '{rules.by}': name one of them that has with --by.")


def _name_measure(row: Mapping[str, str]) -> str:
    """``erector spinae right density, mean``; a total is not said."""
    words = [row["structure"], "" if row["side"] == "both" else row["side"], row["measure"]]
    name = " ".join(word.replace("_", " ") for word in words if word)
    parts = [name, "" if row["statistic"] == "total" else row["statistic"], row["level"] and f"level {row['level']}"]
    return ", ".join(part for part in parts if part)


def _text(column: pd.Series) -> pd.Series:
    """Stripped text; what is missing is empty."""
    codes, values = pd.factorize(column)
    texts = np.array([*(str(value).strip() for value in values), ""], dtype=object)
    return pd.Series(texts[codes], index=column.index, dtype=object)


def _count(cases: Sequence[str]) -> str:
    return "1 case" if len(cases) == 1 else f"{len(cases)} cases"


def _list(words: Sequence[str], most: int = _SHOWN) -> str:
    shown = ", ".join(map(str, words[:most]))
    return f"{shown} and {len(words) - most} more" if len(words) > most else shown
