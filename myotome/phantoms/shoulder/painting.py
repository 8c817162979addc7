"""The brush: tissues laid over each other on the water and the fat of one section, with the labels they carry."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from myotome.phantoms.canvas import Box, Canvas, Shape
from myotome.phantoms.infiltration import Infiltration, Texture, infiltrate
from myotome.phantoms.shoulder.tissues import Signal

__all__ = ["LABELS", "Painting"]

LABELS = {"supraspinatus": 1, "supraspinous_fossa": 2, "scapular_spine": 3, "coracoid_process": 4}


class Painting:
    """One section in the making.

    Attributes
    ----------
    water, fat : (X, Y) signals; shares : (4, X, Y) share of each pixel per label.
    """

    def __init__(self, canvas: Canvas, signals: Mapping[str, Signal], texture: Texture, lateral_mm: float) -> None:
        self.canvas, self.lateral_mm = canvas, lateral_mm
        self._signals, self._texture = signals, texture
        self._pattern = texture.section(lateral_mm)
        self.water = np.full(canvas.shape, signals["air"].water, dtype=np.float32)
        self.fat = np.zeros(canvas.shape, dtype=np.float32)
        self.shares = np.zeros((len(LABELS), *canvas.shape), dtype=np.float32)
        self._labelled = False

    def copy(self, lateral_mm: float) -> Painting:
        """What is painted so far, without labels, to be continued at a section close by."""
        other = Painting(self.canvas, self._signals, self._texture, lateral_mm)
        other.water, other.fat = self.water.copy(), self.fat.copy()
        return other

    def lay(self, box: Box, cover: np.ndarray, tissue: str, name: str | None = None) -> None:
        """Cover what is there with a tissue, and with a label where one is named; labels below it go."""
        self.wash(box, cover, tissue)
        if self._labelled:
            self.shares[(slice(None), *box)] *= 1 - cover
        if name:
            self.shares[(LABELS[name] - 1, *box)] += cover
            self._labelled = True

    def wash(self, box: Box, cover: np.ndarray, tissue: str) -> None:
        """Cover what is there with a tissue that belongs to it: labels stay."""
        signal = self._signals[tissue]
        self._blend(box, cover, signal.water, signal.fat)

    def fill(self, shape: Shape, tissue: str, inset_mm: float = 0.0, strength: float = 1.0) -> None:
        """Lay a whole shape, shrunk by ``inset_mm``."""
        self.lay(shape.box, shape.cover(inset_mm) * np.float32(strength), tissue)

    def bone(self, shape: Shape, cortex_mm: float, marrow: str = "marrow", name: str | None = None) -> None:
        """A bone: black cortex around marrow."""
        self.lay(shape.box, shape.cover(), "cortex", name)
        self.wash(shape.box, shape.cover(cortex_mm), marrow)

    def muscle(self, shape: Shape, fat_percent: float, turn: float = 0.0, fascia_mm: float = 0.35) -> None:
        """Any muscle but the supraspinatus: a fascia, and inside it flesh with fat."""
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
        muscle, pure_fat = self._signals["muscle"], self._signals["fat"]
        water = np.float32(muscle.water) * (1 + np.float32(0.03) * np.clip(readiness, -2, 2))
        if tendon is not None:
            stroke = tendon[columns, rows]
            water += stroke * (np.float32(self._signals["tendon"].water) - water)
            fat *= 1 - stroke
        water += fat * (np.float32(pure_fat.water) - water)
        for plane, value in ((self.water, water), (self.fat, fat * np.float32(pure_fat.fat))):
            part = plane[box]
            old = part[columns, rows]
            part[columns, rows] = old + cover * (value - old)
        return float((fat * cover).sum(dtype=np.float64))

    def readiness(self, box: Box, streakiness: float, turn: float = 0.0) -> np.ndarray:
        """The fat's texture over a whole box."""
        x, y = np.broadcast_arrays(self.canvas.x[box[0]][:, None], self.canvas.y[box[1]][None, :])
        return self._pattern.at(x, y, streakiness, turn)

    def _blend(self, box: Box, cover: np.ndarray, water: float, fat: float) -> None:
        for plane, value in ((self.water, water), (self.fat, fat)):
            part = plane[box]
            part += cover * (np.float32(value) - part)
