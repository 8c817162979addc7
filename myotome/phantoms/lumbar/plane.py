"""An image plane that lies anywhere in space, and the sections of solids with it, as shapes of a canvas."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from myotome.phantoms.canvas import Box, Canvas, Shape, inside
from myotome.phantoms.lumbar.spine import Axes, LumbarSpine

__all__ = ["Follower", "Plane", "Rod"]

Rod = tuple[np.ndarray, np.ndarray]  # points (N, 3) and radii (N,), in mm

_REACH_MM = 1.5  # how far outside a rod its depth is known


class Plane:
    """A canvas in space.

    Parameters
    ----------
    canvas : pixel centres along the two directions.
    centre : (3,) mm, where both canvas coordinates are zero.
    across, down : (3,) perpendicular unit vectors, directions of the canvas's first and second axis.
    """

    def __init__(self, canvas: Canvas, centre: np.ndarray, across: np.ndarray, down: np.ndarray) -> None:
        self.canvas, self.centre, self.across, self.down = canvas, np.asarray(centre, float), across, down
        self.normal = np.cross(across, down)
        self.whole: Box = (slice(0, canvas.shape[0]), slice(0, canvas.shape[1]))

    def along(self, point: np.ndarray, direction: np.ndarray, box: Box | None = None) -> np.ndarray:
        """How far (mm) each pixel lies from a point in one direction; broadcastable to the box."""
        box = box or self.whole
        start = np.float32(direction @ (self.centre - point))
        first, second = float(direction @ self.across), float(direction @ self.down)
        x, y = self.canvas.x[box[0]] * np.float32(first) + start, self.canvas.y[box[1]] * np.float32(second)
        if abs(first) < 1e-7:
            return (y + start)[None, :]
        return x[:, None] if abs(second) < 1e-7 else x[:, None] + y[None, :]

    def near(self, point: np.ndarray, reach_mm: float) -> Box | None:
        """The pixels that can be within a distance of a point; None where there are none."""
        offset = point - self.centre
        away = abs(float(offset @ self.normal))
        if away >= reach_mm:
            return None
        half = np.sqrt(reach_mm**2 - away**2)
        place = np.array([offset @ self.across, offset @ self.down])
        box = self.canvas.box(place - half, place + half)
        return box if box[0].stop > box[0].start and box[1].stop > box[1].start else None

    def rod(self, points: np.ndarray, radii: np.ndarray) -> Shape | None:
        """The section of tapering segments through points (N, 3), each with its own radius."""
        return self.rods([(np.asarray(points, dtype=float), np.asarray(radii, dtype=float))])

    def rods(self, rods: Iterable[Rod]) -> Shape | None:
        """The section of several rods that run into each other."""
        parts = []
        for points, radii in rods:
            for start, stop, first, last in zip(points, points[1:], radii, radii[1:], strict=False):
                axis = stop - start
                box = self.near((start + stop) / 2, float(np.sqrt(axis @ axis)) / 2 + max(first, last) + _REACH_MM)
                if box is not None:
                    parts.append((box, self._segment(box, start, stop, (first, last))))
        if not parts:
            return None
        box = tuple(
            slice(min(part[0][axis].start for part in parts), max(part[0][axis].stop for part in parts))
            for axis in (0, 1)
        )
        depth = np.full([part.stop - part.start for part in box], -1e3, dtype=np.float32)
        for part, values in parts:
            target = depth[inside(part, box)]
            np.maximum(target, values, out=target)
        return Shape(box, depth, self.canvas.pixel_mm)

    def _segment(self, box: Box, start: np.ndarray, stop: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
        axis = stop - start
        length = max(float(np.linalg.norm(axis)), 1e-6)
        along = self.along(start, axis / length, box)
        share = np.clip(along / np.float32(length), 0, 1)
        away = self._square_distance(box, start) - along**2 + (along - share * np.float32(length)) ** 2
        return np.float32(radii[0]) + share * np.float32(radii[1] - radii[0]) - np.sqrt(np.maximum(away, 0))

    def _square_distance(self, box: Box, point: np.ndarray) -> np.ndarray:
        offset = point - self.centre
        x = self.canvas.x[box[0]] - np.float32(offset @ self.across)
        y = self.canvas.y[box[1]] - np.float32(offset @ self.down)
        return (x**2)[:, None] + (y**2 + np.float32(offset @ self.normal) ** 2)[None, :]

    def ball(
        self, centre: np.ndarray, half_mm: tuple[float, float, float], axes: Axes, box: Box | None = None
    ) -> Shape | None:
        """The section of an ellipsoid with half axes along ``axes`` (right, forward, up), in a box or in its own."""
        box = box or self.near(centre, max(half_mm) + _REACH_MM)
        if box is None:
            return None
        square, slope = np.float32(0), np.float32(0)
        for direction, half in zip((axes.right, axes.forward, axes.up), half_mm, strict=True):
            part = (self.along(centre, direction, box) / np.float32(half)) ** 2
            square, slope = square + part, slope + part / np.float32(half**2)
        depth = (1 - square) / (2 * np.maximum(np.sqrt(slope), np.float32(1e-3)))
        return Shape(box, depth, self.canvas.pixel_mm)


class Follower:
    """Coordinates of a plane's pixels that follow the spine.

    Attributes
    ----------
    x_mm, front_mm : distance from the midline, and before the bodies' back wall; broadcastable to the box.
    index : looks up tables over the spine's heights.
    """

    def __init__(self, plane: Plane, spine: LumbarSpine, box: Box | None = None) -> None:
        self.plane, self.spine, self.box = plane, spine, box or plane.whole
        origin, axes = np.zeros(3), np.eye(3)
        x, y, z = (plane.along(origin, axis, self.box) for axis in axes)
        step = np.float32(1 / (spine.z_mm[1] - spine.z_mm[0]))
        index = np.rint((z - np.float32(spine.z_mm[0])) * step)
        self.index = np.clip(index, 0, len(spine.z_mm) - 1).astype(np.intp)
        self.x_mm = x - spine.middle_mm.astype(np.float32)[self.index]
        self.front_mm = (y - spine.wall_mm.astype(np.float32)[self.index]) * spine.cosine.astype(np.float32)[self.index]
        self._ranges = [_ranges(values) for values in (self.x_mm, self.front_mm, self.index)]

    def part(self, shape: Shape, margin_mm: float = 1.0) -> Follower | None:
        """The same, in the box around the pixels of a shape; None where the shape is empty."""
        rows, columns = (np.flatnonzero((shape.depth_mm > -margin_mm).any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            return None
        box = tuple(
            slice(part.start + int(places[0]), part.start + int(places[-1]) + 1)
            for part, places in zip(shape.box, (rows, columns), strict=True)
        )
        return Follower(self.plane, self.spine, (box[0], box[1]))

    def column(self, x_mm, front_mm, half_x_mm, half_front_mm) -> Shape | None:
        """An oval tube along the spine; each argument is a number or a table over the spine's heights.

        Where a half axis is not above 0.2 mm there is nothing. None where no pixel can be in it.
        """
        tables = [np.asarray(value, np.float32) for value in (x_mm, front_mm, half_x_mm, half_front_mm)]
        tables = np.broadcast_arrays(*tables, self.spine.middle_mm)[:4]
        exists = np.minimum(tables[2], tables[3]) > 0.2
        cut = self._crop(tables, exists)
        if cut is None:
            return None
        box, index, x, front = cut
        place_x, place_y, half_x, half_y = (table[index] for table in tables)
        half_x, half_y = np.maximum(half_x, np.float32(0.2)), np.maximum(half_y, np.float32(0.2))
        dx, dy = (x - place_x) / half_x, (front - place_y) / half_y
        slope = np.sqrt((dx / half_x) ** 2 + (dy / half_y) ** 2)
        depth = (1 - dx * dx - dy * dy) / np.maximum(slope + slope, np.float32(2e-3))
        return self._shape(box, np.where(exists[index], depth, np.float32(-1e3)))

    def bar(self, ends: tuple[tuple[float, float], tuple[float, float]], radius: np.ndarray) -> Shape | None:
        """A wall along the spine whose cross-section is a segment between two places (x, front) with round ends."""
        (x0, y0), (x1, y1) = ends
        half = np.abs([x1 - x0, y1 - y0]) / 2
        tables = [np.full_like(radius, value) for value in ((x0 + x1) / 2, (y0 + y1) / 2)]
        cut = self._crop([*tables, radius + half[0], radius + half[1]], radius > 0)
        if cut is None:
            return None
        box, index, x, front = cut
        dx, dy, length = x - np.float32(x0), front - np.float32(y0), (x1 - x0) ** 2 + (y1 - y0) ** 2
        share = np.clip(dx * np.float32((x1 - x0) / length) + dy * np.float32((y1 - y0) / length), 0, 1)
        gap = np.sqrt((dx - share * np.float32(x1 - x0)) ** 2 + (dy - share * np.float32(y1 - y0)) ** 2)
        return self._shape(box, radius[index] - gap)

    def _crop(self, tables: list[np.ndarray], exists: np.ndarray):
        """The box that can hold a tube, with its index, x and front; None where it is empty."""
        heights = np.flatnonzero(exists)
        if not heights.size:
            return None
        bounds = [
            (
                float((tables[place] - tables[half])[exists].min()) - 2,
                float((tables[place] + tables[half])[exists].max()) + 2,
            )
            for place, half in ((0, 2), (1, 3))
        ]
        bounds.append((heights[0], heights[-1]))
        box, parts = [], []
        for axis, start in enumerate(part.start for part in self.box):
            valid = True
            for (low, high), ranges in zip(bounds, self._ranges, strict=True):
                valid = valid & (ranges[axis][1] >= low) & (ranges[axis][0] <= high)
            places = np.flatnonzero(np.broadcast_to(valid, (self.box[axis].stop - start,)))
            if not places.size:
                return None
            parts.append(slice(int(places[0]), int(places[-1]) + 1))
            box.append(slice(start + int(places[0]), start + int(places[-1]) + 1))
        return (box[0], box[1]), *(_take(values, parts) for values in (self.index, self.x_mm, self.front_mm))

    def _shape(self, box: Box, depth: np.ndarray) -> Shape:
        size = tuple(part.stop - part.start for part in box)
        return Shape(box, np.broadcast_to(depth, size), self.plane.canvas.pixel_mm)


def _ranges(values: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Least and greatest value along each of two axes: of each row, and of each column."""
    return tuple((values.min(axis=axis), values.max(axis=axis)) for axis in (1, 0))


def _take(values: np.ndarray, parts: list[slice]) -> np.ndarray:
    """Part of an array that may be one long along an axis."""
    return values[tuple(part if size > 1 else slice(None) for part, size in zip(parts, values.shape, strict=True))]
