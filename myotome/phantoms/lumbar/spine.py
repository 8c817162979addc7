"""The spine's skeleton in space: end plates of T8 to S3, and tables of what follows the spine from head to foot.

Coordinates are millimetres in patient axes (x to the right, y to the front, z to the head) with the middle of the
sacrum's upper end plate at the origin. A tilt is an angle by which a front end lies lower than its back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from myotome.phantoms.lumbar.person import DISCS, LumbarPerson

__all__ = ["Axes", "LumbarSpine", "Plate", "Vertebra"]

# From S1 upwards: height, half width and half depth of the body, wedge (front higher, degrees), and the disc below it:
# height in its middle and wedge. A mean man's, as anthropometric studies have them within a millimetre or two.
_UPWARDS = (
    ("L5", 27.0, 25.5, 17.2, 9.0, 11.2, 13.0),
    ("L4", 27.2, 24.8, 17.0, 2.5, 11.8, 10.0),
    ("L3", 27.5, 23.6, 16.8, 0.5, 11.0, 8.0),
    ("L2", 27.2, 22.6, 16.4, -0.5, 10.0, 6.5),
    ("L1", 26.4, 21.8, 15.8, -2.0, 8.6, 4.5),
    ("T12", 25.2, 21.0, 15.4, -2.5, 7.2, 2.5),
    ("T11", 23.6, 19.4, 15.0, -3.0, 6.0, 1.0),
    ("T10", 22.4, 17.8, 14.8, -3.0, 5.4, 0.5),
    ("T9", 21.6, 17.0, 14.6, -3.0, 5.0, 0.0),
    ("T8", 21.0, 16.4, 14.4, -3.0, 4.8, 0.0),
)
# Downwards: height, half width and half depth at the upper end, how it bends backwards, rudimentary disc below.
_SACRUM = (
    ("S1", 29.0, 25.5, 16.8, -9.0, 3.0),
    ("S2", 24.0, 19.0, 11.0, -11.0, 2.2),
    ("S3", 20.0, 15.0, 8.5, -12.0, 1.5),
)
_STEP_MM = 0.5
_TOP_LEVEL = 8.0


@dataclass(frozen=True, eq=False)
class Axes:
    """Three perpendicular directions of a part of the spine."""

    right: np.ndarray
    forward: np.ndarray
    up: np.ndarray

    @classmethod
    def tilted(cls, tilt_rad: float, lean: float = 0.0, turn_rad: float = 0.0) -> Axes:
        """Tilted to the front, leaning to the right by ``lean`` mm a mm, and turned about the own axis."""
        forward = np.array([0.0, np.cos(tilt_rad), -np.sin(tilt_rad)])
        up = np.array([lean, np.sin(tilt_rad), np.cos(tilt_rad)])
        up /= np.linalg.norm(up)
        right = np.cross(forward, up)
        cosine, sine = np.cos(turn_rad), np.sin(turn_rad)
        return cls(cosine * right + sine * forward, cosine * forward - sine * right, up)


@dataclass(frozen=True, eq=False)
class Plate:
    """An end plate: a rim in a plane, hollow in its middle."""

    centre: np.ndarray
    axes: Axes
    half_width_mm: float
    half_depth_mm: float
    hollow_mm: float
    tilt_rad: float


@dataclass(frozen=True, eq=False)
class Vertebra:
    """A vertebral body between two end plates; ``flare`` is how far its rims stand out (osteophytes), in mm."""

    name: str
    upper: Plate
    lower: Plate
    centre: np.ndarray
    axes: Axes
    half_height_mm: float
    flare_mm: float

    @property
    def half_width_mm(self) -> float:
        """At the rims, on average."""
        return (self.upper.half_width_mm + self.lower.half_width_mm) / 2

    @property
    def half_depth_mm(self) -> float:
        """At the rims, on average."""
        return (self.upper.half_depth_mm + self.lower.half_depth_mm) / 2


class LumbarSpine:
    """The vertebrae of one person, and tables over height.

    Attributes
    ----------
    vertebrae : from T8 to S3
    z_mm : heights of the tables
    wall_mm, cosine, middle_mm : y of the bodies' back wall, cosine of its slope, x of the midline
    level : 11 in the middle of T11, 13 in L1, 17 in L5, 18 in S1
    """

    def __init__(self, person: LumbarPerson) -> None:
        self.person = person
        self._rng = np.random.default_rng((person.seed, 409))
        self._top = 5 * 38 * person.size
        up, down = self._stack_up(), self._stack_down()
        self.vertebrae = tuple(reversed(up)) + tuple(down)
        self._make_tables()

    def __getitem__(self, name: str) -> Vertebra:
        return next(vertebra for vertebra in self.vertebrae if vertebra.name == name)

    def around(self, disc: str) -> tuple[Vertebra, Vertebra]:
        """The vertebrae above and below a disc."""
        above, below = disc.split("-")
        return self[above], self[below]

    def over_level(self, levels, values) -> np.ndarray:
        """A quantity that is known at levels, as a table over `z_mm`."""
        return np.interp(self.level, levels, values).astype(np.float32)

    def over_vertebrae(self, values) -> np.ndarray:
        """A quantity that is known in the middle of each vertebra, as a table over `z_mm`."""
        return self.over_level(_TOP_LEVEL + np.arange(len(self.vertebrae)), values)

    def at(self, table: np.ndarray, z_mm: float) -> float:
        """A table's value at one height."""
        return float(np.interp(z_mm, self.z_mm, table))

    def _place(self, tilt: float, z_mm: float) -> Axes:
        """Axes at a height, with the lean and the turn of the scoliosis there."""
        share = np.pi * np.clip(z_mm / self._top, -0.2, 1.3)
        lean = self.person.scoliosis_mm * np.pi / self._top * np.cos(share)
        return Axes.tilted(tilt, float(lean), float(0.03 * self.person.scoliosis_mm * np.sin(share) / 3))

    def _middle(self, z_mm: np.ndarray | float) -> np.ndarray | float:
        return self.person.scoliosis_mm * np.sin(np.pi * np.clip(z_mm / self._top, -0.2, 1.3))

    def _plate(self, y: float, z: float, tilt: float, half: tuple[float, float], hollow: float) -> Plate:
        return Plate(np.array([self._middle(z), y, z]), self._place(tilt, z), *half, hollow, tilt)

    def _stack_up(self) -> list[Vertebra]:
        """L5 to T8, each on the disc below it."""
        person, rng = self.person, self._rng
        tilt, y, z = np.deg2rad(person.sacral_slope_deg), 0.0, 0.0
        hollow_below, half_depth = self._hollow("L5-S1", 0.8), _SACRUM[0][3] * person.size
        vertebrae = []
        for (name, *sizes), disc in zip(_UPWARDS, reversed(DISCS), strict=True):
            height, width, depth = (value * person.size * rng.normal(1, 0.02) for value in sizes[:3])
            state = person.disc(disc)
            hollow = self._hollow(disc, 2.0)
            gap = max(sizes[4] * person.size * rng.normal(1, 0.05) * state.height - hollow - hollow_below, 1.6)
            steepest = 2 * np.arctan(max(gap - 1.4, 0.1) / (2 * min(depth, half_depth)))
            wedge = min(np.deg2rad(sizes[5]) * person.lordosis * rng.normal(1, 0.12), steepest)
            y, z = _climb(y, z, tilt - wedge / 2, gap)
            tilt -= wedge
            if person.slip_mm and disc == person.slip_disc:
                y, z = y + person.slip_mm * np.cos(tilt), z - person.slip_mm * np.sin(tilt)
            lower = self._plate(y, z, tilt, (width, depth), hollow)
            wedge = np.deg2rad(sizes[3] * person.lordosis + rng.normal(0, 0.8))
            y, z = _climb(y, z, tilt - wedge / 2, height)
            tilt -= wedge
            hollow_below = self._hollow(DISCS[max(DISCS.index(disc) - 1, 0)], 1.2)
            upper = self._plate(y, z, tilt, (0.96 * width, 0.97 * depth), hollow_below)
            half_depth = 0.97 * depth
            vertebrae.append(self._body(name, upper, lower, state.wear))
        return vertebrae

    def _stack_down(self) -> list[Vertebra]:
        """The sacrum."""
        person = self.person
        tilt, y, z = np.deg2rad(person.sacral_slope_deg), 0.0, 0.0
        vertebrae = []
        for name, height, width, depth, wedge, gap in _SACRUM:
            hollow = self._hollow("L5-S1", 0.8) if name == "S1" else 0.3
            half = (width * person.size, depth * person.size)
            upper = self._plate(y, z, tilt, half, hollow)
            turned = np.deg2rad(wedge)
            y, z = _climb(y, z, tilt + turned / 2, -height * person.size)
            tilt += turned
            lower = self._plate(y, z, tilt, (0.74 * half[0], 0.66 * half[1]), 0.3)
            vertebrae.append(self._body(name, upper, lower, 1.0))
            y, z = _climb(y, z, tilt, -gap * person.size)
        return vertebrae

    def _hollow(self, disc: str, usual_mm: float) -> float:
        """Depth of an end plate's hollow; it flattens where the disc collapses."""
        return usual_mm * self.person.size * min(1.0, self.person.disc(disc).height) ** 1.5

    def _body(self, name: str, upper: Plate, lower: Plate, wear: float) -> Vertebra:
        axes = self._place((upper.tilt_rad + lower.tilt_rad) / 2, float(upper.centre[2] + lower.centre[2]) / 2)
        half = float(np.linalg.norm(upper.centre - lower.centre)) / 2
        flare = float(np.clip(0.7 * (wear - 2.6) + self._rng.normal(0, 0.4), 0, 3.0))
        return Vertebra(name, upper, lower, (upper.centre + lower.centre) / 2, axes, half, flare)

    def _make_tables(self) -> None:
        plates = [plate for vertebra in self.vertebrae for plate in (vertebra.upper, vertebra.lower)]
        walls = np.array([plate.centre - plate.half_depth_mm * plate.axes.forward for plate in plates])
        order = np.argsort(walls[:, 2])
        low, high = walls[:, 2].min() - 60, walls[:, 2].max() + 60
        self.z_mm = np.arange(low, high, _STEP_MM)
        y, z = walls[order, 1], walls[order, 2]
        first, last = (y[1] - y[0]) / (z[1] - z[0]), (y[-1] - y[-2]) / (z[-1] - z[-2])
        wall = np.interp(self.z_mm, z, y)
        wall += np.where(self.z_mm < z[0], first * (self.z_mm - z[0]), 0)
        wall += np.where(self.z_mm > z[-1], last * (self.z_mm - z[-1]), 0)
        self.wall_mm = gaussian_filter1d(wall, 5.0 / _STEP_MM, mode="nearest")
        slope = np.gradient(self.wall_mm, _STEP_MM)
        self.cosine = 1 / np.sqrt(1 + slope**2)
        self.middle_mm = np.asarray(self._middle(self.z_mm))
        heights = np.array([vertebra.centre[2] for vertebra in self.vertebrae])
        numbers = _TOP_LEVEL + np.arange(len(heights))
        self.level = np.interp(self.z_mm, heights[::-1], numbers[::-1])


def _climb(y: float, z: float, tilt: float, length: float) -> tuple[float, float]:
    return y + length * np.sin(tilt), z + length * np.cos(tilt)
