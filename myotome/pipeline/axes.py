"""The same voxels in another axis order."""

from __future__ import annotations

import numpy as np

from myotome.geometry import Grid, reorient
from myotome.structures import LabelMap

__all__ = ["in_axis_order", "turn_array"]


def in_axis_order(label_map: LabelMap, grid: Grid) -> LabelMap:
    """The same label map with its axes permuted and flipped to those of a grid."""
    array, turned = turn_array(label_map.array, label_map.grid, grid)
    return label_map if turned is label_map.grid else LabelMap(np.ascontiguousarray(array), turned, label_map.schema)


def turn_array(array: np.ndarray, grid: Grid, wanted: Grid) -> tuple[np.ndarray, Grid]:
    """An array on a grid as a view whose axes run as those of another grid do, and the grid of that view."""
    if grid.axis_codes == wanted.axis_codes:
        return array, grid
    array, affine = reorient(array, grid.affine, "".join(wanted.axis_codes))
    return array, Grid(array.shape, affine)
