"""Drawing one plane: surroundings, canal, discs and bones, in this order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from myotome.phantoms.infiltration import Texture
from myotome.phantoms.lumbar.bones import BoneDrawer
from myotome.phantoms.lumbar.painting import Painting
from myotome.phantoms.lumbar.person import LEVELS, LumbarPerson
from myotome.phantoms.lumbar.plane import Follower, Plane
from myotome.phantoms.lumbar.solids import DiscSolid
from myotome.phantoms.lumbar.spine import LumbarSpine
from myotome.phantoms.lumbar.surroundings import draw_canal, draw_surroundings, front_wall
from myotome.phantoms.mr_signals import Signal

__all__ = ["LumbarDrawer"]

_OVERLAP_MM = 0.6
_SACRAL_DISC = ("S1", "S2")


class LumbarDrawer:
    """Draws one person into any plane.

    Parameters
    ----------
    person : whose spine it is.
    signals : of the tissues, as the scan gives them.
    saturation : share of the signal that a band before the spine takes away.
    """

    def __init__(self, person: LumbarPerson, signals: Mapping[str, Signal], saturation: float = 0.0) -> None:
        self.person, self.signals, self.saturation = person, signals, saturation
        self.spine = LumbarSpine(person)
        self.discs = {state.name: DiscSolid(self.spine, state) for state in person.discs}
        self._bones, self._texture = BoneDrawer(self.spine), Texture(person.seed, most_bend=0.001)

    def draw(self, plane: Plane) -> Painting:
        """The section of one plane."""
        painting = Painting(plane, self.signals, self._texture)
        follower = Follower(plane, self.spine)
        draw_surroundings(painting, follower)
        draw_canal(painting, follower)
        for disc in self.discs.values():
            self._draw_disc(painting, disc)
        self._draw_sacral_disc(painting)
        self._bones.draw(painting)
        if self.saturation:
            self._saturate(painting, follower)
        return painting

    def _draw_disc(self, painting: Painting, disc: DiscSolid) -> None:
        """Annulus around nucleus; the more a disc is worn, the less they differ and the vaguer is their border."""
        state, section = disc.state, disc.cut(painting.plane, _OVERLAP_MM)
        if section is None:
            return
        shape, radius = section.shape, section.radius
        cover = shape.cover()
        if not cover.any():
            return
        painting.wash(shape.box, shape.cover(-0.7) * np.float32(0.85), "ligament")
        name = state.name if state.name in LEVELS else None
        painting.lay(shape.box, cover, "annulus", name)
        painting.wash(shape.box, cover * np.clip((radius - 0.86) / 0.12, 0, 1) * ~section.herniated, "outer_annulus")
        texture = painting.readiness(shape.box, 0.2)
        vague = np.float32(np.interp(state.wear, [1, 3, 4, 5], [0.16, 0.30, 0.45, 0.6]))
        power = np.float32(state.squareness)
        bound = (radius / np.float32(0.80)) ** power + np.abs(section.height / np.float32(1.05)) ** power
        bound **= 1 / power
        nucleus = np.clip((1 - bound) / vague + np.float32(0.6) + 0.05 * texture, 0, 1)
        band = np.exp(-((section.height / np.float32(0.22)) ** 2)) * np.clip((0.62 - radius) / 0.2, 0, 1)
        nucleus *= 1 - np.float32(0.62 * state.cleft) * band
        nucleus = np.maximum(nucleus, section.herniated * np.float32(0.55))
        nucleus *= 1 + np.float32(0.07) * np.clip(texture, -2, 2)
        painting.wash(shape.box, cover * np.clip(nucleus, 0, 1), f"nucleus {state.name}")
        if state.fissure:
            at = disc.centre - 0.86 * disc.half_depth_mm * disc.axes.forward
            at = at + state.side * disc.half_width_mm * disc.axes.right
            painting.put_washed(painting.plane.ball(at, (3.5, 1.2, 1.4), disc.axes), "fluid", 0.6)

    def _draw_sacral_disc(self, painting: Painting) -> None:
        """What is left of the disc between S1 and S2: it looks like a small disc, and has no label."""
        above, below = (self.spine[name] for name in _SACRAL_DISC)
        centre = (above.lower.centre + below.upper.centre) / 2
        half = (0.8 * above.lower.half_width_mm, 0.95 * above.lower.half_depth_mm, 2.4 * self.person.size)
        shape = painting.plane.ball(centre, half, above.lower.axes)
        painting.put(shape, "annulus")
        if shape is not None:
            painting.put_washed(shape, "cartilage", 0.5, 1.0)

    def _saturate(self, painting: Painting, follower: Follower) -> None:
        """A band that darkens what lies before the spine and moves with breathing and bowel."""
        edge = front_wall(self.spine)[follower.index] + np.float32(14)
        kept = 1 - np.float32(self.saturation) / (1 + np.exp(np.clip((edge - follower.front_mm) / 4, -30, 30)))
        painting.water *= kept
        painting.fat *= kept
