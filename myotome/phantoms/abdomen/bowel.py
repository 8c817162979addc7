"""Loops of bowel: packed until the fat that is left of the cavity is the person's, and drawn with their contents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from myotome.phantoms.abdomen.anatomy import AbdomenAnatomy, Trunk, polygon_cm2
from myotome.phantoms.abdomen.painting import AZIMUTHS, Painting
from myotome.phantoms.abdomen.spine import SpineLevels

__all__ = ["Bowel", "Loop", "draw_loop"]

_LAYER_MM = 21.0
_TRIES = 96


@dataclass(frozen=True)
class Loop:
    """A piece of bowel: an ellipsoid with a wall and contents.

    ``contents`` is ``fluid``, ``positive_contrast``, ``stool`` or ``collapsed``.

    ``gas_level`` is the height of the gas's lower surface in half heights; above 1 there is none.
    """

    centre: tuple[float, float, float]
    half_mm: tuple[float, float, float]
    turn: float
    wall_mm: float
    contents: str
    gas_level: float
    number: int


class Bowel:
    """All loops of one person; a layer is packed when a slice near it is drawn."""

    def __init__(self, anatomy: AbdomenAnatomy, spine: SpineLevels, blocked: Callable) -> None:
        self.anatomy, self.spine, self._blocked = anatomy, spine, blocked
        self._layers: dict[int, list[Loop]] = {}
        rng = np.random.default_rng((anatomy.person.seed, 283))
        self._colon = [
            (1, float(rng.uniform(1.55, 1.95)), float(rng.uniform(13, 25))),
            (-1, float(rng.uniform(1.6, 2.0)), float(rng.uniform(8, 17))),
        ]
        self._transverse_u, self._transverse_mm = float(rng.normal(15.0, 0.8)), float(rng.uniform(11, 24))
        self._overlap = 0.3 + 0.4 * float(np.clip(1 - anatomy.person.visceral_cm2 / 70, 0, 1))
        self._peripheral = float(rng.uniform(0.02, 0.5))
        self._gassy = float(rng.beta(1.2, 2.2))
        self._wall_mm = float(rng.uniform(1.0, 2.6))

    def near(self, z_mm: float) -> list[Loop]:
        """Loops that a plane cuts."""
        middle = round((z_mm - self.spine["L3"]) / _LAYER_MM)
        loops = [loop for k in range(middle - 2, middle + 3) for loop in self._layer(k)]
        return [loop for loop in loops if abs(z_mm - loop.centre[2]) < loop.half_mm[2]]

    def _layer(self, number: int) -> list[Loop]:
        if number not in self._layers:
            z = self.spine["L3"] + number * _LAYER_MM
            u = self.spine.to_u(z)
            self._layers[number] = self._pack(number, z, u) if 11.5 < u < 19.8 else []
        return self._layers[number]

    def _pack(self, number: int, z: float, u: float) -> list[Loop]:
        person = self.anatomy.person
        rng = np.random.default_rng((person.seed, 293, number + 1000))
        trunk = self.anatomy.trunk(u)
        circles, depth = self._blocked(u, trunk)
        loops, placed = self._colon_loops(rng, z, u, trunk), list(circles)
        for loop in loops:
            placed.append((loop.centre[0], loop.centre[1], 0.5 * sum(loop.half_mm[:2])))
        free = polygon_cm2(
            np.array(
                [
                    self.anatomy.point(a, r)
                    for a, r in zip(np.linspace(-np.pi, np.pi, 90), trunk.cavity[:: AZIMUTHS // 90], strict=False)
                ]
            )
        )
        taken = (
            sum(np.pi * r * r for *_, r in placed) / 100 * 0.9
            + float(np.sum(depth * (trunk.cavity - depth / 2))) * 2 * np.pi / AZIMUTHS / 100
        )
        room = free - taken - 0.8 * person.visceral_cm2
        for _ in range(110):
            if room <= 0:
                break
            found = self._place(rng, trunk, np.array(placed), depth)
            if found is None:
                break
            x, y, radius = found
            placed.append(found)
            room -= np.pi * radius**2 / 100
            loops.append(self._loop(rng, (x, y, z), radius, number * 100 + len(loops)))
        return loops

    def _place(self, rng: np.random.Generator, trunk: Trunk, placed: np.ndarray, depth: np.ndarray):
        """The best of many random places for one more loop: it touches wall or loops and overlaps nothing much."""
        radius = float(np.clip(rng.gamma(9, 1.35), 6, 24))
        azimuth = rng.uniform(-2.3, 2.3, _TRIES)
        index = ((azimuth / (2 * np.pi) + 0.5) * AZIMUTHS).astype(int) % AZIMUTHS
        reach = trunk.cavity[index] - depth[index] - radius - 0.6
        distance = reach * np.sqrt(rng.uniform(0, 1, _TRIES))
        touching = rng.random(_TRIES) < self._peripheral
        distance = np.where(touching, reach, distance)
        points = np.stack(
            (self.anatomy.centre[0] + distance * np.sin(azimuth), self.anatomy.centre[1] + distance * np.cos(azimuth)),
            axis=1,
        )
        gap = (
            np.hypot(points[:, None, 0] - placed[None, :, 0], points[:, None, 1] - placed[None, :, 1])
            - placed[None, :, 2]
            - radius
        )
        nearest = gap.min(axis=1)
        allowed = (nearest > -self._overlap * radius) & (reach > 0)
        if not allowed.any():
            return None if rng.random() < 0.04 else self._place_smaller(rng, points, gap, radius, reach)
        score = np.where(touching, 2.0 * rng.random(_TRIES), np.abs(nearest))
        best = int(np.argmin(np.where(allowed, score, np.inf)))
        return float(points[best, 0]), float(points[best, 1]), radius

    def _place_smaller(
        self, rng: np.random.Generator, points: np.ndarray, gap: np.ndarray, radius: float, reach: np.ndarray
    ):
        best = int(np.argmax(np.where(reach > 0, gap.min(axis=1), -np.inf)))
        smaller = radius + float(gap[best].min())
        return (float(points[best, 0]), float(points[best, 1]), smaller) if smaller > 4.5 else None

    def _loop(self, rng: np.random.Generator, centre: tuple[float, float, float], radius: float, number: int) -> Loop:
        stretch = float(np.exp(rng.normal(0, 0.22)))
        contents = str(rng.choice(["fluid", "collapsed", "stool"], p=[0.5, 0.45, 0.05]))
        if self.anatomy.person.oral_contrast == "positive" and rng.random() < 0.7:
            contents = "positive_contrast"
        elif self.anatomy.person.oral_contrast == "water" and rng.random() < 0.7:
            contents = "fluid"
        gas = rng.uniform(-0.9, 0.9) if rng.random() < 0.35 * self._gassy + 0.05 and contents != "collapsed" else 2.0
        half = (radius * stretch, radius / stretch, float(rng.uniform(13, 24)))
        wall = self._wall_mm * float(rng.uniform(0.8, 1.3))
        place = (centre[0], centre[1], centre[2] + float(rng.uniform(-7, 7)))
        return Loop(place, half, float(rng.uniform(0, np.pi)), wall, contents, float(gas), number)

    def _colon_loops(self, rng: np.random.Generator, z: float, u: float, trunk: Trunk) -> list[Loop]:
        """Ascending and descending colon at the flanks, and the transverse one behind the front wall."""
        loops = []
        for side, azimuth, radius in self._colon:
            if u < 13.6 + 0.4 * (side > 0) or u > 18:
                continue
            radius = radius * float(rng.uniform(0.75, 1.2))
            index = int((side * azimuth / (2 * np.pi) + 0.5) * AZIMUTHS) % AZIMUTHS
            x, y = self.anatomy.point(side * azimuth, max(trunk.cavity[index] - radius - float(rng.uniform(0.4, 6)), 5))
            contents = str(rng.choice(["stool", "fluid", "collapsed"], p=[0.68, 0.17, 0.15]))
            gas = float(rng.uniform(-1.0, 0.8)) if rng.random() < 0.3 + 0.5 * self._gassy else 2.0
            loops.append(
                Loop(
                    (x, y, z), (radius, radius * 0.95, 14.0), 0.0, 1.4 + 0.5 * self._wall_mm, contents, gas, -abs(side)
                )
            )
        if abs(u - self._transverse_u) < 0.45:
            for azimuth in np.arange(-0.85, 0.9, 0.28) + rng.normal(0, 0.05, 7):
                radius = self._transverse_mm * float(rng.uniform(0.75, 1.15))
                index = int((azimuth / (2 * np.pi) + 0.5) * AZIMUTHS) % AZIMUTHS
                x, y = self.anatomy.point(azimuth, max(trunk.cavity[index] - radius - float(rng.uniform(0.3, 3)), 5))
                gas = float(rng.uniform(-1.2, 0.5)) if rng.random() < 0.3 + 0.6 * self._gassy else 2.0
                half = (radius * 1.25, radius, 15.0)
                loops.append(Loop((x, y, z + float(rng.uniform(-3, 3))), half, -azimuth, 1.2, "stool", gas, -3))
        return loops


def draw_loop(painting: Painting, loop: Loop, within: np.ndarray) -> None:
    """One loop's section: wall, contents, and gas above its level."""
    part = float(np.sqrt(max(1 - ((painting.z_mm - loop.centre[2]) / loop.half_mm[2]) ** 2, 0)))
    half = (loop.half_mm[0] * part, loop.half_mm[1] * part)
    if min(half) < 2.0:
        return
    shape = painting.outline(_outline(loop, half), np.array(loop.centre[:2]))
    if not all(s.stop > s.start for s in shape.box):
        return
    painting.fill(shape, "bowel_wall", within=within)
    lumen = shape.cover(loop.wall_mm if loop.contents != "collapsed" else 0.62 * min(half)) * within[shape.box]
    texture = painting.readiness(shape.box, 0.0)
    tissues = painting.tissues
    level = {"collapsed": tissues["fluid"] + 10, "gas": tissues["gas"]}.get(loop.contents) or tissues[loop.contents]
    value = np.float32(level) + texture * np.float32(3)
    if loop.contents == "stool":
        value = np.float32(level) + texture * np.float32(28)
        value = np.where(texture > 1.35, np.float32(-420), value)
    painting.lay(shape.box, lumen, value)
    if loop.gas_level < 1:
        middle = painting.frame.to_scanner(np.array([loop.centre[:2]]))[0][1]
        surface = np.float32(middle + loop.gas_level * min(half))
        above = np.clip((painting.canvas.y[shape.box[1]][None, :] - surface) / painting.canvas.pixel_mm + 0.5, 0, 1)
        painting.lay(shape.box, lumen * above, "gas")


def _outline(loop: Loop, half: tuple[float, float]) -> np.ndarray:
    """The loop's uneven outer border (72, 2)."""
    rng = np.random.default_rng((313, round(abs(loop.turn) * 1e4), abs(loop.number), round(loop.half_mm[0] * 100)))
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    bumps = sum(rng.normal(0, 0.11 / order**0.7) * np.cos(order * angle + rng.uniform(0, 6)) for order in (2, 3, 4, 6))
    points = np.stack((half[0] * np.cos(angle), half[1] * np.sin(angle)), axis=1) * (1 + bumps)[:, None]
    cosine, sine = np.cos(loop.turn), np.sin(loop.turn)
    return points @ np.array([[cosine, sine], [-sine, cosine]]) + np.array(loop.centre[:2])
