"""From trained graders to tables: out-of-fold probabilities, calibrated within the fold, and scores of the region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from myotome.biomarkers.goutallier import DEFINITIONS, GRADES
from myotome.inference.grading_batch import BatchGrader, YView
from myotome.metrics.overlap import compute_dice
from myotome.statistics.calibration import fit_temperature, scale_probabilities
from myotome.structures import read_label_schema

__all__ = ["fit_temperatures", "score_regions", "tabulate_predictions"]

_SCHEMA = "supraspinatus_mri"
_REGION = ("supraspinatus", "supraspinous_fossa")
_KEPT = ("case", "grade", "rated_grade", "fat_percent")


def fit_temperatures(shoulders: pd.DataFrame, probabilities: np.ndarray, truth: str = "grade") -> dict[str, float]:
    """Temperature of each definition, from shoulders that neither trained the grader nor are scored.

    Parameters
    ----------
    shoulders : rows with the column ``truth``
    probabilities : (n, 10) of the same shoulders, as `BatchGrader.grade` gives them

    Returns
    -------
    dict : 1 for a definition that drops every shoulder.
    """
    found = {}
    for place, (name, definition) in enumerate(DEFINITIONS.items()):
        target = definition.target(shoulders[truth].to_numpy())
        kept = target >= 0
        found[name] = fit_temperature(target[kept], _pairs(probabilities[kept, place])) if kept.any() else 1.0
    return found


def tabulate_predictions(
    shoulders: pd.DataFrame, probabilities: np.ndarray, temperatures: Mapping[str, float]
) -> pd.DataFrame:
    """One row per shoulder: what is true of it, and every probability before and after calibration.

    Parameters
    ----------
    probabilities : (n, 10), as `BatchGrader.grade` gives them
    """
    table = shoulders[list(_KEPT)].reset_index(drop=True)
    for place, name in enumerate(DEFINITIONS):
        table[f"probability_{name}"] = probabilities[:, place].astype(float)
        table[f"calibrated_{name}"] = scale_probabilities(_pairs(probabilities[:, place]), temperatures[name])[:, 1]
    grades = probabilities[:, len(DEFINITIONS) :].astype(float)
    for grade in GRADES:
        table[f"grade_probability_{grade}"] = grades[:, grade]
    return table.assign(predicted_grade=grades.argmax(axis=1))


def score_regions(shoulders: pd.DataFrame, views: Sequence[YView], grader: BatchGrader) -> pd.DataFrame:
    """Dice of every structure, of muscle and fossa together (``region``), and pixel accuracy, on the image's pixels.

    Returns
    -------
    DataFrame : ``case``, ``structure``, ``measure``, ``value`` (empty where a structure is in neither).
    """
    schema, rows = read_label_schema(_SCHEMA), []
    parts = {"region": [schema[name].index for name in _REGION]}
    parts |= {structure.name: [structure.index] for structure in schema.structures}
    for case, view, label in zip(shoulders["case"], views, grader.label(views), strict=True):
        for name, indices in parts.items():
            dice = compute_dice(np.isin(view.label, indices), np.isin(label, indices))
            rows.append({"case": case, "structure": name, "measure": "dice", "value": dice})
        accuracy = float(np.mean(view.label == label))
        rows.append({"case": case, "structure": "all", "measure": "pixel_accuracy", "value": accuracy})
    return pd.DataFrame(rows)


def _pairs(positive: np.ndarray) -> np.ndarray:
    positive = np.asarray(positive, dtype=float)
    return np.column_stack([1 - positive, positive])
