"""Drawing vertebral bodies of known density: trabecular bone in a shell, end plates, lost height, and discs between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.phantoms.abdomen.anatomy import AbdomenAnatomy, Trunk
from myotome.phantoms.abdomen.skeleton import Arch, body_outline
from myotome.phantoms.abdomen.spine import SpineLevels
from myotome.phantoms.bone.painting import BonePainting
from myotome.phantoms.bone.person import LEVELS, BonePerson
from myotome.phantoms.bone.tissues import BoneHu
from myotome.phantoms.canvas import Shape

__all__ = ["BoneSpine", "SpineBrush"]

_END_PLATE_MM = 1.1
_CONCAVITY = 0.07  # share of half the height by which end plates sink in the middle
_UPPER_SHARE = 0.75  # of lost height, at the upper end plate
_DEEP_MM = 4.0  # from here on inwards texture has mean 0
# A mean man's body from back to front (mm about its middle).
_BACK_MM, _FRONT_MM = -15.0, 16.0


class BoneSpine(SpineLevels):
    """The levels of the abdomen's people with T8, T7 and T6 above them."""

    def __init__(self, person: BonePerson) -> None:
        super().__init__(person.body)
        rng = np.random.default_rng((person.seed, 431))
        disc = float(self.z_mm[0] - self.half_mm[0] - self.z_mm[1] - self.half_mm[1])
        for name, u in (("T8", 8.0), ("T7", 7.0), ("T6", 6.0)):
            half = float(self.half_mm[0]) * 0.97 * float(rng.normal(1, 0.02))
            middle = float(self.z_mm[0] + self.half_mm[0]) + 0.95 * disc + half
            self.names = [name, *self.names]
            self.u, self.half_mm = np.insert(self.u, 0, u), np.insert(self.half_mm, 0, half)
            self.z_mm = np.insert(self.z_mm, 0, middle)


@dataclass(frozen=True, eq=False)
class _Bodies:
    """What the bodies at one height share: their outline, how far to the front each of its pixels lies (0-1), and by
    which share of it density departs from its mean there."""

    shape: Shape
    forward: np.ndarray
    texture: np.ndarray
    z_mm: float
    thickness_mm: float

    def overlap(self, bottom: np.ndarray, top: np.ndarray) -> np.ndarray:
        """Share of the slice that lies between two surfaces."""
        low, high = self.z_mm - self.thickness_mm / 2, self.z_mm + self.thickness_mm / 2
        return np.clip(np.minimum(top, high) - np.maximum(bottom, low), 0, None) / self.thickness_mm


@dataclass(frozen=True, eq=False)
class SpineBrush:
    """Draws the spine of one person into slices of one thickness.

    ``slab_mm`` is the thickness that the ends of the bodies are averaged over; ``metal`` puts screws and rods into
    T11 to L1, whoever the person is.
    """

    person: BonePerson
    anatomy: AbdomenAnatomy
    spine: BoneSpine
    bone: BoneHu
    slab_mm: float
    metal: bool = False

    def draw(self, painting: BonePainting, trunk: Trunk) -> None:
        """Arch, disc, bodies and canal at one height."""
        index, height = self.spine.nearest(painting.z_mm)
        name = self.spine.names[index]
        arch = Arch(painting, self.anatomy, trunk, name, height)
        arch.draw()
        outline = body_outline(self.person.body.size, trunk.u, height)
        outline = self.anatomy.in_spine(outline, trunk.u, trunk.spine_mm)
        shape = painting.outline(outline, np.array(trunk.spine_mm))
        painting.fill(shape, "disc")
        bodies = self._prepare(painting, trunk, shape)
        for number in range(max(index - 1, 0), min(index + 2, len(self.spine.names))):
            reach = self.spine.half_mm[number] + 0.5 * bodies.thickness_mm
            if abs(self.spine.z_mm[number] - painting.z_mm) < reach:
                self._draw_body(painting, bodies, number)
        if abs(height) < 0.3 and name in self.person.vertebrae:
            self._draw_vein(painting, arch, self.person.vertebrae[name].bmd_mg_cm3)
        arch.canal()
        operated = self.person.body.condition == "spinal_implant" and 14.3 < trunk.u < 18.5
        if operated or (self.metal and name in ("T11", "T12", "L1")):
            arch.implant()

    def _prepare(self, painting: BonePainting, trunk: Trunk, shape: Shape) -> _Bodies:
        angle = painting.frame.turn + trunk.spine_turn
        middle = painting.frame.to_scanner(np.array([trunk.spine_mm]))[0]
        dx = painting.canvas.x[shape.box[0]][:, None] - np.float32(middle[0])
        dy = painting.canvas.y[shape.box[1]][None, :] - np.float32(middle[1])
        y = (np.float32(np.cos(angle)) * dy - np.float32(np.sin(angle)) * dx) / np.float32(self.person.body.size)
        forward = np.clip((y - _BACK_MM) / (_FRONT_MM - _BACK_MM), 0, 1)
        texture = np.clip(painting.readiness(shape.box, 0.0), -2.5, 2.5)
        weights = shape.cover(_DEEP_MM)
        texture = texture - (weights * texture).sum() / max(float(weights.sum()), 1e-6)
        texture = np.float32(self.person.texture) * texture
        return _Bodies(shape, forward, texture.astype(np.float32), painting.z_mm, max(self.slab_mm, 0.5))

    def _draw_body(self, painting: BonePainting, bodies: _Bodies, number: int) -> None:
        """How much of the slice lies between a body's end plates, and of that between their inner sides."""
        name, middle, half = self.spine.names[number], self.spine.z_mm[number], self.spine.half_mm[number]
        if name not in self.person.vertebrae:
            return
        vertebra = self.person.vertebrae[name]
        front, centre, back = vertebra.height_loss
        lost = 2 * half * np.interp(bodies.forward, [0, 0.5, 1], [back, centre, front])
        sunk = _CONCAVITY * half * (1 - (2 * bodies.forward - 1) ** 2)
        top = middle + half - _UPPER_SHARE * lost - sunk
        bottom = middle - half + (1 - _UPPER_SHARE) * lost + sunk
        within = bodies.overlap(bottom, top)
        inner = bodies.overlap(bottom + _END_PLATE_MM, top - _END_PLATE_MM)
        compact = 1 - bodies.shape.cover(vertebra.cortex_mm) * inner / np.maximum(within, 1e-3)
        hu = self.bone.trabecular(vertebra.bmd_mg_cm3 * (1 + bodies.texture))
        hu = hu + np.clip(compact, 0, 1) * (self.bone.compact - hu)
        cover = bodies.shape.cover() * within
        label = LEVELS.index(name) + 1 if name in LEVELS else 0
        painting.body(bodies.shape.box, cover.astype(np.float32), hu.astype(np.float32), label)

    def _draw_vein(self, painting: BonePainting, arch: Arch, bmd_mg_cm3: float) -> None:
        """The basivertebral vein in the back of the body, which keeps its label."""
        points = arch.place([(0, -13), (0, -4), (3, 2)])
        shape = painting.rod(points, np.array([2.4, 1.6, 0.8]) * self.person.body.size)
        painting.wash(shape.box, shape.cover(), np.float32(self.bone.trabecular(0.4 * bmd_mg_cm3)))
