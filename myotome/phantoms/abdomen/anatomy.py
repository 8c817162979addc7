"""The abdomen in axial section: where wall, cavity, skin and back muscles lie at each height.

Points are in mm, x to the person's right and y to the front, from the middle of L3's body. Tables run over the azimuth
from the middle of the trunk (`painting.azimuths`). Outlines of the back muscles are those of a mean man at L3; the
areas of muscle and fat in the middle of L3 are then met by scaling them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.spatial import ConvexHull

from myotome.phantoms.abdomen.painting import AZIMUTHS, azimuths
from myotome.phantoms.abdomen.person import AbdomenPerson
from myotome.phantoms.canvas import smooth_outline

__all__ = ["BACK_MUSCLES", "AbdomenAnatomy", "Layer", "Trunk", "polygon_cm2"]

_ERECTOR = (
    (5, -38),
    (16, -29),
    (32, -28),
    (50, -31),
    (66, -39),
    (75, -52),
    (72, -66),
    (62, -77),
    (47, -84),
    (36, -82),
) + ((23, -85), (9, -79), (4, -58))
_QUADRATUS = ((46, -33), (54, -26), (68, -23), (80, -27), (84, -34), (78, -41), (64, -43), (50, -40))
_PSOAS = ((22, 12), (30, 10), (42, 2), (53, -12), (57, -24), (50, -31), (38, -27), (28, -19), (23, -8), (21, 3))
# Outline on the right and the point about which it grows.
BACK_MUSCLES = {
    "erector_spinae": (_ERECTOR, (6.0, -44.0)),
    "quadratus_lumborum": (_QUADRATUS, (46.0, -33.0)),
    "psoas": (_PSOAS, (21.0, -4.0)),
}
# Share of L3's muscle in each group, and how much people differ in it.
_SHARES = {
    "erector_spinae": (0.335, 0.08),
    "quadratus_lumborum": (0.068, 0.15),
    "psoas": (0.145, 0.13),
    "lateral": (0.375, 0.10),
    "rectus": (0.07, 0.2),
}
# Linear scale by shape coordinate; 1 at L3.
_BY_U = {
    "erector_spinae": ((9, 12, 13, 15, 16, 17, 18, 19, 20), (0.84, 0.92, 0.98, 1.0, 0.97, 0.88, 0.74, 0.58, 0.45)),
    "quadratus_lumborum": ((11.6, 12.2, 13, 15, 16.2, 16.8), (0.0, 0.45, 0.75, 1.0, 1.04, 0.0)),
    "psoas": ((11.6, 12.3, 13, 14, 15, 16, 17, 20), (0.0, 0.32, 0.55, 0.8, 1.0, 1.16, 1.24, 1.1)),
    "width": ((9, 12, 13, 15, 16.5, 18, 20), (1.06, 1.07, 1.05, 1.0, 0.98, 0.98, 0.94)),
    "front": ((9, 12, 15, 17, 20), (0.9, 0.96, 1.0, 0.97, 0.8)),
    "wall": ((9, 12, 13.5, 15, 16.5, 17.3, 18.2), (0.5, 0.55, 0.85, 1.0, 0.95, 0.6, 0.2)),
    "lordosis": ((6, 9, 11, 12, 13, 15, 16, 17, 18, 19, 20), (-36, -24, -13, -8, -4, 0, -1, -7, -19, -34, -48)),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """One sheet of the wall: distances of its two surfaces outside the cavity (mm) over the azimuth."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Trunk:
    """One section: tables over the azimuth in mm, and outlines of the back muscles by side (1 right, -1 left).

    ``slope`` is the cosine between the radius and the cavity's normal.
    """

    u: float
    cavity: np.ndarray
    slope: np.ndarray
    lateral: tuple[Layer, Layer, Layer]
    rectus: Layer
    fascia: np.ndarray
    skin: np.ndarray
    back: dict[tuple[str, int], np.ndarray]
    spine_mm: tuple[float, float]
    spine_turn: float


def polygon_cm2(points: np.ndarray) -> float:
    """Area of a closed polygon (N, 2) given in mm, by the shoelace formula."""
    x, y = points.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 100


