"""Somebody's own cases: a JSON list of images, with labels where they have any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from myotome.errors import InputError

__all__ = ["read_case_rows"]


def read_case_rows(path: Path, noun: str, needed: tuple[str, ...] = ("image", "label")) -> list[dict[str, Any]]:
    """Rows of a JSON list, or of a data list with ``training`` and ``validation``.

    Parameters
    ----------
    path : of the list; the paths in it are relative to it
    noun : what a row is, in a refusal: ``slices``, ``scans``
    needed : which of ``image`` and ``label`` every row has to have

    Returns
    -------
    list : every row's own keys, and ``case`` (by the image's name where it has none), ``patient`` (the case is a
        patient of its own without it), ``image`` and ``label`` (absolute paths as text; ``None`` for a label that is
        not needed and not there)

    Raises
    ------
    InputError
        When it is not such a list, has no row, a file is absent, or a case stands twice.
    """
    wanted = " and ".join(needed)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        parts = [found] if isinstance(found, list) else [found[key] for key in ("training", "validation")]
        rows = [_read_row(row, path.parent, needed) for part in parts for row in part]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{path}' is not a list of {noun} ({error}): give a JSON list of rows with {wanted}."
        ) from error
    if not rows:
        raise InputError(f"'{path}' has no {noun[:-1]}: give a JSON list of rows with {wanted}.")
    cases = pd.Series([row["case"] for row in rows])
    doubled = cases[cases.duplicated()]
    if not doubled.empty:
        raise InputError(f"'{path.name}' has the case '{doubled.iloc[0]}' twice: name the cases with the key 'case'.")
    for row in rows:
        for key in ("image", "label"):
            if row[key] is not None and not Path(row[key]).exists():
                raise InputError(
                    f"'{row[key]}', the {key} of case '{row['case']}', does not exist: correct '{path.name}'."
                )
    return rows


def _read_row(row: Mapping[str, Any], folder: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    files = {key: row[key] if key in needed else row.get(key) for key in ("image", "label")}
    paths = {key: None if file is None else (folder / file).resolve() for key, file in files.items()}
    image = paths["image"]
    case = str(row.get("case") or (image.parent.name if image.name.startswith("image.") else image.name.split(".")[0]))
    named = {"case": case, "patient": str(row.get("patient") or case)}
    return {**row, **named, **{key: None if file is None else str(file) for key, file in paths.items()}}
