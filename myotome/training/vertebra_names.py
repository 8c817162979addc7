"""The name of each bin along a spine, from the bodies of a label map or from the heights of their middles."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from myotome.errors import InputError
from myotome.geometry import Grid, reorient
from myotome.networks import SEQUENCE, SEQUENCE_LEVELS, UNKNOWN
from myotome.transforms import SpineProjections

__all__ = ["name_bins", "name_bins_by_middles"]

_ABOVE, _BELOW = 0, len(SEQUENCE) - 1
_HIGHEST, _LOWEST = 1, len(SEQUENCE_LEVELS)
_HALF_DISC_MM = {_HIGHEST: 2.5, _LOWEST: 5.0}  # above T8 and below L3
_SCRAP = 0.05  # of a body's largest section: smaller ones are a mislabelled voxel here and there
_VERTEBRAE = tuple(f"{part}{one}" for part, count in (("T", 12), ("L", 6), ("S", 5)) for one in range(1, count + 1))
_HALF_MM = 10.0  # of a vertebra without a neighbour: less than half of any


def name_bins(labels: np.ndarray, affine: np.ndarray, seen: SpineProjections) -> np.ndarray:
    """(Z,) int64: the index in `myotome.networks.SEQUENCE` of each bin of a volume's projections, or `UNKNOWN`.

    A boundary lies midway between the end of one body and the beginning of the next. Beyond T8 and L3, where they are
    whole, it is half a disc away. What lies beside or between bodies that are not labelled is not known.

    Parameters
    ----------
    labels : (X, Y, Z) label map, axes in any order; 1 to 8 are the bodies of T8 to L3.
    """
    turned, upright = reorient(labels, affine)
    grid = Grid(turned.shape, upright)
    half_mm = 0.5 * grid.spacing_mm[2]
    heights = np.array([grid.slice_z_mm(index) for index in range(grid.shape[2])])
    ends = {}
    for name in range(_HIGHEST, _LOWEST + 1):
        sections = np.count_nonzero(turned == name, axis=(0, 1))
        shown = np.flatnonzero(sections > _SCRAP * sections.max())
        if shown.size:
            ends[name] = heights[shown[0]] - half_mm, heights[shown[-1]] + half_mm
    bins = seen.z_mm(np.arange(seen.array.shape[-1]))
    names = np.full(len(bins), UNKNOWN, np.int64)
    for name, (low, high) in ends.items():
        low = (low + ends[name + 1][1]) / 2 if name + 1 in ends else low
        high = (high + ends[name - 1][0]) / 2 if name - 1 in ends else high
        names[(bins >= low) & (bins < high)] = name
    field_low, field_high = heights[0] - half_mm, heights[-1] + half_mm
    if _HIGHEST in ends and ends[_HIGHEST][1] < field_high:
        _continue(names, bins, ends[_HIGHEST][1], _HIGHEST, _ABOVE)
    if _LOWEST in ends and ends[_LOWEST][0] > field_low:
        _continue(names, -bins, -ends[_LOWEST][0], _LOWEST, _BELOW)
    return names


def _continue(names: np.ndarray, away_mm: np.ndarray, end_mm: float, last: int, beyond: int) -> None:
    """Name the bins past the end of the last body: half a disc is its own, the rest lies ``beyond``."""
    disc = end_mm + _HALF_DISC_MM[last]
    names[(away_mm >= end_mm) & (away_mm < disc)] = last
    names[away_mm >= disc] = beyond


def name_bins_by_middles(middles_mm: Mapping[str, float], seen: SpineProjections) -> np.ndarray:
    """(Z,) int64: the index in `myotome.networks.SEQUENCE` of each bin of a volume's projections, or `UNKNOWN`.

    A boundary lies midway between neighbours. At the end of a row a vertebra reaches as far as towards its neighbour,
    and one without a neighbour 10 mm. What lies beyond T8 or L3 is known where they, or what is beyond them, are.

    Parameters
    ----------
    middles_mm : the patient's z of the middle of each vertebra that is known, by its name, T1 to S5.

    Raises
    ------
    InputError
        When a name is not one of these, or the heights are not in the order of the names.
    """
    if strange := sorted(set(middles_mm) - set(_VERTEBRAE)):
        raise InputError(f"'{strange[0]}' is not a vertebra: name the levels T1 to T12, L1 to L6 and S1 to S5.")
    row = sorted((_VERTEBRAE.index(name), float(middle)) for name, middle in middles_mm.items())
    if any(low >= high for (_, high), (_, low) in pairwise(row)):
        raise InputError(f"the levels {', '.join(middles_mm)} do not lie below each other: check their heights.")
    heights = dict(row)
    first = _VERTEBRAE.index(SEQUENCE_LEVELS[0])
    bins = seen.z_mm(np.arange(seen.array.shape[-1]))
    names = np.full(len(bins), UNKNOWN, np.int64)
    for place, middle in row:
        name = min(max(place - first + _HIGHEST, _ABOVE), _BELOW)
        above, below = (abs(heights[near] - middle) / 2 if near in heights else None for near in (place - 1, place + 1))
        low, high = middle - (below or above or _HALF_MM), middle + (above or below or _HALF_MM)
        names[(bins >= low) & (bins < high)] = name
        if name <= _HIGHEST:
            names[bins >= high] = _ABOVE
        if name >= _LOWEST:
            names[bins < low] = _BELOW
    return names
