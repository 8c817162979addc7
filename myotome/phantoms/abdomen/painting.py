"""The brush: tissues laid over each other on the Hounsfield units of one section, with the labels they carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from myotome.phantoms.canvas import Box, Canvas, Shape
from myotome.phantoms.infiltration import Texture, infiltrate

__all__ = [
    "AZIMUTHS",
    "FAT_IN_MUSCLE",
    "MUSCLE",
    "SUBCUTANEOUS",
    "VISCERAL",
    "Fatness",
    "Frame",
    "Painting",
    "Polar",
    "azimuths",
]

# Labels of the schema l3_muscle_ct.
MUSCLE = 1
SUBCUTANEOUS = 2
VISCERAL = 3
FAT_IN_MUSCLE = 4
AZIMUTHS = 1440


@dataclass(frozen=True)
class Frame:
    """How the person lies in the scanner: turned by radians about the spine, then shifted in mm."""

    turn: float
    shift_mm: tuple[float, float]

    def to_scanner(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the person in the scanner's plane."""
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        return np.asarray(points, dtype=float) @ np.array([[cosine, sine], [-sine, cosine]]) + self.shift_mm


class Polar:
    """Azimuth and distance of every pixel from the middle of the trunk.

    Azimuth 0 is the front, a quarter turn the person's right.
    """

    def __init__(self, canvas: Canvas, frame: Frame, centre: tuple[float, float]) -> None:
        middle = frame.to_scanner(np.array([centre]))[0].astype(np.float32)
        dx, dy = (canvas.x - middle[0])[:, None], (canvas.y - middle[1])[None, :]
        azimuth = np.arctan2(dx, dy) + np.float32(frame.turn)
        self._index = np.floor((azimuth / (2 * np.pi) + 0.5) * AZIMUTHS).astype(np.int32) % AZIMUTHS
        self.radius = np.hypot(dx, dy)
        self.pixel_mm = canvas.pixel_mm

    def spread(self, table: np.ndarray) -> np.ndarray:
        """A table over azimuths (`azimuths`) as a plane."""
        return table.astype(np.float32)[self._index]

    def cover(self, bound: np.ndarray) -> np.ndarray:
        """Share of each pixel within a distance that depends on the azimuth."""
        return np.clip((self.spread(bound) - self.radius) / self.pixel_mm + 0.5, 0, 1)


def azimuths() -> np.ndarray:
    """The azimuth of each entry of a table, radians in -pi..pi."""
    return ((np.arange(AZIMUTHS) + 0.5) / AZIMUTHS - 0.5) * 2 * np.pi


@dataclass(frozen=True)
class Fatness:
    """Fat of one muscle: shares of its area in streaks and finer than a pixel, and how the streaks run (radians)."""

    streak_share: float
    diffuse_share: float
    turn: float = 0.0
    streakiness: float = 0.85


