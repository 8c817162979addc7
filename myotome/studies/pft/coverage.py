"""Do the study's intervals hold the truth, and do its discoveries hold up? Replications on phantom people.

Each replication is people drawn from one population whose correlations are known without measurement error. Their
muscle is measured with the pipeline's errors; the size of that error is learnt from a few validation cases drawn anew,
as the study learnt it from its own. The null is made from the same people: lung function as age, sex and height
predict it, plus residuals exchanged between people of one sex, so that nothing but chance ties it to muscle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from myotome import __version__
from myotome.io.atomic import atomic_path
from myotome.statistics.correlation import Correlation, correct_correlation, correlate
from myotome.statistics.measurement_error import estimate_error
from myotome.statistics.multiple_testing import adjust_fdr
from myotome.studies.pft.phantoms import LUNG_FUNCTION, Population, measure_muscle
from myotome.studies.pft.settings import Settings

__all__ = ["Replications", "replicate", "summarise", "write_coverage"]

Key = tuple[str, str, str]

# What is kept of each estimate.
_PARTS = ("value", "lower", "upper")
# In the mixed family these are tied to muscle, the others made null.
_KEPT = ("mip_cmh2o", "mep_cmh2o")


@dataclass(frozen=True, eq=False)
class Replications:
    """Estimates of every replication.

    ``keys`` are (muscle, measure, lung function); ``truth`` their partial correlations in the whole population.
    ``plain`` and ``corrected`` are (replications, keys, 3): value and interval, NaN where none was given. ``null``
    counts discoveries in a family that is null throughout; ``mixed`` is (replications, 2): false and all discoveries in
    a family that is null but for the respiratory pressures.
    """

    keys: tuple[Key, ...]
    truth: np.ndarray
    plain: np.ndarray
    corrected: np.ndarray
    null: np.ndarray
    mixed: np.ndarray
    people: int
    population: int


def replicate(
    population: Population,
    settings: Settings,
    count: int,
    people: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> Replications:
    """Run replications of the study; the same settings give the same figures.

    Parameters
    ----------
    count : how many replications; the first ones of a longer run are those of a shorter one.
    people : in each replication.
    """
    keys = tuple((*muscle, lung) for muscle in population.muscle for lung in LUNG_FUNCTION)
    everyone = population.covariates
    truth = [correlate(population.muscle[key[:2]], population.lung[key[2]], everyone).value for key in keys]
    plain, corrected = (np.full((count, len(keys), len(_PARTS)), np.nan) for _ in range(2))
    null, mixed = np.zeros(count, dtype=int), np.zeros((count, 2), dtype=int)
    for number in range(count):
        rng = np.random.default_rng((settings.coverage["seed"], number))
        sample = population.take(rng.choice(len(population), people, replace=False))
        measured = measure_muscle(sample, settings, rng)
        plain[number], corrected[number] = _estimate(keys, sample, measured, settings, rng)
        shuffled = _make_null(sample, rng)
        null[number] = sum(_discover(keys, measured, shuffled, sample, settings))
        lung = {name: (sample if name in _KEPT else shuffled).lung[name] for name in LUNG_FUNCTION}
        found = _discover(keys, measured, Population(*_people(sample), sample.muscle, lung), sample, settings)
        false = sum(hit for hit, key in zip(found, keys, strict=True) if key[2] not in _KEPT)
        mixed[number] = false, sum(found)
        if progress:
            progress(number + 1, count, "replications")
    return Replications(keys, np.array(truth, dtype=float), plain, corrected, null, mixed, people, len(population))


def summarise(replications: Replications) -> pd.DataFrame:
    """One row per pair: truth, mean estimates, and the share of intervals that hold the truth (Wilson's interval)."""
    rows = []
    for place, (muscle, measure, lung) in enumerate(replications.keys):
        truth = float(replications.truth[place])
        row: dict[str, Any] = {"muscle": muscle, "measure": measure, "lung_function": lung, "truth": truth}
        for name, estimates in (("uncorrected", replications.plain), ("corrected", replications.corrected)):
            value, low, high = estimates[:, place].T
            given = np.isfinite(value)
            held = int(((low <= truth) & (truth <= high))[given].sum())
            row |= {
                f"{name}_mean": float(value[given].mean()),
                f"{name}_half_width": float((high - low)[given].mean() / 2),
            }
            row |= _share(held, int(given.sum()), f"{name}_coverage")
        row["replications"] = int(given.sum())
        rows.append(row)
    return pd.DataFrame(rows)


def write_coverage(output: Path, replications: Replications, settings: Settings) -> dict[str, Any]:
    """Write ``coverage.csv`` (one row per pair) and ``coverage.json``; returns what the latter holds.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    table = summarise(replications)
    any_null = int((replications.null > 0).sum())
    false, found = replications.mixed.T
    proportion = np.where(found > 0, false / np.maximum(found, 1), 0.0)
    shares = table["corrected_coverage"]
    summary = {
        "people": replications.people,
        "population": replications.population,
        "population_seed": settings.coverage["population_seed"],
        "seed": settings.coverage["seed"],
        "replications": len(replications.null),
        "pairs": len(table),
        "pairs_within_93_to_97_percent": int(shares.between(0.93, 0.97).sum()),
        "lowest_coverage": float(shares.min()),
        "highest_coverage": float(shares.max()),
        "mean_coverage": float(shares.mean()),
        "level": settings.level,
        "false_discovery_rate": settings.false_discovery_rate,
        **_share(any_null, len(replications.null), "null_families_with_a_discovery"),
        "mixed_families_false_discovery_proportion": float(proportion.mean()),
        "mixed_families_false_discovery_proportion_se": float(proportion.std(ddof=1) / np.sqrt(len(proportion)))
        if len(proportion) > 1
        else None,
        "software": {"myotome": __version__, "numpy": np.__version__},
    }
    with atomic_path(output / "coverage.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.5f", lineterminator="\n")
    with atomic_path(output / "coverage.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _share(hits: int, count: int, name: str) -> dict[str, float]:
    interval = stats.binomtest(hits, count).proportion_ci(method="wilson")
    return {name: hits / count, f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}


def _estimate(
    keys: tuple[Key, ...],
    sample: Population,
    measured: dict[tuple[str, str], np.ndarray],
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Plain and corrected partial correlations: two arrays (keys, 3)."""
    cases, errors = settings.coverage["validation_cases"], {}
    for muscle, measure in measured:
        section = settings.measurement_error[muscle][measure]
        errors[muscle, measure] = estimate_error(section["kind"], rng.choice(section["errors"], cases))
    others = sample.covariates
    plain, corrected = [], []
    for key in keys:
        x, y = measured[key[:2]], sample.lung[key[2]]
        plain.append(_parts(correlate(x, y, others, settings.level)))
        corrected.append(_parts(correct_correlation(x, y, errors[key[:2]], others, settings.level)))
    return np.array(plain), np.array(corrected)


def _parts(estimate: Correlation) -> list[float]:
    return [np.nan if (part := getattr(estimate, name)) is None else part for name in _PARTS]


def _people(sample: Population) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return sample.male, sample.age_years, sample.height_cm


def _make_null(sample: Population, rng: np.random.Generator) -> Population:
    """The same people with lung function that nothing but age, sex and height ties to muscle."""
    design = np.column_stack([np.ones(len(sample)), sample.covariates])
    order = np.arange(len(sample))
    for sex in (0, 1):
        rows = np.flatnonzero(sample.male == sex)
        order[rows] = rng.permutation(rows)
    lung = {}
    for name, values in sample.lung.items():
        expected = design @ np.linalg.lstsq(design, values, rcond=None)[0]
        lung[name] = expected + (values - expected)[order]
    return Population(*_people(sample), sample.muscle, lung)


def _discover(
    keys: tuple[Key, ...],
    measured: dict[tuple[str, str], np.ndarray],
    lung: Population,
    sample: Population,
    settings: Settings,
) -> list[bool]:
    others = sample.covariates
    p_values = [correlate(measured[key[:2]], lung.lung[key[2]], others).p_value for key in keys]
    return [q is not None and q <= settings.false_discovery_rate for q in adjust_fdr(p_values)]
