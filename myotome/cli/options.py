"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from myotome.pipeline import LevelChoice

__all__ = ["Average", "HeightM", "L3Label", "Sex", "SexOption", "Slice", "Vertebrae", "choose_level"]


class Sex(StrEnum):
    """As a DICOM header writes it."""

    M = "M"
    F = "F"


HeightM = Annotated[
    float | None, typer.Option("--height-m", help="Height in metres, for indices; the header's if left out.")
]
SexOption = Annotated[
    Sex | None, typer.Option("--sex", help="For published cut-offs beside the values; the header's if left out.")
]
Slice = Annotated[
    int | None,
    typer.Option("--slice", metavar="N", help="Which slice is L3, from 0; if left out, the bundle finds it."),
]
Vertebrae = Annotated[
    Path | None,
    typer.Option(
        "--vertebrae", metavar="MASK", help="NIfTI label map of the vertebrae, on the image's grid: L3 there."
    ),
]
L3Label = Annotated[
    int | None,
    typer.Option("--l3-label", help="Label of L3 in the vertebra mask; if left out 29, as in TotalSegmentator's 117."),
]
Average = Annotated[
    bool, typer.Option("--average", help="Measure L3 and its two neighbouring slices, and give the mean.")
]


def choose_level(slice_index: int | None, vertebrae: Path | None, l3_label: int | None, average: bool) -> LevelChoice:
    """What the four options say of the level."""
    from myotome.pipeline.level import L3_OF_117, LevelChoice

    return LevelChoice(slice_index, vertebrae, L3_OF_117 if l3_label is None else l3_label, average)
