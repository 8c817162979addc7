"""The study's folder: one page as HTML and PDF, every table as CSV, the coefficients as YAML, and JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from myotome import __version__
from myotome.biomarkers.bone_density import BoneDensitySettings, read_bone_density_settings
from myotome.io.atomic import atomic_path
from myotome.report.pages import embed_figure, render_page
from myotome.resources import config_path
from myotome.studies.qct_agreement.analysis import EVERYBODY, REFERENCES
from myotome.studies.qct_agreement.conclusion import REFERENCE_TITLES, TITLES, find_row
from myotome.studies.qct_agreement.figures import (
    draw_agreement,
    draw_bland_altman,
    draw_groups,
    draw_ordeal,
    draw_repeats,
    draw_roc,
)
from myotome.studies.qct_agreement.fitting import place_coefficients
from myotome.studies.qct_agreement.jobs import TEST, TRAINING, WHOLE
from myotome.studies.qct_agreement.readings import HU
from myotome.studies.qct_agreement.settings import StudySettings
from myotome.studies.qct_agreement.study import Findings
from myotome.studies.results import format_figure, write_results

__all__ = ["COEFFICIENTS", "CONFIGURATION", "write_report"]

COEFFICIENTS = "bone_density_coefficients.yaml"
CONFIGURATION = "bone_density.yaml"
"""The product's configuration with the fitted coefficients in it."""

_PARTS = {TRAINING: "training", TEST: "test"}
_MEASURES = {"spearman": 3, "pearson": 3, "icc": 3, "bias": 2, "sd": 2, "slope": 4}
_QUESTIONS = {"osteoporosis": "Osteoporosis", "low": "Low or osteoporosis"}
_GROUPS = {
    "tube_voltage_kv": "Tube voltage, kV",
    "kernel": "Kernel",
    "sex": "Sex",
    "scanner": "Scanner",
    "slice_thickness_mm": "Slice thickness, mm",
}
_SUMMARISED = ("coefficients", "agreement", "areas", "decisions", "comparisons", "coverage", "precision", "ordeal")


