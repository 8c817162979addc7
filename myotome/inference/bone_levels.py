"""Which vertebra each vertebral body is: bodies are told apart by the discs, and named by the row along the spine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.ndimage import label as label_components
from torch import nn

from myotome.errors import InputError
from myotome.geometry import Grid
from myotome.inference.spine_logits import compute_spine_logits
from myotome.networks import SEQUENCE, SEQUENCE_LEVELS, decode_sequence
from myotome.transforms import PROJECTION_MM, project_spine

__all__ = ["LEVEL_FLOOR", "Body", "SpineRow", "decide_names", "read_spine_row", "split_bodies"]

LEVEL_FLOOR = 0.8
"""Least probability of a vertebra's name."""

_SMALLEST_MM3 = 500.0
_SMALLEST_SHARE = 0.1  # of the largest piece of the same vertebra
_COVERED = 0.3  # of a piece's largest section: what a slice needs to show it
_CORRECT_IT = "name the bodies in a label map by hand and measure that (myotome measure)"


@dataclass(frozen=True, eq=False)
class SpineRow:
    """The row of vertebrae along an image's slices, lowest slice first.

    ``path`` (Z,) holds indices of `myotome.networks.SEQUENCE`; ``shares`` (10, Z) the probability of each name.
    """

    path: np.ndarray
    shares: np.ndarray

    def slices_of(self, names: Sequence[int]) -> np.ndarray:
        """Indices of the slices that have one of these names."""
        return np.flatnonzero(np.isin(self.path, names))


@dataclass(frozen=True, eq=False)
class Body:
    """One piece of vertebral bone between two discs.

    ``number`` is its number in the array of pieces, ``slice_index`` the slice through its middle, and ``chances`` (10,)
    the probability of each name.
    """

    number: int
    slice_index: int
    volume_mm3: float
    chances: np.ndarray

    @property
    def name(self) -> int:
        """Index of its likeliest name in `myotome.networks.SEQUENCE`."""
        return int(self.chances.argmax())

    @property
    def confidence(self) -> float:
        """Probability of that name."""
        return float(min(1.0, self.chances.max()))

    def describe(self) -> str:
        """Its two likeliest names with their probabilities, as a phrase."""
        best, second = np.argsort(self.chances)[::-1][:2]
        return (
            f"{SEQUENCE[best]} with probability {self.chances[best]:.2f}, {SEQUENCE[second]} with "
            f"{self.chances[second]:.2f}"
        )


def read_spine_row(array: np.ndarray, affine: np.ndarray, network: nn.Module) -> SpineRow:
    """The row of vertebrae along the slices of an (X, Y, Z) image in HU, by the level network of a bone segmenter.

    Parameters
    ----------
    affine : (4, 4) voxel indices to patient mm, RAS+; the slices are axial.
    """
    seen = project_spine(array, affine)
    found = decode_sequence(compute_spine_logits(network, seen))
    grid = Grid(array.shape, affine)
    heights = np.sort([grid.slice_z_mm(index) for index in range(array.shape[grid.axis("IS")])])
    bins = np.rint((heights - seen.first_mm) / PROJECTION_MM).astype(int).clip(0, len(found.path) - 1)
    return SpineRow(found.path.numpy()[bins], found.shares.numpy()[:, bins])


