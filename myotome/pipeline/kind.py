"""What a label map means decides what is checked, measured and shown: one `CaseKind` per label schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from myotome.geometry import Volume
from myotome.measurement import CaseResult, Grading, Measurement
from myotome.structures import LabelMap

__all__ = ["CaseKind", "Subject"]

Picture = Callable[[Path, Volume, CaseResult], None]
Page = Callable[[Path, Volume, CaseResult, Path | None], None]


@dataclass(frozen=True)
class Subject:
    """What is known of the person beside the image; the header's height is taken when there is none here."""

    height_m: float | None = None


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
    measure : rows and the case's flags; the grading is ``None`` where nothing was graded
    write_overview, write_report, write_thumbnail : pictures and page for a reader
    across : the direction in which its slices follow each other: ``"IS"`` for axial ones, ``"LR"`` for sagittal
    """

    schema: str
    modality: str
    require_image: Callable[[Volume], None] = field(repr=False)
    measure: Callable[[Volume, LabelMap, Subject, Grading | None], tuple[tuple[Measurement, ...], tuple[str, ...]]] = (
        field(repr=False)
    )
    write_overview: Picture = field(repr=False)
    write_report: Page = field(repr=False)
    write_thumbnail: Picture = field(repr=False)
    across: str = "IS"
