"""What the readings say: agreement with a reference, who is found at the cut-offs, and how often intervals hold.

A table of readings has one row per scan and method (`myotome.studies.qct_agreement.readings.COLUMNS`). References are
``qct`` (the phantom-based method, or a site's table) and ``truth`` (known of phantoms only). Errors are the method less
the reference, in mg/cm3 of K2HPO4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from myotome.errors import InputError
from myotome.statistics.agreement import compute_bland_altman, compute_intraclass_correlation
from myotome.statistics.classification import (
    compare_aurocs,
    compute_auroc,
    compute_decision_scores,
    estimate_proportion,
)
from myotome.statistics.correlation import correlate, rank_correlate
from myotome.statistics.intervals import Estimate

__all__ = [
    "EVERYBODY",
    "REFERENCES",
    "compare_methods",
    "count_flow",
    "score_agreement",
    "score_areas",
    "score_coverage",
    "score_decisions",
]

REFERENCES = ("qct", "truth")
EVERYBODY = ""
_MEASURES = ("spearman", "pearson", "icc", "bias", "sd", "lower_limit", "upper_limit", "slope")


def score_agreement(readings: pd.DataFrame, groups: Sequence[str] = (), fewest: int = 3) -> pd.DataFrame:
    """Correlation, ICC(2,1), Bland and Altman's figures and proportional bias, per part, method, reference and group.

    Parameters
    ----------
    groups : columns of subgroups, each by itself; everybody is always there, with an empty ``by``
    fewest : in a subgroup; smaller ones are left out

    Returns
    -------
    DataFrame : one row per figure: ``part``, ``method``, ``reference``, ``by``, ``group``, ``measure``, ``value``,
        ``lower``, ``upper``, ``p``, ``cases``, ``reason`` (why there is no value). The measures are ``spearman``,
        ``pearson``, ``icc``, ``bias``, ``sd`` (of the errors), ``lower_limit``, ``upper_limit`` and ``slope`` (of the
        error on the mean of both, the proportional bias).
    """
    rows = []
    for part, method, reference, pairs in _take_pairs(readings):
        common = {"part": part, "method": method, "reference": reference}
        for by, group, chosen in _divide(pairs, groups, fewest):
            figures = _agree(chosen[reference].to_numpy(float), chosen["bmd"].to_numpy(float))
            rows += [{**common, "by": by, "group": group, **row, "cases": len(chosen)} for row in figures]
    columns = ["part", "method", "reference", "by", "group", "measure", "value", "lower", "upper", "p", "cases"]
    return pd.DataFrame(rows, columns=[*columns, "reason"])


def _agree(reference: np.ndarray, bmd: np.ndarray) -> list[dict[str, Any]]:
    try:
        bland = compute_bland_altman(reference, bmd)
        icc = compute_intraclass_correlation(np.column_stack([reference, bmd])).agreement
    except InputError as error:
        return [_cells(measure, Estimate(np.nan), reason=str(error)) for measure in _MEASURES]
    rows = []
    for measure, found in (("spearman", rank_correlate(reference, bmd)), ("pearson", correlate(reference, bmd))):
        value = np.nan if found.value is None else found.value
        rows.append(_cells(measure, Estimate(value, found.lower, found.upper), found.p_value, found.note))
    rows += [_cells("icc", icc), _cells("bias", bland.bias), _cells("sd", Estimate(bland.sd))]
    rows += [_cells(name, getattr(bland, name)) for name in ("lower_limit", "upper_limit")]
    line = bland.line
    none = _cells("slope", Estimate(np.nan), reason="the values do not vary")
    return [*rows, none if line is None else _cells("slope", line.slope, line.slope_p)]


def _cells(measure: str, found: Estimate, p: float | None = None, reason: str = "") -> dict[str, Any]:
    ends = {"value": found.value, "lower": found.lower, "upper": found.upper}
    return {"measure": measure, **ends, "p": p, "reason": reason}


def score_areas(readings: pd.DataFrame, cutoff_mg_cm3: float) -> pd.DataFrame:
    """Areas under the ROC curve for a reference below the cut-off, with DeLong's interval.

    Columns: ``part``, ``method``, ``reference``, ``measure`` (``auroc``), ``value``, ``lower``, ``upper``,
    ``positives``, ``cases``. A part in which everybody is on one side of the cut-off has no row.
    """
    rows = []
    for part, method, reference, pairs in _take_pairs(readings):
        target = (pairs[reference] < cutoff_mg_cm3).to_numpy(int)
        if 0 < target.sum() < len(target):
            found = compute_auroc(target, -pairs["bmd"].to_numpy(float)).estimate
            row = {"part": part, "method": method, "reference": reference, "measure": "auroc"}
            ends = {"value": found.value, "lower": found.lower, "upper": found.upper}
            rows.append({**row, **ends, "positives": int(target.sum()), "cases": len(target)})
    columns = ["part", "method", "reference", "measure", "value", "lower", "upper", "positives", "cases"]
    return pd.DataFrame(rows, columns=columns)


def compare_methods(readings: pd.DataFrame, base: str, cutoff_mg_cm3: float) -> pd.DataFrame:
    """What another method than ``base`` changes on the same people: AUROC (DeLong) and absolute error.

    Columns: ``part``, ``reference``, ``method``, ``measure`` (``auroc`` or ``absolute_error``), ``value`` (the other
    less ``base``), ``lower``, ``upper``, ``p``, ``cases``.
    """
    rows = []
    for part, method, reference, pairs in _take_pairs(readings):
        if method == base:
            continue
        same = readings[(readings["part"] == part) & (readings["method"] == base) & readings["counted"]]
        both = pairs.merge(same[["case", "bmd"]], on="case", suffixes=("", "_base"))
        common = {"part": part, "reference": reference, "method": method, "cases": len(both)}
        rows += [{**common, **row} for row in _differences(both, reference, cutoff_mg_cm3)]
    columns = ["part", "reference", "method", "measure", "value", "lower", "upper", "p", "cases"]
    return pd.DataFrame(rows, columns=columns)


def _differences(both: pd.DataFrame, reference: str, cutoff_mg_cm3: float) -> Iterator[dict[str, Any]]:
    target = (both[reference] < cutoff_mg_cm3).to_numpy(int)
    if 0 < target.sum() < len(target):
        found = compare_aurocs(target, -both["bmd"].to_numpy(float), -both["bmd_base"].to_numpy(float))
        yield _cells("auroc", found.difference, found.p_value)
    if len(both) > 2:
        change = (both["bmd"] - both[reference]).abs() - (both["bmd_base"] - both[reference]).abs()
        bland = compute_bland_altman(np.zeros(len(change)), change.to_numpy(float))
        yield _cells("absolute_error", bland.bias)


def score_decisions(
    readings: pd.DataFrame, cutoffs_mg_cm3: dict[str, float], youden_mg_cm3: dict[str, float | None]
) -> pd.DataFrame:
    """Who is found below the cut-offs, with Wilson's intervals.

    Parameters
    ----------
    cutoffs_mg_cm3 : of each question (``osteoporosis``, ``low``): below it the reference is positive
    youden_mg_cm3 : of each method, the cut-off that the training part gave for osteoporosis; ``None`` without one

    Returns
    -------
    DataFrame : one row per part, method, reference, question, rule (``fixed`` or ``youden``), people (``measured``, or
        ``all``: those without a number count as not found) and measure (``sensitivity``, ``specificity``,
        ``accuracy``), with ``cutoff``, ``value``, ``lower``, ``upper``, ``tp``, ``fp``, ``tn``, ``fn``
    """
    rows = []
    for part, method, reference, everyone in _take_pairs(readings, counted=False):
        for question, rule, limit, cutoff in _rules(method, cutoffs_mg_cm3, youden_mg_cm3):
            below = (everyone["bmd"] < cutoff) & everyone["counted"]
            common = {"part": part, "method": method, "reference": reference, "question": question, "rule": rule}
            for people, chosen in (("measured", everyone["counted"]), ("all", everyone[reference].notna())):
                target, found = (everyone.loc[chosen, reference] < limit).astype(int), below[chosen].astype(int)
                if len(target):
                    cells = {**common, "people": people, "cutoff": cutoff}
                    rows += [{**cells, **row} for row in _decide(target, found)]
    columns = ["part", "method", "reference", "question", "rule", "people", "measure", "cutoff", "value", "lower"]
    return pd.DataFrame(rows, columns=[*columns, "upper", "tp", "fp", "tn", "fn"])


def _rules(
    method: str, cutoffs: dict[str, float], youden: dict[str, float | None]
) -> Iterator[tuple[str, str, float, float]]:
    """Question, rule, what of the reference is positive, and what of the method is."""
    for question, limit in cutoffs.items():
        yield question, "fixed", limit, limit
    if youden.get(method) is not None:
        yield "osteoporosis", "youden", cutoffs["osteoporosis"], youden[method]


def _decide(target: pd.Series, found: pd.Series) -> list[dict[str, Any]]:
    scores = compute_decision_scores(target, found)
    counts = {"tp": scores.true_positives, "fp": scores.false_positives}
    counts |= {"tn": scores.true_negatives, "fn": scores.false_negatives}
    rows = []
    for measure in ("sensitivity", "specificity", "accuracy"):
        share = getattr(scores, measure) or Estimate(np.nan)
        rows.append({"measure": measure, "value": share.value, "lower": share.lower, "upper": share.upper, **counts})
    return rows


def score_coverage(readings: pd.DataFrame) -> pd.DataFrame:
    """How often the 95 % interval of a reading holds the reference, and how wide it is in the middle.

    Columns: ``part``, ``method``, ``reference``, ``measure`` (``coverage``), ``value``, ``lower``, ``upper`` (Wilson),
    ``width`` (median, mg/cm3), ``cases``. Methods without intervals have no row.
    """
    rows = []
    for part, method, reference, pairs in _take_pairs(readings):
        known = pairs.dropna(subset=["lower", "upper"])
        if known.empty:
            continue
        inside = int(((known["lower"] <= known[reference]) & (known[reference] <= known["upper"])).sum())
        share, width = estimate_proportion(inside, len(known)), float((known["upper"] - known["lower"]).median())
        row = {"part": part, "method": method, "reference": reference, "measure": "coverage"}
        ends = {"value": share.value, "lower": share.lower, "upper": share.upper}
        rows.append({**row, **ends, "width": width, "cases": len(known)})
    columns = ["part", "method", "reference", "measure", "value", "lower", "upper", "width", "cases"]
    return pd.DataFrame(rows, columns=columns)


def count_flow(readings: pd.DataFrame) -> pd.DataFrame:
    """What became of every scan, per part and method: ``outcome``, ``reason``, ``scans``, ``osteoporosis``.

    Outcomes: ``compared``; ``no reference``; ``refused`` (no number; the reason is its flags); ``left out`` (a flag of
    ``leave_out``). ``osteoporosis`` counts those whose reference is below the cut-off.
    """
    groups = readings.groupby(["part", "method", "outcome", "reason"], sort=False, dropna=False)
    return groups.agg(scans=("case", "size"), osteoporosis=("positive", "sum")).reset_index()


# -- rows --------------------------------------------------------------------------------------------------------------


def _take_pairs(readings: pd.DataFrame, counted: bool = True) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Part, method, reference, and the readings that have that reference."""
    for (part, method), rows in readings.groupby(["part", "method"], sort=False):
        for reference in REFERENCES:
            known = rows[rows[reference].notna()]
            known = known[known["counted"]] if counted else known
            if not known.empty:
                yield part, method, reference, known


def _divide(pairs: pd.DataFrame, groups: Sequence[str], fewest: int) -> Iterator[tuple[str, str, pd.DataFrame]]:
    yield EVERYBODY, EVERYBODY, pairs
    for by in groups:
        if by not in pairs or pairs[by].nunique() < 2:
            continue
        for group, chosen in pairs.groupby(by):
            if len(chosen) >= fewest:
                yield by, f"{group:g}" if isinstance(group, float) else str(group), chosen
