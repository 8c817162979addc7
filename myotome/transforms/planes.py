"""From slices of an image to the plane that a 2D network works on, and back to the image's own pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import label as label_components

from myotome.biomarkers.lumbar_disc import find_plane
from myotome.errors import GeometryError
from myotome.geometry import Grid
from myotome.transforms.grids import find_body_box, neighbour_step

__all__ = [
    "VIEWS",
    "WorkingPlane",
    "find_view",
    "fit_spacing_mm",
    "keep_largest_pieces",
    "make_resampling",
    "scale_to_percentiles",
    "scale_window",
]

VIEWS = ("sagittal", "axial")
# Directions across the slices, and the world axes of the rows and columns, which run down, back or to the left.
_TURNED = {"sagittal": ("LR", (2, 1)), "axial": ("IS", (1, 0))}


class WorkingPlane:
    """A square grid in the plane of an image's slices, about the middle of the image, turned as readers see it.

    Sagittal slices have anterior on the left and superior on top, axial ones the patient's right on the left and
    anterior on top. Both ways are separable and linear, with a triangular filter as wide as a pixel of the coarser
    grid. What lies outside is 0.

    Parameters
    ----------
    shape : (X, Y, Z) of the image.
    affine : (4, 4) voxel indices to patient mm, RAS+.
    spacing_mm, size : of the square.
    view : one of ``VIEWS``.
    window_hu : intensities that become 0 and 1 in `take_scaled`; ``None``: percentiles of each slice.

    Attributes
    ----------
    view : str
    slice_axis : int
        See :meth:`myotome.geometry.Grid.slice_axis`.
    slice_count : int
    slice_spacing_mm : float
    ascending : bool
        True where slices follow each other upwards, or to the right.
    axes : (int, int)
        Image axes of the plane's rows and columns.

    Raises
    ------
    GeometryError
        When the shape is not that of an image in three dimensions, or there is no such view.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        affine: np.ndarray,
        spacing_mm: float = 0.6,
        size: int = 256,
        view: str = "sagittal",
        window_hu: Sequence[float] | None = None,
    ) -> None:
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"an image of shape {tuple(shape)} has no slices: give one of three dimensions.")
        if view not in _TURNED:
            raise GeometryError(f"there is no view '{view}': choose one of {', '.join(VIEWS)}.")
        self.shape, self.spacing_mm, self.size, self.window_hu = tuple(shape), spacing_mm, size, window_hu
        self.view = view
        across, (down, along) = _TURNED[view]
        self.slice_axis = Grid(tuple(shape), affine).slice_axis(across)
        self.ascending = bool(affine[3 - down - along][self.slice_axis] > 0)
        self.slice_count = shape[self.slice_axis]
        directions = _directions(affine)
        first, second = (axis for axis in range(3) if axis != self.slice_axis)
        swapped = (
            directions[along, first] * directions[down, second] >= directions[along, second] * directions[down, first]
        )
        self.axes = (second, first) if swapped else (first, second)
        spacing = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
        self.slice_spacing_mm = float(spacing[self.slice_axis])
        self._there, self._back = [], []
        for axis, world in zip(self.axes, (down, along), strict=True):
            reverse = affine[world][axis] > 0  # the world's axes grow upwards, forwards and to the right
            ratio = spacing[axis] / spacing_mm
            self._there.append(make_resampling(size, shape[axis], 1 / ratio)[:, :: -1 if reverse else 1])
            self._back.append(make_resampling(shape[axis], size, ratio)[:: -1 if reverse else 1])

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
        """(size, size) float32 in [0, 1]: slice ``index`` as the networks see it, scaled by window or percentiles."""
        plane = self.take(image, index)
        return self.resample(scale_window(plane, self.window_hu) if self.window_hu else scale_to_percentiles(plane))

    def take_between(self, image: np.ndarray, index: int, neighbour_mm: float) -> np.ndarray:
        """(3, size, size) float32: slice ``index`` between those ``neighbour_mm`` below (or left) and above it.

        At the ends of the image the last slice stands for its neighbour.
        """
        step = neighbour_step(self.slice_spacing_mm, neighbour_mm) * (1 if self.ascending else -1)
        wanted = [min(max(index + move, 0), self.slice_count - 1) for move in (-step, 0, step)]
        return np.stack([self.take_scaled(image, at) for at in wanted])

    def resample(self, plane: np.ndarray) -> np.ndarray:
        """(..., size, size) float32 of (..., rows, columns) pixels."""
        rows, columns = self._there
        return rows @ np.asarray(plane, np.float32) @ columns.T

    def restore(self, plane: np.ndarray) -> np.ndarray:
        """(..., rows, columns) float32 of (..., size, size): the way back."""
        rows, columns = self._back
        return rows @ np.asarray(plane, np.float32) @ columns.T

    def resample_labels(self, plane: np.ndarray, class_count: int, ignored: int | None = None) -> np.ndarray:
        """(size, size) uint8 of (rows, columns) labels: the one with the largest share of a pixel.

        Parameters
        ----------
        class_count : background included; what is not below it is background
        ignored : a further label that is kept, such as 255 where nothing was annotated
        """
        known = np.array([*range(1, class_count), *([] if ignored is None else [ignored])], np.uint8)
        labelled = plane > 0
        box = [np.flatnonzero(labelled.any(axis=axis)) for axis in (1, 0)]
        if not box[0].size:
            return np.zeros((self.size, self.size), np.uint8)
        part = tuple(slice(found[0], found[-1] + 1) for found in box)
        rows, columns = (there[:, side] for there, side in zip(self._there, part, strict=True))
        masks = np.stack([plane[part] == label for label in known]).astype(np.float32)
        shares = rows @ masks @ columns.T
        background = 1 - shares.sum(axis=0)
        return np.where(shares.max(axis=0) > background, known[shares.argmax(axis=0)], 0).astype(np.uint8)

    def restore_labels(self, probabilities: np.ndarray) -> np.ndarray:
        """(rows, columns) uint8 labels of (C, size, size) probabilities; 0 outside the square."""
        return self.restore(probabilities).argmax(axis=0).astype(np.uint8)


