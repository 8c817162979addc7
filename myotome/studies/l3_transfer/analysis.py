"""What the scores say: curves against n, what a source gains over scratch, agreement of the measures, the band.

Tables of scores have one row per source, n, repeat and case. A case that several repeats have scored counts once, with
the mean of its repeats; measures are compared on the first repeat alone, as one network would measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from myotome.errors import InputError
from myotome.statistics.agreement import compute_bland_altman, compute_intraclass_correlation
from myotome.statistics.classification import bootstrap, weigh_mean
from myotome.statistics.intervals import Estimate, estimate_mean
from myotome.statistics.multiple_testing import adjust_holm
from myotome.statistics.paired import compare_pairs
from myotome.studies.l3_transfer.scoring import MEASURES

__all__ = [
    "BASE",
    "Band",
    "Scoring",
    "add_errors",
    "compare_with_scratch",
    "find_band",
    "find_needed",
    "per_case",
    "rank_sources",
    "score_agreement",
    "summarise",
    "summarise_observers",
]

BASE = "scratch"
_LEAST_CASES = 3


@dataclass(frozen=True)
class Scoring:
    """How scores are made: the structure whose contour leads, and the bootstrap's resamples and seed."""

    structure: str
    resamples: int = 2000
    seed: int = 0

    @property
    def overlap(self) -> str:
        """Column of the DSC."""
        return f"{self.structure}_dice"

    @property
    def distance(self) -> str:
        """Column of the RMS-DTA."""
        return f"{self.structure}_rms_dta_mm"


@dataclass(frozen=True)
class Band:
    """What the observers reach: the lowest and the highest of their mean scores, and the mean of all."""

    low: float
    high: float
    mean: float


