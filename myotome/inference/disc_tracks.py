"""Discs across sagittal slices: what overlaps from slice to slice is one disc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from myotome.geometry import Grid

__all__ = ["DiscTrack", "SliceDisc", "link_discs"]

_LEAST_OVERLAP = 0.25  # of the smaller mask
_GAP_MM = 10.0  # a disc may be missed in slices between two in which it is found
_NEAR_MM = 15.0  # two lumbar discs are further apart than this
_SMALLEST_SHARE = 0.25  # of the middle one's volume; of 200 phantoms none has less than a half


@dataclass(frozen=True, eq=False)
class SliceDisc:
    """A disc in one slice.

    Parameters
    ----------
    slice_index : across the slices, see :meth:`myotome.geometry.Grid.slice_axis`
    score : 0 to 1
    lumbosacral : how much speaks for L5-S1, 0 to 1
    corner : where the mask begins on the slice's two axes, which are in the order that the volume's array has them
    mask : boolean, the part of the slice that the disc's box holds
    """

    slice_index: int
    score: float
    lumbosacral: float
    corner: tuple[int, int]
    mask: np.ndarray

    @staticmethod
    def cut(slice_index: int, score: float, lumbosacral: float, mask: np.ndarray) -> SliceDisc:
        """Cut a disc out of the mask of a whole slice, in which it has at least one pixel."""
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
        return SliceDisc(slice_index, score, lumbosacral, (int(rows[0]), int(columns[0])), part)

    @property
    def edges(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """First pixel and the one past the last, along both axes."""
        (row, column), (height, width) = self.corner, self.mask.shape
        return (row, row + height), (column, column + width)

    @property
    def region(self) -> tuple[slice, slice]:
        """The box as an index into the slice."""
        rows, columns = self.edges
        return slice(*rows), slice(*columns)

    @property
    def area_px(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.mask))

    def draw(self, shape: tuple[int, int]) -> np.ndarray:
        """Boolean mask of a whole slice of this shape."""
        whole = np.zeros(shape, bool)
        whole[self.region] = self.mask
        return whole

    def overlap(self, other: SliceDisc) -> float:
        """Share of the smaller mask that both have, as if they were in one slice."""
        low = np.maximum(self.corner, other.corner)
        high = np.minimum([edge[1] for edge in self.edges], [edge[1] for edge in other.edges])
        if (high <= low).any():
            return 0.0
        parts = []
        for disc in (self, other):
            first, last = low - disc.corner, high - disc.corner
            parts.append(disc.mask[first[0] : last[0], first[1] : last[1]])
        return np.count_nonzero(parts[0] & parts[1]) / min(self.area_px, other.area_px)


@dataclass(frozen=True, eq=False)
class DiscTrack:
    """One disc of a volume, from slice to slice."""

    slices: tuple[SliceDisc, ...]

    @property
    def volume_px(self) -> int:
        """Pixels in all slices."""
        return sum(piece.area_px for piece in self.slices)

    @property
    def lumbosacral(self) -> float:
        """How much speaks for L5-S1: the mean over its pixels."""
        areas = [piece.area_px for piece in self.slices]
        return float(np.average([piece.lumbosacral for piece in self.slices], weights=areas))

    def place_mm(self, grid: Grid) -> np.ndarray:
        """(3,) middle of the disc, RAS+ mm."""
        across = grid.slice_axis("LR")
        middles = []
        for piece in self.slices:
            inside = np.argwhere(piece.mask).mean(axis=0) + piece.corner
            middles.append(np.insert(inside, across, piece.slice_index))
        middle = np.average(middles, axis=0, weights=[piece.area_px for piece in self.slices])
        return grid.affine[:3, :3] @ middle + grid.affine[:3, 3]


def link_discs(found: Sequence[SliceDisc], grid: Grid) -> list[DiscTrack]:
    """Discs of a volume from those of its slices.

    From slice to slice a disc goes on with what overlaps it most, by at least a quarter of the smaller mask; it may be
    missed within 10 mm. Pieces whose middles are less than 15 mm apart are one disc where they are in different slices;
    of others the larger one stays. What has less than a quarter of the middle one's volume is no disc.

    Parameters
    ----------
    found : from the first slice on.
    grid : of the volume.
    """
    step_mm = grid.spacing_mm[grid.slice_axis("LR")]
    tracks: list[list[SliceDisc]] = []
    for index in sorted({piece.slice_index for piece in found}):
        new = [piece for piece in found if piece.slice_index == index]
        open_tracks = [track for track in tracks if _is_open(track[-1], index, step_mm)]
        for track, piece in _match(open_tracks, new):
            track.append(piece)
            new.remove(piece)
        tracks += [[piece] for piece in new]
    merged = _merge_near([DiscTrack(tuple(track)) for track in tracks], grid)
    if not merged:
        return []
    least = _SMALLEST_SHARE * float(np.median([track.volume_px for track in merged]))
    return [track for track in merged if track.volume_px >= least]


def _is_open(last: SliceDisc, index: int, step_mm: float) -> bool:
    return index == last.slice_index + 1 or (index - last.slice_index) * step_mm <= _GAP_MM


def _match(tracks: Sequence[list[SliceDisc]], new: Sequence[SliceDisc]) -> list[tuple[list[SliceDisc], SliceDisc]]:
    """Pairs of a track and what it goes on with, the greatest overlap first; each at most once."""
    pairs = [
        (track[-1].overlap(piece), place, number)
        for place, track in enumerate(tracks)
        for number, piece in enumerate(new)
    ]
    taken_tracks, taken_new, matched = set(), set(), []
    for overlap, place, number in sorted(pairs, reverse=True):
        if overlap >= _LEAST_OVERLAP and place not in taken_tracks and number not in taken_new:
            taken_tracks.add(place)
            taken_new.add(number)
            matched.append((tracks[place], new[number]))
    return matched


def _merge_near(tracks: Sequence[DiscTrack], grid: Grid) -> list[DiscTrack]:
    """The larger tracks, with what is near them in other slices."""
    kept: list[DiscTrack] = []
    for track in sorted(tracks, key=lambda track: -track.volume_px):
        distances = [np.linalg.norm(_in_plane_mm(track, other, grid)) for other in kept]
        near = int(np.argmin(distances)) if distances and min(distances) < _NEAR_MM else None
        if near is None:
            kept.append(track)
        elif not {piece.slice_index for piece in track.slices} & {piece.slice_index for piece in kept[near].slices}:
            pieces = sorted((*kept[near].slices, *track.slices), key=lambda piece: piece.slice_index)
            kept[near] = DiscTrack(tuple(pieces))
    return kept


def _in_plane_mm(first: DiscTrack, second: DiscTrack, grid: Grid) -> np.ndarray:
    """From one middle to the other, without the part across the slices."""
    across = grid.affine[:3, grid.slice_axis("LR")] / grid.spacing_mm[grid.slice_axis("LR")]
    way = first.place_mm(grid) - second.place_mm(grid)
    return way - (way @ across) * across
