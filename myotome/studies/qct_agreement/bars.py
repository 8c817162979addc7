"""The bars of the protocol: what was asked for, what came out, and whether it is met. Nothing is chosen by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from myotome.studies.qct_agreement.analysis import EVERYBODY, REFERENCES
from myotome.studies.qct_agreement.jobs import TEST

__all__ = ["MET", "MISSED", "NONE", "judge_bars", "state_limit"]

MET = "met"
MISSED = "not met"
NONE = "no value"
_WITHOUT_REFERENCE = ("precision", "ordeal")
_TRUTH_ONLY = ("coverage",)


def judge_bars(
    tables: Mapping[str, pd.DataFrame], bars: Sequence[Mapping[str, Any]], methods: Sequence[str]
) -> pd.DataFrame:
    """Each bar for each method, against QCT and against the truth where both are known.

    Parameters
    ----------
    tables : by the names that bars have in ``table``

    Returns
    -------
    DataFrame : ``title``, ``measure``, ``method``, ``reference`` (empty where there is none), ``value``, ``lower``,
        ``upper``, ``limit`` (in words), ``verdict`` (``met``, ``not met``, or ``no value``)
    """
    rows = []
    for bar in bars:
        for method in methods:
            for reference in _references(bar, tables):
                found = _find(tables[bar["table"]], bar, method, reference)
                row = {"title": bar["title"], "measure": bar["measure"], "method": method, "reference": reference}
                ends = {name: np.nan if found is None else found[name] for name in ("value", "lower", "upper")}
                rows.append({**row, **ends, "limit": state_limit(bar), "verdict": _judge(ends["value"], bar)})
    columns = ["title", "measure", "method", "reference", "value", "lower", "upper", "limit", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def state_limit(bar: Mapping[str, Any]) -> str:
    """A bar's limit, as ``≥ 0.9`` or ``0.93 to 0.97``."""
    if "at_least" in bar and "at_most" in bar:
        return f"{bar['at_least']:g} to {bar['at_most']:g}"
    if "within" in bar:
        return f"−{bar['within']:g} to {bar['within']:g}"
    return f"≥ {bar['at_least']:g}" if "at_least" in bar else f"≤ {bar['at_most']:g}"


def _references(bar: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    if bar["table"] in _WITHOUT_REFERENCE:
        return ("",)
    known = set(tables["agreement"]["reference"])
    wanted = ("truth",) if bar["table"] in _TRUTH_ONLY and "truth" in known else REFERENCES
    return tuple(name for name in wanted if name in known)


def _find(table: pd.DataFrame, bar: Mapping[str, Any], method: str, reference: str) -> Mapping[str, Any] | None:
    rows = table[table["method"] == method]
    if bar["table"] == "ordeal":
        rows = rows[rows["fault"] == "all"]
        return None if rows.empty else {"value": float(rows.iloc[0][bar["measure"]]), "lower": np.nan, "upper": np.nan}
    where = {"measure": bar["measure"]}
    if reference:
        where |= {"part": TEST, "reference": reference}
    if bar["table"] == "agreement":
        where["by"] = EVERYBODY
    if bar["table"] == "decisions":
        where |= {"question": "osteoporosis", "rule": "fixed", "people": "measured"}
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return None if rows.empty else rows.iloc[0]


def _judge(value: float, bar: Mapping[str, Any]) -> str:
    if pd.isna(value):
        return NONE
    low = bar.get("at_least", -bar["within"] if "within" in bar else -np.inf)
    high = bar.get("at_most", bar.get("within", np.inf))
    return MET if low <= value <= high else MISSED
