"""Which slice is L3, where a person says so: by its number, or by a label map of the vertebrae."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.io.nifti import read_nifti_labels
from myotome.measurement import Level
from myotome.pipeline.axes import in_axis_order, turn_array
from myotome.pipeline.kinds import kind_of
from myotome.structures import LabelMap

if TYPE_CHECKING:
    from myotome.inference import Segmenter

__all__ = [
    "LevelChoice",
    "LevelSegmenter",
    "keep_chosen_level",
    "keep_level",
    "require_level_segmenter",
    "segment_at",
]

L3_OF_117 = 29
"""L3 in TotalSegmentator's numbering of 117 classes."""

_BODY_DEPTH_MM = 25.0


class LevelSegmenter(Protocol):
    """What a `Segmenter` has on top when it labels one vertebral level: it says which slice that is, or is told."""

    finds_level: bool

    def segment_level(self, volume: Volume, *, level_slice: int | None = None, average: bool = False) -> LabelMap:
        """Label map of the level's slice, which it finds by itself without ``level_slice``; 0 in all other slices.

        Parameters
        ----------
        level_slice : index along the volume's own inferior-superior axis, from 0
        average : label the two neighbours as well
        """
        ...

    def locate(self, volume: Volume, label_map: LabelMap) -> Level | None:
        """Which slice is the level, as `segment` found it in this volume."""
        ...


@dataclass(frozen=True)
class LevelChoice:
    """What a person says of the level that is to be measured; with nothing said the bundle finds it by itself.

    Parameters
    ----------
    slice_index : the slice, counted from 0 along the volume's own inferior-superior axis
    vertebrae : NIfTI label map of the vertebrae, on the image's grid
    vertebra_label : which of its labels is L3
    average : measure the slice and its two neighbours, and give the mean

    Raises
    ------
    InputError
        When both a slice and a mask are given, the slice is negative, or the mask is not there.
    """

    slice_index: int | None = None
    vertebrae: Path | None = None
    vertebra_label: int = L3_OF_117
    average: bool = False

    def __post_init__(self) -> None:
        if self.slice_index is not None and self.vertebrae is not None:
            raise InputError("both a slice and a vertebra mask say where L3 is: give --slice or --vertebrae, not both.")
        if self.slice_index is not None and self.slice_index < 0:
            raise InputError(f"slice {self.slice_index} does not exist: slices are counted from 0.")
        if self.vertebrae is not None and not Path(self.vertebrae).is_file():
            raise InputError(f"there is no vertebra mask at '{self.vertebrae}': check the path.")

    @property
    def given(self) -> bool:
        """True when anything is said."""
        return self.slice_index is not None or self.vertebrae is not None or self.average

    def find(self, volume: Volume) -> Level | None:
        """The level on a volume; ``None`` when neither a slice nor a mask is given.

        Raises
        ------
        InputError
            When the slice is outside the volume, or the mask is on another grid, has no such label, or shows a vertebra
            that the scan's end cuts off.
        """
        if self.vertebrae is not None:
            return _find_in_mask(volume, Path(self.vertebrae), self.vertebra_label)
        if self.slice_index is None:
            return None
        depth = volume.grid.shape[volume.grid.axis("IS")]
        if self.slice_index >= depth:
            raise InputError(f"slice {self.slice_index} is outside the image: its slices are 0 to {depth - 1}.")
        return Level(self.slice_index, volume.grid.slice_z_mm(self.slice_index), None, "given by hand")