class Painting:
    """One section in the making.

    Attributes
    ----------
    hu : (X, Y); shares : (4, X, Y) share of each pixel per label; flesh : (X, Y) Hounsfield units of what lies inside
    the muscles' contour, whatever else the pixel holds.
    """

    channels = 4

    def __init__(
        self, canvas: Canvas, frame: Frame, tissues: Mapping[str, float], texture: Texture, z_mm: float
    ) -> None:
        self.canvas, self.frame, self.z_mm = canvas, frame, z_mm
        self.tissues, self._pattern = tissues, texture.section(z_mm)
        self.hu = np.full(canvas.shape, tissues["air"], dtype=np.float32)
        self.shares = np.zeros((self.channels, *canvas.shape), dtype=np.float32)
        self.flesh = np.full(canvas.shape, tissues["muscle"], dtype=np.float32)

    def outline(self, points: np.ndarray, centre: np.ndarray | None = None) -> Shape:
        """A closed outline in the person's mm, star-shaped about its centre."""
        if centre is not None:
            centre = self.frame.to_scanner(np.array([centre]))[0]
        return self.canvas.blob(self.frame.to_scanner(points), centre)

    def oval(self, centre: tuple[float, float], half_mm: tuple[float, float], turn: float = 0.0) -> Shape:
        """An ellipse, turned by radians."""
        angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        points = np.stack((half_mm[0] * np.cos(angle), half_mm[1] * np.sin(angle)), axis=1)
        cosine, sine = np.cos(turn), np.sin(turn)
        points = points @ np.array([[cosine, sine], [-sine, cosine]]) + np.asarray(centre)
        return self.outline(points, np.asarray(centre))

    def rod(self, points: np.ndarray, radii: np.ndarray) -> Shape:
        """Tapering segments through points in the person's mm."""
        return self.canvas.rod(self.frame.to_scanner(np.asarray(points, dtype=float)), np.asarray(radii, dtype=float))

    def lay(self, box: Box, cover: np.ndarray, tissue: str | float | np.ndarray, label: int = 0) -> None:
        """Cover what is there with a tissue (or with Hounsfield units); labels below it go."""
        value = np.float32(self.tissues[tissue]) if isinstance(tissue, str) else np.asarray(tissue, dtype=np.float32)
        self.wash(box, cover, value)
        self.shares[(slice(None), *box)] *= 1 - cover
        if label:
            self.shares[(label - 1, *box)] += cover

    def wash(self, box: Box, cover: np.ndarray, value: np.ndarray) -> None:
        """Cover what is there; labels stay."""
        part = self.hu[box]
        part += cover * (value - part)

    def fill(self, shape: Shape, tissue: str | float, inset_mm: float = 0.0, within: np.ndarray | None = None) -> None:
        """Lay a whole shape shrunk by ``inset_mm``, where ``within`` (X, Y) allows."""
        cover = shape.cover(inset_mm)
        self.lay(shape.box, cover if within is None else cover * within[shape.box], tissue)

    def bone(self, shape: Shape, cortex_mm: float, marrow: str | float = "marrow") -> None:
        """Cortex around marrow with its trabeculae."""
        self.fill(shape, "cortex")
        value = self.tissues[marrow] if isinstance(marrow, str) else marrow
        texture = self.readiness(shape.box, 0.0) * np.float32(0.16 * abs(value)) + np.float32(value)
        self.lay(shape.box, shape.cover(cortex_mm), texture)

    def muscle(self, box: Box, cover: np.ndarray, fatness: Fatness, bias: np.ndarray | float = 0.0) -> None:
        """Lay muscle that holds fat in streaks, where ``bias`` makes it likelier, and fat finer than a pixel."""
        columns, rows = np.nonzero(cover > 0.002)
        if not columns.size:
            return
        weight = cover[columns, rows]
        x, y = self.canvas.x[box[0]][columns], self.canvas.y[box[1]][rows]
        readiness = self._pattern.at(x, y, fatness.streakiness, fatness.turn)
        ready = readiness + (bias[columns, rows] if isinstance(bias, np.ndarray) else np.float32(bias))
        fat = infiltrate(ready, weight, fatness.streak_share, 0.0)
        diffuse = np.clip(np.float32(fatness.diffuse_share) * (1 + 0.45 * np.clip(ready, -1.6, 1.6)), 0, 0.9)
        fat += (1 - fat) * diffuse
        muscle, pure = np.float32(self.tissues["muscle"]), np.float32(self.tissues["muscle_fat"])
        value = muscle + fat * (pure - muscle) + np.float32(1.5) * np.clip(readiness, -2, 2)
        for plane, base in ((self.hu, None), (self.flesh, value)):
            part = plane[box]
            part[columns, rows] += (
                weight * (value - part[columns, rows]) if base is None else value - part[columns, rows]
            )
        grown = np.zeros_like(cover)
        grown[columns, rows] = fat
        self.shares[(slice(None), *box)] *= 1 - cover
        self.shares[(MUSCLE - 1, *box)] += cover * (1 - grown)
        self.shares[(FAT_IN_MUSCLE - 1, *box)] += cover * grown

    def back_muscle(self, name: str, box: Box, cover: np.ndarray, fatness: Fatness, bias: np.ndarray | float) -> None:
        """Lay one of the back's muscles (`BACK_MUSCLES`), which here is a muscle as any other."""
        self.muscle(box, cover, fatness, bias)

    def fat_between(self, box: Box, cover: np.ndarray) -> None:
        """Lay fat that lies within the muscles' common contour."""
        self.lay(box, cover, "muscle_fat", FAT_IN_MUSCLE)
        part = self.flesh[box]
        part[cover > 0.002] = np.float32(self.tissues["muscle_fat"])

    def readiness(self, box: Box, streakiness: float, turn: float = 0.0) -> np.ndarray:
        """The fat's texture over a whole box: mean 0, standard deviation near 1."""
        x, y = np.broadcast_arrays(self.canvas.x[box[0]][:, None], self.canvas.y[box[1]][None, :])
        return self._pattern.at(x, y, streakiness, turn)
