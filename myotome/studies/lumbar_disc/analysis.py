"""What scores say together: per patient, with intervals of resampled patients; and how much a patient leak is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from myotome.errors import InputError
from myotome.metrics import DetectionTable, ObjectSet, tabulate_detections, weigh_average_precision
from myotome.statistics.classification import bootstrap, weigh_mean
from myotome.statistics.intervals import Estimate
from myotome.statistics.paired import compare_pairs

__all__ = ["MEASURES", "OVER", "compare_splits", "compute_patient_means", "estimate_scores", "tabulate_objects"]

MEASURES = {
    "precision": "Precision, pixels",
    "recall": "Recall, pixels",
    "dice": "Dice",
    "hd95_mm": "HD95 (mm)",
    "nsd": "NSD",
    "object_precision": "Precision, objects at IoU 0.5",
    "object_recall": "Recall, objects at IoU 0.5",
    "ap50": "AP50",
    "ap": "AP[.5:.95]",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
}
"""Names and titles of what `estimate_scores` gives, in the order of its rows."""

OVER = {"all": "each split's own test part", "shared": "images that both splits test"}
"""What `compare_splits` compares over, with its title."""

_PIXELS = ("precision", "recall", "dice", "hd95_mm", "nsd")
_OBJECTS = ("object_precision", "object_recall", "pq", "sq", "rq")
_AVERAGE = {"ap50": 0.5, "ap": None}
_COUNTS = ["found", "missed", "invented", "overlap"]


def compute_patient_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean of each pixel score over the slices of a patient that have it, and the sums of the object counts.

    Parameters
    ----------
    rows : of `myotome.studies.lumbar_disc.scoring.score_case`, with a column ``patient``

    Returns
    -------
    DataFrame : a row per patient, in the order of their names
    """
    grouped = rows.groupby("patient", sort=True)
    means = grouped[list(_PIXELS)].mean()
    return pd.concat([means, grouped[_COUNTS].sum()], axis=1).reset_index()


def tabulate_objects(rows: pd.DataFrame, pairs: Sequence[tuple[ObjectSet, ObjectSet]]) -> DetectionTable:
    """The objects of every slice, as COCO matches them; cases are the patients in the order of their names.

    Parameters
    ----------
    rows : a row per slice, with a column ``patient``
    pairs : reference and predicted objects of each row

    Raises
    ------
    InputError
        When there is not one pair per row.
    """
    if len(rows) != len(pairs):
        raise InputError(f"{len(rows)} rows stand against the objects of {len(pairs)} slices: give one per row.")
    names = pd.Index(sorted(rows["patient"].unique()))
    return tabulate_detections(pairs, names.get_indexer(rows["patient"]).tolist())


