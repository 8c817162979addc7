"""The study's folder: one page as HTML and PDF, every table as CSV, and JSON for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from myotome import __version__
from myotome.report.pages import embed_figure, render_page
from myotome.studies.l3_transfer.analysis import Scoring
from myotome.studies.l3_transfer.conclusion import TITLES
from myotome.studies.l3_transfer.figures import draw_bland_altman, draw_curves, draw_gains, draw_slices
from myotome.studies.l3_transfer.settings import StudySettings
from myotome.studies.l3_transfer.study import Findings
from myotome.studies.results import format_figure, write_results

__all__ = ["write_report"]

_STRUCTURES = {"skeletal_muscle": "Skeletal muscle", "muscle_compartment": "Muscle compartment, fat in it included"}
_MEASURES = {"sma_cm2": ("SMA", "cm²", 2), "smd_hu": ("SMD", "HU", 2), "smi_cm2_m2": ("SMI", "cm²/m²", 2)}
_SHOWN_SIZES = 3


def write_report(output: Path, findings: Findings, settings: StudySettings) -> None:
    """Write ``report.html``, ``report.pdf`` (where Pango is installed), ``summary.json`` and a CSV of every table.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    write_results(output, _render(findings, settings), _summarise(findings, settings), findings.tables)


def _summarise(findings: Findings, settings: StudySettings) -> dict[str, Any]:
    """Everything that is concluded, for machines; an empty cell is null."""
    tables = {name: findings.tables[name] for name in ("summary", "comparisons", "agreement", "needed", "observers")}
    return {
        "study": "l3-transfer",
        "fingerprint": settings.fingerprint,
        "bundle": settings.bundle,
        "structure": settings.structure,
        "best": findings.best,
        "left_out": findings.left_out,
        "conclusion": findings.conclusion,
        "bands": {name: asdict(band) for name, band in findings.bands.items()},
        "observer_spread": findings.spread,
        "facts": findings.facts,
        "software": findings.software,
        **{name: json.loads(table.to_json(orient="records")) for name, table in tables.items()},
    }


def _render(findings: Findings, settings: StudySettings) -> str:
    tables, scoring = findings.tables, Scoring(settings.structure)
    sizes = list(settings.subset_sizes)
    shown = sizes if len(sizes) <= _SHOWN_SIZES else [sizes[0], sizes[1], sizes[-1]]
    gains = tables["comparisons"]
    examples = [findings.examples[start : start + 3] for start in range(0, len(findings.examples), 3)]
    bland = draw_bland_altman(tables["scores"], tables["agreement"], findings.best, shown)
    return render_page(
        "l3_transfer.html.j2",
        facts=findings.facts,
        conclusion=findings.conclusion,
        structure=_STRUCTURES[settings.structure].split(",")[0].lower(),
        best=TITLES[findings.best],
        left_out=[(TITLES[source], reason) for source, reason in findings.left_out.items()],
        sizes=sizes,
        curves=embed_figure(draw_curves(tables["summary"], findings.bands, scoring)),
        gains=embed_figure(draw_gains(gains, scoring)) if len(gains) else None,
        bland_altman=embed_figure(bland),
        slices=[embed_figure(draw_slices(part, settings.structure)) for part in examples],
        scores=_score_rows(tables["summary"], sizes),
        errors=_error_rows(tables["summary"]),
        comparisons=_comparison_rows(gains, scoring),
        agreement=_agreement_rows(tables["agreement"]),
        needed=_needed_rows(tables["needed"], findings.left_out, settings),
        observers=_observer_rows(findings),
        protocol=_protocol(findings, settings),
        version=__version__,
    )


def _score_rows(summary: pd.DataFrame, sizes: list[int]) -> list[dict[str, Any]]:
    """Per structure, score, source and kind of interval a row with a cell for each n."""
    rows = []
    for structure, title in _STRUCTURES.items():
        for score, name, digits in (("dice", "DSC", 4), ("rms_dta_mm", "RMS-DTA, mm", 2)):
            part = summary[summary["measure"] == f"{structure}_{score}"]
            for source in part["source"].unique():
                for over, method in (("pooled", "patients"), ("folds", "folds")):
                    found = part[(part["source"] == source) & (part["over"] == over)].set_index("n")
                    cells = [_cell(found, n, digits) for n in sizes]
                    row = {"title": title, "score": name, "source": TITLES[source], "over": method, "cells": cells}
                    rows.append({**row, "first": over == "pooled"})
    return rows


def _cell(found: pd.DataFrame, n: int, digits: int) -> str:
    if n not in found.index:
        return "–"
    row = found.loc[n]
    missing = f"; {int(row['undefined'])} without" if row["undefined"] else ""
    return format_figure(row, digits) + missing


def _error_rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    titles = {
        "sma_error_percent": ("SMA, %", 2),
        "smd_error_hu": ("SMD, HU", 2),
        "smi_error_cm2_m2": ("SMI, cm²/m²", 2),
    }
    part = summary[summary["measure"].isin(titles) & (summary["over"] == "pooled")]
    rows = []
    for row in part.sort_values(["source", "n"], key=_in_order).to_dict("records"):
        title, digits = titles[row["measure"]]
        rows.append(
            {"source": TITLES[row["source"]], "n": row["n"], "title": title, "error": format_figure(row, digits)}
        )
    return rows


