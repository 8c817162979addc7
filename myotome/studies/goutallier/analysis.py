"""What the out-of-fold predictions say: every arm's scores, by fold and pooled, and what the masks are worth.

A table of predictions has one row per case and arm: ``case``, ``fold``, ``arm``, ``grade``, ``rated_grade``,
``fat_percent``, ``probability_A`` (as the network gives it) and ``calibrated_A`` to ``E``, ``grade_probability_0`` to
``4`` and ``predicted_grade``. A table of scores has one row per score, with the columns `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from myotome.biomarkers.goutallier import GRADES, read_definition
from myotome.errors import InputError
from myotome.phantoms.shoulder.goutallier import FAT_RANGES_PERCENT
from myotome.statistics.calibration import compute_calibration_error, simulate_calibration_error
from myotome.statistics.classification import (
    bootstrap,
    compare_aurocs,
    compute_auroc,
    compute_decision_scores,
    weigh_auroc,
    weigh_mean,
)
from myotome.statistics.intervals import Estimate, estimate_mean
from myotome.statistics.kappa import compute_kappa, weigh_kappa

__all__ = [
    "COLUMNS",
    "Scoring",
    "compare_arms",
    "score_arms",
    "score_oracle",
    "score_region",
    "take_definition",
]

COLUMNS = (
    *("arm", "truth", "definition", "structure", "measure", "over", "value", "lower", "upper", "sd"),
    *("method", "cases", "positives"),
)
_THRESHOLD = 0.5
_SMALLEST = 1e-12

Statistic = Callable[[np.ndarray], np.ndarray]
"""Of (k, cases) weights to (k,) values, as `myotome.statistics.classification.bootstrap` takes it."""


@dataclass(frozen=True)
class Scoring:
    """How scores are made: which definitions, bins of calibration, resamples of the bootstrap and their seed."""

    definitions: Sequence[str]
    bins: int = 10
    resamples: int = 2000
    seed: int = 0


def take_definition(rows: pd.DataFrame, definition: str, truth: str = "grade") -> pd.DataFrame:
    """Rows that a definition keeps, with columns ``target``, ``raw``, ``probability`` (calibrated) and ``decision``."""
    target = read_definition(definition).target(rows[truth].to_numpy())
    kept = rows.assign(target=target)[target >= 0]
    probability = kept[f"calibrated_{definition}"]
    return kept.assign(
        raw=kept[f"probability_{definition}"],
        probability=probability,
        score=probability,
        decision=(probability >= _THRESHOLD).astype(int),
    )


def score_arms(predictions: pd.DataFrame, scoring: Scoring, truth: str = "grade") -> pd.DataFrame:
    """Every score of every arm against the true grade, or against a reader's (``truth="rated_grade"``).

    Per definition: accuracy, sensitivity and specificity (decided at a calibrated probability of 0.5), AUROC, Brier
    score, cross-entropy (``log_loss``) and expected calibration error, before and after calibration. Of the five
    grades: exact agreement, agreement within one grade, kappa plain and quadratic-weighted.

    ``over`` says how: ``folds`` is the mean over folds with Student's interval and the standard deviation; ``pooled``
    is over all out-of-fold predictions, once with the interval of the formula and once by resampled patients.
    """
    rows = []
    for arm, part in predictions.groupby("arm", sort=False):
        for name in scoring.definitions:
            scores = _score_answers(take_definition(part, name, truth), scoring)
            rows += [{"arm": arm, "truth": truth, "definition": name, **row} for row in scores]
        rows += [{"arm": arm, "truth": truth, **row} for row in _score_grades(part, truth, scoring)]
    return _table(rows)


def score_oracle(cases: pd.DataFrame, scoring: Scoring) -> pd.DataFrame:
    """Scores against a reader's grades of somebody who knows the true fat content: the ceiling that readers leave.

    The oracle's score is the fat content. It decides a definition halfway between the fat content at which the
    negative grades end and the one at which the positive grades begin.
    """
    rows = []
    for name in scoring.definitions:
        definition = read_definition(name)
        limit = (FAT_RANGES_PERCENT[max(definition.negative)][1] + FAT_RANGES_PERCENT[min(definition.positive)][0]) / 2
        target = definition.target(cases["rated_grade"].to_numpy())
        kept = cases.assign(target=target)[target >= 0]
        kept = kept.assign(score=kept["fat_percent"], decision=(kept["fat_percent"] >= limit).astype(int))
        rows += [{"definition": name, **row} for row in _score_answers(kept, scoring)]
    rows += _score_grades(cases.assign(predicted_grade=cases["grade"]), "rated_grade", scoring)
    return _table([{"arm": "oracle", "truth": "rated_grade", **row} for row in rows])


def score_region(regions: pd.DataFrame, scoring: Scoring) -> pd.DataFrame:
    """Means over patients of what was scored in the region: rows of case, fold, structure, measure and value."""
    rows = []
    for (structure, measure), part in regions.dropna(subset="value").groupby(["structure", "measure"], sort=False):
        common = {"arm": "region", "structure": structure, "measure": measure, "cases": len(part)}
        rows += [
            {**common, **_over_folds(part, _mean_value)},
            {**common, **_pooled(_resample(part, _mean_value, scoring), "bootstrap")},
        ]
    return _table(rows)


def compare_arms(predictions: pd.DataFrame, arm: str, scoring: Scoring) -> pd.DataFrame:
    """What another arm than ``arm`` changes on the same cases: differences of AUROC (DeLong) and accuracy (bootstrap).

    Columns: ``definition``, ``arm``, ``measure``, ``value`` (the other arm less ``arm``), ``lower``, ``upper``, ``p``.
    """
    rows = []
    for name in scoring.definitions:
        base = take_definition(predictions[predictions["arm"] == arm], name).set_index("case")
        for other, part in predictions[predictions["arm"] != arm].groupby("arm", sort=False):
            same = take_definition(part, name).set_index("case").loc[base.index]
            areas = compare_aurocs(base["target"], same["score"], base["score"])
            gain = (same["decision"] == base["target"]).astype(int) - (base["decision"] == base["target"]).astype(int)
            accuracy = _resample(pd.DataFrame({"value": gain}), _mean_value, scoring)
            for measure, estimate, p in (("auroc", areas.difference, areas.p_value), ("accuracy", accuracy, None)):
                ends = {"value": estimate.value, "lower": estimate.lower, "upper": estimate.upper, "p": p}
                rows.append({"definition": name, "arm": other, "measure": measure, **ends})
    return pd.DataFrame(rows, columns=["definition", "arm", "measure", "value", "lower", "upper", "p"])


# -- one definition ----------------------------------------------------------------------------------------------


def _score_answers(answers: pd.DataFrame, scoring: Scoring) -> list[dict[str, Any]]:
    """Scores of rows with target, score and decision, and of probabilities where there are any."""
    counts = {"cases": len(answers), "positives": int(answers["target"].sum())}
    decided = compute_decision_scores(answers["target"], answers["decision"])
    formulas = {name: (getattr(decided, name), "Wilson") for name in ("accuracy", "sensitivity", "specificity")}
    formulas["auroc"] = (compute_auroc(answers["target"], answers["score"]).estimate, "DeLong")
    measures = {"accuracy": _accuracy, "sensitivity": _sensitivity, "specificity": _specificity, "auroc": _area}
    if "probability" in answers:
        for suffix, column in (("", "probability"), ("_uncalibrated", "raw")):
            measures |= {f"brier{suffix}": _brier(column), f"log_loss{suffix}": _log_loss(column)}
    rows = []
    for measure, make in measures.items():
        rows.append({"measure": measure, **_over_folds(answers, make)})
        if measure in formulas:
            rows.append({"measure": measure, **_pooled(*formulas[measure])})
        rows.append({"measure": measure, **_pooled(_resample(answers, make, scoring), "bootstrap")})
    if "probability" in answers:
        rows += _score_calibration(answers, scoring)
    return [{**row, **counts} for row in rows]


def _score_calibration(answers: pd.DataFrame, scoring: Scoring) -> list[dict[str, Any]]:
    """Calibration errors have no bootstrap interval: resampling alone makes the error larger."""
    rows = []
    for measure, column in (("calibration_error", "probability"), ("calibration_error_uncalibrated", "raw")):
        values = [compute_calibration_error(part["target"], part[column], scoring.bins) for part in _folds(answers)]
        pooled = compute_calibration_error(answers["target"], answers[column], scoring.bins)
        rows += [{"measure": measure, **_mean(values)}, {"measure": measure, **_pooled(Estimate(pooled), "")}]
    chance = simulate_calibration_error(answers["probability"], scoring.bins, seed=scoring.seed)
    return [*rows, {"measure": "calibration_error_by_chance", **_pooled(Estimate(chance), "simulation")}]


def _right(rows: pd.DataFrame) -> np.ndarray:
    return (rows["decision"] == rows["target"]).to_numpy()


def _accuracy(rows: pd.DataFrame) -> Statistic:
    return lambda weights: weigh_mean(_right(rows), weights)


def _sensitivity(rows: pd.DataFrame) -> Statistic:
    return lambda weights: weigh_mean(_right(rows), weights, rows["target"] == 1)


def _specificity(rows: pd.DataFrame) -> Statistic:
    return lambda weights: weigh_mean(_right(rows), weights, rows["target"] == 0)


def _area(rows: pd.DataFrame) -> Statistic:
    return lambda weights: weigh_auroc(rows["target"], rows["score"], weights)


def _brier(column: str) -> Callable[[pd.DataFrame], Statistic]:
    return lambda rows: lambda weights: weigh_mean((rows[column] - rows["target"]) ** 2, weights)


def _log_loss(column: str) -> Callable[[pd.DataFrame], Statistic]:
    """Cross-entropy, in nats."""

    def make(rows: pd.DataFrame) -> Statistic:
        right = np.where(rows["target"] == 1, rows[column], 1 - rows[column])
        return lambda weights: weigh_mean(-np.log(np.maximum(right, _SMALLEST)), weights)

    return make


def _mean_value(rows: pd.DataFrame) -> Statistic:
    return lambda weights: weigh_mean(rows["value"], weights)


# -- five grades -------------------------------------------------------------------------------------------------


def _score_grades(rows: pd.DataFrame, truth: str, scoring: Scoring) -> list[dict[str, Any]]:
    def kappa(kind: str) -> Callable[[pd.DataFrame], Statistic]:
        return lambda part: (
            lambda weights: weigh_kappa(part[truth], part["predicted_grade"], len(GRADES), weights, kind)
        )

    def within(steps: int) -> Callable[[pd.DataFrame], Statistic]:
        return lambda part: _mean_value(pd.DataFrame({"value": (part[truth] - part["predicted_grade"]).abs() <= steps}))

    measures = {
        "kappa_quadratic": kappa("quadratic"),
        "kappa": kappa("none"),
        "exact_agreement": within(0),
        "agreement_within_one": within(1),
    }
    found = []
    for measure, make in measures.items():
        found.append({"measure": measure, **_over_folds(rows, make)})
        if measure.startswith("kappa"):
            kind = "quadratic" if measure.endswith("quadratic") else "none"
            formula = compute_kappa(rows[truth], rows["predicted_grade"], len(GRADES), kind).estimate
            found.append({"measure": measure, **_pooled(formula, "Fleiss, Cohen and Everitt")})
        found.append({"measure": measure, **_pooled(_resample(rows, make, scoring), "bootstrap")})
    return [{**row, "cases": len(rows)} for row in found]


# -- rows --------------------------------------------------------------------------------------------------------


def _folds(rows: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in rows.groupby("fold")]


def _over_folds(rows: pd.DataFrame, make: Callable[[pd.DataFrame], Statistic]) -> dict[str, Any]:
    """Over the folds in which a score is defined."""
    values = []
    for part in _folds(rows):
        try:
            values.append(float(make(part)(np.ones((1, len(part))))[0]))
        except InputError:  # a class without a case
            continue
    return _mean([value for value in values if np.isfinite(value)])


def _mean(values: list[float]) -> dict[str, Any]:
    """Mean of the folds, Student's interval and standard deviation."""
    if len(values) < 2:
        return {"over": "folds", "value": values[0] if values else None, "method": f"{len(values)} fold"}
    row = _pooled(estimate_mean(np.array(values)), f"Student's t, {len(values)} folds")
    return {**row, "over": "folds", "sd": float(np.std(values, ddof=1))}


def _resample(rows: pd.DataFrame, make: Callable[[pd.DataFrame], Statistic], scoring: Scoring) -> Estimate:
    return bootstrap(make(rows), len(rows), resamples=scoring.resamples, seed=scoring.seed)


def _pooled(estimate: Estimate, method: str) -> dict[str, Any]:
    return {
        "over": "pooled",
        "value": estimate.value,
        "lower": estimate.lower,
        "upper": estimate.upper,
        "method": method,
    }


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    texts = ["arm", "truth", "definition", "structure", "measure", "over", "method"]
    table[texts] = table[texts].astype(object).fillna("")
    return table.astype({"cases": "Int64", "positives": "Int64"})
