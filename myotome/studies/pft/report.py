"""The study's folder: one page as HTML and PDF, and every table as CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from myotome import __version__
from myotome.errors import OutputError
from myotome.io.atomic import atomic_path
from myotome.report.pages import embed_figure, render_page, write_page, write_pdf
from myotome.studies.pft.analysis import KINDS
from myotome.studies.pft.figures import draw_flow, draw_forest, draw_heat_map, draw_scatter
from myotome.studies.pft.reference import REFERENCES
from myotome.studies.pft.settings import Settings
from myotome.studies.pft.study import Findings

__all__ = ["check_folder", "write_report"]

_MARKER = "summary.json"
_STUDY = "pft-correlation"


def check_folder(output: Path) -> None:
    """Refuse a folder that holds something else than an earlier result of this study.

    Raises
    ------
    OutputError
        When it does.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    try:
        mine = json.loads((output / _MARKER).read_text(encoding="utf-8"))["study"] == _STUDY
    except (OSError, ValueError, KeyError, TypeError):
        mine = False
    if not mine:
        raise OutputError("the output folder holds something else than this study: choose another folder.")


def write_report(output: Path, findings: Findings, settings: Settings) -> None:
    """Write ``report.html``, ``report.pdf`` (where Pango is installed), ``summary.json`` and the tables.

    ``correlations.csv``, ``models.csv``, ``people.csv`` (means by sex), ``missing.csv``, ``left_out.csv``,
    ``flow.csv``, and ``pairs.csv``: one row per analysed patient under the keyed hash, without dates.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    check_folder(output)
    summary = {
        "study": _STUDY,
        "patients": len(findings.people),
        "reference": settings.reference,
        "window_days": settings.window_days,
        "undated": settings.undated,
        "repeated": settings.repeated,
        "false_discovery_rate": settings.false_discovery_rate,
        "tests_sha256": findings.tests_sha256,
        "conclusion": findings.conclusion,
        "software": findings.software,
    }
    with atomic_path(output / _MARKER) as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    tables = {
        "correlations": findings.correlations,
        "models": findings.models,
        "people": findings.description,
        "missing": findings.missing,
        "left_out": findings.left_out,
        "flow": _tabulate_flow(findings),
        "pairs": _strip(findings.people, settings),
    }
    for name, table in tables.items():
        with atomic_path(output / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    page = _render(findings, settings)
    write_page(output / "report.html", page)
    write_pdf(output / "report.pdf", page)


def _tabulate_flow(findings: Findings) -> pd.DataFrame:
    rows = []
    for step in findings.flow:
        rows.append({"step": step.title, "unit": step.unit, "reason": "", "count": step.count})
        rows += [
            {"step": step.title, "unit": step.unit, "reason": reason, "count": count} for reason, count in step.left
        ]
    return pd.DataFrame(rows)


def _strip(people: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """What may be shared of each patient: no date, no scan's identifiers."""
    columns = ["subject_id", "sex", "age_years", "height_cm", "days"]
    columns += [lung.name for lung in settings.lung_function]
    columns += [name for name in people.columns if name.endswith(("_z", "_lln")) or "." in name]
    return people[columns]


def _render(findings: Findings, settings: Settings) -> str:
    titles = {lung.name: lung.title for lung in settings.lung_function}
    return render_page(
        "pft_correlation.html.j2",
        count=len(findings.people),
        conclusion=findings.conclusion,
        flow=embed_figure(draw_flow(findings.flow)),
        heat_map=embed_figure(draw_heat_map(findings.correlations, settings)),
        forest=embed_figure(draw_forest(findings.correlations, settings)),
        scatters=[
            {
                "title": measure.title,
                "picture": embed_figure(draw_scatter(findings.people, findings.correlations, measure, settings)),
            }
            for measure in settings.muscle_measures
        ],
        description=_describe_rows(findings.description),
        missing=findings.missing.astype(object).where(findings.missing.notna(), "–").to_dict("records"),
        left_out=findings.left_out.to_dict("records"),
        correlations=_correlation_rows(findings.correlations, titles),
        models=_model_rows(findings.models, titles),
        errors=_error_rows(settings),
        facts=_facts(findings, settings),
        version=__version__,
    )


