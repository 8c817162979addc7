"""Every estimate of the study: each muscle measure with each measure of lung function; and who has which values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from myotome.statistics.correlation import Correlation, correct_correlation, correlate, rank_correlate
from myotome.statistics.multiple_testing import adjust_fdr
from myotome.studies.pft.settings import LungMeasure, MuscleMeasure, Settings

__all__ = ["KINDS", "Pair", "correlate_all", "count_missing", "describe_people", "each_pair"]

# Each kind of estimate, in the words of the report.
KINDS = {
    "raw": "raw r",
    "raw_men": "raw r, men",
    "raw_women": "raw r, women",
    "partial": "partial r (age, sex, height)",
    "z_score": "r with the z-score",
    "spearman": "Spearman's rho",
}
_COLUMNS = (
    "muscle",
    "measure",
    "lung_function",
    "kind",
    "n",
    "r",
    "lower",
    "upper",
    "p",
    "q",
    "discovery",
    "reliability",
    "corrected_r",
    "corrected_lower",
    "corrected_upper",
    "note",
)


@dataclass(frozen=True)
class Pair:
    """A muscle's measure and a measure of lung function."""

    muscle: str
    measure: MuscleMeasure
    lung: LungMeasure

    @property
    def column(self) -> str:
        """The muscle measure's column in the joined table."""
        return f"{self.muscle}.{self.measure.name}"


def each_pair(settings: Settings) -> Iterator[Pair]:
    """Every pair of the study, muscle by muscle."""
    for muscle in settings.muscles:
        for measure in settings.muscle_measures:
            for lung in settings.lung_function:
                yield Pair(muscle, measure, lung)


def correlate_all(people: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Correlations of every pair and kind.

    Parameters
    ----------
    people : one row per patient: the joined table, with the columns that
        :func:`myotome.studies.pft.reference.compute_z_scores` gives.

    Returns
    -------
    DataFrame : one row per pair and kind of :data:`KINDS`. ``q`` is adjusted in the family of its kind (both sexes are
    one family); ``discovery`` is q at or below the false-discovery rate. Corrected estimates are missing for ranks, and
    where the configuration has no measurement error. A missing estimate has a ``note`` that says why.
    """
    rows = []
    for pair in each_pair(settings):
        for kind in KINDS:
            if kind == "z_score" and pair.lung.z is None:
                continue
            rows.append(_row(pair, kind, people, settings))
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    families = table["kind"].replace({"raw_men": "by_sex", "raw_women": "by_sex"})
    for _, part in table.groupby(families):
        table.loc[part.index, "q"] = np.array(adjust_fdr(part["p"].tolist()), dtype=float)
    table["discovery"] = table["q"] <= settings.false_discovery_rate
    return table


def _row(pair: Pair, kind: str, people: pd.DataFrame, settings: Settings) -> dict[str, Any]:
    if kind in ("raw_men", "raw_women"):
        people = people[people["sex"] == ("M" if kind == "raw_men" else "F")]
    x = people[pair.column].to_numpy(dtype=float)
    y = people[f"{pair.lung.z}_z" if kind == "z_score" else pair.lung.name].to_numpy(dtype=float)
    others = _covariates(people) if kind == "partial" else None
    plain, corrected = _estimate(x, y, others, kind, pair, settings)
    if plain.count < settings.fewest_people:
        plain = corrected = Correlation(
            None, None, None, None, plain.count, note=f"fewer than {settings.fewest_people}"
        )
    row: dict[str, Any] = {
        "muscle": pair.muscle,
        "measure": pair.measure.name,
        "lung_function": pair.lung.name,
        "kind": kind,
        "n": plain.count,
        "r": plain.value,
        "lower": plain.lower,
        "upper": plain.upper,
        "p": plain.p_value,
        "note": plain.note,
    }
    if corrected is not None:
        row |= {
            "reliability": corrected.reliability,
            "corrected_r": corrected.value,
            "corrected_lower": corrected.lower,
            "corrected_upper": corrected.upper,
            "note": plain.note or corrected.note,
        }
    return row


def _covariates(people: pd.DataFrame) -> np.ndarray:
    return np.column_stack([people["age_years"], people["sex"] == "M", people["height_cm"]]).astype(float)


def _estimate(
    x: np.ndarray, y: np.ndarray, others: np.ndarray | None, kind: str, pair: Pair, settings: Settings
) -> tuple[Correlation, Correlation | None]:
    if kind == "spearman":
        return rank_correlate(x, y, settings.level), None
    plain = correlate(x, y, others, settings.level)
    error = settings.error_of(pair.muscle, pair.measure.name)
    if error is None:
        return plain, None
    return plain, correct_correlation(x, y, error, others, settings.level)


def count_missing(people: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """How many of the analysed have each value, and how many have its z-score: one row per measure."""
    rows = []
    for lung in settings.lung_function:
        there = int(people[lung.name].notna().sum())
        scored = None if lung.z is None else int(people[f"{lung.z}_z"].notna().sum())
        rows.append({"value": lung.title, "there": there, "missing": len(people) - there, "with_z_score": scored})
    for muscle in settings.muscles:
        for measure in settings.muscle_measures:
            there = int(people[f"{muscle}.{measure.name}"].notna().sum())
            title = f"{muscle.replace('_', ' ')} {measure.title}"
            rows.append({"value": title, "there": there, "missing": len(people) - there, "with_z_score": None})
    return pd.DataFrame(rows).astype({"with_z_score": "Int64"})


def describe_people(people: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Mean and standard deviation of every value, by sex; share below the lower limit of normal where there is one."""
    values = [("age_years", "age", "years"), ("height_cm", "height", "cm")]
    values += [(lung.name, lung.title, lung.unit) for lung in settings.lung_function]
    values += [
        (f"{muscle}.{measure.name}", f"{muscle.replace('_', ' ')} {measure.title}", measure.unit)
        for muscle in settings.muscles
        for measure in settings.muscle_measures
    ]
    limits = {lung.name: f"{lung.z}_lln" for lung in settings.lung_function if lung.z}
    rows = []
    for column, title, unit in values:
        for sex in ("M", "F"):
            part = people[people["sex"] == sex]
            there = part[column].dropna()
            row = {"value": title, "unit": unit, "sex": sex, "n": len(there), "mean": there.mean(), "sd": there.std()}
            row |= {"z_mean": np.nan, "z_sd": np.nan, "below_lln_percent": np.nan}
            if column in limits:
                known = part[part[limits[column]].notna() & part[column].notna()]
                scores = part[limits[column].replace("_lln", "_z")]
                below = known[column] < known[limits[column]]
                row |= {"z_mean": scores.mean(), "z_sd": scores.std()}
                row["below_lln_percent"] = 100 * below.mean() if len(below) else np.nan
            rows.append(row)
    return pd.DataFrame(rows)
