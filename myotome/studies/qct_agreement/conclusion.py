"""What may be said: sentences computed from the tables and their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from myotome.studies.qct_agreement.analysis import EVERYBODY
from myotome.studies.qct_agreement.bars import MET
from myotome.studies.qct_agreement.jobs import TEST, WHOLE
from myotome.studies.qct_agreement.ordeal import PLAIN_HU
from myotome.studies.qct_agreement.readings import HU
from myotome.studies.qct_agreement.settings import StudySettings

__all__ = ["REFERENCE_TITLES", "TITLES", "conclude", "find_row"]

TITLES = {
    "two_tissue": "two-tissue",
    "multi_tissue": "multi-tissue",
    HU: "HU without calibration",
    PLAIN_HU: "mean HU",
}
"""How a reader calls the methods."""

REFERENCE_TITLES = {"qct": "QCT", "truth": "the known density"}


def find_row(table: pd.DataFrame, **where: Any) -> dict[str, Any] | None:
    """The first row whose columns have the given values; ``None`` when there is none."""
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return None if chosen.empty else chosen.iloc[0].to_dict()


def conclude(tables: Mapping[str, pd.DataFrame], settings: StudySettings) -> list[str]:
    """One sentence each: beside the paper, errors, who is found, the other method, intervals, repeats, ordeal, bars."""
    leading = settings.methods[0]
    sentences = [_beside_the_paper(tables, leading, settings)]
    sentences += [_errors(tables, leading, reference) for reference in REFERENCE_TITLES]
    sentences += [_found(tables, leading, rule) for rule in ("fixed", "youden")]
    sentences += [_other(tables, method, leading) for method in (*settings.methods[1:], HU)]
    sentences += [_coverage(tables["coverage"], leading), _without_number(tables["flow"], leading)]
    sentences += [_precision(tables["precision"], name, leading) for name in settings.precision]
    sentences += [_ordeal(tables["ordeal"], leading), _bars(tables["bars"], leading)]
    return [sentence for sentence in sentences if sentence]


def _beside_the_paper(tables: Mapping[str, pd.DataFrame], method: str, settings: StudySettings) -> str:
    where = {"part": TEST, "method": method, "reference": "qct"}
    decided = {"question": "osteoporosis", "rule": "fixed", "people": "measured"}
    sources = {
        "spearman": ("Spearman", tables["agreement"], {"by": EVERYBODY}),
        "icc": ("ICC(2,1)", tables["agreement"], {"by": EVERYBODY}),
        "auroc": ("AUROC", tables["areas"], {}),
        "sensitivity": ("sensitivity", tables["decisions"], decided),
        "specificity": ("specificity", tables["decisions"], decided),
        "accuracy": ("accuracy", tables["decisions"], decided),
    }
    parts, people = [], 0
    for measure, (title, table, more) in sources.items():
        row = find_row(table, measure=measure, **where, **more)
        if row is None or pd.isna(row["value"]):
            continue
        paper = settings.paper.get(measure)
        beside = f" (paper {paper[1]:.3f})" if paper else ""
        parts.append(f"{title} {row['value']:.3f}{beside}")
        people = row.get("cases", people)
    if not parts:
        return ""
    return (
        f"{_start(TITLES[method])} calibration against QCT, {int(people)} people of the test part: {', '.join(parts)}."
    )


def _errors(tables: Mapping[str, pd.DataFrame], method: str, reference: str) -> str:
    where = {"part": TEST, "method": method, "reference": reference, "by": EVERYBODY}
    rows = {name: find_row(tables["agreement"], measure=name, **where) for name in ("bias", "sd", "slope")}
    low, high = (find_row(tables["agreement"], measure=f"{end}_limit", **where) for end in ("lower", "upper"))
    if rows["bias"] is None or pd.isna(rows["bias"]["value"]):
        return ""
    bias, slope = rows["bias"], rows["slope"]
    trend = "no proportional bias that these people could show"
    if slope is not None and not pd.isna(slope["p"]) and slope["p"] < 0.05:
        trend = f"a proportional bias of {slope['value']:+.3f} mg/cm3 per mg/cm3 ({_p(slope['p'])})"
    limits = f"limits {low['value']:+.1f} to {high['value']:+.1f}"
    return (
        f"Error against {REFERENCE_TITLES[reference]}: bias {bias['value']:+.2f} mg/cm3 ({bias['lower']:+.2f} to "
        f"{bias['upper']:+.2f}), SD {rows['sd']['value']:.2f}, {limits}; {trend}."
    )


def _found(tables: Mapping[str, pd.DataFrame], method: str, rule: str) -> str:
    where = {"part": TEST, "method": method, "reference": "qct", "question": "osteoporosis", "rule": rule}
    own = {**where, "people": "measured"}
    hits, alarms = (find_row(tables["decisions"], measure=name, **own) for name in ("sensitivity", "specificity"))
    if hits is None or pd.isna(hits["value"]) or pd.isna(alarms["value"]):
        return ""
    everyone = find_row(tables["decisions"], measure="sensitivity", **where, people="all")
    refused = ""
    if everyone["tp"] + everyone["fn"] > hits["tp"] + hits["fn"]:
        refused = (
            f"; {everyone['tp']} of {everyone['tp'] + everyone['fn']} when a scan without a number counts as missed"
        )
    name = "Youden's cut-off of the training part" if rule == "youden" else "the fixed cut-off"
    return (
        f"Osteoporosis at {name}, {hits['cutoff']:.1f} mg/cm3: {hits['tp']} of {hits['tp'] + hits['fn']} found "
        f"(sensitivity {_share(hits)}), specificity {_share(alarms)}{refused}."
    )


def _other(tables: Mapping[str, pd.DataFrame], method: str, base: str) -> str:
    where = {"part": TEST, "reference": "qct", "method": method}
    error = find_row(tables["comparisons"], measure="absolute_error", **where)
    area = find_row(tables["comparisons"], measure="auroc", **where)
    if error is None:
        return ""
    words = f"absolute error {error['value']:+.2f} mg/cm3 ({error['lower']:+.2f} to {error['upper']:+.2f})"
    if area is not None and not pd.isna(area["p"]):
        words += f", AUROC {area['value']:+.4f} ({_p(area['p'])}, DeLong)"
    return f"{_start(TITLES[method])} less {TITLES[base]}, on the same people: {words}."


def _coverage(coverage: pd.DataFrame, method: str) -> str:
    parts = []
    for reference, title in REFERENCE_TITLES.items():
        row = find_row(coverage, part=TEST, method=method, reference=reference)
        if row is not None:
            parts.append(
                f"{title} in {100 * row['value']:.1f} % ({100 * row['lower']:.1f} to {100 * row['upper']:.1f})"
            )
            width = row["width"]
    return f"The 95 % intervals hold {' and '.join(parts)}; median width {width:.1f} mg/cm3." if parts else ""


def _without_number(flow: pd.DataFrame, method: str) -> str:
    part = flow[(flow["part"] == TEST) & (flow["method"] == method)]
    total, lost = int(part["scans"].sum()), part[part["outcome"] != "compared"]
    if lost.empty:
        return f"All {total} scans of the test part are compared."
    words = [
        f"{row['scans']} {row['outcome']}{' (' + row['reason'] + ')' if row['reason'] else ''}"
        for row in lost.sort_values("scans", ascending=False, kind="stable").to_dict("records")
    ]
    return f"Of {total} scans of the test part {int(lost['scans'].sum())} are not compared: {', '.join(words)}."


def _precision(precision: pd.DataFrame, name: str, method: str) -> str:
    own, plain = (find_row(precision, measure=name, method=one) for one in (method, PLAIN_HU))
    if own is None or pd.isna(own["value"]):
        return ""
    beside = "" if plain is None or pd.isna(plain["value"]) else f"; of mean HU beside it {plain['value']:.2f} %"
    return (
        f"{own['title']}, {own['people']} people in {own['repeats']} scans each: RMS-CV {own['value']:.2f} % "
        f"({own['lower']:.2f} to {own['upper']:.2f}), RMS-SD {own['rms_sd']:.2f} mg/cm3{beside}."
    )


def _ordeal(ordeal: pd.DataFrame, method: str) -> str:
    row, whole = (find_row(ordeal, fault=name, method=method) for name in ("all", WHOLE))
    if row is None:
        return ""
    words = f"{row['refused']} refused, {row['flagged']} with a number and its flag, {row['silent']} silent"
    beside = f"; without a fault {whole['refused']} of {whole['calibrations']} are refused, too" if whole else ""
    return f"Of {row['calibrations']} broken calibrations {words}{beside}."


def _bars(bars: pd.DataFrame, method: str) -> str:
    rows = bars[bars["method"] == method]
    if rows.empty:
        return ""
    missed = [
        f"{row['title']}{' against ' + REFERENCE_TITLES[row['reference']] if row['reference'] else ''}"
        for row in rows[rows["verdict"] != MET].to_dict("records")
    ]
    words = f"not met: {'; '.join(missed)}" if missed else "none is missed"
    return f"Bars of {TITLES[method]} calibration: {int((rows['verdict'] == MET).sum())} of {len(rows)} met; {words}."


def _start(words: str) -> str:
    return words[0].upper() + words[1:]


def _share(row: Mapping[str, Any]) -> str:
    return f"{100 * row['value']:.1f} % ({100 * row['lower']:.1f} to {100 * row['upper']:.1f})"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
