"""Size of a disc in one slice, by its own axes: area, diameters, heights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label as label_components

from myotome.geometry import Grid

__all__ = ["HEIGHT_PLACES", "DiscAxes", "DiscCut", "cut_disc", "find_axes", "measure_extent_mm", "measure_height_mm"]

HEIGHT_PLACES = {"anterior": 0.85, "middle": 0.5, "posterior": 0.15}
"""Where heights are measured: share of the AP diameter, from behind to the front."""

_HEIGHT_WINDOW = 0.1
_SUBPIXELS = 5
_MOST_TURN_DEGREES = 45.0
_LEAST_ELONGATION = 1.2
_FRONT, _RIGHT = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])


@dataclass(frozen=True, eq=False)
class DiscCut:
    """The largest connected part of a disc in one slice.

    Attributes
    ----------
    mask : (X, Y) boolean array, the slice's axes in the volume's order
    steps : (3, 2) millimetres in patient space (RAS+) of a step along each of them
    origin_mm : (3,) place of the slice's first pixel
    other_share : voxels of the disc that hang not together with the part, per voxel of it
    """

    mask: np.ndarray
    steps: np.ndarray
    origin_mm: np.ndarray
    other_share: float = 0.0

    @property
    def spacing_mm(self) -> np.ndarray:
        """(2,) distance between pixels along each axis."""
        return np.linalg.norm(self.steps, axis=0)

    @property
    def area_mm2(self) -> float:
        return float(np.count_nonzero(self.mask) * np.prod(self.spacing_mm))

    @property
    def centroid_mm(self) -> np.ndarray:
        """(3,) centre of area in patient space."""
        return self.origin_mm + self.steps @ np.argwhere(self.mask).mean(axis=0)

    @property
    def at_border(self) -> bool:
        """True when the part reaches the slice's border."""
        return bool(self.mask[[0, -1]].any() or self.mask[:, [0, -1]].any())

    def project(self, direction: np.ndarray) -> np.ndarray:
        """(2,) unit vector, along the slice's axes in mm, of a direction in patient space."""
        flat = (self.steps / self.spacing_mm).T @ direction
        return flat / np.linalg.norm(flat)


@dataclass(frozen=True, eq=False)
class DiscAxes:
    """Unit vectors along the slice's axes in mm: ``front`` from back to front, ``across`` perpendicular to it."""

    front: np.ndarray
    across: np.ndarray


def cut_disc(mask: np.ndarray, grid: Grid, axis: int, index: int) -> DiscCut | None:
    """The disc in one slice; ``None`` where it has no voxel there.

    Parameters
    ----------
    mask : boolean array of the grid's shape
    axis, index : array axis across the slices, and the slice
    """
    components, count = label_components(np.take(mask, index, axis), np.ones((3, 3)))
    if count == 0:
        return None
    sizes = np.bincount(components.ravel())[1:]
    largest = int(sizes.argmax())
    origin = grid.affine[:3, 3] + index * grid.affine[:3, axis]
    steps = np.delete(grid.affine[:3, :3], axis, axis=1)
    return DiscCut(components == largest + 1, steps, origin, float(sizes.sum() / sizes[largest] - 1))


def find_axes(cut: DiscCut, *, long_axis: str) -> DiscAxes:
    """The axes of a cut: a disc is longest from front to back in a sagittal slice, from side to side in an axial one.

    They are the principal axes of its pixels. Where these lie over 45 degrees from where the long axis has to be, or
    one is not longer than the other by a fifth, the patient's axes are taken.

    Parameters
    ----------
    long_axis : ``"PA"`` or ``"LR"``
    """
    expected = cut.project(_FRONT if long_axis == "PA" else _RIGHT)
    along = _find_long_axis(cut, expected)
    if long_axis == "PA":
        return DiscAxes(along, np.array([-along[1], along[0]]))
    front = np.array([-along[1], along[0]])
    return DiscAxes(front if front @ cut.project(_FRONT) > 0 else -front, along)


def _find_long_axis(cut: DiscCut, expected: np.ndarray) -> np.ndarray:
    points = np.argwhere(cut.mask) * cut.spacing_mm
    if len(points) < 3:
        return expected
    variances, vectors = np.linalg.eigh(np.cov(points.T))
    along = vectors[:, 1] if vectors[:, 1] @ expected > 0 else -vectors[:, 1]
    turned = np.degrees(np.arccos(min(1.0, float(along @ expected))))
    long = variances[1] > _LEAST_ELONGATION**2 * max(variances[0], 0.0)
    return along if long and turned <= _MOST_TURN_DEGREES else expected


def measure_extent_mm(cut: DiscCut, direction: np.ndarray) -> float:
    """How far a cut reaches along a direction: from its first pixel's edge to its last one's.

    The edge lies half a pixel from the centre along the slice's own axes, where the contour of the mask is.
    """
    start, end = _find_ends(cut, direction)
    return end - start


def _find_ends(cut: DiscCut, direction: np.ndarray) -> tuple[float, float]:
    places = (np.argwhere(cut.mask) * cut.spacing_mm) @ direction
    half = float(np.max(np.abs(direction) * cut.spacing_mm)) / 2
    return float(places.min()) - half, float(places.max()) + half


def measure_height_mm(cut: DiscCut, axes: DiscAxes, place: float) -> float:
    """Height of a sagittal cut: its area in a window of a tenth of the AP diameter, over the window's width.

    Parameters
    ----------
    place : of the window's middle, as a share of the AP diameter from behind
    """
    start, end = _find_ends(cut, axes.front)
    width = _HEIGHT_WINDOW * (end - start)
    low = start + place * (end - start) - width / 2
    within = (np.arange(_SUBPIXELS) - (_SUBPIXELS - 1) / 2) / _SUBPIXELS
    offsets = np.stack(np.meshgrid(within, within, indexing="ij"), axis=-1).reshape(1, -1, 2)
    points = (np.argwhere(cut.mask)[:, None] + offsets) * cut.spacing_mm
    places = points @ axes.front
    inside = np.count_nonzero((places >= low) & (places < low + width))
    return float(inside * np.prod(cut.spacing_mm) / _SUBPIXELS**2 / width)
