"""Shapes on a plane of pixels: signed distances to closed curves and to tapering rods, and the cover they give."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

__all__ = ["Box", "Canvas", "Shape", "inside", "overlap", "smooth_line", "smooth_outline"]

Box = tuple[slice, slice]

_AZIMUTHS = 720
_MARGIN_MM = 5.0  # how far outside an oval its depth is known
_REACH_MM = 1.5  # how far outside a rod its depth is known


@dataclass(frozen=True, eq=False)
class Shape:
    """A drawn shape on its own box of the plane: depth below its surface in mm (negative outside)."""

    box: Box
    depth_mm: np.ndarray
    pixel_mm: float

    def cover(self, inset_mm: float = 0.0) -> np.ndarray:
        """Share of each pixel of the box that the shape covers, shrunk by ``inset_mm``."""
        return np.minimum(np.maximum((self.depth_mm - inset_mm) / self.pixel_mm + 0.5, 0), 1)


class Canvas:
    """A plane of square pixels; shapes are given as points (N, 2) in mm along the two axes.

    Parameters
    ----------
    x_mm, y_mm : evenly spaced pixel centres.
    """

    def __init__(self, x_mm: np.ndarray, y_mm: np.ndarray) -> None:
        self.x, self.y = x_mm.astype(np.float32), y_mm.astype(np.float32)
        self.pixel_mm = float(self.x[1] - self.x[0])
        self._places = self.x.tolist(), self.y.tolist()

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.x), len(self.y)

    def box(self, low: np.ndarray, high: np.ndarray) -> Box:
        """The part of the plane between two corners, a pixel wider; empty outside the plane."""
        x, y = (
            slice(bisect_left(axis, float(first - self.pixel_mm)), bisect_left(axis, float(last + self.pixel_mm)))
            for axis, first, last in zip(self._places, low, high, strict=True)
        )
        return x, y

    def blob(self, outline: np.ndarray, centre: np.ndarray | None = None) -> Shape:
        """A closed outline that is star-shaped about its centre: every ray from the centre meets it once."""
        centre = outline.mean(axis=0) if centre is None else np.asarray(centre)
        box = self.box(outline.min(axis=0), outline.max(axis=0))
        offset = outline - centre
        order = np.argsort(np.arctan2(offset[:, 1], offset[:, 0]))
        angle, radius = np.arctan2(offset[order, 1], offset[order, 0]), np.hypot(*offset[order].T)
        azimuth = (np.arange(_AZIMUTHS + 2) - 0.5) * 2 * np.pi / _AZIMUTHS - np.pi
        bound = np.interp(azimuth, angle, radius, period=2 * np.pi)
        slope = np.gradient(bound, azimuth)
        cosine = bound / np.hypot(bound, slope)
        dx, dy = (self.x[box[0]] - np.float32(centre[0]))[:, None], (self.y[box[1]] - np.float32(centre[1]))[None, :]
        place = (np.arctan2(dy, dx) + np.float32(np.pi)) * np.float32(_AZIMUTHS / (2 * np.pi)) + np.float32(0.5)
        index = place.astype(np.int32)
        part = place - index
        table, step = bound.astype(np.float32), np.append(np.diff(bound), 0).astype(np.float32)
        depth = table[index] + part * step[index] - np.hypot(dx, dy)
        depth *= cosine.astype(np.float32)[index]
        return Shape(box, depth, self.pixel_mm)

    def oval(self, centre: np.ndarray, half_mm: tuple[float, float]) -> Shape:
        """An upright ellipse; its depth is exact on its surface."""
        centre, half = np.asarray(centre, dtype=np.float32), np.asarray(half_mm, dtype=np.float32)
        box = self.box(centre - half - _MARGIN_MM, centre + half + _MARGIN_MM)
        dx, dy = ((self.x[box[0]] - centre[0]) / half[0])[:, None], ((self.y[box[1]] - centre[1]) / half[1])[None, :]
        square = dx**2 + dy**2
        slope = np.sqrt(dx**2 / half[0] ** 2 + dy**2 / half[1] ** 2)
        return Shape(box, (1 - square) / (2 * np.maximum(slope, 1e-3)), self.pixel_mm)

    def rod(self, points: np.ndarray, radii: np.ndarray) -> Shape:
        """The union of tapering segments through the points, each with its own radius."""
        points, radii = np.asarray(points, dtype=np.float32), np.asarray(radii, dtype=np.float32)
        box = self.box(
            (points - radii[:, None] - _REACH_MM).min(axis=0), (points + radii[:, None] + _REACH_MM).max(axis=0)
        )
        depth = np.full([part.stop - part.start for part in box], -1e3, dtype=np.float32)
        for start, stop, first, last in zip(points, points[1:], radii, radii[1:], strict=False):
            self._segment(box, depth, (start, stop), (first, last))
        return Shape(box, depth, self.pixel_mm)

    def _segment(self, box: Box, depth: np.ndarray, ends: tuple, radii: tuple) -> None:
        """Raise the depths of a box to those of one segment, as far as `_REACH_MM` outside it."""
        start, stop = ends
        reach = max(radii) + _REACH_MM
        near = self.box(np.minimum(start, stop) - reach, np.maximum(start, stop) + reach)
        near = overlap(near, box)
        dx, dy = self.x[near[0]][:, None] - start[0], self.y[near[1]][None, :] - start[1]
        axis = stop - start
        length = max(float(axis @ axis), 1e-6)
        along = np.minimum(np.maximum(dx * (axis[0] / length) + dy * (axis[1] / length), 0), 1)
        gap = np.sqrt((dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2)
        part = depth[inside(near, box)]
        np.maximum(part, radii[0] + along * (radii[1] - radii[0]) - gap, out=part)


def overlap(box: Box, other: Box) -> Box:
    """The part of a box that lies in another one; may be empty."""
    starts = [max(a.start, b.start) for a, b in zip(box, other, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(box, other, strict=True)]
    first, second = (slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True))
    return first, second


def inside(box: Box, other: Box) -> Box:
    """A box that lies in another one, counted from the other one's corner."""
    first, second = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, other, strict=True))
    return first, second


def smooth_outline(points: np.ndarray, count: int = 160) -> np.ndarray:
    """A closed smooth curve (count, 2) through control points (N, 2)."""
    points = np.asarray(points, dtype=float)
    closed = np.vstack((points, points[:1]))
    steps = np.sqrt(np.maximum(np.linalg.norm(np.diff(closed, axis=0), axis=1), 1e-3))  # centripetal: no loops
    place = np.concatenate(([0.0], np.cumsum(steps)))
    return CubicSpline(place, closed, bc_type="periodic")(np.linspace(0, place[-1], count, endpoint=False))


def smooth_line(points: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth open curve (count, 2) through control points (N, 2), with values (N,) carried along it."""
    points, values = np.asarray(points, dtype=float), np.asarray(values, dtype=float)
    place = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))))
    even = np.linspace(0, place[-1], count)
    return CubicSpline(place, points)(even), np.interp(even, place, values)
