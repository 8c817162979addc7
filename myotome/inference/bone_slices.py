"""Vertebral bodies by name, and the tissues that calibrate their density, on a chest or abdominal CT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from myotome.errors import InputError
from myotome.geometry import Grid, reorient
from myotome.inference.bone_levels import (
    LEVEL_FLOOR,
    Body,
    SpineRow,
    decide_names,
    read_spine_row,
    split_bodies,
)
from myotome.inference.slices import SliceInferer, spread_slices
from myotome.inference.volumes import KeepsRefusal, require_axial_grid
from myotome.measurement import Level
from myotome.networks import SEQUENCE, SEQUENCE_LEVELS, TISSUE_OF_LABEL, TISSUES, BoneDensitySegmenter
from myotome.transforms import decide_largest

__all__ = ["BoneInferer", "decide_tissue"]

_NAMES = range(1, len(SEQUENCE_LEVELS) + 1)
_BODY = slice(1, len(SEQUENCE_LEVELS) + 1)  # channels of the bodies, and of their labels
_MARGIN_MM = 6.0  # beyond the row's own slices of T8 to L3: a boundary may be two bins away


def decide_tissue(plane: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Index in `myotome.networks.TISSUES` of each pixel of (14, ...) probabilities: bodies count together."""
    join = torch.cat if isinstance(plane, Tensor) else np.concatenate
    return decide_largest(join((plane[:1], plane[_BODY].sum(axis=0, keepdims=True), plane[_BODY.stop :])))


class BoneInferer(KeepsRefusal, SliceInferer):
    """Takes an axial CT and labels the bodies of T8 to L3 by name, and the tissues in their slices.

    The level network reads the row of vertebrae first, so that the tissue network sees only the slices of T8 to L3. A
    body whose name is not sure enough is not labelled; where that is half of them, the image is refused: the MONAI
    call labels nothing and says why in the log, `segment` raises. See `SliceInferer` for the other settings.

    Parameters
    ----------
    spacing_mm, window_hu, neighbour_mm : of the tissue network's slices.
    floor : least probability of a vertebra's name.
    every_slice : label the tissues in all slices, also above T8 and below L3, where the network was not trained.

    Attributes
    ----------
    levels : tuple of Level
        The bodies that are labelled, from below upwards: the slice through the middle of each.
    left_out : tuple of str
        What was found and is not labelled, a sentence each.
    refusal : str
        Why the last image has no label; empty when it has.
    """

    decide = staticmethod(decide_tissue)
    outside = TISSUES.index("air")

    def __init__(
        self,
        spacing_mm: float = 1.5,
        window_hu: Sequence[float] = (-150, 350),
        neighbour_mm: float = 3.0,
        floor: float = LEVEL_FLOOR,
        every_slice: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(spacing_mm, window_hu, neighbour_mm=neighbour_mm, **settings)
        self.floor, self.every_slice = floor, every_slice
        self.levels: tuple[Level, ...] = ()
        self.left_out: tuple[str, ...] = ()

    def segment(
        self, array: np.ndarray, affine: np.ndarray, network: BoneDensitySegmenter, *masks: np.ndarray
    ) -> np.ndarray:
        """(X, Y, Z) uint8 label map of an (X, Y, Z) image in HU.

        Raises
        ------
        InputError
            When the slices are not axial, none of T8 to L3 is in the scan, or their names are not sure enough.
        """
        self.levels, self.left_out = (), ()
        grid, begun = require_axial_grid(array.shape, affine), perf_counter()
        image, turned = reorient(array, affine)
        row = read_spine_row(array, affine, network.level)
        part = self._choose_slices(row, grid)
        reading = perf_counter() - begun
        tissue = super().segment(image[..., part], _shift(turned, part.start), network)
        self.seconds["read levels"] = reading
        labels = np.zeros_like(array, dtype=np.uint8)
        target = reorient(labels, affine)[0][..., part]
        with self._timed("name bodies"):
            row = SpineRow(row.path[part], row.shares[:, part])
            pieces, bodies = split_bodies(tissue == 1, row, np.linalg.norm(turned[:3, :3], axis=0))
            names, left_out = decide_names(bodies, self.floor)
            target[...] = _label_of_tissue()[tissue]
            table = np.zeros(pieces.max() + 1, np.uint8)
            table[list(names)] = list(names.values())
            target[tissue == 1] = table[pieces[tissue == 1]]
        self._note(grid, [body for body in bodies if body.number in names], left_out, part.start)
        return labels

    def iter_probabilities(
        self, array: np.ndarray, affine: np.ndarray, network: BoneDensitySegmenter, slices: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(14, x, y) float32 probabilities and (x, y) float32 HU of evenly spread slices of T8 to L3, or of all.

        A body's probability is shared out among the vertebrae as the row along the spine has it at that slice.
        """
        grid = require_axial_grid(array.shape, affine)
        image, turned = reorient(array, affine)
        row = read_spine_row(array, affine, network.level)
        try:
            part = self._choose_slices(row, grid)
        except InputError:
            part = slice(0, image.shape[2])
        planes = super().iter_probabilities(image[..., part], _shift(turned, part.start), network, slices)
        indices = spread_slices(part.stop - part.start, slices)
        for index, (probabilities, hu) in zip(indices, planes, strict=True):
            body, shares = probabilities[_BODY].sum(axis=0), row.shares[_BODY, part.start + index]
            probabilities[_BODY] = shares[:, None, None] * body
            probabilities[0] += (1 - shares.sum()) * body
            yield probabilities, hu

    def _choose_slices(self, row: SpineRow, grid: Grid) -> slice:
        """Slices of T8 to L3, from below upwards, with a margin; all of them with `every_slice`."""
        depth, found = len(row.path), row.slices_of(_NAMES)
        if not found.size:
            raise InputError(
                f"none of the vertebrae T8 to L3 is in this scan (it shows what is {SEQUENCE[row.path[0]]}): give a CT "
                "that shows them."
            )
        if self.every_slice:
            return slice(0, depth)
        margin = int(np.ceil(_MARGIN_MM / grid.spacing_mm[grid.axis("IS")]))
        return slice(max(0, int(found[0]) - margin), min(depth, int(found[-1]) + 1 + margin))

    def _note(self, grid: Grid, named: Sequence[Body], left_out: Sequence[Body], first: int) -> None:
        """Keep which bodies are labelled and which are not; ``first`` is the lowest slice that was looked at."""
        axis = grid.axis("IS")
        upwards = grid.axis_codes[axis] == "S"

        def own(body: Body) -> int:
            index = first + body.slice_index
            return index if upwards else grid.shape[axis] - 1 - index

        self.levels = tuple(
            Level(
                own(body),
                grid.slice_z_mm(own(body)),
                round(body.confidence, 4),
                "a body between two discs, named by the row along the spine",
                SEQUENCE[body.name],
            )
            for body in named
        )
        self.left_out = tuple(
            f"the vertebral body at z {grid.slice_z_mm(own(body)):.0f} mm is not labelled: it is {body.describe()}, "
            f"and at least {self.floor:.2f} is asked for"
            for body in left_out
        )


def _label_of_tissue() -> np.ndarray:
    """Label of each tissue but the bodies, which have several."""
    table = np.zeros(max(TISSUE_OF_LABEL) + 1, np.uint8)
    for label, tissue in enumerate(TISSUE_OF_LABEL):
        table[tissue] = 0 if tissue == 1 else label
    return table


def _shift(affine: np.ndarray, first: int) -> np.ndarray:
    """The affine of an image's slices from ``first`` on."""
    moved = affine.copy()
    moved[:3, 3] += first * affine[:3, 2]
    return moved
