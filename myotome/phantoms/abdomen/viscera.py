"""Drawing what lies in the cavity: liver, spleen, kidneys, vessels and bowel, and lung bases above it."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.abdomen.anatomy import AbdomenAnatomy, Trunk
from myotome.phantoms.abdomen.bowel import Bowel, draw_loop
from myotome.phantoms.abdomen.painting import Painting, Polar, azimuths
from myotome.phantoms.abdomen.spine import SpineLevels
from myotome.phantoms.abdomen.wall import WHOLE, cavity_cover

__all__ = ["Viscera"]


class Viscera:
    """The organs of one person, ready to be drawn at any height."""

    def __init__(self, anatomy: AbdomenAnatomy, spine: SpineLevels) -> None:
        self.anatomy, self.spine = anatomy, spine
        person = anatomy.person
        rng = np.random.default_rng((person.seed, 277))
        self._liver_end, self._spleen_end = float(rng.normal(14.7, 0.7)), float(rng.normal(13.7, 0.7))
        self._kidneys = [
            (side, float(rng.normal(14.1 - 0.15 * (side < 0), 0.4)), rng.normal(0, 1, 6)) for side in (1, -1)
        ]
        self._calcified = float(np.clip(rng.normal(0.012 * (person.age_years - 55), 0.3), 0, 0.9))
        self._aorta_mm = float(rng.normal(8.6 if person.sex == "M" else 7.6, 0.9)) + 0.03 * (person.age_years - 55)
        self._cava_mm = rng.normal((11.0, 7.5), (2.0, 2.0)).clip(3.0)
        self._gap_mm = float(rng.uniform(0.2, 1.5) + 0.008 * person.visceral_cm2)
        self._places = rng.normal(0, 1, 20)
        self.bowel = Bowel(anatomy, spine, self._blocked)

    def draw(self, painting: Painting, polar: Polar, trunk: Trunk) -> None:
        within = cavity_cover(polar, trunk, 0.3)
        self._draw_bands(painting, polar, trunk)
        self._draw_kidneys(painting, trunk, within)
        self._draw_vessels(painting, trunk, within)
        for loop in self.bowel.near(painting.z_mm):
            draw_loop(painting, loop, within)

    def band_mm(self, organ: str, u: float, trunk: Trunk) -> np.ndarray:
        """How deep liver or spleen reach inwards from the wall, over the azimuth."""
        theta = azimuths()
        end, middle = (self._liver_end, 1.35) if organ == "liver" else (self._spleen_end, -1.75)
        length = end - u
        if length <= 0.02:
            return np.zeros_like(theta)
        size = self.anatomy.person.size
        if organ == "liver":
            depth, wide = 40 * min(length, 3.2) ** 0.75 * size, 0.55 + 0.36 * length
        else:
            depth, wide = 30 * min(length, 1.6) ** 0.7 * size, 0.42 + 0.16 * min(length, 2)
        offset = (theta - middle + np.pi) % (2 * np.pi) - np.pi
        profile = np.clip(1 - (offset / wide) ** 2, 0, 1) ** 0.75
        return np.minimum(
            depth * profile * np.clip(1 + 0.12 * self.anatomy.wave(organ, u), 0.4, 1.6), 0.92 * trunk.cavity
        )

    def _draw_bands(self, painting: Painting, polar: Polar, trunk: Trunk) -> None:
        for organ in ("liver", "spleen"):
            depth = self.band_mm(organ, trunk.u, trunk)
            if depth.max() > 1.0:
                gap = self._gap_mm * np.clip(0.6 + 0.7 * self.anatomy.wave(f"gap {organ}", trunk.u), 0.1, 3)
                outer, inner = trunk.cavity - gap, trunk.cavity - gap - depth
                cover = np.clip(polar.cover(outer) - polar.cover(np.maximum(inner, 0)), 0, 1) * (
                    polar.spread(depth) > 0.5
                )
                painting.lay(WHOLE, cover.astype(np.float32), organ)
        lung = float(np.clip(12.4 - trunk.u, 0, 3)) * 22
        if lung > 1:
            theta = np.abs(azimuths())
            depth = lung * np.clip((theta - 1.1) / 1.2, 0.0, 1) * (theta < 2.9)
            cover = np.clip(polar.cover(trunk.cavity - 1) - polar.cover(np.maximum(trunk.cavity - 1 - depth, 0)), 0, 1)
            painting.lay(WHOLE, cover * (polar.spread(depth) > 0.5), "lung")

    def kidney(self, side: int, trunk: Trunk) -> tuple[tuple[float, float], float] | None:
        """Place and scale of a kidney's section."""
        _, middle, varied = self._kidneys[0 if side == 1 else 1]
        part = 1 - ((trunk.u - middle - 0.1 * varied[0]) / (1.75 + 0.12 * varied[1])) ** 2
        if part <= 0.03:
            return None
        size = self.anatomy.person.size
        half = float(trunk.cavity[len(trunk.cavity) * 3 // 4])
        x = side * (46 * size + 0.13 * half + 3 * varied[2])
        return (
            x + trunk.spine_mm[0],
            (2 + 4 * varied[3]) * size + 0.3 * trunk.spine_mm[1] + 3.0 * (trunk.u - 13.5),
        ), float(np.sqrt(part))

    def _draw_kidneys(self, painting: Painting, trunk: Trunk, within: np.ndarray) -> None:
        size = self.anatomy.person.size
        for side, middle, varied in self._kidneys:
            found = self.kidney(side, trunk)
            if found is None:
                continue
            (x, y), part = found
            half = (28 * size * part * (1 + 0.06 * varied[4]), 22 * size * part * (1 + 0.06 * varied[5]))
            turn = side * 0.9
            painting.fill(painting.oval((x, y), half, turn), "renal_cortex", within=within)
            for angle in np.linspace(0, 2 * np.pi, 7, endpoint=False):
                at = (x + 0.6 * half[0] * np.cos(angle), y + 0.6 * half[1] * np.sin(angle))
                painting.fill(
                    painting.oval(at, (5 * part * size, 6 * part * size), angle), "renal_medulla", within=within
                )
            if abs(trunk.u - middle) < 1.0:
                at = (x - side * 6 * size, y + 3 * size)
                painting.fill(painting.oval(at, (0.52 * half[0], 0.36 * half[1]), turn), "visceral_fat", within=within)
                painting.fill(painting.oval(at, (0.3 * half[0], 0.16 * half[1]), turn), "renal_pelvis", within=within)

    def _draw_vessels(self, painting: Painting, trunk: Trunk, within: np.ndarray) -> None:
        size, u = self.anatomy.person.size, trunk.u
        x, y = trunk.spine_mm
        front = y + 17.5 * size
        rng = np.random.default_rng((self.anatomy.person.seed, 281, 1000 + round(painting.z_mm / 12)))
        apart = float(np.clip((u - 16.3) * 13, 0, 30))
        cava = (
            [(16.0, tuple(self._cava_mm))]
            if apart < 5
            else [(15 + apart * 0.8, (6, 5.5)), (-4 - apart * 0.8, (6.5, 5.5))]
        )
        for dx, half in cava:
            painting.fill(painting.oval((x + dx * size, front + half[1] + 1), half), "cava", within=within)
        self._draw_aorta(painting, trunk, within, rng)
        for side in (1, -1):  # ureter and gonadal vein before the psoas
            at = np.array([x + side * 36 * size, y + 12 * size + 3 * self._places[side]])
            painting.fill(painting.rod([at, at + 0.5], [2.0, 2.0]), "renal_pelvis", within=within)
            painting.fill(painting.rod([at + (side * 5, 2), at + (side * 5, 2.5)], [1.5, 1.5]), "vessel", within=within)
        self._draw_mesentery(painting, trunk, within, rng)

    def _draw_aorta(
        self, painting: Painting, trunk: Trunk, within: np.ndarray, rng: np.random.Generator, scale: float = 1.0
    ) -> None:
        """The aorta, below its fork the iliac arteries, and plaques in their walls."""
        size = self.anatomy.person.size
        x, y = trunk.spine_mm
        front = y + 17.5 * size
        apart = float(np.clip((trunk.u - 16.3) * 13, 0, 30))
        arteries = [(-11.0, scale * self._aorta_mm)] if apart == 0 else [(-11 + apart, 5.6), (-11 - apart, 5.6)]
        for dx, radius in arteries:
            centre = np.array([x + dx * size, front + radius + 2.5])
            painting.fill(painting.oval(centre, (radius, radius)), "aorta", within=within)
            for _ in range(rng.poisson(4 * self._calcified)):
                angle = rng.uniform(0, 2 * np.pi)
                at = centre + radius * np.array([np.cos(angle), np.sin(angle)])
                painting.fill(
                    painting.rod([at, at + rng.normal(0, 1.5, 2)], rng.uniform(0.6, 1.5, 2)),
                    "calcification",
                    within=within,
                )

    def _draw_mesentery(self, painting: Painting, trunk: Trunk, within: np.ndarray, rng: np.random.Generator) -> None:
        front = float(trunk.cavity[len(trunk.cavity) // 2]) + self.anatomy.centre[1]
        count = 20 + int(rng.integers(25))
        wide = 0.55 * float(trunk.cavity[len(trunk.cavity) * 3 // 4])
        for _ in range(count):
            at = np.array([rng.normal(0, 0.55) * wide, rng.uniform(38 * self.anatomy.person.size, max(front - 6, 50))])
            length = rng.uniform(0, 9) * (rng.random() < 0.5)
            angle = rng.uniform(0, np.pi)
            other = at + length * np.array([np.cos(angle), np.sin(angle)]) + 0.3
            radius = float(np.exp(rng.normal(0.1, 0.4)))
            painting.fill(painting.rod([at, other], [radius, 0.8 * radius]), "vessel", within=within)

    def _blocked(self, u: float, trunk: Trunk) -> tuple[np.ndarray, np.ndarray]:
        """Circles (x, y, radius) that bowel keeps out of, and how far from the wall it stays over the azimuth."""
        size = self.anatomy.person.size
        x, y = trunk.spine_mm
        circles = [(x, y - 4, 27 * size), (x - 11, y + 27 * size, 13), (x + 16, y + 26 * size, 14)]
        for side in (1, -1):
            circles.append((x + side * 36 * size, y - 10 * size, 22 * size))
            circles.append((x + side * 66 * size, y - 34 * size, 15 * size))
            found = self.kidney(side, trunk)
            if found:
                circles.append((*found[0], 27 * size * found[1]))
        return np.array(circles), self.band_mm("liver", u, trunk) + self.band_mm("spleen", u, trunk)