def _figure(value: Any, digits: int = 2, missing: str = "–") -> str:
    return missing if value is None or pd.isna(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.00


def _probability(value: Any) -> str:
    if value is None or pd.isna(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _estimate(row: pd.Series, value: str, low: str, high: str) -> str:
    if pd.isna(row[value]):
        return "–"
    return "{} ({} to {})".format(*(_figure(row[name]) for name in (value, low, high)))


def _muscle(row: Any) -> str:
    return f"{row['muscle'].replace('_', ' ')} {row['measure']}"


def _describe_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for (value, unit), part in table.groupby(["value", "unit"], sort=False):
        cells = {"value": value, "unit": unit}
        for _, row in part.iterrows():
            digits = 2 if abs(row["mean"]) < 20 else 1
            mean = f"{_figure(row['mean'], digits)} ± {_figure(row['sd'], digits)}" if row["n"] else "–"
            z = f"{_figure(row['z_mean'])} ± {_figure(row['z_sd'])}" if pd.notna(row["z_mean"]) else ""
            below = f"{row['below_lln_percent']:.1f}" if pd.notna(row["below_lln_percent"]) else ""
            cells |= {f"{row['sex']}_n": f"{row['n']:,}", f"{row['sex']}_mean": mean, f"{row['sex']}_z": z}
            cells[f"{row['sex']}_below"] = below
        rows.append(cells)
    return rows


def _correlation_rows(table: pd.DataFrame, titles: dict[str, str]) -> list[dict[str, Any]]:
    """One row per pair: each kind's estimate, and what belongs to the partial one."""
    rows = []
    for _, part in table.groupby(["muscle", "measure", "lung_function"], sort=False):
        kinds = part.set_index("kind")
        partial = kinds.loc["partial"]
        row: dict[str, Any] = dict.fromkeys(KINDS, "–")
        row |= {kind: _estimate(kinds.loc[kind], "r", "lower", "upper") for kind in kinds.index}
        row |= {
            "muscle": _muscle(partial),
            "lung": titles[partial["lung_function"]],
            "n": f"{partial['n']:,}",
            "p": _probability(partial["p"]),
            "q": _probability(partial["q"]),
            "discovery": bool(partial["discovery"]),
            "reliability": _figure(partial["reliability"]),
            "corrected": _estimate(partial, "corrected_r", "corrected_lower", "corrected_upper"),
            "note": partial["note"] or "",
        }
        rows.append(row)
    return rows


def _model_rows(table: pd.DataFrame, titles: dict[str, str]) -> list[dict[str, str]]:
    return [
        {
            "muscle": _muscle(row),
            "lung": titles[row["lung_function"]],
            "patients": f"{row['patients']:,}",
            "scans": f"{row['scans']:,}",
            "beta": _estimate(row, "beta", "lower", "upper"),
            "p": _probability(row["p"]),
            "slope": "–" if pd.isna(row["slope"]) else f"{row['slope']:.3g} {row['slope_unit']}",
            "r_squared": _figure(row["r_squared"]),
            "gain": _figure(row["r_squared_gain"], 3),
            "note": row["note"],
        }
        for _, row in table.iterrows()
    ]


def _error_rows(settings: Settings) -> list[dict[str, str]]:
    rows = []
    for muscle in settings.muscles:
        for measure in settings.muscle_measures:
            error = settings.error_of(muscle, measure.name)
            title = f"{muscle.replace('_', ' ')} {measure.title}"
            if error is None:
                rows.append({"title": title, "bias": "–", "spread": "not known, so not corrected", "count": "0"})
                continue
            relative = error.kind == "relative"
            factor, unit, digits = (100, " %", 1) if relative else (1, f" {measure.unit}", 2)
            rows.append(
                {
                    "title": title,
                    "bias": f"{factor * error.bias:+.{digits}f}{unit}",
                    "spread": f"{factor * error.spread:.{digits}f}{unit}",
                    "count": str(error.count),
                }
            )
    return rows


def _facts(findings: Findings, settings: Settings) -> list[tuple[str, str]]:
    days = findings.people["days"].dropna()
    apart = (
        f"{days.abs().median():.0f} days apart at the median, {days.abs().max():.0f} at most"
        if len(days)
        else "unknown"
    )
    undated = int(findings.people["days"].isna().sum())
    window = f"within {settings.window_days} days either way; {apart}"
    if undated:
        window += f"; {undated} scans without a date, matched to the latest test"
    contrast = findings.people["contrast_agent"].eq(True).sum()
    level, rate = f"{100 * settings.level:g} %", f"{100 * settings.false_discovery_rate:g} %"
    return [
        ("Scan and test", window),
        ("Spirometry", f"z-scores and lower limits by {REFERENCES[settings.reference]}, ages 3 to 95"),
        (
            "DLCO",
            "z-scores by GLI 2017 (TLCO) with the coefficients as corrected in October 2020, ages 5 to 85; derived "
            "from Caucasians; not corrected for haemoglobin",
        ),
        ("MIP and MEP", "no z-score: GLI has no equations for them"),
        ("Intervals", f"{level}, on Fisher's scale, with a standard error that does not assume normal values"),
        (
            "Family of tests",
            f"all partial correlations are one family (Benjamini and Hochberg, {rate}); every other kind is a family "
            "of its own, and secondary",
        ),
        ("Models", "; ".join(findings.models["model"].unique())),
        ("Contrast agent", f"recorded for {contrast:,} of the analysed scans; it raises density"),
        ("Table of tests", f"SHA-256 {findings.tests_sha256[:16]}"),
        ("Software", ", ".join(f"{name} {version}" for name, version in findings.software.items())),
    ]
