"""Sections of vertebral bodies and discs: how deep each pixel lies in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.phantoms.canvas import Box, Shape
from myotome.phantoms.lumbar.person import DiscState
from myotome.phantoms.lumbar.plane import Plane
from myotome.phantoms.lumbar.spine import Axes, LumbarSpine, Plate, Vertebra

__all__ = ["BodySection", "DiscSection", "DiscSolid", "cut_body"]

_CORNER_MM = 1.6
_WAIST = 0.10
_HOLLOW_BEHIND = 0.10  # how much flatter a body is in the middle of its back


@dataclass(frozen=True, eq=False)
class BodySection:
    """A body's section, and how far each pixel lies from the nearer end plate (mm)."""

    shape: Shape
    from_plate_mm: np.ndarray
    upper: np.ndarray


def cut_body(plane: Plane, vertebra: Vertebra) -> BodySection | None:
    """The section of a vertebral body; None where the plane does not meet it."""
    width, depth, half = vertebra.half_width_mm, vertebra.half_depth_mm, vertebra.half_height_mm
    box = plane.near(vertebra.centre, float(np.sqrt(width**2 + depth**2 + half**2)) + 3.0)
    if box is None:
        return None
    x, y, z = (
        plane.along(vertebra.centre, direction, box)
        for direction in (vertebra.axes.right, vertebra.axes.forward, vertebra.axes.up)
    )
    share = np.clip((z / np.float32(half)) ** 2, 0, 1.2)
    upper, lower = vertebra.upper, vertebra.lower
    slant_x = np.float32((upper.half_width_mm - lower.half_width_mm) / (2 * half))
    slant_y = np.float32((upper.half_depth_mm - lower.half_depth_mm) / (2 * half))
    scale = (1 - _WAIST) + np.float32(_WAIST) * share
    flare = np.float32(vertebra.flare_mm) * share**4
    side, _ = _side(
        x, y, (np.float32(width) + slant_x * z) * scale + flare, (np.float32(depth) + slant_y * z) * scale + flare
    )
    top = -_above(plane, upper, box) - _hollow(plane, upper, box)
    bottom = _above(plane, lower, box) - _hollow(plane, lower, box)
    ends = np.minimum(top, bottom)
    missing = np.hypot(np.maximum(_CORNER_MM - side, 0), np.maximum(_CORNER_MM - ends, 0))
    deep = np.where(missing > 0, np.float32(_CORNER_MM) - missing, np.minimum(side, ends))
    return BodySection(Shape(box, deep.astype(np.float32), plane.canvas.pixel_mm), ends, top < bottom)


@dataclass(frozen=True, eq=False)
class DiscSection:
    """A disc's section: ``radius`` is 0 in its axis and 1 on its rim, ``height`` -1 at its lower face, 1 at its upper.

    ``herniated`` is true in what has left the disc.
    """

    shape: Shape
    radius: np.ndarray
    height: np.ndarray
    herniated: np.ndarray


