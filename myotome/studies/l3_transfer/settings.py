"""The study's configuration: whose slices, which folds and subsets, which sources, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from myotome.errors import InputError
from myotome.networks.l3_muscle import PRETEXT_STAGES, SOURCES
from myotome.resources import config_path
from myotome.studies.protocol import People, Settings, read_protocol, refuse_other_kinds, refuse_unknown_parts

__all__ = [
    "PRETEXTS",
    "STRUCTURES",
    "ObserverModel",
    "StudySettings",
    "make_study_settings",
    "read_study_settings",
]

PRETEXTS = (*PRETEXT_STAGES, "phantom")
STRUCTURES = ("skeletal_muscle", "muscle_compartment")
_EXAMPLE = "configs/studies/l3_transfer.yaml"


@dataclass(frozen=True)
class ObserverModel:
    """Simulated observers: ``count`` of them, and by how much their contours leave the reference (mm, one SD).

    ``outward_mm`` is what all of them draw too wide; ``systematic_mm`` an observer's own habit, the same in every case;
    ``random_mm`` differs from case to case, and changes along the contour over about ``correlation_mm``.
    """

    count: int
    outward_mm: float
    systematic_mm: float
    random_mm: float
    correlation_mm: float
    seed: int

    def __post_init__(self) -> None:
        if self.count < 2 or min(self.outward_mm, self.systematic_mm, self.random_mm) < 0 or self.correlation_mm <= 0:
            raise InputError(
                "the observer model needs 2 observers or more, deviations of 0 mm or more and a correlation length "
                "above 0 mm."
            )


@dataclass(frozen=True)
class StudySettings(Settings):
    """One study's choices; the names are those of ``configs/studies/l3_transfer.yaml``."""

    # What neither a training nor a mask depends on.
    of_the_analysis = ("keep_weights", "resamples", "gain_sizes", "structure", "held_out", "real", "observers")

    bundle: str
    phantoms: People
    datalist: str | None
    fold_count: int
    validation_count: int
    subset_sizes: tuple[int, ...]
    repeats: int
    sources: tuple[str, ...]
    seed: int
    structure: str
    unlabelled: People
    phantom_people: People
    training: Mapping[str, Any]
    pretext_training: Mapping[str, Mapping[str, Any]]
    keep_weights: bool
    observers: ObserverModel
    resamples: int
    gain_sizes: tuple[int, ...]
    held_out: Mapping[str, Any]
    real: Mapping[str, Any]

    def __post_init__(self) -> None:
        _refuse_unknown(self.sources, SOURCES, "source")
        _refuse_unknown((self.structure,), STRUCTURES, "structure")
        if "scratch" not in self.sources:
            raise InputError("sources lack 'scratch', which every other source is compared with: add it.")
        if len(set(self.sources)) != len(self.sources):
            raise InputError("a source is named twice: name each once.")
        sizes = self.subset_sizes
        if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
            raise InputError(f"subset_sizes is {list(sizes)}: give different numbers of 1 or more, ascending.")
        if self.fold_count < 2 or self.validation_count < 1 or self.repeats < 1:
            raise InputError("the study needs 2 folds or more, a validation case and a repeat.")
        groups = {"unlabelled": self.unlabelled, "phantom_people": self.phantom_people}
        for name, people in groups.items():
            if self.datalist is None and people.overlaps(self.phantoms):
                raise InputError(f"{name} and phantoms share people, so that test slices would be seen: move the seed.")
        if self.unlabelled.overlaps(self.phantom_people):
            raise InputError("unlabelled and phantom_people share people: move the seed of one.")


def _refuse_unknown(names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"the {what} '{name}' is not known: choose from {', '.join(known)}.")


def read_study_settings(path: Path | None = None, preset: str | None = None) -> StudySettings:
    """The study's configuration, from a file or from the project's own; a preset of the file is laid over it.

    Raises
    ------
    InputError
        When the file is not YAML, a part is missing or not known, or there is no such preset.
    """
    return make_study_settings(read_protocol(path or config_path("studies/l3_transfer.yaml"), preset))


def make_study_settings(table: Mapping[str, Any]) -> StudySettings:
    """Settings from the parts of the configuration.

    Raises
    ------
    InputError
        When a part is missing, not known, or of another kind.
    """
    refuse_unknown_parts(table, [field.name for field in fields(StudySettings)], _EXAMPLE)
    parts = dict(table)
    with refuse_other_kinds(_EXAMPLE):
        for name in ("phantoms", "unlabelled", "phantom_people"):
            parts[name] = People(**table[name])
        parts["observers"] = ObserverModel(**table["observers"])
        for name in ("subset_sizes", "sources", "gain_sizes"):
            parts[name] = tuple(table[name])
        return StudySettings(**parts)
