"""Drawing what lies above the abdomen's organs: lungs around the liver's dome, and the heart."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.abdomen.anatomy import AbdomenAnatomy, Trunk
from myotome.phantoms.abdomen.painting import Painting, Polar, azimuths
from myotome.phantoms.abdomen.spine import SpineLevels
from myotome.phantoms.abdomen.viscera import Viscera
from myotome.phantoms.abdomen.wall import WHOLE, cavity_cover

__all__ = ["ChestViscera"]


class ChestViscera(Viscera):
    """The abdomen's organs, with lungs that fill the chest above them, a heart between, and no gut over the aorta."""

    def __init__(self, anatomy: AbdomenAnatomy, spine: SpineLevels) -> None:
        super().__init__(anatomy, spine)
        self._chest = np.random.default_rng((anatomy.person.seed, 433)).normal(0, 1, 6)

    def draw(self, painting: Painting, polar: Polar, trunk: Trunk) -> None:
        """All organs at one height."""
        super().draw(painting, polar, trunk)
        if trunk.u < 11.2 + 0.2 * self._chest[4]:
            self._draw_lungs(painting, polar, trunk)
            self._draw_heart(painting, polar, trunk)
        rng = np.random.default_rng((self.anatomy.person.seed, 443, 1000 + round(painting.z_mm / 12)))
        wide = float(np.interp(trunk.u, [8, 12, 14, 16], [1.5, 1.35, 1.2, 1.1]))
        self._draw_aorta(painting, trunk, cavity_cover(polar, trunk, 0.3), rng, wide)

    def _draw_lungs(self, painting: Painting, polar: Polar, trunk: Trunk) -> None:
        """Bands inside the ribs, deeper with every level up; they leave the mediastinum and what is behind it."""
        theta = np.abs(azimuths())
        share = 0.78 * float(np.clip((11.2 + 0.2 * self._chest[4] - trunk.u) / 2.4, 0, 1))
        front = np.clip((theta - 0.2) / 0.5, 0, 1)
        behind = np.clip((2.72 - theta) / 0.12, 0, 1)
        depth = share * front * behind * trunk.cavity * np.clip(1 + 0.06 * self.anatomy.wave("lung", trunk.u), 0.7, 1.2)
        cover = np.clip(polar.cover(trunk.cavity - 1) - polar.cover(np.maximum(trunk.cavity - 1 - depth, 0)), 0, 1)
        painting.lay(WHOLE, cover * (polar.spread(depth) > 0.5), "lung")

    def _draw_heart(self, painting: Painting, polar: Polar, trunk: Trunk) -> None:
        """Muscle around blood, before the spine and to the left."""
        size, wobble = self.anatomy.person.size, self._chest
        part = float(np.clip((10.4 + 0.3 * wobble[0] - trunk.u) / 1.4, 0, 1)) ** 0.5
        if part < 0.15:
            return
        front = float(trunk.cavity[trunk.cavity.size // 2]) + self.anatomy.centre[1]
        deep = 0.24 * (front - trunk.spine_mm[1])
        centre = ((-20 + 5 * wobble[1]) * size, front - 1.25 * deep - 4)
        half = ((50 + 4 * wobble[2]) * size * part, (deep + 2 * wobble[3]) * part)
        within = cavity_cover(polar, trunk, 2.0)
        painting.fill(painting.oval(centre, half, 0.4), "muscle", within=within)
        painting.fill(painting.oval(centre, (0.76 * half[0], 0.76 * half[1]), 0.4), "cava", within=within)

    def _draw_mesentery(self, painting: Painting, trunk: Trunk, within: np.ndarray, rng: np.random.Generator) -> None:
        """Small vessels of the gut are left out: nothing that bone density looks at, and slow to draw."""
