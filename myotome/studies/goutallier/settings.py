"""The study's configuration: whose shoulders, which folds, which arms, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from myotome.biomarkers.goutallier import read_definition
from myotome.errors import InputError
from myotome.networks import CLASSIFIERS, MASKS
from myotome.resources import config_path
from myotome.studies.protocol import Settings, read_protocol, refuse_unknown_parts

__all__ = ["Arm", "Shoulders", "StudySettings", "make_study_settings", "read_study_settings"]

_TRUTHS = ("grade", "rated_grade")


@dataclass(frozen=True)
class Shoulders:
    """Phantoms of seeds ``seed`` on; ``grades`` says how many there are of grade 0 to 4."""

    seed: int
    grades: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "grades", tuple(self.grades))
        if len(self.grades) != 5 or min(self.grades) < 0 or not sum(self.grades):
            raise InputError(f"phantoms.grades is {list(self.grades)}: give five counts, of grade 0, 1, 2, 3 and 4.")


@dataclass(frozen=True)
class Arm:
    """One way to grade: the masks and the grades of the training, and the masks it is scored with."""

    name: str
    title: str
    train_masks: str
    test_masks: str
    grades: str

    def __post_init__(self) -> None:
        for name, choices in (("train_masks", MASKS), ("test_masks", MASKS), ("grades", _TRUTHS)):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"arm '{self.name}' has {name} '{getattr(self, name)}': choose {', '.join(choices[:-1])} or "
                    f"{choices[-1]}."
                )

    @property
    def training(self) -> str:
        """Name of the training; arms that train alike have one name."""
        return f"{self.train_masks}_masks_{self.grades}"


@dataclass(frozen=True)
class StudySettings(Settings):
    """One study's choices; the names are those of ``configs/studies/goutallier.yaml``."""

    of_the_analysis = ("keep_weights", "resamples", "calibration_bins", "paper", "held_out", "compared", "definitions")

    bundle: str
    phantoms: Shoulders
    fold_count: int
    seed: int
    validation_share: float
    definitions: tuple[str, ...]
    compared: Mapping[str, str]
    arms: tuple[Arm, ...]
    classifier: str
    keep_weights: bool
    region_training: Mapping[str, Any]
    grade_training: Mapping[str, Any]
    resamples: int
    calibration_bins: int
    paper: Mapping[str, tuple[float, float]]
    held_out: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in (*self.definitions, self.compared["definition"]):
            read_definition(name)
        if self.classifier not in CLASSIFIERS:
            raise InputError(f"classifier is '{self.classifier}': choose {' or '.join(CLASSIFIERS)}.")
        names = [arm.name for arm in self.arms]
        if not self.definitions or not names or len(set(names)) != len(names):
            raise InputError("the study needs a definition, and arms of different names: see its configuration.")
        if self.compared["arm"] not in names or self.compared["definition"] not in self.definitions:
            raise InputError(
                f"compared names arm '{self.compared['arm']}' and definition '{self.compared['definition']}': choose "
                f"from the arms {', '.join(names)} and the definitions {', '.join(self.definitions)}."
            )


def read_study_settings(path: Path | None = None, preset: str | None = None) -> StudySettings:
    """The study's configuration, from a file or from the project's own; a preset of the file is laid over it.

    Raises
    ------
    InputError
        When the file is not YAML, a part is missing or not known, or there is no such preset.
    """
    return make_study_settings(read_protocol(path or config_path("studies/goutallier.yaml"), preset))


def make_study_settings(table: Mapping[str, Any]) -> StudySettings:
    """Settings from the parts of the configuration.

    Raises
    ------
    InputError
        When a part is missing or not known.
    """
    refuse_unknown_parts(table, [field.name for field in fields(StudySettings)], "configs/studies/goutallier.yaml")
    try:
        parts = dict(table)
        parts["phantoms"] = Shoulders(**table["phantoms"])
        parts["arms"] = tuple(Arm(**row) for row in table["arms"])
        parts["definitions"] = tuple(table["definitions"])
        return StudySettings(**parts)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the study's configuration lacks a part or has an unknown one ({error}): begin with a copy of "
            "configs/studies/goutallier.yaml."
        ) from error
