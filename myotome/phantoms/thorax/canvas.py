"""Coverage of shapes on a grid of voxels, and textures: the pencils that the renderer draws with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.phantoms.thorax.anatomy import AZIMUTH_COUNT

__all__ = ["Canvas", "Texture"]


class Canvas:
    """A plane of voxels, and the share of each that a shape covers.

    Parameters
    ----------
    x_mm, y_mm : voxel centres to the right and to the front, in patient mm (evenly spaced).
    """

    def __init__(self, x_mm: np.ndarray, y_mm: np.ndarray) -> None:
        self.x, self.y = x_mm.astype(np.float32), y_mm.astype(np.float32)
        self.pixel = float(abs(self.x[1] - self.x[0]))
        theta = np.arctan2(self.x[:, None], self.y[None, :])
        self.azimuth_index = ((theta + np.pi) / (2 * np.pi) * AZIMUTH_COUNT).astype(np.int32) % AZIMUTH_COUNT
        self.radius = np.hypot(self.x[:, None], self.y[None, :])

    def cover(self, bound: np.ndarray) -> np.ndarray:
        """Share of each voxel that lies within ``bound`` of the axis."""
        return np.clip((bound.astype(np.float32)[self.azimuth_index] - self.radius) / self.pixel + 0.5, 0, 1)

    def ellipse(
        self, centre: tuple[float, float], half: tuple[float, float], turn: float = 0.0
    ) -> tuple[tuple[slice, slice], np.ndarray]:
        """Coverage of an ellipse in the plane, on its own box."""
        reach = max(half) + 1
        box = self._box((centre[0] - reach, centre[0] + reach), (centre[1] - reach, centre[1] + reach))
        x, y = self.x[box[0]][:, None] - centre[0], self.y[box[1]][None, :] - centre[1]
        if turn:
            x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        distance = (1 - np.sqrt((x / half[0]) ** 2 + (y / half[1]) ** 2)) * min(half)
        return box, np.clip(distance / self.pixel + 0.5, 0, 1).astype(np.float32)

    def _box(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> tuple[slice, slice]:
        def span(values: np.ndarray, low: float, high: float) -> slice:
            inside = np.flatnonzero((values >= low) & (values <= high))
            return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)

        return span(self.x, *x_range), span(self.y, *y_range)

    def capsule(self, z_mm: float, start, stop, radius: float) -> tuple[tuple[slice, slice], np.ndarray] | None:
        """Coverage of a round rod between two points in space, on its own box of the plane."""
        start, stop = np.asarray(start, float), np.asarray(stop, float)
        if not min(start[2], stop[2]) - radius < z_mm < max(start[2], stop[2]) + radius:
            return None
        low, high = np.minimum(start, stop) - radius - 1, np.maximum(start, stop) + radius + 1
        box = self._box((low[0], high[0]), (low[1], high[1]))
        x, y = self.x[box[0]][:, None] - start[0], self.y[box[1]][None, :] - start[1]
        if not x.size or not y.size:
            return None
        axis = stop - start
        height = z_mm - start[2]
        along = np.clip((x * axis[0] + y * axis[1] + height * axis[2]) / (axis @ axis), 0, 1)
        distance = np.sqrt((x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 + (height - along * axis[2]) ** 2)
        return box, np.clip((radius - distance) / self.pixel + 0.5, 0, 1).astype(np.float32)

    def union(self, z_mm: float, rods: list[tuple], grow: float = 0.0) -> np.ndarray:
        """Coverage of the union of several rods, each grown by some mm."""
        cover = np.zeros_like(self.radius)
        for start, stop, radius in rods:
            found = self.capsule(z_mm, start, stop, radius + grow)
            if found is not None:
                box, weight = found
                cover[box] = np.maximum(cover[box], weight)
        return cover


@dataclass(frozen=True, eq=False)
class Texture:
    """Random textures of one person, smooth at the scale of a few voxels, looked up in patient mm."""

    field: np.ndarray
    step_mm: float

    def at(self, x: np.ndarray, y: np.ndarray, z: float, scale: float = 1.0) -> np.ndarray:
        """Values on the outer grid of ``x`` and ``y`` at height ``z``; the field repeats."""
        size = np.array(self.field.shape)
        plane_at = (z / (self.step_mm * 2 * scale)) % size[2]
        low = int(plane_at)
        part = plane_at - low
        plane = self.field[:, :, low] * (1 - part) + self.field[:, :, (low + 1) % size[2]] * part
        plane /= np.sqrt(part**2 + (1 - part) ** 2)
        columns, rows = x / (self.step_mm * scale) % size[0], y / (self.step_mm * scale) % size[1]
        along_x = _lerp(plane, columns, 0)
        return _lerp(along_x, rows, 1)


def _lerp(plane: np.ndarray, position: np.ndarray, axis: int) -> np.ndarray:
    low = np.floor(position).astype(int) % plane.shape[axis]
    part = (position - np.floor(position)).astype(np.float32)
    part = part[:, None] if axis == 0 else part[None, :]
    high = (low + 1) % plane.shape[axis]
    return np.take(plane, low, axis) * (1 - part) + np.take(plane, high, axis) * part
