"""What may be said: sentences computed from the scores and their intervals."""

from __future__ import annotations

from typing import Any

import pandas as pd

from myotome.biomarkers.goutallier import read_definition
from myotome.studies.goutallier.settings import StudySettings

__all__ = ["conclude", "find_score"]

_NAMES = {
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "auroc": "AUROC",
    "dice": "Dice of the muscle",
    "pixel_accuracy": "pixel accuracy",
}


def find_score(scores: pd.DataFrame, **where: str) -> dict[str, Any] | None:
    """The first row of a table of scores whose columns have the given values; ``None`` when there is none."""
    chosen = scores
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return None if chosen.empty else chosen.iloc[0].to_dict()


def conclude(scores: pd.DataFrame, comparisons: pd.DataFrame, settings: StudySettings) -> list[str]:
    """One sentence each: beside the paper, the region, what masks are worth, calibration, grades, readers."""
    arm, definition = settings.compared["arm"], settings.compared["definition"]
    sentences = [_beside_the_paper(scores, settings), _region(scores, settings)]
    sentences += [
        _difference(row, settings)
        for _, row in comparisons.iterrows()
        if row["definition"] == definition and row["measure"] == "auroc"
    ]
    sentences += [_calibration(scores, arm, definition), _grades(scores, arm), _readers(scores, arm, definition)]
    return sentences


def _beside_the_paper(scores: pd.DataFrame, settings: StudySettings) -> str:
    arm, name = settings.compared["arm"], settings.compared["definition"]
    parts = []
    for measure in ("accuracy", "sensitivity", "specificity", "auroc"):
        row = find_score(scores, arm=arm, truth="grade", definition=name, measure=measure, over="folds")
        paper = settings.paper.get(measure)
        beside = f" (paper {paper[0]:.4f})" if paper else ""
        parts.append(f"{_NAMES[measure]} {row['value']:.4f}{beside}")
    title = _title(settings, arm)
    question = read_definition(name).title
    return f"Definition {name} ({question}), {title}, mean of {settings.fold_count} folds: {', '.join(parts)}."


def _region(scores: pd.DataFrame, settings: StudySettings) -> str:
    parts = []
    for structure, measure in (("supraspinatus", "dice"), ("all", "pixel_accuracy")):
        row = find_score(scores, arm="region", structure=structure, measure=measure, method="bootstrap")
        paper = settings.paper.get(measure)
        beside = f"; paper {paper[0]:.4f}" if paper else ""
        parts.append(f"{_NAMES[measure]} {row['value']:.4f} ({row['lower']:.4f} to {row['upper']:.4f}{beside})")
    return f"The first step: {', '.join(parts)}."


def _difference(row: pd.Series, settings: StudySettings) -> str:
    what = f"{_title(settings, row['arm'])} instead of {_title(settings, settings.compared['arm'])}"
    base = f"{what[0].upper()}{what[1:]}: AUROC of definition {row['definition']} {row['value']:+.4f}"
    if pd.isna(row["lower"]):
        return f"{base}; an interval cannot be given."
    clear = "a difference" if row["lower"] > 0 or row["upper"] < 0 else "no difference that these cases could show"
    return f"{base} ({row['lower']:+.4f} to {row['upper']:+.4f}), {clear}."


def _calibration(scores: pd.DataFrame, arm: str, name: str) -> str:
    def value(measure: str) -> float:
        where = {"arm": arm, "truth": "grade", "definition": name, "over": "pooled"}
        return find_score(scores, measure=measure, **where)["value"]

    return (
        f"Probabilities of definition {name}: expected calibration error {value('calibration_error_uncalibrated'):.4f} "
        f"as the network gives them, {value('calibration_error'):.4f} after calibration within the fold; true "
        f"probabilities would stay below {value('calibration_error_by_chance'):.4f} in 95 % of samples of this size."
    )


def _grades(scores: pd.DataFrame, arm: str) -> str:
    row = find_score(scores, arm=arm, truth="grade", measure="kappa_quadratic", method="bootstrap")
    exact = find_score(scores, arm=arm, truth="grade", measure="exact_agreement", method="bootstrap")
    return (
        f"All five grades: quadratic-weighted kappa {row['value']:.3f} {_between(row)}, "
        f"the exact grade in {100 * exact['value']:.1f} %."
    )


def _readers(scores: pd.DataFrame, arm: str, name: str) -> str:
    def value(who: str, truth: str, measure: str) -> float:
        where = {"arm": who, "truth": truth, "definition": name, "over": "pooled"}
        return find_score(scores, measure=measure, **where)["value"]

    kappa = find_score(scores, arm="oracle", measure="kappa", method="bootstrap")
    return (
        f"With a reader's grades for truth (kappa {kappa['value']:.2f} with the true grade), somebody who sees the "
        f"true fat content reaches accuracy {value('oracle', 'rated_grade', 'accuracy'):.4f} and AUROC "
        f"{value('oracle', 'rated_grade', 'auroc'):.4f} on definition {name}; the grader "
        f"{value(arm, 'rated_grade', 'accuracy'):.4f} and {value(arm, 'rated_grade', 'auroc'):.4f}, against "
        f"{value(arm, 'grade', 'accuracy'):.4f} and {value(arm, 'grade', 'auroc'):.4f} with the true grade."
    )


def _between(row: dict[str, Any]) -> str:
    return "" if pd.isna(row["lower"]) else f"({row['lower']:.3f} to {row['upper']:.3f})"


def _title(settings: StudySettings, arm: str) -> str:
    title = next(item.title for item in settings.arms if item.name == arm)
    return title[0].lower() + title[1:]
