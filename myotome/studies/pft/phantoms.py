"""Phantom people for the lung-function study: their true muscle, what would be measured of it, and their lung function.

A person and their lung function come from :mod:`myotome.phantoms.thorax`. Drawing a thorax takes seconds, so that true
volume and density are not measured on an image here: they follow a regression on what the person was drawn from, plus a
residual, both fitted on drawn thoraces by ``scripts/calibrate_pft_phantoms`` and kept in the study's configuration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from myotome.io.atomic import atomic_path
from myotome.phantoms.thorax import Person, make_lung_function, make_person
from myotome.studies.pft.settings import Settings

__all__ = [
    "LUNG_FUNCTION",
    "PREDICTORS",
    "Population",
    "draw_population",
    "make_predictors",
    "measure_muscle",
    "open_population",
]

PREDICTORS = (
    "log_muscle",
    "log_thorax_height",
    "log_half_width",
    "log_depth",
    "log_wall",
    "plane",
    "imat_share",
    "muscle_hu",
)
LUNG_FUNCTION = ("fvc_l", "fev1_l", "fev1_fvc", "dlco_mmol_min_kpa", "mip_cmh2o", "mep_cmh2o")
_LARGEST_RESIDUAL = 3.0
_REPORT_EVERY = 5000


def make_predictors(people: Iterable[Person]) -> np.ndarray:
    """What the truth model knows of each person, in the order of :data:`PREDICTORS`: (people, predictors)."""
    return np.array([_predictors(person) for person in people])


def _predictors(person: Person) -> tuple[float, ...]:
    logs = np.log((person.muscle, person.thorax_height, person.half_width, person.depth, person.wall))
    return (*logs, person.plane, person.imat_share, person.muscle_hu)


@dataclass(frozen=True, eq=False)
class Population:
    """People in arrays of one value each.

    ``male`` is 1 or 0, ``age_years`` and ``height_cm`` as named; ``muscle`` holds the true value (mL or HU) under
    (structure, measure), ``lung`` the lung function under the names of :data:`LUNG_FUNCTION`.
    """

    male: np.ndarray
    age_years: np.ndarray
    height_cm: np.ndarray
    muscle: dict[tuple[str, str], np.ndarray]
    lung: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.male)

    @property
    def covariates(self) -> np.ndarray:
        """Age, sex and height: (people, 3)."""
        return np.column_stack([self.age_years, self.male, self.height_cm])

    def take(self, rows: np.ndarray) -> Population:
        """These people alone, in this order."""
        return Population(
            self.male[rows],
            self.age_years[rows],
            self.height_cm[rows],
            {key: values[rows] for key, values in self.muscle.items()},
            {key: values[rows] for key, values in self.lung.items()},
        )


def draw_population(
    truth: dict[str, Any], count: int, seed: int, progress: Callable[[int, int, str], None] | None = None
) -> Population:
    """Draw people of seeds ``seed`` to ``seed + count - 1``, their lung function and their true muscle.

    Parameters
    ----------
    truth : section ``phantoms.truth`` of the study's configuration.
    """
    facts, lung, predictors = (
        np.empty((count, 3)),
        np.empty((count, len(LUNG_FUNCTION))),
        np.empty((count, len(PREDICTORS))),
    )
    for row in range(count):
        person = make_person(seed + row)
        values = make_lung_function(person)
        facts[row] = person.male, person.age_years, 100 * person.height_m
        lung[row] = [values[name] for name in LUNG_FUNCTION]
        predictors[row] = _predictors(person)
        if progress and (row % _REPORT_EVERY == 0 or row == count - 1):
            progress(row + 1, count, "phantom people")
    rng = np.random.default_rng((seed, 61))
    muscle = {
        (structure, measure): _true_values(model, predictors, rng)
        for structure, models in truth.items()
        for measure, model in models.items()
    }
    return Population(*facts.T.copy(), muscle, dict(zip(LUNG_FUNCTION, lung.T.copy(), strict=True)))


def _true_values(model: dict[str, Any], predictors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    intercept, *slopes = model["coefficients"]
    residual = np.clip(rng.normal(size=len(predictors)), -_LARGEST_RESIDUAL, _LARGEST_RESIDUAL)
    values = intercept + predictors @ np.array(slopes) + model["residual_sd"] * residual
    return np.exp(values) if model["scale"] == "log" else values


def open_population(
    path: Path,
    truth: dict[str, Any],
    size: tuple[int, int],
    progress: Callable[[int, int, str], None] | None = None,
) -> Population:
    """The population kept in a file, or drawn and kept there when the file is absent or of other people.

    Parameters
    ----------
    size : how many people, and the first one's seed.
    """
    signature = _sign(truth, size)
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["signature"]) == signature:
                return _unpack(kept, list(truth), [list(models) for models in truth.values()])
    people = draw_population(truth, *size, progress=progress)
    arrays = {f"muscle/{structure}/{measure}": values for (structure, measure), values in people.muscle.items()}
    arrays |= {f"lung/{name}": values for name, values in people.lung.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            signature=np.array(signature),
            male=people.male,
            age_years=people.age_years,
            height_cm=people.height_cm,
            **arrays,
        )
    return people


def _sign(truth: dict[str, Any], size: tuple[int, int]) -> str:
    drawn = [make_person(size[1]), make_lung_function(make_person(size[1]))]
    text = json.dumps([truth, list(size), PREDICTORS, LUNG_FUNCTION, repr(drawn)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _unpack(kept: Any, structures: Sequence[str], measures: Sequence[Sequence[str]]) -> Population:
    keys = [(structure, measure) for structure, names in zip(structures, measures, strict=True) for measure in names]
    return Population(
        kept["male"],
        kept["age_years"],
        kept["height_cm"],
        {key: kept["/".join(("muscle", *key))] for key in keys},
        {name: kept[f"lung/{name}"] for name in LUNG_FUNCTION},
    )


def measure_muscle(
    people: Population, settings: Settings, rng: np.random.Generator
) -> dict[tuple[str, str], np.ndarray]:
    """What the pipeline would measure of the true values: errors drawn from those of the configuration."""
    measured = {}
    for (muscle, measure), truth in people.muscle.items():
        section = settings.measurement_error[muscle][measure]
        errors = rng.choice(section["errors"], len(people))
        measured[muscle, measure] = truth * (1 + errors) if section["kind"] == "relative" else truth + errors
    return measured