class AbdomenAnatomy:
    """All shapes of one person, ready to be drawn at any shape coordinate."""

    def __init__(self, person: AbdomenPerson) -> None:
        self.person = person
        self._azimuth = azimuths()
        self._waves: dict[str, tuple[np.ndarray, ...]] = {}
        rng = np.random.default_rng((person.seed, 233))
        shares = {name: mean * float(np.exp(spread * rng.normal())) for name, (mean, spread) in _SHARES.items()}
        total = sum(shares.values())
        self.muscle_cm2 = {name: person.muscle_cm2 * share / total for name, share in shares.items()}
        self._back = {key: self._make_back(*key, rng) for key in [(n, s) for n in BACK_MUSCLES for s in (1, -1)]}
        self._lopsided = float(rng.normal(0, 0.03 if person.condition != "post_operative" else 0.12))
        self.scoliosis = float(
            rng.normal(0, 0.02)
            + (rng.choice([-1, 1]) * rng.uniform(0.08, 0.24) if person.condition == "scoliosis" else 0)
        )
        self._solve_cavity(rng)
        self._draw_traits(rng)
        self._wall_scale, self._rectus_scale, self._fat_scale = 1.0, 1.0, 0.0
        self._solve_wall()

    def trunk(self, u: float) -> Trunk:
        """The section at a shape coordinate."""
        cavity = self._cavity(u)
        slope = cavity / np.hypot(cavity, np.gradient(cavity, self._azimuth))
        spine = self.spine_mm(u)
        back = {key: self._place_back(key, u, spine) for key in self._back}
        back = {key: points for key, points in back.items() if points is not None}
        lateral, rectus = self._wall(u, cavity, back)
        outer = cavity + np.maximum(np.max([layer.high for layer in lateral], axis=0), rectus.high) / slope
        fascia = self._contour(outer, back)
        skin = self._hull(fascia) + np.maximum(self._fat_scale * self._fat_profile(u), 2.5)
        return Trunk(u, cavity, slope, lateral, rectus, fascia, self._flatten(skin), back, spine, self.spine_turn(u))

    def spine_mm(self, u: float) -> tuple[float, float]:
        """Where the middle of the vertebral body lies in the plane."""
        bow = 130 * self.scoliosis * np.sin((u - 12.2) / 5.5 * np.pi)
        return float(bow), float(np.interp(u, *_BY_U["lordosis"])) * self.person.size

    def spine_turn(self, u: float) -> float:
        """Rotation of the vertebra in radians; the curve's apex turns most."""
        return float(self.scoliosis * np.cos((u - 15.0) / 6 * np.pi))

    def point(self, azimuth: float, radius: float) -> np.ndarray:
        """A point of the plane from its azimuth and distance from the middle of the trunk."""
        return np.array([self.centre[0] + radius * np.sin(azimuth), self.centre[1] + radius * np.cos(azimuth)])

    def wave(self, name: str, u: float, orders: tuple[int, ...] = (1, 2, 3, 5, 8), period: float = 1.5) -> np.ndarray:
        """A smooth random function of azimuth and height, standard deviation near 1."""
        if name not in self._waves:
            rng = np.random.default_rng((self.person.seed, 239, zlib.crc32(name.encode())))
            draws = rng.normal(size=len(orders)), rng.uniform(0, 6, len(orders)), rng.uniform(-1, 1, len(orders))
            self._waves[name] = (np.outer(orders, self._azimuth), *draws)
        angles, strength, phase, drift = self._waves[name]
        return (strength @ np.cos(angles + (phase + drift * u / period)[:, None])) / np.sqrt(0.5 * len(orders))

    def _make_back(self, name: str, side: int, rng: np.random.Generator) -> np.ndarray:
        """Smooth outline of one muscle at L3, right-handed, of the wanted area, about its anchor."""
        points, anchor = (np.array(part, dtype=float) for part in BACK_MUSCLES[name])
        shared = np.random.default_rng((self.person.seed, 241, zlib.crc32(name.encode())))
        loose = {"erector_spinae": 1.6, "quadratus_lumborum": 1.6, "psoas": 1.6}[name]
        points = points + shared.normal(0, loose, points.shape) + rng.normal(0, 0.5 * loose, points.shape)
        flat = float(np.exp(shared.normal(0, 0.05)))
        points = anchor + (points - anchor) * (flat, 1 / flat)
        outline = smooth_outline(points)
        wanted = self.muscle_cm2[name] / 2 * float(np.exp(rng.normal(0, 0.04)))
        return anchor * self.person.size + (outline - anchor) * np.sqrt(wanted / polygon_cm2(outline))

    def _solve_cavity(self, rng: np.random.Generator) -> None:
        """Half width and depth of the cavity, so that fat, organs, psoas and spine fill it."""
        person = self.person
        corners = 0.8 * max(
            0.0, 55 - person.visceral_cm2
        )  # cm2 of fat that would stay between the loops of a thin person
        area = person.visceral_cm2 + person.organs_cm2 - corners + 0.19 * person.muscle_cm2 + 24 * person.size**2
        flat = float(np.clip(0.52 + 0.09 * person.visceral_cm2 / 200 + rng.normal(0, 0.045), 0.42, 0.8))
        self._power = (float(rng.uniform(2.1, 2.9)), float(rng.uniform(2.1, 2.8)))
        self._half, self._deep = 1.0, flat
        self._swell = float(np.clip(rng.normal(1.0, 0.1), 0.8, 1.3))
        self.centre = (0.0, 0.0)
        unit = 0.5 * float(np.sum(self._cavity(15.0) ** 2)) * 2 * np.pi / AZIMUTHS
        self._half = float(np.sqrt(100 * area / unit))
        self._deep = flat * self._half
        self.centre = (0.0, self._deep - 33.0 * person.size)

    def _cavity(self, u: float) -> np.ndarray:
        half = self._half * float(np.interp(u, *_BY_U["width"]))
        sine, cosine = np.abs(np.sin(self._azimuth)) / half, np.cos(self._azimuth)
        front = self._deep * (1 + (float(np.interp(u, *_BY_U["front"])) - 1) * 2)
        radii = []
        for deep, power in ((front, self._power[0]), (self._deep, self._power[1])):
            radii.append((sine**power + (np.abs(cosine) / deep) ** power) ** (-1 / power))
        radius = np.where(cosine > 0, *radii)
        radius = gaussian_filter1d(radius, AZIMUTHS / 120, mode="wrap")
        return radius * (1 + 0.012 * self.wave("cavity", u, (2, 3, 4, 6)))

    def _draw_traits(self, rng: np.random.Generator) -> None:
        person = self.person
        self._gaps = rng.uniform(0.3, 1.3, 2) * person.fat_planes
        self._alba_mm = float(rng.gamma(3.0, 2.2) + 2) * (1.7 if person.condition == "post_operative" else 1.0)
        self._rectus_mm = float(rng.normal(64, 7)) * person.size * (0.8 + 0.2 * self._half / 115)
        self._groove_mm = float(rng.uniform(2, 11))
        self._layers = np.array([0.21, 0.43, 0.36]) * np.exp(rng.normal(0, 0.15, 3))
        self._layers /= self._layers.sum()
        self._ends = rng.normal(0, 1, 8)
        self._fat_front, self._fat_side, self._fat_love = (
            rng.normal(1.0, 0.25),
            rng.normal(0.75, 0.12),
            rng.normal(1.35, 0.25),
        )
        self._flat_back = float(rng.uniform(0.2, 0.9))

    def _wall(self, u: float, cavity: np.ndarray, back: dict) -> tuple[tuple[Layer, Layer, Layer], Layer]:
        """Transversus, internal and external oblique from inside out on each side, and the recti."""
        grow = float(np.interp(u, *_BY_U["wall"]))
        theta = np.abs(self._azimuth)
        side = 1 + self._lopsided * np.sign(self._azimuth)
        front = float(cavity[AZIMUTHS // 2])
        alba, edge = np.arctan2(self._alba_mm / 2, front), np.arctan2(self._rectus_mm + self._alba_mm / 2, 0.93 * front)
        s = (theta - alba) / (edge - alba)
        lens = np.where((s > 0) & (s < 1), np.clip(1 - np.abs(2 * s - 1) ** 4.0, 0, 1) ** 0.6, 0)
        thick = (
            self._rectus_scale
            * lens
            * (1 + 0.1 * self.wave("rectus", u))
            * side
            * float(np.interp(grow, [0.2, 0.55], [0.2, 1.0]))
        )
        sheath = 0.8 + 0.6 * self.person.fat_planes * np.clip(1 + 0.6 * self.wave("sheath", u), 0, 3) * (s > 0) * (
            s < 1
        )
        rectus = Layer(sheath * (lens > 0), (sheath + thick) * (lens > 0))
        return self._lateral(u, theta, edge, grow * side * self._wall_scale, back), rectus

    def _lateral(
        self, u: float, theta: np.ndarray, edge: float, thick: np.ndarray, back: dict
    ) -> tuple[Layer, Layer, Layer]:
        stop = self._wall_end(u, back)
        starts = edge + np.array([-0.03, 0.02, 0.05]) + 0.05 * self._ends[:3]
        stops = stop + np.array([0.0, -0.02, -0.16]) + np.array([0.02, 0.03, 0.05]) * self._ends[3:6]
        sheets, low = [], np.full(AZIMUTHS, 0.3)
        for index, name in enumerate(("transversus", "internal", "external")):
            s = (theta - starts[index]) / (stops[index] - starts[index])
            inside = (s > 0) & (s < 1)
            ends = np.where(s < 0.5, np.abs(2 * s - 1) ** 2.2, np.abs(2 * s - 1) ** 6)
            profile = np.where(inside, np.clip(1 - ends, 0, 1) ** 0.6, 0)
            part = self._layers[index] * thick * profile * np.clip(1 + 0.16 * self.wave(name, u), 0.3, 2)
            if index:
                gap = self._gaps[index - 1] * np.clip(0.25 + 0.6 * self.wave(f"gap {name}", u), 0.0, 3)
                gap = gap + self.person.fat_planes * (
                    1.1 * np.exp(-((s / 0.12) ** 2)) + 0.9 * np.exp(-(((1 - s) / 0.1) ** 2))
                )
                low = low + gap * inside
            sheets.append(Layer(np.where(inside, low, 0), np.where(inside, low + part, 0)))
            low = np.where(inside, low + part, low)
        return sheets[0], sheets[1], sheets[2]

    def _wall_end(self, u: float, back: dict) -> float:
        """Azimuth at which the lateral wall reaches the back muscles."""
        lobes = [np.abs(points[:, 0]).max() for (name, _), points in back.items() if name != "psoas"]
        border = np.mean(lobes) - 10.0
        behind = self._azimuth > np.pi / 2
        x = self._cavity(u)[behind] * np.sin(self._azimuth[behind])
        beyond = np.flatnonzero(x > border)
        return float(self._azimuth[behind][beyond[-1]]) if beyond.size else 0.66 * np.pi

    def _place_back(self, key: tuple[str, int], u: float, spine: tuple[float, float]) -> np.ndarray | None:
        name, side = key
        scale = float(np.interp(u, *_BY_U[name]))
        if scale < 0.08:
            return None
        anchor = np.array(BACK_MUSCLES[name][1]) * self.person.size
        points = anchor + (self._back[key] - anchor) * scale
        if name == "psoas":
            points = points + np.array(
                [
                    float(np.interp(u, [15, 17, 18, 20], [0, 6, 20, 40])),
                    float(np.interp(u, [12, 15, 17, 18, 20], [-2, 0, 8, 20, 45])),
                ]
            )
        return self.in_spine(points * (side, 1), u, spine)

    def in_spine(self, points: np.ndarray, u: float, spine: tuple[float, float]) -> np.ndarray:
        """Points about the vertebral body, turned and shifted with it."""
        turn = self.spine_turn(u)
        cosine, sine = np.cos(turn), np.sin(turn)
        return np.asarray(points, dtype=float) @ np.array([[cosine, sine], [-sine, cosine]]) + spine

    def _contour(self, outer: np.ndarray, back: dict) -> np.ndarray:
        """The outermost muscle at every azimuth."""
        contour = outer.copy()
        points = np.vstack([points for (name, _), points in back.items() if name != "psoas"]) - self.centre
        index = np.floor((np.arctan2(points[:, 0], points[:, 1]) / (2 * np.pi) + 0.5) * AZIMUTHS).astype(int) % AZIMUTHS
        np.maximum.at(contour, index, np.hypot(*points.T))
        return np.maximum(gaussian_filter1d(maximum_filter1d(contour, 7, mode="wrap"), 2, mode="wrap"), outer)

    def _hull(self, contour: np.ndarray) -> np.ndarray:
        """What the fat under the skin lies on: the convex hull of the muscles, with a groove behind the spine."""
        points = np.stack((contour * np.sin(self._azimuth), contour * np.cos(self._azimuth)), axis=1)[::4]
        corners = points[ConvexHull(points).vertices]
        edges = np.vstack((corners, corners[:1]))
        share = np.linspace(0, 1, 60, endpoint=False)[:, None, None]
        dense = (edges[None, :-1] + share * (edges[1:] - edges[:-1])[None]).reshape(-1, 2)
        angle = np.arctan2(dense[:, 0], dense[:, 1])
        order = np.argsort(angle)
        hull = np.interp(self._azimuth, angle[order], np.hypot(*dense[order].T), period=2 * np.pi)
        hull = gaussian_filter1d(hull, AZIMUTHS / 90, mode="wrap")
        groove = self._groove_mm * np.exp(-(((np.pi - np.abs(self._azimuth)) / 0.11) ** 2))
        return np.maximum(hull - groove, contour - 1.0)

    def _fat_profile(self, u: float) -> np.ndarray:
        theta = np.abs(self._azimuth)
        knots = [0, 0.12, 0.6, 1.5, 2.3, 2.75, np.pi]
        belly = self._fat_front * float(np.interp(u, [11, 15, 17, 20], [0.6, 1.0, 1.1, 1.0]))
        love = self._fat_love * float(np.interp(u, [11, 15, 17], [0.5, 1.0, 1.3]))
        values = [0.85 * belly, belly, belly, self._fat_side, love, 0.9, 0.55]
        profile = gaussian_filter1d(np.interp(theta, knots, values), AZIMUTHS / 40, mode="wrap")
        return profile * np.clip(1 + 0.07 * self.wave("fat", u), 0.5, 1.6)

    def _flatten(self, skin: np.ndarray) -> np.ndarray:
        """The back lies on the table."""
        down = -np.cos(self._azimuth)
        lowest = float((skin * down).max())
        flat = np.where(down > 0.15, (lowest - 5.0) / np.maximum(down, 0.15), np.inf)
        excess = np.maximum(skin - flat, 0)
        return gaussian_filter1d(skin - self._flat_back * excess, 3, mode="wrap")

    def _solve_wall(self) -> None:
        """Thickness of wall, rectus and fat, so that their areas at L3 are those of the person."""
        step = 2 * np.pi / AZIMUTHS / 100
        for _ in range(3):
            trunk = self.trunk(15.0)
            length = trunk.cavity / trunk.slope
            for name, layers in (("_wall_scale", trunk.lateral), ("_rectus_scale", (trunk.rectus,))):
                wanted = self.muscle_cm2["lateral" if name == "_wall_scale" else "rectus"]
                drawn = (
                    sum(float(np.sum((la.high - la.low) * (length + 0.5 * (la.high + la.low)))) for la in layers) * step
                )
                setattr(self, name, getattr(self, name) * wanted / drawn)
        fascia, profile = self.trunk(15.0).fascia, self._fat_profile(15.0)
        hull = self._hull(fascia)
        wanted = self.person.subcutaneous_cm2 / step + 0.5 * np.sum(fascia**2)
        a, b, c = 0.5 * np.sum(profile**2), np.sum(profile * hull), 0.5 * np.sum(hull**2) - wanted
        self._fat_scale = max(float((-b + np.sqrt(max(b * b - 4 * a * c, 0))) / (2 * a)), 0.0) + 1.8
