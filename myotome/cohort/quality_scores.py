"""What makes a case worth a second look: its distance from the others, its volume beside its height, its flags."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from myotome.statistics.outliers import (
    Distances,
    compute_distances,
    compute_height_residuals,
    compute_largest_z,
    standardise,
)
from myotome.store import Store

__all__ = ["Feature", "Scores", "read_measurements", "score_cases", "score_cohort"]

_FEWEST_CASES = 10
_CASES_PER_MEASURE = 5
_LEAST_KNOWN = 0.5
_SEED = 0
_KINDS = {"volume": "total", "density": "mean"}

# One pass over the measurements: values, and (with a structure of NULL) the flags that each case's structures carry,
# without the words after a flag's colon, which may come from a header.
_MEASURES_SQL = """
WITH whole AS MATERIALIZED (
  SELECT case_id, structure, side, measure, statistic, value, flags
  FROM measurements WHERE slice_index IS NULL AND level IS NULL
)
SELECT case_id, structure, side, measure, value, NULL AS flag FROM whole
WHERE (measure = 'volume' AND statistic = 'total') OR (measure = 'density' AND statistic = 'mean')
UNION ALL
SELECT DISTINCT case_id, NULL, NULL, NULL, NULL, split_part(flag, ':', 1)
FROM (SELECT case_id, unnest(flags) AS flag FROM whole)
"""


@dataclass(frozen=True)
class Feature:
    """One measure of one structure and side: ``volume`` in mL or ``density`` (mean) in HU."""

    structure: str
    side: str
    measure: str


@dataclass(frozen=True, eq=False)
class Scores:
    """How the n measured cases of a cohort lie among each other. Arrays are in the order of ``case_ids``.

    Parameters
    ----------
    features : what ``values`` (n, p; mL and HU), ``z`` and ``share`` hold in their columns
    z : (n, p) array; robust z of log volume and of density within the sex
    expected : (n, p) array; mL and HU that would go best with the case's other measures; NaN where that is not known
    method : ``distance`` (robust Mahalanobis distance over the square root of the number of measures), ``largest_z``
        (too few cases for a covariance) or ``none``
    sentence : how the cases were scored, or why they were not, for the reader
    distances : distance, tail and share of each measure
    total_volume_ml, height_z, height_ratio : (n,) arrays; the sum over all structures, and how it compares with others
        of that sex and height; NaN where it cannot be given
    """

    case_ids: tuple[str, ...]
    features: tuple[Feature, ...]
    values: np.ndarray
    z: np.ndarray
    expected: np.ndarray
    method: str
    sentence: str
    distances: Distances
    total_volume_ml: np.ndarray
    height_z: np.ndarray
    height_ratio: np.ndarray


def score_cohort(store: Store) -> Scores:
    """Score the measured cases of a cohort; the same cases give the same scores."""
    cases = store.frame("SELECT case_id, sex, height_m FROM cases WHERE status = 'done' ORDER BY case_id")
    return score_cases(read_measurements(store)[0], cases)


def read_measurements(store: Store) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Volumes and mean densities of the whole volume, for `score_cases`; and the flags of each case's structures."""
    found = store.frame(_MEASURES_SQL)
    flags = found[found["flag"].notna()].groupby("case_id")["flag"].agg(list).to_dict()
    return found[found["structure"].notna()].drop(columns="flag"), flags


def score_cases(measurements: pd.DataFrame, cases: pd.DataFrame) -> Scores:
    """Score cases from their measurements of the whole volume.

    Parameters
    ----------
    measurements : columns case_id, structure, side, measure (``volume`` in mL, ``density`` in HU), value
    cases : columns case_id, sex, height_m; one row per measured case
    """
    ids = tuple(cases["case_id"])
    sex = cases["sex"].fillna("unknown").to_numpy(dtype=str)
    table = measurements.pivot_table("value", "case_id", ["structure", "side", "measure"], aggfunc="first").reindex(ids)
    sided = _features(table, combine=False)
    values = _matrix(table, sided)
    standardised = standardise(_to_log(values, sided), sex, _FEWEST_CASES)
    method, sentence, distances = _score(table, sided, standardised.z, sex)
    expected = _from_log(distances.expected * standardised.spread + standardised.centre, sided)
    volume = _total_volume(table)
    height = cases["height_m"].to_numpy(dtype=float)
    height_z, ratio = compute_height_residuals(volume, height, sex, _FEWEST_CASES)
    return Scores(ids, sided, values, standardised.z, expected, method, sentence, distances, volume, height_z, ratio)


def _features(table: pd.DataFrame, combine: bool) -> tuple[Feature, ...]:
    """Both sides of every structure that has them, or (``combine``) the two together."""
    columns = set(table.columns)
    features = []
    for structure in sorted({column[0] for column in columns}):
        paired = any((structure, side, measure) in columns for side in ("right", "left") for measure in _KINDS)
        for measure in _KINDS:
            for side in ("right", "left") if paired and not combine else ("both",):
                if (structure, side, measure) in columns:
                    features.append(Feature(structure, side, measure))
    return tuple(features)


