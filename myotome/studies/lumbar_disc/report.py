"""The study's folder: one page as HTML and PDF, every table as CSV, every slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from myotome import __version__
from myotome.report.pages import embed_figure, render_page
from myotome.studies.lumbar_disc.analysis import MEASURES, OVER
from myotome.studies.lumbar_disc.figures import draw_leak, draw_scores
from myotome.studies.lumbar_disc.settings import StudySettings
from myotome.studies.lumbar_disc.study import Findings
from myotome.studies.results import format_figure, write_results

__all__ = ["write_report"]

_PAPER = {"precision": "precision", "recall": "recall", "object_precision": "precision", "object_recall": "recall"}
_PAPER |= {"dice": "dice"}


def write_report(output: Path, findings: Findings, settings: StudySettings) -> None:
    """Write ``report.html``, ``report.pdf`` (where Pango is installed), ``summary.json`` and the tables.

    ``scores.csv`` (every score of each split), ``leak.csv`` (one split less the other), ``splits.csv`` and
    ``slices.csv`` (every slice).

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    summary = {
        "study": "lumbar_disc",
        "fingerprint": settings.fingerprint,
        "bundle": settings.bundle,
        "backbone": settings.backbone,
        "conclusion": findings.conclusion,
        "software": findings.software,
    }
    tables = {"scores": findings.scores, "leak": findings.leak, "splits": findings.splits, "slices": findings.rows}
    page = render_page(
        "lumbar_disc_study.html.j2",
        conclusion=findings.conclusion,
        splits=findings.splits.to_dict("records"),
        scores=_score_rows(findings, settings),
        scores_figure=embed_figure(draw_scores(findings.scores, _paper_figures(settings))),
        leak=_leak_rows(findings.leak),
        leak_figure=embed_figure(draw_leak(findings.leak)) if len(findings.leak) else None,
        facts=_facts(findings, settings),
        version=__version__,
    )
    write_results(output, page, summary, tables)


def _score_rows(findings: Findings, settings: StudySettings) -> list[dict[str, Any]]:
    """A line per score: each split's value with its interval, and the paper's figure."""
    rows, figures = [], _paper_figures(settings)
    for measure, title in MEASURES.items():
        part = findings.scores[findings.scores["measure"] == measure].set_index("split")
        paper = figures.get(measure)
        values = [format_figure(part.loc[name]) for name in findings.splits["split"]]
        rows.append({"title": title, "values": values, "paper": "–" if paper is None else f"{paper:.3f}"})
    return rows


def _paper_figures(settings: StudySettings) -> dict[str, float]:
    """The paper's figure of each measure that it may mean."""
    return {measure: settings.paper[name] for measure, name in _PAPER.items() if name in settings.paper}


def _leak_rows(leak: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "title": MEASURES[row["measure"]],
            "over": OVER[row["over"]],
            "patient": f"{row['patient_split']:.4f}",
            "image": f"{row['image_split']:.4f}",
            "difference": f"{row['value']:+.4f} ({row['lower']:+.4f} to {row['upper']:+.4f})",
            "p": "–" if pd.isna(row["p"]) else f"{row['p']:.3g}",
            "patients": row["patients"],
        }
        for row in leak.to_dict("records")
    ]


def _facts(findings: Findings, settings: StudySettings) -> list[tuple[str, str]]:
    people = settings.phantoms
    source = (
        f"{people.count} synthetic people, seeds from {people.seed}, {people.slices} axial slice through each of the "
        "three lowest discs"
        if settings.datalist is None
        else "those of the data list"
    )
    keys = ", ".join(f"{key} {value}" for key, value in settings.training.items()) or "as the bundle's configs say"
    overlays = ", ".join(settings.overlays) or "none"
    return [
        ("Images", source),
        ("Network", f"Mask R-CNN, backbone {settings.backbone}"),
        ("Training", f"one for each split, by the configs of {settings.bundle} (overlays: {overlays}); {keys}"),
        ("Pixel scores", "of the label map; the mean over patients of the mean over their slices"),
        (
            "Object scores",
            f"of all patients together; a disc counts as found from a score of {settings.least_score:g} and an IoU of "
            "0.5; average precision takes every score from 0.05 up, by pycocotools",
        ),
        ("Boundary", f"contours of each slice in mm; NSD within {settings.nsd_tolerance_mm:g} mm"),
        ("Empty masks", "a slice without a predicted disc has recall, Dice and NSD 0, and no precision and HD95"),
        ("Intervals", f"95 %, {settings.resamples} resamples of patients"),
        ("Software", ", ".join(f"{name} {number}" for name, number in findings.software.items())),
        ("Settings", settings.fingerprint),
    ]
