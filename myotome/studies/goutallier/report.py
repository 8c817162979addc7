"""The study's folder: one page as HTML and PDF, every table as CSV, every prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from myotome import __version__
from myotome.biomarkers.goutallier import read_definition
from myotome.report.pages import embed_figure, render_page
from myotome.studies.goutallier.conclusion import find_score
from myotome.studies.goutallier.figures import draw_calibration, draw_confusion, draw_forest, draw_roc
from myotome.studies.goutallier.settings import StudySettings
from myotome.studies.goutallier.study import Findings
from myotome.studies.results import format_figure, write_results

__all__ = ["write_report"]

_MEASURES = {
    "accuracy": ("Accuracy", "Wilson"),
    "sensitivity": ("Sensitivity", "Wilson"),
    "specificity": ("Specificity", "Wilson"),
    "auroc": ("AUROC", "DeLong"),
}
_REGIONS = {
    "supraspinatus": "Dice, supraspinatus",
    "region": "Dice, muscle and rest of the fossa together",
    "supraspinous_fossa": "Dice, rest of the fossa",
    "scapular_spine": "Dice, scapular spine",
    "coracoid_process": "Dice, coracoid process",
    "all": "Pixel accuracy, background included",
}


def write_report(output: Path, findings: Findings, settings: StudySettings) -> None:
    """Write ``report.html``, ``report.pdf`` (where Pango is installed), ``summary.json`` and the tables.

    ``scores.csv`` (every score by fold and pooled), ``comparisons.csv`` (arms against each other), ``predictions.csv``
    (every shoulder and arm, out of fold) and ``regions.csv``.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    summary = {
        "study": "goutallier",
        "fingerprint": settings.fingerprint,
        "bundle": settings.bundle,
        "classifier": settings.classifier,
        "shoulders": list(settings.phantoms.grades),
        "conclusion": findings.conclusion,
        "software": findings.software,
    }
    tables = {
        "scores": findings.scores,
        "comparisons": findings.comparisons,
        "predictions": findings.predictions,
        "regions": findings.regions,
    }
    write_results(output, _render(findings, settings), summary, tables)


def _render(findings: Findings, settings: StudySettings) -> str:
    arms = {arm.name: arm.title for arm in settings.arms}
    arm, names, scores = settings.compared["arm"], settings.definitions, findings.scores
    own = findings.predictions[findings.predictions["arm"] == arm]
    confusion = {
        "Against the truth": (own["grade"], own["predicted_grade"]),
        "Against a reader": (own["rated_grade"], own["predicted_grade"]),
        "The reader against the truth": (own["grade"], own["rated_grade"]),
    }
    ceiling = {
        f"{arm}|grade": f"{arms[arm]}, against the truth",
        f"{arm}|rated_grade": f"{arms[arm]}, against a reader",
        "oracle|rated_grade": "True fat content, against a reader",
    }
    return render_page(
        "goutallier.html.j2",
        count=len(own),
        conclusion=findings.conclusion,
        compared=f"Definition {settings.compared['definition']}, {arms[arm].lower()}",
        paper=_paper_rows(scores, settings),
        definitions=_definition_rows(scores, settings),
        regions=_region_rows(scores),
        arms=_arm_rows(findings, settings),
        calibration=_calibration_rows(scores, settings),
        grades=_grade_rows(scores, arms),
        readers=_reader_rows(scores, ceiling, settings),
        roc=embed_figure(draw_roc(findings.predictions, arms, settings.compared, names)),
        confusion=embed_figure(draw_confusion(confusion, ("reference grade", "other grade"))),
        reliability=embed_figure(draw_calibration(findings.predictions, arm, names, settings.calibration_bins)),
        masks=embed_figure(draw_forest(scores, {f"{name}|grade": title for name, title in arms.items()}, names)),
        ceiling=embed_figure(draw_forest(scores, ceiling, names)),
        facts=_facts(findings, settings),
        version=__version__,
    )


def _spread(row: dict[str, Any] | None) -> str:
    if row is None or pd.isna(row["value"]):
        return "–"
    return f"{row['value']:.4f}" + ("" if pd.isna(row["sd"]) else f" ± {row['sd']:.4f}")


def _paper_rows(scores: pd.DataFrame, settings: StudySettings) -> list[dict[str, str]]:
    own = {"arm": settings.compared["arm"], "truth": "grade", "definition": settings.compared["definition"]}
    rows = []
    wanted = {"dice": ("Dice, supraspinatus", {"arm": "region", "structure": "supraspinatus"}, "")}
    wanted["pixel_accuracy"] = ("Pixel accuracy", {"arm": "region", "structure": "all"}, "")
    wanted |= {measure: (title, own, method) for measure, (title, method) in _MEASURES.items()}
    wanted["log_loss"] = ("Loss (cross-entropy, calibrated)", own, "")
    for measure, (title, where, method) in wanted.items():
        paper = settings.paper.get(measure)
        folds = find_score(scores, measure=measure, over="folds", **where)
        formula = find_score(scores, measure=measure, method=method, **where)
        rows.append(
            {
                "title": title,
                "paper": f"{paper[0]:.4f} ± {paper[1]:.4f}" if paper else "–",
                "spread": _spread(folds),
                "folds": format_figure(folds),
                "formula": format_figure(formula if method else None),
                "bootstrap": format_figure(find_score(scores, measure=measure, method="bootstrap", **where)),
            }
        )
    return rows