def _matrix(table: pd.DataFrame, features: tuple[Feature, ...]) -> np.ndarray:
    columns = [(feature.structure, feature.side, feature.measure) for feature in features]
    return table[columns].to_numpy(dtype=float) if columns else np.empty((len(table), 0))


def _to_log(values: np.ndarray, features: tuple[Feature, ...]) -> np.ndarray:
    """Volumes by their logarithm (one that is not positive is missing), densities as they are."""
    volumes = np.array([feature.measure == "volume" for feature in features], dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(values > 0, np.log(values), np.nan)
    return np.where(volumes, logs, values)


def _from_log(values: np.ndarray, features: tuple[Feature, ...]) -> np.ndarray:
    volumes = np.array([feature.measure == "volume" for feature in features], dtype=bool)
    return np.where(volumes, np.exp(np.where(volumes, values, 0.0)), values)


def _total_volume(table: pd.DataFrame) -> np.ndarray:
    """Sum over all structures; NaN when one of them has no volume."""
    features = [feature for feature in _features(table, combine=True) if feature.measure == "volume"]
    return _matrix(table, tuple(features)).sum(axis=1) if features else np.full(len(table), np.nan)


def _score(
    table: pd.DataFrame, sided: tuple[Feature, ...], z: np.ndarray, sex: np.ndarray
) -> tuple[str, str, Distances]:
    """By both sides' measures if the cases are many enough, else by the two sides together, else by the largest z."""
    count = int(np.isfinite(z).any(axis=1).sum())
    if count < _FEWEST_CASES:
        nothing = np.full(len(z), np.nan)
        return "none", _too_few(count), Distances(nothing, nothing, np.zeros(z.shape), np.full(z.shape, np.nan))
    together = _features(table, combine=True)
    together_z = standardise(_to_log(_matrix(table, together), together), sex, _FEWEST_CASES).z
    for features, own_z in ((sided, z), (together, together_z)):
        distances = _robust_distances(own_z)
        if distances is not None:
            return "distance", _explain(features), _spread_over(distances, features, sided)
    return "largest_z", _few(count), compute_largest_z(z)


def _robust_distances(z: np.ndarray) -> Distances | None:
    """Distances by the minimum covariance determinant; ``None`` when there are too few complete cases for it.

    Measures that do not vary, or that fewer than half of the cases have, take no part.
    """
    from sklearn.covariance import MinCovDet

    used = np.isfinite(z).mean(axis=0) >= _LEAST_KNOWN
    complete = np.isfinite(z[:, used]).all(axis=1)
    if not used.any() or complete.sum() < max(_FEWEST_CASES, _CASES_PER_MEASURE * used.sum()):
        return None
    with warnings.catch_warnings():
        # Measures that determine each other make it singular; `compute_distances` copes with that.
        warnings.simplefilter("ignore")
        estimate = MinCovDet(random_state=_SEED).fit(z[np.ix_(complete, used)])
    if not (np.diag(estimate.covariance_) > 0).all():
        return None
    found = compute_distances(z[:, used], estimate.location_, estimate.covariance_)
    share, expected = np.zeros(z.shape), np.full(z.shape, np.nan)
    share[:, used], expected[:, used] = found.share, found.expected
    return Distances(found.distance, found.tail, share, expected)


def _spread_over(distances: Distances, features: tuple[Feature, ...], sided: tuple[Feature, ...]) -> Distances:
    """By the columns of ``sided``: a share that belongs to both sides together is halved between them, and nothing is
    expected of one side alone."""
    if features == sided:
        return distances
    share = np.zeros((len(distances.share), len(sided)))
    for column, feature in enumerate(features):
        own = [
            place
            for place, other in enumerate(sided)
            if (other.structure, other.measure) == (feature.structure, feature.measure)
            and feature.side in (other.side, "both")
        ]
        share[:, own] += distances.share[:, [column]] / max(1, len(own))
    return Distances(distances.distance, distances.tail, share, np.full(share.shape, np.nan))


def _explain(features: tuple[Feature, ...]) -> str:
    sides = "on each side" if any(feature.side != "both" for feature in features) else "of both sides together"
    return (
        f"Distance: how far a case lies from the middle of its sex in {len(features)} measures (log volume and mean "
        f"density of every muscle, {sides}), robustly scaled (minimum covariance determinant); 1 is ordinary."
    )


def _few(count: int) -> str:
    return (
        f"Score: the measure that lies farthest from the middle, in robust standard deviations; {count} cases are too "
        "few for a distance in all measures at once."
    )


def _too_few(count: int) -> str:
    have = "no case has" if count == 0 else "1 case has" if count == 1 else f"{count} cases have"
    return f"No outlier score: {have} measurements that vary, and a score needs {_FEWEST_CASES}."