def find_view(shape: tuple[int, ...], affine: np.ndarray) -> str:
    """Which of ``VIEWS`` an image's slices have; an image with equal spacings is taken as sagittal.

    Raises
    ------
    GeometryError
        When they are coronal.
    """
    view = find_plane(Grid(tuple(shape), affine))
    if view is None:
        raise GeometryError("the slices are coronal: give the sagittal or the axial series.")
    return view


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


def scale_window(plane: np.ndarray, window_hu: Sequence[float]) -> np.ndarray:
    """Scaled and clipped: the lower and upper end of a window of HU become 0 and 1; float32."""
    low, high = window_hu
    return ((np.asarray(plane, np.float32) - low) / (high - low)).clip(0, 1)


def fit_spacing_mm(image: np.ndarray, affine: np.ndarray, spacing_mm: float, size: int) -> float:
    """The spacing with which a square of ``size`` pixels about the image's middle shows the whole body.

    Parameters
    ----------
    image : (X, Y, Z) in HU, of axial slices; axes in any order
    spacing_mm : where it is enough, it is the answer
    """
    grid = Grid(image.shape, affine)
    across = grid.slice_axis("IS")
    axes = [axis for axis in range(3) if axis != across]
    spacing = [grid.spacing_mm[axis] for axis in (*axes, across)]
    reach = 0.0
    for axis, step, side in zip(axes, spacing, find_body_box(np.moveaxis(image, across, 2), spacing), strict=False):
        middle = 0.5 * (image.shape[axis] - 1)
        reach = max(reach, (middle - side.start) * step, (side.stop - 1 - middle) * step)
    return max(spacing_mm, 2 * reach / size)


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


def make_resampling(target: int, source: int, ratio: float) -> np.ndarray:
    """(target, source) weights; ``ratio`` is the spacing of the target over that of the source, middle on middle."""
    position = (np.arange(target) - (target - 1) / 2) * ratio + (source - 1) / 2
    distance = np.abs(np.arange(source)[None] - position[:, None]) / max(1.0, ratio)
    weights = np.maximum(0.0, 1.0 - distance)
    total = weights.sum(axis=1, keepdims=True)
    inside = ((position >= -0.5) & (position <= source - 0.5))[:, None]
    return np.where(inside, weights / np.where(total > 0, total, 1), 0).astype(np.float32)
