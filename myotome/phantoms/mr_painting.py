"""The brush: tissues laid over each other on the water and the fat of one MR section, with the labels they carry."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from myotome.phantoms.canvas import Box, Canvas, Shape
from myotome.phantoms.infiltration import Infiltration, Texture, infiltrate
from myotome.phantoms.mr_signals import Signal

__all__ = ["MrPainting"]


class MrPainting:
    """One section in the making.

    Parameters
    ----------
    canvas : the plane that is drawn.
    signals : of each tissue.
    texture : of the person.
    depth_mm : where the section lies across the slices.

    Attributes
    ----------
    water, fat : (X, Y) signals; shares : (labels, X, Y) share of each pixel per label, in the order of ``names``.
    """

    names: tuple[str, ...] = ()

    def __init__(self, canvas: Canvas, signals: Mapping[str, Signal], texture: Texture, depth_mm: float) -> None:
        self.canvas, self.depth_mm, self.signals = canvas, depth_mm, signals
        self._texture, self._pattern = texture, texture.section(depth_mm)
        self.water = np.full(canvas.shape, signals["air"].water, dtype=np.float32)
        self.fat = np.zeros(canvas.shape, dtype=np.float32)
        self.shares = np.zeros((len(self.names), *canvas.shape), dtype=np.float32)
        self._labelled = False

    def lay(self, box: Box, cover: np.ndarray, tissue: str, name: str | None = None) -> None:
        """Cover what is there with a tissue, and with a label where one is named; labels below it go."""
        self.wash(box, cover, tissue)
        if self._labelled:
            self.shares[(slice(None), *box)] *= 1 - cover
        if name:
            self.shares[(self.names.index(name), *box)] += cover
            self._labelled = True

    def wash(self, box: Box, cover: np.ndarray, tissue: str) -> None:
        """Cover what is there with a tissue that belongs to it: labels stay."""
        signal = self.signals[tissue]
        self._blend(box, cover, signal.water, signal.fat)

    def fill(self, shape: Shape, tissue: str, inset_mm: float = 0.0, strength: float = 1.0) -> None:
        """Lay a whole shape, shrunk by ``inset_mm``."""
        self.lay(shape.box, shape.cover(inset_mm) * np.float32(strength), tissue)

    def bone(self, shape: Shape, cortex_mm: float, marrow: str = "marrow", name: str | None = None) -> None:
        """A bone: black cortex around marrow."""
        self.lay(shape.box, shape.cover(), "cortex", name)
        self.wash(shape.box, shape.cover(cortex_mm), marrow)

    def muscle(self, shape: Shape, fat_percent: float, turn: float = 0.0, fascia_mm: float = 0.35) -> None:
        """Any muscle without a label: a fascia, and inside it flesh with fat."""
        self.wash(shape.box, shape.cover(-fascia_mm) * np.float32(0.6), "fascia")
        cover = shape.cover()
        if self._labelled:
            self.shares[(slice(None), *shape.box)] *= 1 - cover
        self.flesh(shape.box, cover, Infiltration(fat_percent, turn=turn))

    def flesh(self, box: Box, cover: np.ndarray, kind: Infiltration, tendon: np.ndarray | None = None) -> float:
        """Lay muscle that is a tendon in part and holds a share of fat; returns the fat's area in pixels."""
        columns, rows = np.nonzero(cover)
        if not columns.size:
            return 0.0
        cover = cover[columns, rows]
        room = cover if tendon is None else cover * (1 - tendon[columns, rows])
        x, y = self.canvas.x[box[0]][columns], self.canvas.y[box[1]][rows]
        readiness = self._pattern.at(x, y, kind.streakiness, kind.turn)
        share = kind.fat_percent / 100 * float(cover.sum(dtype=np.float64)) / float(room.sum(dtype=np.float64))
        fat = infiltrate(readiness, room, share, kind.diffuse_share)
        muscle, pure_fat = self.signals["muscle"], self.signals["fat"]
        water = np.float32(muscle.water) * (1 + np.float32(0.03) * np.clip(readiness, -2, 2))
        if tendon is not None:
            stroke = tendon[columns, rows]
            water += stroke * (np.float32(self.signals["tendon"].water) - water)
            fat *= 1 - stroke
        water += fat * (np.float32(pure_fat.water) - water)
        for plane, value in ((self.water, water), (self.fat, fat * np.float32(pure_fat.fat))):
            part = plane[box]
            old = part[columns, rows]
            part[columns, rows] = old + cover * (value - old)
        return float((fat * cover).sum(dtype=np.float64))

    @property
    def fibre_angle(self) -> float:
        """The angle (radians from the first axis) along which streaks of fat run without a turn."""
        return self._pattern.angle

    def regions(self, box: Box, stretch: float) -> np.ndarray:
        """A coarse texture of standard deviation 1 over a box, stretched: 1 has grains of about 4 mm."""
        x, y = np.broadcast_arrays(self.canvas.x[box[0]][:, None], self.canvas.y[box[1]][None, :])
        return self._pattern.regions_at(x / np.float32(stretch), y / np.float32(stretch))

    def readiness(self, box: Box, streakiness: float, turn: float = 0.0) -> np.ndarray:
        """The fat's texture over a whole box."""
        x, y = np.broadcast_arrays(self.canvas.x[box[0]][:, None], self.canvas.y[box[1]][None, :])
        return self._pattern.at(x, y, streakiness, turn)

    def _blend(self, box: Box, cover: np.ndarray, water: float, fat: float) -> None:
        for plane, value in ((self.water, water), (self.fat, fat)):
            part = plane[box]
            part += cover * (np.float32(value) - part)
