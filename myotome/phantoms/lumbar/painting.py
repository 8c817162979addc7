"""The brush of the spine's sections, with the five discs as labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from myotome.phantoms.canvas import Shape
from myotome.phantoms.infiltration import Infiltration, Texture
from myotome.phantoms.lumbar.person import LEVELS
from myotome.phantoms.lumbar.plane import Plane
from myotome.phantoms.mr_painting import MrPainting
from myotome.phantoms.mr_signals import Signal

__all__ = ["Painting"]


class Painting(MrPainting):
    """One section in the making; its depth is where the plane lies along its own normal."""

    names = LEVELS

    def __init__(self, plane: Plane, signals: Mapping[str, Signal], texture: Texture) -> None:
        super().__init__(plane.canvas, signals, texture, float(plane.centre @ plane.normal))
        self.plane = plane

    def put(self, shape: Shape | None, tissue: str, inset_mm: float = 0.0, strength: float = 1.0) -> None:
        """Lay a shape, where there is one."""
        if shape is not None:
            self.fill(shape, tissue, inset_mm, strength)

    def put_washed(self, shape: Shape | None, tissue: str, strength: float = 1.0, inset_mm: float = 0.0) -> None:
        """Lay a tissue that belongs to what it lies on, where there is a shape: labels stay."""
        if shape is not None:
            self.wash(shape.box, shape.cover(inset_mm) * np.float32(strength), tissue)

    def cover_with(self, shape: Shape | None, cortex_mm: float) -> None:
        """A bone, where there is one."""
        if shape is not None:
            self.bone(shape, cortex_mm)

    def grow(self, shape: Shape | None, fat_percent: float) -> None:
        """A muscle, where there is one; in sagittal sections its fibres run from head to foot."""
        if shape is None or not (shape.depth_mm > 0).any():
            return
        sagittal = abs(self.plane.down[2]) > 0.7
        turn = np.pi / 2 - self.fibre_angle if sagittal else 0.0
        self.wash(shape.box, shape.cover(-0.4) * np.float32(0.7), "fascia")
        self.flesh(shape.box, shape.cover(), Infiltration(fat_percent, 0.9, 0.45, turn))