class DiscSolid:
    """A disc between two vertebrae, with its bulge and its herniation.

    Parameters
    ----------
    spine : whose disc it is.
    state : of the disc.
    """

    def __init__(self, spine: LumbarSpine, state: DiscState) -> None:
        self.state = state
        above, below = spine.around(state.name)
        self.upper, self.lower = above.lower, below.upper
        self.centre = (self.upper.centre + self.lower.centre) / 2
        self.axes = _between(self.upper.axes, self.lower.axes)
        self.half_width_mm = (self.upper.half_width_mm + self.lower.half_width_mm) / 2 + state.bulge_mm + 0.3
        self.half_depth_mm = (self.upper.half_depth_mm + self.lower.half_depth_mm) / 2 + state.bulge_mm + 0.3
        self.reach_mm = float(np.hypot(self.half_width_mm, self.half_depth_mm)) + 14.0

    def cut(self, plane: Plane, overlap_mm: float = 0.0) -> DiscSection | None:
        """The section; ``overlap_mm`` is how far it reaches under the end plates. None where there is none."""
        box = plane.near(self.centre, self.reach_mm)
        if box is None:
            return None
        x, y = (plane.along(self.centre, axis, box) for axis in (self.axes.right, self.axes.forward))
        side, measure = _side(x, y, np.float32(self.half_width_mm), np.float32(self.half_depth_mm))
        to_upper = _hollow(plane, self.upper, box) - _above(plane, self.upper, box)
        to_lower = _hollow(plane, self.lower, box) + _above(plane, self.lower, box)
        depth = np.minimum(side, np.minimum(to_upper, to_lower) + np.float32(overlap_mm))
        height = (to_lower - to_upper) / np.maximum(np.abs(to_lower + to_upper), np.float32(0.5))
        herniated = np.zeros(depth.shape, bool)
        bump = self._herniation(plane, box)
        if bump is not None:
            herniated = bump > np.maximum(depth, 0)
            depth = np.maximum(depth, bump)
        return DiscSection(Shape(box, depth, plane.canvas.pixel_mm), measure**0.4, height, herniated)

    def _herniation(self, plane: Plane, box: Box) -> np.ndarray | None:
        """Depth in what has left the disc: a dome on its back, and of an extrusion what has slid along the wall."""
        state = self.state
        if state.herniation not in ("protrusion", "extrusion"):
            return None
        offset = state.side * self.half_width_mm
        flat = 1 - _HOLLOW_BEHIND * max(0.0, 1 - (2 * state.side) ** 2)
        wall = -self.half_depth_mm * flat * (1 - abs(state.side) ** 2.5) ** 0.4
        gap = float(np.linalg.norm(self.upper.centre - self.lower.centre))
        tall = max(3.2, 0.42 * gap + 0.3 * state.reach_mm)
        dome = plane.ball(self._at(offset, wall, 0.0), (8.5, state.reach_mm, tall), self.axes, box).depth_mm
        if state.herniation == "extrusion":
            centre = self._at(offset, wall - 0.5 * state.reach_mm, -state.drop_mm)
            slid = plane.ball(centre, (6.0, 0.5 * state.reach_mm, 6.0), self.axes, box).depth_mm
            return np.maximum(dome, slid)
        return dome

    def _at(self, x: float, y: float, z: float) -> np.ndarray:
        return self.centre + x * self.axes.right + y * self.axes.forward + z * self.axes.up


def _side(x: np.ndarray, y: np.ndarray, width, depth) -> tuple[np.ndarray, np.ndarray]:
    """Depth below a body's side wall, and |x/w|^2.5 + |y/d|^2.5: 1 on the wall, which is hollow behind."""
    across, front = np.abs(x / width), y / depth
    behind = np.float32(1) + np.float32(_HOLLOW_BEHIND / (1 - _HOLLOW_BEHIND)) * np.maximum(1 - (2 * across) ** 2, 0)
    front = np.abs(np.where(front < 0, front * behind, front))
    first, second = across * np.sqrt(across), front * np.sqrt(front)
    measure = first * across + second * front
    slope = np.float32(2.5) * np.hypot(first / width, second / depth)
    return (1 - measure) / np.maximum(slope, np.float32(0.02)), measure


def _above(plane: Plane, plate: Plate, box: Box) -> np.ndarray:
    return plane.along(plate.centre, plate.axes.up, box)


def _hollow(plane: Plane, plate: Plate, box: Box) -> np.ndarray:
    """How deep the end plate is hollowed at each pixel."""
    x = plane.along(plate.centre, plate.axes.right, box) / np.float32(0.92 * plate.half_width_mm)
    y = plane.along(plate.centre, plate.axes.forward, box) / np.float32(0.92 * plate.half_depth_mm)
    return np.float32(plate.hollow_mm) * np.clip(1 - x * x - y * y, 0, 1)


def _between(first: Axes, second: Axes) -> Axes:
    up = first.up + second.up
    up /= np.linalg.norm(up)
    forward = first.forward + second.forward
    forward -= (forward @ up) * up
    forward /= np.linalg.norm(forward)
    return Axes(np.cross(forward, up), forward, up)
