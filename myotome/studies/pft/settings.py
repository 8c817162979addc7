"""The study's configuration: what is correlated with what, and what is believed of a table of tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from myotome.errors import InputError
from myotome.resources import config_path
from myotome.statistics.measurement_error import MeasurementError, estimate_error

__all__ = ["LungMeasure", "MuscleMeasure", "Settings", "read_settings"]

_CHOICES = {
    "reference": ("gli_global_2022", "gli_2012"),
    "undated": ("exclude", "include"),
    "repeated": ("nearest", "all"),
}
_SIMPLE = ("reference", "window_days", "undated", "repeated", "level", "false_discovery_rate", "fewest_people")


@dataclass(frozen=True)
class MuscleMeasure:
    """A measure of the cohort's table, its unit as printed, and flags (or beginnings of flags) that spoil it."""

    name: str
    measure: str
    statistic: str
    unit: str
    title: str
    leave_out: tuple[str, ...]


@dataclass(frozen=True)
class LungMeasure:
    """A measure of lung function, and the reference parameter of its z-score where there is one."""

    name: str
    title: str
    unit: str
    z: str | None


@dataclass(frozen=True)
class Settings:
    """One study's choices; the names are those of ``configs/studies/pft_correlation.yaml``."""

    muscles: tuple[str, ...]
    muscle_measures: tuple[MuscleMeasure, ...]
    lung_function: tuple[LungMeasure, ...]
    columns: dict[str, dict[str, Any]]
    measurement_error: dict[str, Any]
    phantoms: dict[str, Any]
    coverage: dict[str, Any]
    reference: str
    window_days: int
    undated: str
    repeated: str
    level: float
    false_discovery_rate: float
    fewest_people: int

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is '{getattr(self, name)}': choose {' or '.join(choices)}.")
        if self.window_days < 0:
            raise InputError(f"window_days is {self.window_days}: give 0 or more days.")

    def changed(self, **choices: Any) -> Settings:
        """The same with other choices; one that is ``None`` stays as it was."""
        return replace(self, **{name: value for name, value in choices.items() if value is not None})

    def error_of(self, muscle: str, measure: str) -> MeasurementError | None:
        """The measurement error of a muscle's measure; ``None`` when the configuration has none."""
        section = self.measurement_error.get(muscle, {}).get(measure)
        return None if section is None else estimate_error(section["kind"], section["errors"])


def read_settings(path: Path | None = None) -> Settings:
    """The study's configuration, from a file or from the project's own.

    Raises
    ------
    InputError
        When the file is not YAML, or a part is missing or not known.
    """
    path = path or config_path("studies/pft_correlation.yaml")
    try:
        table = YAML(typ="safe").load(path)
        measures = tuple(
            MuscleMeasure(name, **{**row, "leave_out": tuple(row["leave_out"])})
            for name, row in table["muscle_measures"].items()
        )
        lung = tuple(LungMeasure(name, **row) for name, row in table["lung_function"].items())
        parts = {name: table[name] for name in ("columns", "measurement_error", "phantoms", "coverage", *_SIMPLE)}
        return Settings(tuple(table["muscles"]), measures, lung, **parts)
    except (OSError, YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the study's configuration cannot be read ({reason}): give a YAML file.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the study's configuration lacks a part or has an unknown one ({error}): begin with a copy of "
            "configs/studies/pft_correlation.yaml."
        ) from error
