"""Where the slices of a scan lie in the person, and how a sagittal stack is interpolated to even voxels."""

from __future__ import annotations

import numpy as np

from myotome.geometry import Grid
from myotome.phantoms.canvas import Canvas
from myotome.phantoms.lumbar.acquisition import LumbarScan
from myotome.phantoms.lumbar.plane import Plane
from myotome.phantoms.lumbar.solids import DiscSolid
from myotome.phantoms.lumbar.spine import LumbarSpine

__all__ = ["Stack", "make_resampling"]

_BEHIND_DISC_MM = 22.0  # the middle of an axial field
_PLANES = (-0.25, 0.25)  # where a slice is drawn, as shares of its thickness


class Stack:
    """The planes of one scan.

    Parameters
    ----------
    scan : the acquisition.
    spine : of the person.
    disc : through which an axial stack lies.
    """

    def __init__(self, scan: LumbarScan, spine: LumbarSpine, disc: DiscSolid) -> None:
        self.scan = scan
        axis = (np.arange(scan.matrix) - (scan.matrix - 1) / 2) * scan.spacing_mm
        self.canvas = Canvas(axis + scan.offset_mm[0], axis + scan.offset_mm[1])
        turn = np.deg2rad(scan.turn_deg)
        if scan.plane == "sagittal":
            middle = spine["L3"].centre
            self.across = np.array([np.sin(turn), -np.cos(turn), 0.0])
            self.down = np.array([0.0, 0.0, -1.0])
            self.centre = np.array([middle[0], spine.at(spine.wall_mm, middle[2]) - 5.0, middle[2]])
        else:
            forward = np.cos(turn) * disc.axes.forward + np.sin(turn) * disc.axes.up
            self.across, self.down = -disc.axes.right, -forward
            up = np.cross(self.across, self.down)
            self.centre = disc.centre - _BEHIND_DISC_MM * forward + scan.shift_mm * up
        self.normal = np.cross(self.across, self.down)
        self.places_mm = (np.arange(scan.slices) - (scan.slices - 1) / 2) * scan.step_mm

    def plane(self, index: int, share: float = 0.0) -> Plane:
        """The middle plane of a slice, or one that is a share of its thickness away from it."""
        away = self.places_mm[index] + share * self.scan.thickness_mm
        return Plane(self.canvas, self.centre + away * self.normal, self.across, self.down)

    def planes(self, index: int) -> list[Plane]:
        """The planes that stand for a slice's thickness."""
        return [self.plane(index, share) for share in _PLANES]

    def nearest(self, point: np.ndarray) -> int:
        """The slice nearest to a point."""
        return int(np.argmin(np.abs(self.places_mm - float((point - self.centre) @ self.normal))))

    def grid(self) -> Grid:
        """The scan's grid."""
        scan = self.scan
        return self._grid((scan.matrix, scan.matrix, scan.slices), (scan.spacing_mm, scan.spacing_mm, scan.step_mm))

    def even_grid(self) -> Grid:
        """The grid of even voxels within the scan's field."""
        scan, step = self.scan, self.scan.isotropic_mm
        width, thick = int(scan.matrix * scan.spacing_mm / step), int(scan.slices * scan.step_mm / step)
        return self._grid((width, width, thick), (step, step, step))

    def _grid(self, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
        affine = np.eye(4)
        affine[:3, :3] = np.stack((self.across, self.down, self.normal), axis=1) * spacing_mm
        x, y = self.scan.offset_mm
        middle = self.centre + x * self.across + y * self.down
        affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        return Grid(shape, affine)


def make_resampling(count: int, step: float, wanted: int, wanted_step: float, cubic: bool) -> np.ndarray:
    """Weights (wanted, count) that interpolate evenly spaced samples at other places around the same middle.

    Cubic weights are Catmull and Rom's; linear ones keep shares between 0 and 1. Beyond the ends the last sample holds.
    """
    place = (np.arange(wanted) - (wanted - 1) / 2) * (wanted_step / step) + (count - 1) / 2
    first, part = np.floor(place).astype(int), place - np.floor(place)
    if cubic:
        weights = np.stack(
            (
                -0.5 * part + part**2 - 0.5 * part**3,
                1 - 2.5 * part**2 + 1.5 * part**3,
                0.5 * part + 2 * part**2 - 1.5 * part**3,
                -0.5 * part**2 + 0.5 * part**3,
            )
        )
    else:
        weights = np.stack((0 * part, 1 - part, part, 0 * part))
    matrix = np.zeros((wanted, count), dtype=np.float32)
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(matrix, (np.arange(wanted), np.clip(first + offset, 0, count - 1)), weight)
    return matrix
