"""From slices of an MR image to the plane that a 2D network works on, and back to the image's own pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import label as label_components

from myotome.errors import GeometryError
from myotome.geometry import Grid

__all__ = ["WorkingPlane", "keep_largest_pieces", "scale_to_percentiles"]


class WorkingPlane:
    """A square grid in the plane of an image's slices, about the middle of the image: anterior left, superior on top.

    Both ways are separable and linear, with a triangular filter as wide as a pixel of the coarser grid. What lies
    outside is 0.

    Parameters
    ----------
    shape : (X, Y, Z) of the image.
    affine : (4, 4) voxel indices to patient mm, RAS+.
    spacing_mm, size : of the square.

    Attributes
    ----------
    slice_axis : int
        See :meth:`myotome.geometry.Grid.slice_axis`.
    slice_count : int
    slice_spacing_mm : float
    axes : (int, int)
        Image axes of the plane's rows and columns.

    Raises
    ------
    GeometryError
        When the shape is not that of an image in three dimensions.
    """

    def __init__(self, shape: tuple[int, ...], affine: np.ndarray, spacing_mm: float = 0.6, size: int = 256) -> None:
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"an image of shape {tuple(shape)} has no slices: give one of three dimensions.")
        self.shape, self.spacing_mm, self.size = tuple(shape), spacing_mm, size
        self.slice_axis = Grid(tuple(shape), affine).slice_axis("LR")
        self.slice_count = shape[self.slice_axis]
        directions = _directions(affine)
        first, second = (axis for axis in range(3) if axis != self.slice_axis)
        anterior = directions[1, first] * directions[2, second] >= directions[1, second] * directions[2, first]
        self.axes = (second, first) if anterior else (first, second)
        spacing = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
        self.slice_spacing_mm = float(spacing[self.slice_axis])
        self._there, self._back = [], []
        for axis, world in zip(self.axes, (2, 1), strict=True):
            reverse = affine[world][axis] > 0  # rows go down, columns go backwards
            ratio = spacing[axis] / spacing_mm
            self._there.append(_resampling(size, shape[axis], 1 / ratio)[:, :: -1 if reverse else 1])
            self._back.append(_resampling(shape[axis], size, ratio)[:: -1 if reverse else 1])

    def take(self, image: np.ndarray, index: int) -> np.ndarray:
        """(rows, columns) slice ``index`` of the (X, Y, Z) image, as its pixels were made."""
        plane = np.take(image, index, axis=self.slice_axis)
        return plane if self.axes[0] < self.axes[1] else plane.T

    def put(self, image: np.ndarray, index: int, plane: np.ndarray) -> None:
        """Write a (rows, columns) slice into the (X, Y, Z) image: undoes `take`."""
        where = [slice(None)] * 3
        where[self.slice_axis] = index
        image[tuple(where)] = plane if self.axes[0] < self.axes[1] else plane.T

    def take_scaled(self, image: np.ndarray, index: int) -> np.ndarray:
        """(size, size) float32 in [0, 1]: slice ``index`` as the networks see it, scaled by its own percentiles."""
        return self.resample(scale_to_percentiles(self.take(image, index)))

    def resample(self, plane: np.ndarray) -> np.ndarray:
        """(..., size, size) float32 of (..., rows, columns) pixels."""
        rows, columns = self._there
        return rows @ np.asarray(plane, np.float32) @ columns.T

    def restore(self, plane: np.ndarray) -> np.ndarray:
        """(..., rows, columns) float32 of (..., size, size): the way back."""
        rows, columns = self._back
        return rows @ np.asarray(plane, np.float32) @ columns.T

    def resample_labels(self, plane: np.ndarray, class_count: int) -> np.ndarray:
        """(size, size) uint8 of (rows, columns) labels: the one with the largest share of a pixel."""
        labelled = plane > 0
        box = [np.flatnonzero(labelled.any(axis=axis)) for axis in (1, 0)]
        if not box[0].size:
            return np.zeros((self.size, self.size), np.uint8)
        part = tuple(slice(found[0], found[-1] + 1) for found in box)
        rows, columns = (there[:, side] for there, side in zip(self._there, part, strict=True))
        masks = np.stack([plane[part] == index for index in range(1, class_count)]).astype(np.float32)
        shares = rows @ masks @ columns.T
        background = 1 - shares.sum(axis=0)
        return np.where(shares.max(axis=0) > background, shares.argmax(axis=0) + 1, 0).astype(np.uint8)

    def restore_labels(self, probabilities: np.ndarray) -> np.ndarray:
        """(rows, columns) uint8 labels of (C, size, size) probabilities; 0 outside the square."""
        return self.restore(probabilities).argmax(axis=0).astype(np.uint8)


def scale_to_percentiles(plane: np.ndarray, low: float = 1.0, high: float = 99.0) -> np.ndarray:
    """Scaled and clipped: two percentiles of the pixels that are not 0 become 0 and 1; float32.

    A plane without contrast gives zeros.
    """
    plane = np.asarray(plane, np.float32)
    present = plane[plane != 0]
    if present.size == 0:
        return np.zeros_like(plane)
    bottom, top = np.percentile(present, (low, high))
    if top <= bottom:
        return np.zeros_like(plane)
    return ((plane - bottom) / (top - bottom)).clip(0, 1)


def keep_largest_pieces(labels: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """The same labels, but of each group of structures only its largest connected piece; the rest becomes 0.

    Parameters
    ----------
    labels : (rows, columns) label numbers.
    groups : numbers of structures that lie together, such as a muscle and what is left of its compartment. Pixels that
        touch at a corner are connected. What is in no group is kept as it is.
    """
    kept = labels.copy()
    for group in groups:
        inside = np.isin(labels, group)
        pieces, count = label_components(inside, np.ones((3, 3)))
        if count > 1:
            kept[inside & (pieces != 1 + np.bincount(pieces[inside])[1:].argmax())] = 0
    return kept


def _directions(affine: np.ndarray) -> np.ndarray:
    """(3, 3) absolute cosines: how much image axis j runs along world axis i."""
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    return np.abs(matrix) / np.linalg.norm(matrix, axis=0)


def _resampling(target: int, source: int, ratio: float) -> np.ndarray:
    """(target, source) weights; ``ratio`` is the spacing of the target over that of the source, middle on middle."""
    position = (np.arange(target) - (target - 1) / 2) * ratio + (source - 1) / 2
    distance = np.abs(np.arange(source)[None] - position[:, None]) / max(1.0, ratio)
    weights = np.maximum(0.0, 1.0 - distance)
    total = weights.sum(axis=1, keepdims=True)
    inside = ((position >= -0.5) & (position <= source - 0.5))[:, None]
    return np.where(inside, weights / np.where(total > 0, total, 1), 0).astype(np.float32)