def _definition_rows(scores: pd.DataFrame, settings: StudySettings) -> list[dict[str, str]]:
    rows = []
    for name in settings.definitions:
        where = {"arm": settings.compared["arm"], "truth": "grade", "definition": name}
        area = find_score(scores, measure="auroc", method="DeLong", **where)
        row = {"name": f"{name}: {read_definition(name).title}"}
        row |= {"cases": f"{area['positives']} of {area['cases']}"}
        for measure, (_, method) in _MEASURES.items():
            row[measure] = format_figure(find_score(scores, measure=measure, method=method, **where), 3)
        rows.append(row)
    return rows


def _region_rows(scores: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for structure, title in _REGIONS.items():
        where = {"arm": "region", "structure": structure}
        folds, pooled = (find_score(scores, over=over, **where) for over in ("folds", "pooled"))
        cells = {"folds": format_figure(folds), "bootstrap": format_figure(pooled)}
        rows.append({"title": title, "spread": _spread(folds), **cells})
    return rows


def _arm_rows(findings: Findings, settings: StudySettings) -> list[dict[str, str]]:
    """Each arm's AUROC, and its difference from the compared arm."""
    rows = []
    for name in settings.definitions:
        for arm in settings.arms:
            where = {"arm": arm.name, "definition": name}
            row = {"name": name, "arm": arm.title}
            for measure, method in (("auroc", "DeLong"), ("accuracy", "Wilson")):
                found = find_score(findings.scores, truth="grade", measure=measure, method=method, **where)
                other = find_score(findings.comparisons, measure=measure, **where)
                row |= {measure: format_figure(found), f"{measure}_difference": format_figure(other)}
                if measure == "auroc":
                    row["p"] = "–" if other is None or pd.isna(other["p"]) else f"{other['p']:.3g}"
            rows.append(row)
    return rows


def _calibration_rows(scores: pd.DataFrame, settings: StudySettings) -> list[dict[str, str]]:
    measures = ("calibration_error_uncalibrated", "calibration_error", "calibration_error_by_chance")
    rows = []
    for name in settings.definitions:
        where = {"arm": settings.compared["arm"], "truth": "grade", "definition": name, "over": "pooled"}
        row = {measure: format_figure(find_score(scores, measure=measure, **where)) for measure in measures}
        row |= {m: format_figure(find_score(scores, measure=m, **where)) for m in ("brier_uncalibrated", "brier")}
        rows.append({"name": name, **row})
    return rows


def _grade_rows(scores: pd.DataFrame, arms: dict[str, str]) -> list[dict[str, str]]:
    lines = [(arm, title, truth) for arm, title in arms.items() for truth in ("grade", "rated_grade")]
    lines.append(("oracle", "The true grade", "rated_grade"))
    measures = ("kappa_quadratic", "kappa", "exact_agreement", "agreement_within_one")
    rows = []
    for arm, title, truth in lines:
        where = {"arm": arm, "truth": truth, "method": "bootstrap"}
        row = {measure: format_figure(find_score(scores, measure=measure, **where), 3) for measure in measures}
        rows.append({"title": title, "truth": "a reader" if truth == "rated_grade" else "the truth", **row})
    return rows


def _reader_rows(scores: pd.DataFrame, lines: dict[str, str], settings: StudySettings) -> list[dict[str, str]]:
    rows = []
    for name in settings.definitions:
        for key, title in lines.items():
            arm, truth = key.split("|")
            where = {"arm": arm, "truth": truth, "definition": name}
            row = {"name": name, "title": title}
            for measure, (_, method) in _MEASURES.items():
                row[measure] = format_figure(find_score(scores, measure=measure, method=method, **where), 3)
            rows.append(row)
    return rows


def _facts(findings: Findings, settings: StudySettings) -> list[tuple[str, str]]:
    counts = ", ".join(f"{count} of grade {grade}" for grade, count in enumerate(settings.phantoms.grades))
    trainings = {
        "region": settings.region_training,
        "grade": {"classifier": settings.classifier, **settings.grade_training},
    }
    words = "; ".join(f"{name}: {', '.join(f'{k} {v}' for k, v in keys.items())}" for name, keys in trainings.items())
    return [
        ("Shoulders", f"{counts}; synthetic, seeds from {settings.phantoms.seed}; one Y-view slice each"),
        (
            "Folds",
            f"{settings.fold_count}, stratified by grade, a patient in one fold only; {settings.validation_share:.0%} "
            "of the other patients set aside to fit the temperatures",
        ),
        ("Training", f"in every fold from nothing, by the configs of {settings.bundle}; {words}"),
        ("Decision", "positive when the calibrated probability is 0.5 or more"),
        (
            "Intervals",
            f"95 %; folds: Student's t; pooled: Wilson, DeLong (on the logit scale), and {settings.resamples} "
            "resamples of patients",
        ),
        (
            "Weights of evidence",
            "a t interval of five values is wide and may pass 1; pooled predictions come from five networks, whose "
            "scores are not quite on one scale",
        ),
        ("Reader", "simulated: the true fat content, blurred so that two readers have a plain kappa of 0.62"),
        ("Software", ", ".join(f"{name} {number}" for name, number in findings.software.items())),
        ("Settings", settings.fingerprint),
    ]
