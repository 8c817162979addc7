"""The page of quality control: every case as compact columns of JSON inside one HTML file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myotome import __version__
from myotome.cohort.quality_scores import Scores, read_measurements, score_cases
from myotome.pipeline import KINDS
from myotome.report.flag_meanings import describe_flag
from myotome.report.pages import render_page, write_page
from myotome.store import Store
from myotome.structures import read_label_schema

__all__ = [
    "PAGE_NAME",
    "UNDECIDED",
    "cohort_mark",
    "describe_cases",
    "describe_cohort",
    "describe_reviews",
    "render_quality_page",
    "write_quality_page",
]

PAGE_NAME = "quality.html"
# What a reader who takes a decision back leaves in the store.
UNDECIDED = "undecided"

_STATUSES = ("done", "refused", "failed")
_DIGITS = 4
_DRIVERS = 3
_LEAST_SHARE = 0.05

_CASES_SQL = """
SELECT case_id, status, reason, flags, sex, age_years, height_m, slices, slice_thickness_mm, uncertainty,
       CASE WHEN status = 'done' AND bundle <> 'none' THEN bundle || ' ' || bundle_version END AS bundle
FROM cases ORDER BY case_id
"""
_REVIEWS_SQL = "SELECT case_id, decision, reviewer, note, reviewed_at FROM reviews"


def write_quality_page(store: Store) -> Path:
    """Write ``quality.html`` into the cohort's folder, to be opened from there; returns its path.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    path = store.folder / PAGE_NAME
    write_page(path, render_quality_page({**describe_cohort(store), **describe_reviews(store)}))
    return path


def render_quality_page(data: dict[str, Any], *, served: bool = False, nonce: str = "") -> str:
    """HTML of the page.

    Parameters
    ----------
    data : from `describe_cohort` and `describe_reviews`
    served : True when decisions can be sent to where the page came from; else they stay in the browser
    nonce : of the server's content security policy, for the page's own script and style
    """
    data = {**data, "served": served}
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # As text inside a script element, and never its end.
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return render_page("quality.html.j2", data=text, nonce=nonce, version=__version__)


def cohort_mark(store: Store) -> str:
    """Twelve letters that stand for this cohort, the same in every run of it; nothing can be read from them."""
    return hashlib.sha256(f"myotome-cohort {store.cohort.description.get('created', '')}".encode()).hexdigest()[:12]


def describe_cohort(store: Store) -> dict[str, Any]:
    """All that the page shows but the decisions; it changes only when a case is written."""
    cases = store.frame(_CASES_SQL)
    measurements, flags = read_measurements(store)
    scores = score_cases(measurements, cases[cases["status"] == "done"])
    return {
        "cohort": cohort_mark(store),
        "bundles": sorted(cases["bundle"].dropna().unique()),
        **describe_cases(cases, flags, scores),
    }


def describe_cases(cases: pd.DataFrame, flags: dict[str, list[str]], scores: Scores) -> dict[str, Any]:
    """Every case by columns, in the order of ``cases``; numbers with four digits, ``None`` for what is not known.

    Parameters
    ----------
    flags : of each case's structures; those of the case itself are in ``cases``
    """
    place = {case: row for row, case in enumerate(scores.case_ids)}
    rows = [place.get(case) for case in cases["case_id"]]
    carried = [
        _flag_names(own, flags.get(case, ())) for case, own in zip(cases["case_id"], cases["flags"], strict=True)
    ]
    names = sorted({flag for found in carried for flag in found})
    number = {name: index for index, name in enumerate(names)}
    columns = {
        "id": cases["case_id"].tolist(),
        "status": [_STATUSES.index(status) for status in cases["status"]],
        "reason": [reason if isinstance(reason, str) else None for reason in cases["reason"]],
        "flags": [[number[flag] for flag in found] for found in carried],
        "sex": [sex if isinstance(sex, str) else None for sex in cases["sex"]],
        "age": _numbers(cases["age_years"], 2),
        "height": _numbers(cases["height_m"]),
        "slices": _numbers(cases["slices"]),
        "thickness": _numbers(cases["slice_thickness_mm"]),
        "uncertainty": _numbers(cases["uncertainty"]),
        "score": _numbers(_pick(scores.distances.distance, rows)),
        "tail": _numbers(_pick(scores.distances.tail, rows), 2),
        "volume": _numbers(_pick(scores.total_volume_ml, rows)),
        "heightZ": _numbers(_pick(scores.height_z, rows), 3),
        "heightRatio": _numbers(_pick(scores.height_ratio, rows)),
        "drivers": [[] if row is None else _drivers(scores, row) for row in rows],
        "values": [[] if row is None else _numbers(scores.values[row]) for row in rows],
        "z": [[] if row is None else _numbers(scores.z[row], 2) for row in rows],
    }
    return {
        "flags": [{"name": name, "meaning": describe_flag(name)} for name in names],
        "structures": _structures(scores),
        "features": [[feature.structure, feature.side, feature.measure] for feature in scores.features],
        "method": scores.method,
        "methodSentence": scores.sentence,
        "cases": columns,
    }


def describe_reviews(store: Store) -> dict[str, Any]:
    """The latest decision of every case that has one: case_id to decision, reviewer, note and time (UTC)."""
    latest = store.frame(_REVIEWS_SQL)
    return {
        "reviews": {
            row.case_id: [row.decision, row.reviewer, row.note, row.reviewed_at.isoformat(timespec="microseconds")]
            for row in latest.itertuples()
        }
    }


def _flag_names(of_case: Any, of_structures: Iterable[str]) -> list[str]:
    """Every flag once, without the words after its colon, which may come from a header."""
    own = of_case if isinstance(of_case, list | tuple | np.ndarray) else ()
    return sorted({flag.partition(":")[0] for flag in (*own, *of_structures)})


def _structures(scores: Scores) -> list[dict[str, str]]:
    """Name, title and colour of the measured structures, in the label map's order."""
    found = {feature.structure for feature in scores.features}
    known = [
        {"name": item.name, "title": item.title, "colour": "#" + bytes(item.colour).hex()}
        for kind in KINDS
        for item in read_label_schema(kind.schema).structures
        if item.name in found
    ]
    other = sorted(found - {item["name"] for item in known})
    return known + [{"name": name, "title": _words(name), "colour": "#8c959f"} for name in other]


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _drivers(scores: Scores, row: int) -> list[list[float | None]]:
    """Columns of the measures that add most to a distance, their shares, and what would go with the other measures."""
    share = scores.distances.share[row]
    order = np.argsort(-share, kind="stable")[:_DRIVERS]
    expected = _numbers(scores.expected[row][order])
    return [
        [int(column), round(float(share[column]), 2), value]
        for column, value in zip(order, expected, strict=True)
        if share[column] >= _LEAST_SHARE
    ]


def _pick(values: np.ndarray, rows: list[int | None]) -> list[float]:
    return [math.nan if row is None else float(values[row]) for row in rows]


def _numbers(values: Iterable[float], digits: int = _DIGITS) -> list[float | int | None]:
    """Significant digits only, whole numbers without a point, ``None`` for what is not a number."""
    result: list[float | int | None] = []
    for value in values:
        if pd.isna(value) or not math.isfinite(value):
            result.append(None)
            continue
        rounded = float(f"{float(value):.{digits}g}")
        result.append(int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded)
    return result
