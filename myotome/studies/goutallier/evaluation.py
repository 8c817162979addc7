"""The shipped weights on shoulders that no training has seen: the table of bars, and what lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myotome.biomarkers.goutallier import DEFINITIONS, read_definition
from myotome.inference.grading_batch import BatchGrader
from myotome.networks import MASKS
from myotome.studies.goutallier.analysis import Scoring, score_arms, score_oracle, score_region
from myotome.studies.goutallier.conclusion import find_score
from myotome.studies.goutallier.predictions import score_regions, tabulate_predictions
from myotome.studies.goutallier.settings import Shoulders, StudySettings
from myotome.studies.goutallier.shoulders import make_shoulders, read_views

__all__ = ["Evaluation", "evaluate_grader", "tabulate_bars", "tabulate_definitions"]

Progress = Callable[[int, int, str], None]

_METHODS = {"accuracy": "Wilson", "sensitivity": "Wilson", "specificity": "Wilson", "auroc": "DeLong"}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions and scores of one grader; the arms are the masks it was given."""

    predictions: pd.DataFrame
    regions: pd.DataFrame
    scores: pd.DataFrame


def evaluate_grader(
    weights: Path, settings: StudySettings, folder: Path, classifier: str = "small", progress: Progress | None = None
) -> Evaluation:
    """Score weights, with the calibration that they hold, on the held-out shoulders of the protocol.

    Parameters
    ----------
    weights : ``model.pt`` of the bundle
    folder : where the phantoms are kept
    classifier : that the weights are of

    Raises
    ------
    BundleError
        When there are no such weights.
    """
    shoulders = make_shoulders(Shoulders(**settings.held_out["phantoms"]), folder / "phantoms", progress=progress)
    views = read_views(shoulders, progress)
    grader = BatchGrader(weights, classifier)
    tables = []
    for masks in MASKS:
        given, calibrated = (grader.grade(views, masks, calibrated=choice) for choice in (False, True))
        table = tabulate_predictions(shoulders, given, dict.fromkeys(DEFINITIONS, 1.0))
        for place, name in enumerate(DEFINITIONS):
            table[f"calibrated_{name}"] = calibrated[:, place].astype(float)
        grades = calibrated[:, len(DEFINITIONS) :]
        tables.append(table.assign(arm=masks, fold=0, predicted_grade=grades.argmax(axis=1)))
    predictions = pd.concat(tables, ignore_index=True)
    regions = score_regions(shoulders, views, grader).assign(fold=0)
    scoring = Scoring(settings.definitions, settings.calibration_bins, settings.resamples, settings.seed)
    scores = [
        score_region(regions, scoring),
        score_arms(predictions, scoring),
        score_arms(predictions, scoring, "rated_grade"),
        score_oracle(predictions[predictions["arm"] == "predicted"], scoring),
    ]
    table = pd.concat(scores, ignore_index=True)
    return Evaluation(predictions, regions, table[table["over"] == "pooled"].reset_index(drop=True))


def tabulate_bars(scores: pd.DataFrame, held_out: Mapping[str, Any]) -> str:
    """The bars of the protocol, as Markdown: value with interval, and whether it is met."""
    lines = ["| score | value (95 % interval) | cases | bar | verdict |", "|---|---|---|---|---|"]
    for bar in held_out["bars"]:
        measure = bar["measure"]
        where = {"arm": held_out["masks"], "truth": "grade", "definition": held_out["definition"]}
        if "structure" in bar:
            where = {"arm": "region", "structure": bar["structure"]}
        if measure in _METHODS:
            where["method"] = _METHODS[measure]
        row = find_score(scores, measure=measure, **where)
        most = "at_most" in bar
        limit = bar["at_most"] if most else bar["at_least"]
        met = row is not None and (row["value"] <= limit if most else row["value"] >= limit)
        lines.append(
            f"| {bar['title']} | {_figure(row)} | {'' if row is None else row['cases']} | {'<=' if most else '>='} "
            f"{limit} | {'met' if met else 'missed'} |"
        )
    return "\n".join(lines)


def tabulate_definitions(scores: pd.DataFrame, truth: str = "grade") -> str:
    """Accuracy, sensitivity, specificity, AUROC and calibration error of every definition and mask, as Markdown.

    With ``truth="rated_grade"`` against a reader, and beside them somebody who sees the true fat content.
    """
    part = scores[(scores["truth"] == truth) & (scores["definition"] != "")]
    lines = [
        "| definition | masks | accuracy | sensitivity | specificity | AUROC | ECE |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in part["definition"].unique():
        title = f"{name}: {read_definition(name).title}"
        for arm in part["arm"].unique():
            where = {"definition": name, "arm": arm}
            cells = [
                _figure(find_score(part, measure=measure, method=method, **where))
                for measure, method in _METHODS.items()
            ]
            cells.append(_figure(find_score(part, measure="calibration_error", **where)))
            lines.append(f"| {title} | {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _figure(row: Mapping[str, Any] | None) -> str:
    if row is None or not np.isfinite(row["value"]):
        return "-"
    if pd.isna(row["lower"]):
        return f"{row['value']:.4f}"
    return f"{row['value']:.4f} ({row['lower']:.4f}-{row['upper']:.4f})"