def _comparison_rows(comparisons: pd.DataFrame, scoring: Scoring) -> list[dict[str, Any]]:
    names = {scoring.overlap: ("DSC", 4), scoring.distance: ("RMS-DTA, mm", 2)}
    rows = []
    for row in comparisons[comparisons["measure"].isin(names)].to_dict("records"):
        title, digits = names[row["measure"]]
        cells = {"source": TITLES[row["source"]], "n": row["n"], "title": title, "gain": format_figure(row, digits)}
        cells |= {"median": f"{row['median']:.{digits}f}", "cases": row["cases"]}
        rows.append(cells | {"p": f"{row['p']:.3g}", "p_holm": f"{row['p_holm']:.3g}"})
    return rows


def _agreement_rows(agreement: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in agreement.to_dict("records"):
        title, unit, digits = _MEASURES[row["measure"]]
        limits = "–"
        if not pd.isna(row["bias"]):
            limits = f"{row['lower_limit']:.{digits}f} to {row['upper_limit']:.{digits}f}"
        cells = {"source": TITLES[row["source"]], "n": row["n"], "title": f"{title}, {unit}", "cases": row["cases"]}
        cells |= {"bias": format_figure(row, digits, ("bias", "bias_lower", "bias_upper")), "limits": limits}
        icc = format_figure(row, 3, ("icc", "icc_lower", "icc_upper"))
        rows.append(cells | {"icc": icc, "reason": row["reason"]})
    return [row for row in rows if row["cases"]]


def _needed_rows(needed: pd.DataFrame, left_out: dict[str, str], settings: StudySettings) -> list[dict[str, Any]]:
    found = needed.set_index(["source", "measure"])
    rows = []
    for source in settings.sources:
        if source in left_out:
            continue
        row = {"source": TITLES[source]}
        for measure in ("dice", "rms_dta_mm"):
            for key in ("n", "n_sure"):
                value = found.loc[(source, measure), key]
                row[f"{measure}_{key}"] = "not reached" if pd.isna(value) else str(value)
        rows.append(row)
    return rows


def _observer_rows(findings: Findings) -> list[dict[str, str]]:
    rows = []
    for row in findings.tables["observers"].to_dict("records"):
        rows.append(
            {
                "observer": row["observer"],
                "cases": row["cases"],
                "dice": f"{row['dice']:.4f}",
                "rms_dta_mm": f"{row['rms_dta_mm']:.2f}",
                "sma": f"{row['sma_error_percent']:+.2f}",
                "smd": f"{row['smd_error_hu']:+.2f}",
            }
        )
    return rows


def _protocol(findings: Findings, settings: StudySettings) -> list[tuple[str, str]]:
    facts, spread, model = findings.facts, findings.spread, settings.observers
    whose = "synthetic abdomens" if settings.datalist is None else "slices of the list that was given"
    icc = "" if spread["sma_icc"] is None else f", ICC(2,1) {spread['sma_icc']:.3f}"
    between = (
        f"between them SMA has an SD of {spread['sma_reader_sd_cm2']:.2f} cm² ({spread['sma_cv_percent']:.2f} %){icc}"
    )
    people = (
        f"{model.count} simulated; {model.outward_mm:g} mm too wide, habit {model.systematic_mm:g} mm, deviation "
        f"{model.random_mm:g} mm over {model.correlation_mm:g} mm, one SD; {between}; published: 3.2 cm² for one of "
        "two readers, ICC 0.990"
        if facts["simulated"]
        else f"{len(findings.tables['observers'])} readers, {facts['observed']} cases each; {between}"
    )
    words = ", ".join(f"{key} {value}" for key, value in settings.training.items())
    pretexts = "; ".join(
        f"{name}: {', '.join(f'{key} {value}' for key, value in keys.items())}"
        for name, keys in settings.pretext_training.items()
    )
    return [
        ("Cases", f"{facts['cases']} {whose}, {facts['patients']} patients; {facts['heights']} with a height"),
        (
            "Folds",
            f"{settings.fold_count}, a patient in one part only; {settings.validation_count} patients of each for "
            f"early stopping; subsets of n = {', '.join(map(str, settings.subset_sizes))}, nested; "
            f"repeats: {settings.repeats}",
        ),
        ("Sources", _sources(settings, findings)),
        ("Training", f"{words}; sources' own tasks: {pretexts}"),
        ("Trainings", f"{facts['jobs']}, {facts['hours']:.1f} hours of work together"),
        (
            "DSC and RMS-DTA",
            "per case on the image's own pixels, in the slice, both boundaries, in mm; per patient, then mean",
        ),
        (
            "Intervals",
            f"95 %; patients: {settings.resamples} resamples of pooled out-of-fold cases; folds: Student's t of "
            f"{settings.fold_count} folds' means. They do not hold the chance of another training set of size n",
        ),
        (
            "Tests",
            "Wilcoxon's signed-rank test on patients against scratch, two-sided; Holm's family is every source and n "
            "of a score",
        ),
        ("Measures", "of the first repeat, as one network measures; −29 to 150 HU in the muscle compartment"),
        ("Observers", people),
        ("Software", ", ".join(f"{name} {number}" for name, number in findings.software.items())),
        ("Settings", settings.fingerprint),
    ]


def _sources(settings: StudySettings, findings: Findings) -> str:
    kept = [TITLES[source] for source in settings.sources if source not in findings.left_out]
    own = f"reconstruction and jigsaw saw {settings.unlabelled.count} slices without labels, phantom segmentation "
    own += f"{settings.phantom_people.count} with labels, all of other people"
    same = " drawn by the same program as the cases, so that it is no transfer from another domain"
    note = same if "phantom" in settings.sources and settings.datalist is None else ""
    return f"{', '.join(kept)}; {own}{';' + ' phantom segmentation is' + note if note else ''}"


def _in_order(column: pd.Series) -> pd.Series:
    if column.name != "source":
        return column
    return column.map({source: place for place, source in enumerate(TITLES)})