def write_report(
    output: Path, findings: Findings, settings: StudySettings, bone: BoneDensitySettings | None = None
) -> None:
    """Write ``report.html``, ``report.pdf`` (where Pango is installed), ``summary.json``, the tables and coefficients.

    The coefficients are a file by themselves, and in their place in the project's configuration of bone density.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    bone = bone or read_bone_density_settings()
    with atomic_path(output / COEFFICIENTS) as temporary:
        temporary.write_text(findings.coefficients, encoding="utf-8")
    configuration = config_path("bone_density.yaml").read_text(encoding="utf-8")
    with atomic_path(output / CONFIGURATION) as temporary:
        temporary.write_text(place_coefficients(configuration, findings.coefficients), encoding="utf-8")
    write_results(output, _render(findings, settings, bone), _summarise(findings, settings), findings.tables)


def _summarise(findings: Findings, settings: StudySettings) -> dict[str, Any]:
    """Everything that is concluded, for machines; an empty cell is null."""
    tables = {name: findings.tables[name] for name in (*_SUMMARISED, "flow", "bars")}
    return {
        "study": "qct-agreement",
        "bundle": settings.bundle,
        "segmenter": settings.segmenter,
        "methods": list(settings.methods),
        "conclusion": findings.conclusion,
        "facts": findings.facts,
        "software": findings.software,
        **{name: json.loads(table.to_json(orient="records")) for name, table in tables.items()},
    }


def _render(findings: Findings, settings: StudySettings, bone: BoneDensitySettings) -> str:
    tables, methods = findings.tables, [*settings.methods, HU]
    readings, agreement = tables["readings"], tables["agreement"]
    known = [name for name in REFERENCES if name in set(agreement["reference"])]
    cutoff = bone.cutoffs.osteoporosis_mg_cm3
    limits = [cutoff, bone.cutoffs.normal_mg_cm3]
    youden = {row["method"]: row["youden"] for row in tables["coefficients"].to_dict("records")}
    faults = {name: fault.title for name, fault in settings.broken.faults.items()} | {WHOLE: "No fault"}
    groups = [(_GROUPS.get(by, by), by, draw_groups(agreement, methods, by, known[0])) for by in settings.groups]
    return render_page(
        "qct_agreement.html.j2",
        facts=findings.facts,
        conclusion=findings.conclusion,
        references=[REFERENCE_TITLES[name] for name in known],
        bars=_bar_rows(tables["bars"]),
        scatter=embed_figure(draw_agreement(readings, methods, known[0], limits, youden)),
        bland_altman=embed_figure(draw_bland_altman(readings, agreement, methods, known)),
        roc=_embed(draw_roc(readings, tables["areas"], methods, cutoff, known)),
        groups=[
            {"title": title, "rows": _agreement_rows(agreement, by), "picture": embed_figure(picture)}
            for title, by, picture in groups
            if picture is not None
        ],
        repeats=_embed(draw_repeats(readings, settings.methods)),
        ordeal_picture=_embed(draw_ordeal(tables["ordeal"], settings.methods, faults)),
        agreement=_agreement_rows(agreement, EVERYBODY),
        decisions=_decision_rows(tables),
        comparisons=_comparison_rows(tables["comparisons"]),
        coverage=_coverage_rows(tables["coverage"]),
        coefficients=_coefficient_rows(tables["coefficients"]),
        precision=_precision_rows(tables["precision"]),
        ordeal=_ordeal_rows(tables["ordeal"], faults),
        flow=_flow_rows(tables["flow"]),
        yaml=findings.coefficients,
        protocol=_protocol(findings, settings),
        version=__version__,
    )


def _embed(figure: Any) -> str | None:
    return None if figure is None else embed_figure(figure)


def _number(value: Any, digits: int) -> str:
    return format_figure({"value": value, "lower": None, "upper": None}, digits)


def _titled(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "part": _PARTS.get(row["part"], row["part"]),
        "method": TITLES[row["method"]],
        "reference": REFERENCE_TITLES[row["reference"]],
    }


def _bar_rows(bars: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for row in bars.to_dict("records"):
        counted = row["measure"] == "silent"
        digits = 0 if counted else 3 if abs(row["value"]) < 1.5 else 2
        reference = REFERENCE_TITLES.get(row["reference"], "")
        cells = {"title": row["title"], "method": TITLES[row["method"]], "reference": reference}
        rows.append({**cells, "value": format_figure(row, digits), "limit": row["limit"], "verdict": row["verdict"]})
    return rows


def _agreement_rows(agreement: pd.DataFrame, by: str) -> list[dict[str, Any]]:
    """A row per part (the test part alone in subgroups), method, reference and group."""
    part = agreement[agreement["by"] == by]
    if by != EVERYBODY:
        part = part[part["part"] == TEST]
    rows = []
    for _, found in part.groupby(["part", "reference", "group", "method"], sort=False):
        first = found.iloc[0]
        row = {**_titled(first), "group": first["group"], "cases": first["cases"], "reason": first["reason"]}
        values = {name: find_row(found, measure=name) for name in (*_MEASURES, "lower_limit", "upper_limit")}
        row |= {name: format_figure(values[name], digits) for name, digits in _MEASURES.items()}
        low, high = (values[f"{end}_limit"] for end in ("lower", "upper"))
        row["limits"] = "–" if low is None else f"{_number(low['value'], 1)} to {_number(high['value'], 1)}"
        slope = values["slope"]
        row["p"] = "–" if slope is None or pd.isna(slope["p"]) else f"{slope['p']:.3g}"
        rows.append(row)
    return rows


def _decision_rows(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    rows = []
    keys = ["part", "method", "reference", "question", "rule", "people"]
    for _, found in tables["decisions"].groupby(keys, sort=False):
        first = found.iloc[0]
        row = {**_titled(first), "question": _QUESTIONS[first["question"]], "people": first["people"]}
        row |= {"rule": "Youden" if first["rule"] == "youden" else "fixed", "cutoff": _number(first["cutoff"], 1)}
        row |= {name: int(first[name]) for name in ("tp", "fp", "tn", "fn")}
        for measure in ("sensitivity", "specificity", "accuracy"):
            row[measure] = format_figure(find_row(found, measure=measure), 3)
        area = None
        if (first["question"], first["people"]) == ("osteoporosis", "measured"):
            where = {name: first[name] for name in ("part", "method", "reference")}
            area = find_row(tables["areas"], **where)
        rows.append({**row, "auroc": format_figure(area, 3)})
    return rows


def _comparison_rows(comparisons: pd.DataFrame) -> list[dict[str, Any]]:
    titles = {"auroc": ("AUROC", 4), "absolute_error": ("Absolute error, mg/cm³", 2)}
    rows = []
    for row in comparisons.to_dict("records"):
        title, digits = titles[row["measure"]]
        p = "–" if pd.isna(row["p"]) else f"{row['p']:.3g}"
        rows.append(
            {**_titled(row), "title": title, "change": format_figure(row, digits), "p": p, "cases": row["cases"]}
        )
    return rows


def _coverage_rows(coverage: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {**_titled(row), "share": format_figure(row, 3), "width": _number(row["width"], 1), "cases": row["cases"]}
        for row in coverage.to_dict("records")
    ]


def _coefficient_rows(coefficients: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in coefficients.to_dict("records"):
        cells = {"method": TITLES[row["method"]], "voltage": row["voltage"], "people": row["people"]}
        for name, digits in (("intercept", 2), ("slope", 4)):
            cells[name] = format_figure(row, digits, (name, f"{name}_lower", f"{name}_upper"))
        for name in ("rho_fat", "rho_muscle", "se_scale", "residual_sd", "youden"):
            cells[name] = _number(row[name], 2)
        rows.append(cells)
    return rows


def _precision_rows(precision: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in precision.to_dict("records"):
        cells = {name: row[name] for name in ("title", "people", "left_out", "repeats")}
        cells |= {"method": TITLES[row["method"]], "cv": format_figure(row, 2), "sd": _number(row["rms_sd"], 2)}
        rows.append(cells)
    return rows


def _ordeal_rows(ordeal: pd.DataFrame, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    names = {**titles, "all": "All faults"}
    return [{**row, "title": names[row["fault"]], "method": TITLES[row["method"]]} for row in ordeal.to_dict("records")]


def _flow_rows(flow: pd.DataFrame) -> list[dict[str, Any]]:
    return [{**row, "method": TITLES[row["method"]]} for row in flow.to_dict("records")]


def _protocol(findings: Findings, settings: StudySettings) -> list[tuple[str, str]]:
    facts = findings.facts
    where = "the site's own" if facts["site"] else f"synthetic; label maps: {_labels(settings)}"
    reference = "the site's table"
    if not facts["site"]:
        reference = (
            "the phantom-based method on the same image: rods under the back, a straight line, and the drawn label map "
            f"for a reader's; mean of the first two of {', '.join(settings.levels)} that are whole and not fractured"
        )
    lines = [
        (
            "Scans",
            f"{facts['scans']}, {where}; {facts['training']} of the training part, {facts['test']} of the test part",
        ),
        ("QCT", reference),
        ("Fitted", f"on {facts['fitted_on']} people of the training part alone: {findings.facts['source']}"),
        (
            "Correction",
            "Deming regression of the estimate on QCT, ratio of error variances "
            f"{settings.fitting.error_ratio:g}, by tube voltage where {settings.fitting.fewest_at_voltage} people or "
            "more have it; two-tissue: densities of fat and muscle first",
        ),
        (
            "HU without calibration",
            "one line from mean HU to QCT for every scanner and voltage, fitted on the same people",
        ),
        (
            "Intervals of the tables",
            "95 %; Spearman: Bonett and Wright; Pearson: delta method; ICC(2,1): F; limits of agreement: exact; AUROC: "
            f"DeLong on the logit scale; shares: Wilson; repeats: {settings.resamples} resamples of people",
        ),
        ("Left out", f"values with a flag that begins with {', '.join(settings.leave_out)}"),
        ("Equivalent", "mg/cm³ of K2HPO4 throughout"),
        ("Work", f"{facts['hours']:.1f} hours of surveying together"),
        ("Software", ", ".join(f"{name} {number}" for name, number in findings.software.items())),
        ("Settings", facts["fingerprint"]),
    ]
    return lines if not facts["site"] else [*lines, ("Without QCT", f"{facts['without_qct']} scans of the list")]


def _labels(settings: StudySettings) -> str:
    return "as drawn" if settings.segmenter == "truth" else f"by the networks of {settings.bundle}"