def add_errors(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores with ``sma_error_percent``, ``smd_error_hu`` and ``smi_error_cm2_m2``, signed, against the reference."""
    empty = scores["reference_sma_cm2"].to_numpy(float)
    share = scores["sma_cm2"].to_numpy(float) / np.where(empty > 0, empty, np.nan) - 1
    return scores.assign(
        sma_error_percent=100 * share,
        smd_error_hu=scores["smd_hu"].astype(float) - scores["reference_smd_hu"].astype(float),
        smi_error_cm2_m2=scores["smi_cm2_m2"].astype(float) - scores["reference_smi_cm2_m2"].astype(float),
    )


def per_case(scores: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A measure's mean over the repeats of each case: ``source``, ``n``, ``fold``, ``case``, ``patient``, ``value``.

    A score that is not defined in some repeat is the mean of the others; without any it is left out.
    """
    keys = ["source", "n", "fold", "case", "patient"]
    found = scores.groupby(keys, sort=False)[measure].mean().rename("value").reset_index()
    return found.dropna(subset="value")


def summarise(scores: pd.DataFrame, measures: Sequence[str], scoring: Scoring) -> pd.DataFrame:
    """Mean of each measure per source and n, over patients and over folds.

    ``over`` is ``pooled`` (mean over patients, each the mean of its cases; interval of resampled patients) or ``folds``
    (mean of the folds' means; Student's t). Columns: ``source``, ``n``, ``measure``, ``over``, ``value``, ``lower``,
    ``upper``, ``sd`` (over patients or folds), ``cases``, ``undefined`` (cases without the score, left out).
    """
    rows = []
    counts = scores.groupby(["source", "n"])["case"].nunique()
    for measure in measures:
        for (source, n), part in per_case(scores, measure).groupby(["source", "n"], sort=False):
            undefined = int(counts[source, n]) - len(part)
            common = {"source": source, "n": int(n), "measure": measure, "cases": len(part), "undefined": undefined}
            values = part.groupby("patient", sort=True)["value"].mean().to_numpy()
            folds = part.groupby("fold")["value"].mean().to_numpy()
            pooled = _mean(values, scoring)
            rows.append({**common, "over": "pooled", **_cells(pooled), "sd": _sd(values)})
            mean = estimate_mean(folds) if len(folds) > 1 else Estimate(float(folds[0]))
            rows.append({**common, "over": "folds", **_cells(mean), "sd": _sd(folds)})
    columns = ["source", "n", "measure", "over", "value", "lower", "upper", "sd", "cases", "undefined"]
    return pd.DataFrame(rows, columns=columns)


def compare_with_scratch(scores: pd.DataFrame, measures: Sequence[str], scoring: Scoring) -> pd.DataFrame:
    """What each source changes against scratch on the same patients, per n: mean difference, Wilcoxon, Holm.

    The family of Holm's correction is every source and n of one measure. Columns: ``source``, ``n``, ``measure``,
    ``value`` (the source less scratch), ``lower``, ``upper``, ``median``, ``p``, ``p_holm``, ``cases``.
    """
    rows = []
    for measure in measures:
        table = per_case(scores, measure).groupby(["source", "n", "patient"])["value"].mean()
        family = []
        for source, n in dict.fromkeys(zip(scores["source"], scores["n"], strict=True)):
            if source == BASE or (BASE, n) not in table.index.droplevel("patient"):
                continue
            pair = pd.concat([table[BASE, n], table[source, n]], axis=1, join="inner").to_numpy()
            if len(pair) < _LEAST_CASES:
                continue
            found = compare_pairs(pair[:, 0], pair[:, 1], resamples=scoring.resamples, seed=scoring.seed)
            common = {"source": source, "n": int(n), "measure": measure, "cases": found.cases}
            family.append({**common, **_cells(found.difference), "median": found.median, "p": found.p_value})
        for row, adjusted in zip(family, adjust_holm([row["p"] for row in family]), strict=True):
            rows.append({**row, "p_holm": adjusted})
    columns = ["source", "n", "measure", "value", "lower", "upper", "median", "p", "p_holm", "cases"]
    return pd.DataFrame(rows, columns=columns)


def score_agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """Agreement of SMA, SMD and SMI with the reference per source and n: Bland and Altman's figures, and ICC(2,1).

    Columns: ``source``, ``n``, ``measure``, ``cases``, ``bias``, ``bias_lower``, ``bias_upper``, ``sd``,
    ``lower_limit``, ``upper_limit``, ``icc``, ``icc_lower``, ``icc_upper``, ``reason`` (why a cell is empty).
    """
    first = scores[scores["repeat"] == scores["repeat"].min()]
    rows = []
    for (source, n), part in first.groupby(["source", "n"], sort=False):
        for measure in MEASURES:
            pair = part[[f"reference_{measure}", measure]].astype(float).dropna().to_numpy()
            rows.append({"source": source, "n": int(n), "measure": measure, "cases": len(pair), **_agree(pair)})
    return pd.DataFrame(rows)


def _agree(pair: np.ndarray) -> dict[str, Any]:
    names = ("bias", "bias_lower", "bias_upper", "sd", "lower_limit", "upper_limit", "icc", "icc_lower", "icc_upper")
    row: dict[str, Any] = dict.fromkeys(names) | {"reason": ""}
    try:
        bland = compute_bland_altman(pair[:, 0], pair[:, 1])
        row |= {"bias": bland.bias.value, "bias_lower": bland.bias.lower, "bias_upper": bland.bias.upper}
        row |= {"sd": bland.sd, "lower_limit": bland.lower_limit.value, "upper_limit": bland.upper_limit.value}
        icc = compute_intraclass_correlation(pair).agreement
        row |= {"icc": icc.value, "icc_lower": icc.lower, "icc_upper": icc.upper}
    except InputError as error:
        row["reason"] = str(error)
    return row


# -- observers ---------------------------------------------------------------------------------------------------------


def summarise_observers(readings: pd.DataFrame, scoring: Scoring) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Means of each observer, and how far observers are from one another.

    Returns
    -------
    table : one row per observer: ``observer``, ``cases``, mean ``dice``, ``rms_dta_mm``, ``sma_error_percent``,
        ``smd_error_hu``
    spread : ``sma_cv_percent`` (root mean square over cases of the SD over observers in percent of their mean),
        ``sma_reader_sd_cm2`` (the same, in cm2) and ``sma_icc`` (ICC(2,1) of all observers, ``None`` if not given)
    """
    scored = add_errors(readings)
    names = {scoring.overlap: "dice", scoring.distance: "rms_dta_mm"}
    kept = [*names, "sma_error_percent", "smd_error_hu"]
    table = scored.groupby("observer", sort=False)[kept].mean().rename(columns=names)
    table.insert(0, "cases", scored.groupby("observer", sort=False)["case"].nunique())
    areas = scored.pivot(index="case", columns="observer", values="sma_cm2").to_numpy(float)
    sd = areas.std(axis=1, ddof=1)
    try:
        icc = compute_intraclass_correlation(areas).agreement.value
    except InputError:
        icc = None
    spread = {
        "sma_cv_percent": float(100 * np.sqrt(np.mean((sd / areas.mean(axis=1)) ** 2))),
        "sma_reader_sd_cm2": float(np.sqrt(np.mean(sd**2))),
        "sma_icc": icc,
    }
    return table.reset_index(), spread


def find_band(observers: pd.DataFrame, column: str) -> Band:
    """Lowest, highest and mean of the observers' mean scores (a column of `summarise_observers`' table)."""
    values = observers[column].to_numpy(float)
    return Band(float(values.min()), float(values.max()), float(values.mean()))


def find_needed(summary: pd.DataFrame, bands: dict[str, Band], scoring: Scoring) -> pd.DataFrame:
    """The fewest slices with which a source's mean score lies within the observers' band, or beyond it.

    ``n`` is by the mean alone, ``n_sure`` by the whole interval of resampled patients; empty when no n does. A DSC is
    within the band at its lowest observer's mean or above, an RMS-DTA at its highest or below.
    """
    rows = []
    for measure, column in ((scoring.overlap, "dice"), (scoring.distance, "rms_dta_mm")):
        part = summary[(summary["measure"] == measure) & (summary["over"] == "pooled")]
        for source, found in part.sort_values("n").groupby("source", sort=False):
            if column == "dice":
                within, sure = found["value"] >= bands[column].low, found["lower"] >= bands[column].low
            else:
                within, sure = found["value"] <= bands[column].high, found["upper"] <= bands[column].high
            row = {"source": source, "measure": column}
            rows.append({**row, "n": _first(found, within), "n_sure": _first(found, sure)})
    table = pd.DataFrame(rows, columns=["source", "measure", "n", "n_sure"])
    return table.astype({"n": "Int64", "n_sure": "Int64"})


def rank_sources(summary: pd.DataFrame, scoring: Scoring) -> list[str]:
    """Sources by their DSC averaged over every n, the best first."""
    part = summary[(summary["measure"] == scoring.overlap) & (summary["over"] == "pooled")]
    return list(part.groupby("source")["value"].mean().sort_values(ascending=False, kind="stable").index)


def _first(rows: pd.DataFrame, chosen: pd.Series) -> int | None:
    found = rows.loc[chosen, "n"]
    return None if found.empty else int(found.iloc[0])


def _mean(values: np.ndarray, scoring: Scoring) -> Estimate:
    return bootstrap(
        lambda weights: weigh_mean(values, weights), len(values), resamples=scoring.resamples, seed=scoring.seed
    )


def _cells(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "lower": estimate.lower, "upper": estimate.upper}


def _sd(values: np.ndarray) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