def split_bodies(mask: np.ndarray, row: SpineRow, spacing_mm: Sequence[float]) -> tuple[np.ndarray, list[Body]]:
    """Vertebral bone in pieces, one for each body.

    Connected pieces are bodies, since discs are not bone. Where two are joined, as by a bridge of bone, each voxel goes
    to the body whose middle, as the row of vertebrae has it, is nearest.

    Parameters
    ----------
    mask : (X, Y, Z) bool, slices from below upwards.
    row : of the same slices.

    Returns
    -------
    pieces : (X, Y, Z) int32, 0 outside; pieces of less than 0.5 mL have no `Body`
    bodies : from below upwards
    """
    pieces, count = label_components(mask)
    pieces = pieces.astype(np.int32)
    for number, box in enumerate(find_objects(pieces), start=1):
        inside = pieces[box] == number
        seeds = _find_seeds(inside, row.path[box[2]])
        if len(np.unique(seeds)) < 3:  # 0 and one name
            continue
        nearest = distance_transform_edt(seeds == 0, sampling=spacing_mm, return_distances=False, return_indices=True)
        _, parts = np.unique(seeds[tuple(nearest)], return_inverse=True)
        pieces[box][inside] = count + 1 + parts.reshape(inside.shape)[inside]
        count = int(pieces[box].max())
    voxel_mm3 = float(np.prod(spacing_mm))
    found = [
        _describe(number, (pieces[box] == number).sum(axis=(0, 1)), box[2].start, row, voxel_mm3)
        for number, box in enumerate(find_objects(pieces), start=1)
        if box is not None
    ]
    return pieces, sorted((body for body in found if body.volume_mm3 >= _SMALLEST_MM3), key=lambda one: one.slice_index)


def _find_seeds(inside: np.ndarray, path: np.ndarray) -> np.ndarray:
    """(X, Y, Z) 1 + name in the middle half of each vertebra of the row that the piece fills, 0 elsewhere."""
    sections = inside.sum(axis=(0, 1))
    shown = sections >= _COVERED * sections.max()
    seeds = np.zeros(inside.shape, np.uint8)
    for name in np.unique(path):
        slices = np.flatnonzero(path == name)
        middle = slices[len(slices) // 4 : len(slices) - len(slices) // 4]
        if shown[middle].mean() >= 0.5:
            seeds[..., middle] = np.where(inside[..., middle], 1 + name, 0)
    return seeds


def _describe(number: int, sections: np.ndarray, first: int, row: SpineRow, voxel_mm3: float) -> Body:
    """A piece by its voxels in each slice from ``first`` on; the half of it about its middle tells its name."""
    share = np.cumsum(sections) / sections.sum()
    before = share - sections / sections.sum()
    middle = sections * ((share > 0.25) & (before < 0.75))
    shares = row.shares[:, first : first + len(sections)]
    index = first + int(np.searchsorted(share, 0.5))
    return Body(number, index, float(sections.sum()) * voxel_mm3, shares @ middle / middle.sum())


def decide_names(bodies: Sequence[Body], floor: float = LEVEL_FLOOR) -> tuple[dict[int, int], list[Body]]:
    """The label of each piece whose name is sure enough, and the bodies of T8 to L3 that are left out.

    Returns
    -------
    labels : 1 for T8 to 8 for L3, by the number of the piece; pieces of one vertebra share its label
    left_out : bodies whose likeliest name is one of T8 to L3 with a probability below ``floor``

    Raises
    ------
    InputError
        When there is no body, none is one of T8 to L3, or half of those that are, or more, are not sure enough.
    """
    if not bodies:
        raise InputError("no vertebral body is found in this scan: give a CT that shows the spine between T8 and L3.")
    known = [body for body in bodies if 1 <= body.name <= len(SEQUENCE_LEVELS)]
    if not known:
        raise InputError(
            f"none of the vertebrae in this scan is one of T8 to L3 (the lowest is {bodies[0].describe()}): give a CT "
            "that shows them."
        )
    largest = {name: max(body.volume_mm3 for body in known if body.name == name) for name in {b.name for b in known}}
    known = [body for body in known if body.volume_mm3 >= _SMALLEST_SHARE * largest[body.name]]
    left_out = [body for body in known if body.confidence < floor]
    if 2 * len(left_out) >= len(known):
        raise InputError(
            f"the vertebrae of this scan cannot be named surely enough (one may be {left_out[0].describe()}; at least "
            f"{floor:.2f} is asked for): {_CORRECT_IT}."
        )
    return {body.number: body.name for body in known if body.confidence >= floor}, left_out
