"""Predictions of graders that see the true fat content through more or less fog."""

from __future__ import annotations

import numpy as np
import pandas as pd

from myotome.biomarkers.goutallier import DEFINITIONS
from myotome.phantoms.shoulder.rater import rate
from myotome.studies.goutallier.folds import make_folds
from myotome.studies.goutallier.settings import StudySettings, read_study_settings

COUNTS = (60, 30, 20, 15, 10)
FOG = {"reference": 0.2, "predicted": 0.3, "none": 1.5, "rated": 0.4}
_LIMITS = (0.0, 5.0, 20.0, 45.0, 55.0, 90.0)


def make_settings(**choices) -> StudySettings:
    return read_study_settings().changed(**{"resamples": 200, **choices})


def make_predictions(counts=COUNTS, fog=FOG, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    grade = np.repeat(np.arange(5), counts)
    place = grade + rng.uniform(0.02, 0.98, len(grade))
    fat = np.interp(place, range(6), _LIMITS)
    fold = np.zeros(len(grade), int)
    for item in make_folds(grade, seed=seed):
        fold[item.test] = item.number
    cases = pd.DataFrame(
        {
            "case": [f"case_{number:06d}" for number in range(len(grade))],
            "fold": fold,
            "grade": grade,
            "rated_grade": [rate(value, number) for number, value in enumerate(fat)],
            "fat_percent": fat,
        }
    )
    tables = []
    for arm, spread in fog.items():
        seen = place + rng.normal(0, spread, len(place))
        table = cases.assign(arm=arm, predicted_grade=np.clip(np.floor(seen), 0, 4).astype(int))
        for name, definition in DEFINITIONS.items():
            limit = (max(definition.negative) + 1 + min(definition.positive)) / 2
            table[f"probability_{name}"] = 1 / (1 + np.exp(-2 * (seen - limit)))
            table[f"calibrated_{name}"] = 1 / (1 + np.exp(-6 * (seen - limit)))
        for number in range(5):
            table[f"grade_probability_{number}"] = np.where(table["predicted_grade"] == number, 0.8, 0.05)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def make_regions(predictions: pd.DataFrame, dice: float = 0.95) -> pd.DataFrame:
    cases = predictions.drop_duplicates("case")
    names = ("region", "supraspinatus", "supraspinous_fossa", "scapular_spine", "coracoid_process")
    rows = [
        {"case": case, "fold": fold, "structure": name, "measure": "dice", "value": dice + 0.01 * (place % 3 - 1)}
        for place, (case, fold) in enumerate(zip(cases["case"], cases["fold"], strict=True))
        for name in names
    ]
    rows += [{**row, "structure": "all", "measure": "pixel_accuracy", "value": 0.99} for row in rows[:: len(names)]]
    return pd.DataFrame(rows)
