"""What a label map means decides what is checked, measured and shown: one `CaseKind` per label schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from myotome.geometry import Volume
from myotome.measurement import CaseResult, Grading, Instance, Level, Measurement, Subject
from myotome.structures import LabelMap

__all__ = ["CaseKind", "Findings", "Subject"]

Picture = Callable[[Path, Volume, CaseResult], None]
Page = Callable[[Path, Volume, CaseResult, Path | None], None]


@dataclass(frozen=True)
class Findings:
    """What a segmenter says of a case beside its label map: a grading, the slice of its level, the objects it found."""

    grading: Grading | None = None
    level: Level | None = None
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class CaseKind:
    """How the cases of one label schema are read, checked, measured and shown.

    A module of this package makes one for each schema of ``configs/structures.yaml`` whose cases can be measured, and
    ``KINDS`` in `myotome.pipeline.kinds` lists them. Everything else (command line, cohort, label server) asks
    `kind_of` and knows no schema by name.

    Parameters
    ----------
    schema : name of the label schema
    modality : of its images, ``"CT"`` or ``"MR"``
    require_image : refuses, in a sentence, an image that cannot be such a case
    measure : rows and the case's flags, from image, labels, person and what the segmenter found beside the labels
    write_overview, write_report, write_thumbnail : pictures and page for a reader
    across : the direction in which its slices follow each other: ``"IS"`` for axial ones, ``"LR"`` for sagittal
    one_level : its labels belong to one vertebral level, which a person may name
    """

    schema: str
    modality: str
    require_image: Callable[[Volume], None] = field(repr=False)
    measure: Callable[[Volume, LabelMap, Subject, Findings], tuple[tuple[Measurement, ...], tuple[str, ...]]] = field(
        repr=False
    )
    write_overview: Picture = field(repr=False)
    write_report: Page = field(repr=False)
    write_thumbnail: Picture = field(repr=False)
    across: str = "IS"
    one_level: bool = False

    @property
    def reading(self) -> dict[str, Any]:
        """How its images are read: keywords of `myotome.io.read_volume`. One level may come as one slice."""
        return {"modality": self.modality, "across": self.across, "single_slice": self.one_level}
