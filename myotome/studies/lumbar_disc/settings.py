"""The study's configuration: whose images, how they are divided, and how each part is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from myotome.errors import InputError
from myotome.networks.mask_rcnn import BACKBONES
from myotome.resources import config_path
from myotome.studies.lumbar_disc.splits import SPLITS
from myotome.studies.protocol import Settings, read_protocol, refuse_other_kinds, refuse_unknown_parts

__all__ = ["People", "StudySettings", "make_study_settings", "read_study_settings"]

_EXAMPLE = "configs/studies/lumbar_disc.yaml"


@dataclass(frozen=True)
class People:
    """Phantoms of seeds ``seed`` to ``seed + count - 1``; axial ones with ``slices`` through each disc."""

    seed: int
    count: int
    slices: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0 or self.slices < 1:
            raise InputError(
                f"{self.count} phantoms from seed {self.seed} with {self.slices} slices cannot be made: ask for 1 or "
                "more, from 0 on."
            )


@dataclass(frozen=True)
class StudySettings(Settings):
    """One study's choices; the names are those of ``configs/studies/lumbar_disc.yaml``."""

    # What no training depends on.
    of_the_analysis = ("keep_weights", "resamples", "paper", "held_out", "real")

    bundle: str
    datalist: str | None
    phantoms: People
    test_patients: int
    validation_patients: int
    seed: int
    splits: tuple[str, ...]
    backbone: str
    overlays: tuple[str, ...]
    training: Mapping[str, Any]
    keep_weights: bool
    least_score: float
    nsd_tolerance_mm: float
    resamples: int
    paper: Mapping[str, float]
    held_out: Mapping[str, Any]
    real: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise InputError(f"backbone is '{self.backbone}': choose {' or '.join(BACKBONES)}.")
        if not self.splits or len(set(self.splits)) != len(self.splits) or not set(self.splits) <= set(SPLITS):
            raise InputError(f"splits is {list(self.splits)}: name each of {', '.join(SPLITS)} once, or one of them.")
        if not 0 <= self.least_score <= 1 or self.nsd_tolerance_mm <= 0 or self.validation_patients < 1:
            raise InputError(
                "least_score lies between 0 and 1, nsd_tolerance_mm above 0, and a training needs a validation patient."
            )


def read_study_settings(path: Path | None = None, preset: str | None = None) -> StudySettings:
    """The study's configuration, from a file or from the project's own; a preset of the file is laid over it.

    Raises
    ------
    InputError
        When the file is not YAML, a part is missing or not known, or there is no such preset.
    """
    return make_study_settings(read_protocol(path or config_path("studies/lumbar_disc.yaml"), preset))


def make_study_settings(table: Mapping[str, Any]) -> StudySettings:
    """Settings from the parts of the configuration.

    Raises
    ------
    InputError
        When a part is missing, not known, or of another kind.
    """
    refuse_unknown_parts(table, [field.name for field in fields(StudySettings)], _EXAMPLE)
    with refuse_other_kinds(_EXAMPLE):
        parts = dict(table) | {"phantoms": People(**table["phantoms"])}
        parts |= {name: tuple(table[name]) for name in ("splits", "overlays")}
        return StudySettings(**parts)