def estimate_scores(rows: pd.DataFrame, table: DetectionTable, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Every score with its 95 % interval of resampled patients.

    Pixel scores, HD95 and NSD are means over patients of their slices' means. Object precision and recall, PQ, SQ and
    RQ are of the objects of all patients together, and so are AP50 and AP[.5:.95].

    Parameters
    ----------
    rows : a row per slice, see `compute_patient_means`
    table : of the same slices, see `tabulate_objects`

    Returns
    -------
    DataFrame : ``measure``, ``value``, ``lower``, ``upper``, ``patients``, ``slices``; a value that is not defined is
        missing.

    Raises
    ------
    InputError
        When there is no slice, or the table is of other patients.
    """
    means = compute_patient_means(rows)
    if rows.empty or len(means) != len(table.references):
        raise InputError(f"{len(means)} patients stand against {len(table.references)} in the table of objects.")
    sizes = {"patients": len(means), "slices": len(rows)}
    found = []
    for measure in MEASURES:
        estimate = _estimate(measure, means, table, resamples, seed)
        value, lower, upper = (None,) * 3 if estimate is None else (estimate.value, estimate.lower, estimate.upper)
        found.append({"measure": measure, "value": value, "lower": lower, "upper": upper, **sizes})
    return pd.DataFrame(found).astype({"value": float, "lower": float, "upper": float})


def _estimate(measure: str, means: pd.DataFrame, table: DetectionTable, resamples: int, seed: int) -> Estimate | None:
    statistic = _choose_statistic(measure, means, table)
    if not np.isfinite(statistic(np.ones((1, len(means))))[0]):
        return None
    return bootstrap(statistic, len(means), resamples=resamples, seed=seed)


def _choose_statistic(measure: str, means: pd.DataFrame, table: DetectionTable):
    """What turns (k, patients) weights into (k,) values."""
    if measure in _AVERAGE:
        return lambda weights: weigh_average_precision(table, weights, _AVERAGE[measure])
    if measure in _PIXELS:
        values = means[measure].to_numpy(float)
        known = np.isfinite(values)
        return lambda weights: weigh_mean(np.where(known, values, 0), weights, known)
    counts = means[_COUNTS].to_numpy(float)
    return lambda weights: _weigh_objects(measure, weights @ counts)


def _weigh_objects(measure: str, totals: np.ndarray) -> np.ndarray:
    """(k,) scores of (k, 4) totals of found, missed, invented and the sum of IoU; NaN where not defined."""
    found, missed, invented, overlap = totals.T
    half = found + (missed + invented) / 2
    above, below = {
        "object_precision": (found, found + invented),
        "object_recall": (found, found + missed),
        "pq": (overlap, half),
        "sq": (overlap, found),
        "rq": (found, half),
    }[measure]
    return np.divide(above, below, out=np.full(len(totals), np.nan), where=below > 0)


def compare_splits(rows: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The leak: each pixel score of the image split less that of the patient split.

    ``over="all"``: mean over the patients of each split's own test part; the two are resampled each for itself.
    ``over="shared"``: the images that both splits test, scored by both networks, so that no part is the easier one;
    patients are resampled, and Wilcoxon's test compares their means.

    Parameters
    ----------
    rows : a row per slice and split: ``split`` (``patient`` or ``image``), ``case``, ``slice``, ``patient`` and scores

    Returns
    -------
    DataFrame : ``measure``, ``over``, ``patient_split``, ``image_split``, ``value`` (the difference), ``lower``,
        ``upper``, ``p``, ``patients``, ``slices``; nothing for a measure that fewer than 3 patients have.
    """
    parts = {name: rows[rows["split"] == name] for name in ("patient", "image")}
    both = parts["patient"].merge(parts["image"], on=["case", "slice", "patient"], suffixes=("_patient", "_image"))
    found = []
    for measure in _PIXELS:
        found += _compare_all(measure, parts, resamples, seed)
        found += _compare_shared(measure, both, resamples, seed)
    return pd.DataFrame(found)


def _compare_all(measure: str, parts: dict[str, pd.DataFrame], resamples: int, seed: int) -> list[dict]:
    values = {name: part.groupby("patient")[measure].mean().dropna().to_numpy() for name, part in parts.items()}
    if min(len(group) for group in values.values()) < 3:
        return []
    rng = np.random.default_rng(seed)
    draws = {name: rng.choice(group, (resamples, len(group))).mean(axis=1) for name, group in values.items()}
    means = {name: float(group.mean()) for name, group in values.items()}
    low, high = np.quantile(draws["image"] - draws["patient"], (0.025, 0.975))
    sizes = {"patients": len(values["image"]), "slices": len(parts["image"])}
    return [_describe(measure, "all", means, (means["image"] - means["patient"], float(low), float(high)), None, sizes)]


def _compare_shared(measure: str, both: pd.DataFrame, resamples: int, seed: int) -> list[dict]:
    columns = [f"{measure}_patient", f"{measure}_image"]
    complete = both.dropna(subset=columns)
    means = complete.groupby("patient")[columns].mean()
    if len(means) < 3:
        return []
    first, second = (means[column].to_numpy(float) for column in columns)
    paired = compare_pairs(first, second, resamples=resamples, seed=seed)
    sides = {"patient": float(first.mean()), "image": float(second.mean())}
    estimate = paired.difference.value, paired.difference.lower, paired.difference.upper
    return [
        _describe(measure, "shared", sides, estimate, paired.p_value, {"patients": len(means), "slices": len(complete)})
    ]


def _describe(
    measure: str, over: str, means: dict[str, float], estimate: tuple, p: float | None, sizes: dict[str, int]
) -> dict:
    value, lower, upper = estimate
    sides = {"patient_split": means["patient"], "image_split": means["image"]}
    return {"measure": measure, "over": over, **sides, "value": value, "lower": lower, "upper": upper, "p": p, **sizes}
