"""Drawing vertebrae: bodies with their marrow, arches, processes and facet joints, and the sacrum's sides."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from myotome.phantoms.lumbar.painting import Painting
from myotome.phantoms.lumbar.plane import Rod
from myotome.phantoms.lumbar.solids import BodySection, cut_body
from myotome.phantoms.lumbar.spine import LumbarSpine, Vertebra

__all__ = ["BoneDrawer"]

_CORTEX_MM = 0.75
_CHANGES = ("oedema", "fatty_marrow", "sclerosis")


@dataclass(frozen=True)
class _Features:
    """What one vertebra has that others have not; strengths of the end plates' changes above and below."""

    change: tuple[str, str]
    strength: tuple[float, float]
    reach_mm: float
    haemangioma: tuple[float, float, float, float] | None
    tip_mm: np.ndarray
    effusion: float


@dataclass(frozen=True, eq=False)
class _Arch:
    """What lies behind and beside one body, as rods in space, within a ball around them."""

    centre: np.ndarray
    reach_mm: float
    nerves: tuple[Rod, ...]
    ligaments: tuple[Rod, ...]
    joints: tuple[Rod, ...]
    bones: tuple[Rod, ...]


class BoneDrawer:
    """Draws the bones of one person into any plane."""

    def __init__(self, spine: LumbarSpine) -> None:
        self.spine, self.size = spine, spine.person.size
        self._features = {vertebra.name: self._draw_features(vertebra.name) for vertebra in spine.vertebrae}
        self._arches = {vertebra.name: self._make_arch(vertebra) for vertebra in spine.vertebrae}

    def draw(self, painting: Painting) -> None:
        """All vertebrae: the arches first, so that a body covers the roots of its pedicles."""
        for vertebra in self.spine.vertebrae:
            self._draw_arch(painting, vertebra)
        for vertebra in self.spine.vertebrae:
            section = cut_body(painting.plane, vertebra)
            if section is not None:
                self._draw_body(painting, vertebra, section)

    def _draw_features(self, name: str) -> _Features:
        rng = np.random.default_rng((self.spine.person.seed, 421, zlib.crc32(name.encode())))
        wear = {disc.name.split("-")[0]: disc.wear for disc in self.spine.person.discs}
        below = wear.get(name, 1.0)
        above = next((disc.wear for disc in self.spine.person.discs if disc.name.endswith(f"-{name}")), 1.0)
        strength = tuple(
            float(rng.random() < 0.28 * (worn - 3.0)) * float(rng.uniform(0.4, 1)) for worn in (above, below)
        )
        spot = None
        if rng.random() < 0.08:
            spot = (*rng.uniform(-0.5, 0.5, 3), float(rng.uniform(3, 7)))
        return _Features(
            change=tuple(str(rng.choice(_CHANGES, p=[0.3, 0.6, 0.1])) for _ in range(2)),
            strength=strength,
            reach_mm=float(rng.uniform(3, 9)),
            haemangioma=spot,
            tip_mm=rng.normal(0, 1.5, 3),
            effusion=float(np.clip(rng.normal(0.35, 0.35), 0, 1)),
        )

    def _draw_body(self, painting: Painting, vertebra: Vertebra, section: BodySection) -> None:
        shape, features = section.shape, self._features[vertebra.name]
        painting.lay(shape.box, shape.cover(), "cortex")
        inside = shape.cover(_CORTEX_MM * self.size)
        painting.wash(shape.box, inside, "marrow")
        texture = painting.readiness(shape.box, 0.3)
        painting.wash(shape.box, inside * np.clip(0.16 * texture + 0.05, 0, 0.5), "fatty_marrow")
        for place, upper in enumerate((True, False)):
            if features.strength[place]:
                near = np.clip(1.2 - section.from_plate_mm / (features.reach_mm + 1.2 * texture), 0, 1)
                near *= section.upper if upper else ~section.upper
                painting.wash(shape.box, inside * near * np.float32(features.strength[place]), features.change[place])
        axes, centre, depth = vertebra.axes, vertebra.centre, vertebra.half_depth_mm
        if features.haemangioma:
            *share, radius = features.haemangioma
            half = (vertebra.half_width_mm, depth, vertebra.half_height_mm)
            at = centre + sum(
                s * h * axis for s, h, axis in zip(share, half, (axes.right, axes.forward, axes.up), strict=True)
            )
            painting.put_washed(painting.plane.ball(at, (radius, radius, 1.2 * radius), axes), "fatty_marrow", 0.7)
        if not vertebra.name.startswith("S"):
            vein = [centre + y * axes.forward for y in (-depth - 0.5, -0.55 * depth, -0.1 * depth)]
            painting.put_washed(painting.plane.rod(vein, np.array([2.6, 1.5, 0.4]) * self.size), "slow_blood", 0.8)

    def _draw_arch(self, painting: Painting, vertebra: Vertebra) -> None:
        """Nerves below the pedicles, ligaments between the laminae, joints with the vertebra below, and the arch."""
        arch = self._arches[vertebra.name]
        if painting.plane.near(arch.centre, arch.reach_mm) is None:
            return
        painting.put(painting.plane.rods(arch.nerves), "nerve")
        painting.put(painting.plane.rods(arch.ligaments), "ligament")
        painting.put(painting.plane.rods(arch.joints), "fluid", 0.0, self._features[vertebra.name].effusion)
        painting.cover_with(painting.plane.rods(arch.bones), 1.0)

    def _make_arch(self, vertebra: Vertebra) -> _Arch:
        """Pedicles, laminae, articular, transverse and spinous processes, as rods in space."""
        size, back = self.size, vertebra.half_depth_mm / self.size
        half, tip = vertebra.half_height_mm / size, self._features[vertebra.name].tip_mm
        nerves, ligaments, joints, bones = [], [], [], []

        def add(rods: list[Rod], side: float, points, radii) -> None:
            places = np.array(points, dtype=float) * (side, 1, 1) - (0, back, 0)
            rods.append((_in_space(vertebra, places * size), np.array(radii) * size))

        if vertebra.name.startswith("S"):
            share = {"S1": 1.0, "S2": 0.85, "S3": 0.65}[vertebra.name]
            for side in (-1, 1):
                ends = [(16, 0.7 * back, 0), (44 * share, -4 - 0.1 * back, -4)]
                add(bones, side, ends, [12.5 * share, 11.5 * share])
            add(bones, 0, [(0, -19 * share, 8), (0, -17 * share, -10)], [4.5, 4.0])
        else:
            thoracic = vertebra.name.startswith("T")
            narrow = 0.82 if thoracic else 1.0 + 0.12 * (vertebra.name == "L5")
            for side in (-narrow, narrow):
                add(nerves, side, [(10, -6, -2), (20, -2, -0.7 * half)], [1.5, 2.6])
                add(ligaments, side, [(5, -20, -12), (7, -19, -half - 8)], [2.4, 2.2])
                add(joints, side, [(13.5, -15, -half - 1), (15, -17, -half - 8)], [5.4, 5.2])
                add(bones, side, [(13.5, -14.5, -6), (14.5, -19, -half - 7)], [4.6, 4.9])
                add(bones, side, [(14.5, -9, 2), (17.5, -13, 0.8 * half + 3)], [4.6, 4.2])
                add(bones, side, [(14, -12, 0), (8, -19, -5), (1, -23, -9)], [4.4, 3.6, 3.8])
                add(bones, side, [(15, -12, 3), (30 if thoracic else 40, -15, 4 + tip[0])], [3.8, 2.4])
                add(bones, side, [(13, 3, 0.3 * half), (14, -12, 0.25 * half)], [5.2, 4.8])
            tail, sunk = -46 - (6 if thoracic else 0) + tip[1], 9 if thoracic else 1
            for low, radius in ((-7, 3.6), (-11, 3.8), (-15, 3.8), (-19, 3.8)):
                add(bones, 1, [(0, -22, low), (0.3 * tip[2], tail, 1.1 * low - sunk)], [radius, radius + 0.6])
        every = np.concatenate([points for points, _ in (*nerves, *ligaments, *joints, *bones)])
        centre = every.mean(axis=0)
        reach = float(np.linalg.norm(every - centre, axis=1).max()) + 14.0 * size
        return _Arch(centre, reach, tuple(nerves), tuple(ligaments), tuple(joints), tuple(bones))


def _in_space(vertebra: Vertebra, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) given along a vertebra's own axes, in space."""
    axes = vertebra.axes
    return vertebra.centre + points @ np.stack((axes.right, axes.forward, axes.up))