def _find_in_mask(volume: Volume, path: Path, label: int) -> Level:
    """The middle slice of a vertebral body: the mean height of the front 25 mm of its label, which hold no arch."""
    array, grid = turn_array(*read_nifti_labels(path), volume.grid)
    name, axis = path.name, volume.grid.axis("IS")
    if not volume.grid.same_as(grid):
        raise InputError(
            f"'{name}' ({grid.shape}) is not on the image's grid ({volume.grid.shape}): "
            "resample it to the image by nearest neighbour."
        )
    mask = array == label
    if not mask.any():
        raise InputError(
            f"'{name}' has no voxel of label {label}, so it shows no L3: say by --l3-label which of its labels is L3 "
            "(it has " + ", ".join(str(int(value)) for value in np.unique(array)[:20]) + ")."
        )
    front = volume.grid.axis("PA")
    rows = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != front)))
    depth = max(1, round(_BODY_DEPTH_MM / volume.grid.spacing_mm[front]))
    kept = rows[rows > rows[-1] - depth] if volume.grid.axis_codes[front] == "A" else rows[rows < rows[0] + depth]
    counts = np.take(mask, kept, front).sum(axis=tuple(other for other in range(3) if other != axis))
    if len(counts) > 1 and (counts[0] or counts[-1]):
        raise InputError(
            f"the end of the image cuts label {label} of '{name}' off, so its middle is not known: "
            "name the slice by --slice, or give a scan that shows the whole of L3."
        )
    index = round(float(np.arange(len(counts)) @ counts / counts.sum()))
    return Level(index, volume.grid.slice_z_mm(index), None, f"middle of label {label} of {name}")


def segment_at(segmenter: Segmenter, volume: Volume, choice: LevelChoice) -> tuple[LabelMap, Level | None]:
    """Segment a volume, at the level that a person chose where one did.

    Returns
    -------
    label_map, level
        The level is ``None`` where nobody chose: `LevelSegmenter.locate` tells what was found.

    Raises
    ------
    InputError
        When a level is chosen and the segmenter labels none (see `require_level_segmenter`).
    """
    if not choice.given:
        return segmenter.segment(volume), None
    require_level_segmenter(segmenter)
    level = choice.find(volume)
    level_slice = None if level is None else level.slice_index
    return segmenter.segment_level(volume, level_slice=level_slice, average=choice.average), level


def require_level_segmenter(segmenter: Segmenter) -> None:
    """Refuse to choose a level for a segmenter that labels a whole volume."""
    if not getattr(segmenter, "finds_level", False):
        raise InputError(
            f"'{segmenter.bundle}' labels no single vertebral level, so it takes no --slice, --vertebrae or --average: "
            "leave them out."
        )


def keep_chosen_level(label_map: LabelMap, volume: Volume, choice: LevelChoice) -> tuple[LabelMap, Level | None]:
    """A given label map with only the slices left that a person chose; as it is where nobody chose.

    Parameters
    ----------
    label_map : on the volume's grid, in any axis order

    Raises
    ------
    InputError
        When the label map's schema has no level, the level cannot be found, or nothing is labelled in its slice.
    """
    if not choice.given:
        return label_map, None
    if not kind_of(label_map.schema).one_level:
        raise InputError(
            f"labels of '{label_map.schema.name}' belong to no single vertebral level, so they take no --slice, "
            "--vertebrae or --average: leave them out."
        )
    level = choice.find(volume)
    return keep_level(in_axis_order(label_map, volume.grid), level, choice.average), level


def keep_level(label_map: LabelMap, level: Level | None, average: bool) -> LabelMap:
    """A given label map with only the slice of a level left, and its two neighbours to average.

    Parameters
    ----------
    level : the middle of the labelled slices when ``None``

    Raises
    ------
    InputError
        When nothing is labelled in that slice.
    """
    axis = label_map.grid.axis("IS")
    planes = np.moveaxis(label_map.array, axis, 0)
    labelled = [index for index, plane in enumerate(planes) if plane.any()]
    index = labelled[len(labelled) // 2] if level is None and labelled else getattr(level, "slice_index", 0)
    if index not in labelled:
        seen = f"labelled are slices {', '.join(map(str, labelled))}" if labelled else "no slice is labelled"
        raise InputError(f"nothing is labelled in slice {index}: {seen}.")
    kept = np.zeros_like(label_map.array)
    reach = slice(max(0, index - 1), index + 2) if average else slice(index, index + 1)
    np.moveaxis(kept, axis, 0)[reach] = planes[reach]
    return LabelMap(kept, label_map.grid, label_map.schema)
