"""Drawing slices of one person's trunk with the bone that was sampled for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from myotome.phantoms.abdomen.anatomy import Trunk
from myotome.phantoms.abdomen.drawing import SectionDrawer
from myotome.phantoms.abdomen.painting import azimuths
from myotome.phantoms.abdomen.person import AbdomenPerson
from myotome.phantoms.abdomen.skeleton import draw_rib, draw_ribs
from myotome.phantoms.bone.acquisition import BoneScan
from myotome.phantoms.bone.chest import ChestViscera
from myotome.phantoms.bone.painting import BonePainting
from myotome.phantoms.bone.person import BonePerson, make_bone_person
from myotome.phantoms.bone.tissues import compute_bone_hu, compute_effective_kev, compute_tissues
from myotome.phantoms.bone.vertebrae import BoneSpine, SpineBrush

__all__ = ["BoneDrawer"]

# From the upper end of L1 to the lower end of L3, in vertebrae: where QCT is read.
_LUMBAR = (12.5, 15.5)


class BoneDrawer(SectionDrawer):
    """Draws one person as one scan sees them: the abdomen's people up to T7, bone of known density in them.

    Attributes
    ----------
    owner : the sampled person; ``person`` is their body.
    energy_kev : effective energy of the beam in this body.
    """

    def __init__(self, seed: int, scan: BoneScan) -> None:
        self.owner: BonePerson = make_bone_person(seed)
        self.energy_kev = compute_effective_kev(self.owner, scan)
        super().__init__(seed, scan)
        bone = compute_bone_hu(self.owner, self.energy_kev)
        enhanced = self._tissues["marrow"] - bone.trabecular(1.05 * self.owner.bmd_mg_cm3)
        self._brush = SpineBrush(
            self.owner, self.anatomy, self.spine, bone.lifted(enhanced), scan.slice_thickness_mm, scan.metal
        )

    def _sample(self, seed: int) -> tuple[AbdomenPerson, BoneSpine]:
        return self.owner.body, BoneSpine(self.owner)

    def _compute_tissues(self, scan: BoneScan) -> Mapping[str, float]:
        return compute_tissues(self.owner, scan)

    def paint(self, z_mm: float) -> BonePainting:
        """The plane at one height, with the ends of vertebral bodies averaged over the slice."""
        painting = BonePainting(self._canvas, self._frame, self._tissues, self._texture, z_mm)
        self._paint(painting, self.anatomy.trunk(self.spine.to_u(z_mm)))
        return painting

    def find_lumbar_back_mm(self, bottom: float) -> float:
        """y, in the scanner's plane, of the skin's lowest point from L1 to L3, or as far down as a field ends.

        On both sides of the spine, and with every level upwards, the back lies lower than its middle at L3.
        """
        low, high = (min(bottom, u) for u in _LUMBAR)
        skins = [self.anatomy.trunk(float(u)).skin for u in np.arange(low, high + 0.1, 0.5)]
        outlines = [self.anatomy.point(azimuths(), skin).T for skin in skins]
        return min(float(self._frame.to_scanner(outline)[:, 1].min()) for outline in outlines)

    def _make_viscera(self) -> ChestViscera:
        return ChestViscera(self.anatomy, self.spine)

    def _draw_ribs(self, painting: BonePainting, trunk: Trunk) -> None:
        """The abdomen's ribs, and above them those of T5 to T7."""
        draw_ribs(painting, self.anatomy, trunk, self.spine)
        step, size = self.spine["T11"] - self.spine["T12"], self.person.size
        for number in (5, 6, 7):
            start_z = self.spine["T12"] + step * (12 - number) + 8 * size
            for side in (1, -1):
                draw_rib(painting, self.anatomy, trunk, (start_z, 118.0 * size, 2.5, side))

    def _draw_spine(self, painting: BonePainting, trunk: Trunk) -> None:
        self._brush.draw(painting, trunk)
