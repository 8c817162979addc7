"""Drawing sections of one person on one plane of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from myotome.phantoms.abdomen.acquisition import AbdomenScan
from myotome.phantoms.abdomen.anatomy import AbdomenAnatomy, Trunk
from myotome.phantoms.abdomen.painting import Frame, Painting, Polar
from myotome.phantoms.abdomen.person import AbdomenPerson, make_abdomen_person
from myotome.phantoms.abdomen.skeleton import draw_pelvis, draw_ribs, draw_vertebra
from myotome.phantoms.abdomen.spine import SpineLevels
from myotome.phantoms.abdomen.tissues import compute_tissue_hu
from myotome.phantoms.abdomen.viscera import Viscera
from myotome.phantoms.abdomen.wall import draw_back_muscles, draw_trunk
from myotome.phantoms.canvas import Box, Canvas
from myotome.phantoms.infiltration import Texture

__all__ = ["Section", "SectionDrawer"]


@dataclass(frozen=True, eq=False)
class Section:
    """A drawn section: ``hu`` (X, Y), label ``shares`` (4, X, Y), and ``flesh`` (X, Y), HU in the muscles' contour."""

    hu: np.ndarray
    shares: np.ndarray
    flesh: np.ndarray


class SectionDrawer:
    """Draws one person as one scan sees them, in the part of the image's plane that holds the body.

    Attributes
    ----------
    person, spine : who is drawn, and the levels.
    box : the part of the (matrix, matrix) image that sections cover.
    """

    def __init__(self, seed: int, scan: AbdomenScan) -> None:
        self.person, self.spine = self._sample(seed)
        self.anatomy = AbdomenAnatomy(self.person)
        self._viscera = self._make_viscera()
        self._tissues = self._compute_tissues(scan)
        self._texture = Texture(self.person.seed)
        middle = self.anatomy.trunk(15.0)
        lift = float(self.anatomy.centre[1]) + 0.5 * float(middle.skin[middle.skin.size // 2] - middle.skin[0])
        turn = float(np.deg2rad(scan.rotation_deg))
        self._frame = Frame(turn, (scan.offset_mm[0], scan.offset_mm[1] - lift))
        #: y of the lowest point of the back in the scanner's plane
        self.back_mm = float(self._frame.to_scanner(np.array([self.anatomy.point(np.pi, middle.skin[0])]))[0][1]) - 3.0
        self._make_canvas(scan, float(middle.skin.max()))

    def _sample(self, seed: int) -> tuple[AbdomenPerson, SpineLevels]:
        person = make_abdomen_person(seed)
        return person, SpineLevels(person)

    def _compute_tissues(self, scan: AbdomenScan) -> Mapping[str, float]:
        return compute_tissue_hu(self.person, scan.contrast, scan.tube_voltage_kv)

    def _make_viscera(self) -> Viscera:
        return Viscera(self.anatomy, self.spine)

    def _make_canvas(self, scan: AbdomenScan, reach_mm: float) -> None:
        axis = (np.arange(scan.matrix) - (scan.matrix - 1) / 2) * scan.in_plane_mm
        centre = self._frame.to_scanner(np.array([self.anatomy.centre]))[0]
        half = 1.12 * reach_mm + 6
        spans = [np.flatnonzero(np.abs(axis - middle) < half) for middle in centre]
        self.box: Box = (slice(spans[0][0], spans[0][-1] + 1), slice(spans[1][0], spans[1][-1] + 1))
        self._canvas = Canvas(axis[self.box[0]], axis[self.box[1]])
        self._polar = Polar(self._canvas, self._frame, self.anatomy.centre)

    def draw(self, z_mm: float) -> Section:
        """The plane at one height, infinitely thin."""
        painting = Painting(self._canvas, self._frame, self._tissues, self._texture, z_mm)
        self._paint(painting, self.anatomy.trunk(self.spine.to_u(z_mm)))
        return Section(painting.hu, painting.shares, painting.flesh)

    def _paint(self, painting: Painting, trunk: Trunk) -> None:
        draw_trunk(painting, self._polar, self.anatomy, trunk)
        self._viscera.draw(painting, self._polar, trunk)
        if trunk.u < 15.2:
            self._draw_ribs(painting, trunk)
        if trunk.u > 16.2:
            draw_pelvis(painting, self.anatomy, trunk)
        draw_back_muscles(painting, self.anatomy, trunk)
        self._draw_spine(painting, trunk)

    def _draw_ribs(self, painting: Painting, trunk: Trunk) -> None:
        draw_ribs(painting, self.anatomy, trunk, self.spine)

    def _draw_spine(self, painting: Painting, trunk: Trunk) -> None:
        draw_vertebra(painting, self.anatomy, trunk, self.spine)

    def draw_slab(self, middle_mm: float, thickness_mm: float, step_mm: float) -> Section:
        """Mean of the planes through one slice."""
        count = max(1, round(thickness_mm / step_mm))
        heights = middle_mm + ((np.arange(count) + 0.5) / count - 0.5) * thickness_mm
        planes = [self.draw(float(z)) for z in heights]
        weights = np.stack([plane.shares[0] + plane.shares[3] for plane in planes])
        flesh = sum(w * plane.flesh for w, plane in zip(weights, planes, strict=True))
        total = weights.sum(axis=0)
        flesh = np.where(total > 1e-3, flesh / np.maximum(total, 1e-3), planes[0].flesh)
        hu = sum(plane.hu for plane in planes) / np.float32(count)
        shares = sum(plane.shares for plane in planes) / np.float32(count)
        return Section(hu, shares, flesh.astype(np.float32))
