"""The study's configuration: whose scans, what is fitted, how they are repeated and broken, and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from myotome.biomarkers.bone_density import METHODS
from myotome.errors import InputError
from myotome.resources import config_path
from myotome.studies.protocol import People, Settings, read_protocol, refuse_other_kinds, refuse_unknown_parts
from myotome.studies.qct_agreement.changes import Changes, check_changes

__all__ = [
    "SEGMENTERS",
    "Broken",
    "Fault",
    "Fitting",
    "Precision",
    "Repeats",
    "Site",
    "StudySettings",
    "make_study_settings",
    "read_study_settings",
]

SEGMENTERS = ("truth", "bundle")
_EXAMPLE = "configs/studies/qct_agreement.yaml"
_DIRECTIONS = ("at_least", "at_most", "within")
_TABLES = ("agreement", "areas", "coverage", "decisions", "ordeal", "precision")


@dataclass(frozen=True)
class Fitting:
    """How the training part is fitted: fewest people at a tube voltage of its own, and Deming's ratio of errors."""

    fewest_at_voltage: int
    error_ratio: float

    def __post_init__(self) -> None:
        if self.fewest_at_voltage < 5 or self.error_ratio <= 0:
            raise InputError("fitting needs 5 people or more at a voltage, and an error ratio above 0.")


@dataclass(frozen=True)
class Repeats:
    """Who is scanned again, and how: of each factor, the changes to the acquisition of one repeat each."""

    people: People
    factors: Mapping[str, Sequence[Changes]]

    def __post_init__(self) -> None:
        for name, steps in self.factors.items():
            if not steps:
                raise InputError(f"repeats.factors.{name} has no change: give one or more, or leave the factor out.")
            for step in steps:
                check_changes(step, f"repeats.factors.{name}")


@dataclass(frozen=True)
class Precision:
    """Factors whose repeats are taken together for one coefficient of variation."""

    title: str
    factors: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """One way to break a calibration.

    ``flags`` are beginnings of the flags that say so; ``scan`` changes the acquisition; ``factors`` are what a wrong
    rescale slope is off by.
    """

    title: str
    flags: tuple[str, ...]
    scan: Changes = field(default_factory=dict)
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_changes(self.scan, "broken.faults")


@dataclass(frozen=True)
class Broken:
    """Whose calibrations are broken, each in every way."""

    people: People
    faults: Mapping[str, Fault]


@dataclass(frozen=True)
class Site:
    """How a site's own table is read and divided."""

    range_mg_cm3: tuple[float, float]
    test_share: float
    fewest_training: int


@dataclass(frozen=True)
class StudySettings(Settings):
    """One study's choices; the names are those of ``configs/studies/qct_agreement.yaml``."""

    # What no image and no survey of one depends on.
    of_the_analysis = (
        *("methods", "fitting", "precision", "leave_out", "groups", "fewest_in_group", "paper", "bars", "site"),
        *("resamples", "seed"),
    )

    bundle: str
    segmenter: str
    methods: tuple[str, ...]
    levels: tuple[str, ...]
    training: People
    test: People
    scan: Changes
    fitting: Fitting
    repeats: Repeats
    precision: Mapping[str, Precision]
    broken: Broken
    leave_out: tuple[str, ...]
    groups: tuple[str, ...]
    fewest_in_group: int
    paper: Mapping[str, tuple[float, float]]
    bars: tuple[Mapping[str, Any], ...]
    site: Site
    resamples: int
    seed: int

    def __post_init__(self) -> None:
        if self.segmenter not in SEGMENTERS:
            raise InputError(f"segmenter is '{self.segmenter}': choose {' or '.join(SEGMENTERS)}.")
        if not self.methods or len(set(self.methods)) != len(self.methods) or set(self.methods) - set(METHODS):
            raise InputError(f"methods is {list(self.methods)}: name one or more of {', '.join(METHODS)}, each once.")
        check_changes(self.scan, "scan")
        self._refuse_shared_people()
        for name, part in self.precision.items():
            unknown = sorted(set(part.factors) - set(self.repeats.factors))
            if unknown:
                raise InputError(f"precision.{name} names the factor '{unknown[0]}', which repeats.factors lacks.")
        for bar in self.bars:
            if bar["table"] not in _TABLES or not set(bar) & set(_DIRECTIONS):
                raise InputError(
                    f"the bar '{bar['title']}' is of no table or has no limit: tables are {', '.join(_TABLES)}, limits "
                    f"{', '.join(_DIRECTIONS)}."
                )

    def _refuse_shared_people(self) -> None:
        parts = {
            "training": self.training,
            "test": self.test,
            "repeats.people": self.repeats.people,
            "broken.people": self.broken.people,
        }
        for (name, people), (other, others) in combinations(parts.items(), 2):
            if people.overlaps(others):
                raise InputError(f"{name} and {other} share people: move the seed of one.")


def read_study_settings(path: Path | None = None, preset: str | None = None) -> StudySettings:
    """The study's configuration, from a file or from the project's own; a preset of the file is laid over it.

    Raises
    ------
    InputError
        When the file is not YAML, a part is missing or not known, or there is no such preset.
    """
    return make_study_settings(read_protocol(path or config_path("studies/qct_agreement.yaml"), preset))


def make_study_settings(table: Mapping[str, Any]) -> StudySettings:
    """Settings from the parts of the configuration.

    Raises
    ------
    InputError
        When a part is missing, not known, or of another kind.
    """
    refuse_unknown_parts(table, [one.name for one in fields(StudySettings)], _EXAMPLE)
    parts = dict(table)
    with refuse_other_kinds(_EXAMPLE):
        for name in ("training", "test"):
            parts[name] = People(**table[name])
        for name in ("methods", "levels", "leave_out", "groups", "bars"):
            parts[name] = tuple(table[name])
        parts["fitting"] = Fitting(**table["fitting"])
        parts["repeats"] = Repeats(People(**table["repeats"]["people"]), table["repeats"]["factors"])
        parts["precision"] = {
            name: Precision(row["title"], tuple(row["factors"])) for name, row in table["precision"].items()
        }
        faults = {name: _make_fault(row) for name, row in table["broken"]["faults"].items()}
        parts["broken"] = Broken(People(**table["broken"]["people"]), faults)
        parts["site"] = Site(**{**table["site"], "range_mg_cm3": tuple(table["site"]["range_mg_cm3"])})
        return StudySettings(**parts)


def _make_fault(row: Mapping[str, Any]) -> Fault:
    lists = {name: tuple(row[name]) for name in ("flags", "factors") if name in row}
    return Fault(**{**row, **lists})
