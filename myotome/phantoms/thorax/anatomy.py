"""Where things are: the chest wall as layers around the rib cage, and bones and organs inside it.

Everything around the rib cage is described in shell coordinates: azimuth (0 in front, 1 behind, on each side), height
(0 at the lower end plate of T12, 1 at the upper end plate of T1) and distance outward from the outer rib surface.
A muscle is a layer with a thickness; layers are stacked outward, so that they never overlap, with fat between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.phantoms.thorax.person import Person

__all__ = ["AZIMUTH_COUNT", "Layer", "Thorax", "edge", "window"]

AZIMUTH_COUNT = 2048

PECTORALIS, ERECTOR_SPINAE, INTERCOSTAL, OTHER_MUSCLE = 1, 2, 3, 4


def edge(x: np.ndarray | float, start: float, stop: float) -> np.ndarray:
    """Smooth step: 0 up to ``start``, 1 from ``stop`` (which may be the smaller of the two)."""
    t = np.clip((np.asarray(x, dtype=np.float64) - start) / (stop - start), 0, 1)
    return t * t * (3 - 2 * t)


def window(x: np.ndarray | float, low: float, high: float, soft: float) -> np.ndarray:
    """Smooth window, 1 between ``low`` and ``high`` and 0 beyond ``soft`` outside."""
    return edge(x, low - soft, low) * (1 - edge(x, high, high + soft))


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of the wall at one height: what it is made of and how thick it is at each azimuth (mm)."""

    tissue: str
    label: int
    thickness: np.ndarray


class Thorax:
    """The continuous anatomy of one person: patient millimetres, x to the right, y to the front, z upward.

    The origin is the centre of the rib cage at the lower end plate of T12.
    """

    def __init__(self, person: Person) -> None:
        self.person = person
        self._rng = np.random.default_rng((person.seed, 23))
        self.theta = (np.arange(AZIMUTH_COUNT) + 0.5) / AZIMUTH_COUNT * 2 * np.pi - np.pi
        self.azimuth = np.abs(self.theta) / np.pi
        self._waves: dict[str, np.ndarray] = {}
        vary = self.jitter
        self.width_profile = np.array([0.93, 0.97, 1.0, 0.985, 0.93, 0.80, 0.52, 0.40]) * vary(0.02, 8)
        self.depth_profile = np.array([1.0, 1.06, 1.07, 1.0, 0.90, 0.74, 0.56, 0.50]) * vary(0.02, 8)
        self.rib_height = 6.4 * vary(0.1)
        self.rib_phase = 0.02 * self._rng.normal()
        self.pec_low = 0.44 + 0.05 * self._rng.normal() * person.variation**0.5
        self.scapula_shift = 0.05 * self._rng.normal() + (-0.08 if person.arms_up else 0.03)
        self.axilla = max(5.0, 20 * vary(0.35) * (1.3 if person.arms_up else 0.8))
        self.side_gain = {name: 1 + 0.10 * person.variation**0.5 * self._rng.normal(size=2) for name in _MUSCLES}
        self.pec_reach = 0.03 * self._rng.normal() * person.variation**0.5 + (0.03 if person.arms_up else 0.0)
        self.latissimus_border = 0.20 * vary(0.25)
        self.furrow = 0.2 * vary(0.5)

    def jitter(self, sd: float, count: int | None = None) -> np.ndarray:
        """Random factors around 1, widened by the person's variation."""
        draw = self._rng.normal(size=count) if count else self._rng.normal()
        return np.clip(1 + sd * self.person.variation**0.5 * draw, 0.3, 1.9)

    def level_z(self, number: int) -> float:
        """Height (mm) of the middle of vertebra ``number``: 1 is T1, 12 is T12, 13 is L1, 18 is S1."""
        return (12.5 - number) * self.vertebra_height(12.5 - number)

    def vertebra_height(self, above_t12: float) -> float:
        """Height of one vertebra with its disc (mm): a twelfth of the thorax, lumbar ones 1.45 times that."""
        return self.person.thorax_height / 12 * (1.45 if above_t12 < 0 else 1.0)

    def wave(self, name: str, u: float, amount: float) -> np.ndarray:
        """Smooth random factor over azimuth and height, around 1, its own for each name."""
        if name not in self._waves:
            self._waves[name] = self._rng.normal(size=(2, 7, 4))
        cosine, sine = self._waves[name]
        heights = np.array([1, u, np.sin(5 * u), np.cos(9 * u)])
        orders = np.arange(1, 8)[:, None] * self.theta
        gains = 1 / np.arange(1, 8) ** 0.7
        field = (gains * (cosine @ heights)) @ np.cos(orders) + (gains * (sine @ heights)) @ np.sin(orders)
        return np.clip(1 + amount * self.person.variation**0.5 * 0.33 * field, 0.05, 3)

    def rib_cage(self, u: float) -> np.ndarray:
        """Outer rib surface: distance from the axis at each azimuth (mm)."""
        person = self.person
        knots = np.array([-0.2, 0.1, 0.3, 0.5, 0.68, 0.85, 1.0, 1.15])
        half_width = person.half_width * np.interp(u, knots, self.width_profile)
        depth = person.depth / 2 * np.interp(u, knots, self.depth_profile)
        if u < 0.1:
            half_width *= 1 + (person.abdomen - 1) * edge(u, 0.1, -0.2)
        front = np.cos(self.theta) > 0
        half_depth = np.where(front, depth * (1.0 + 0.02 * np.cos(3 * u)), depth)
        power = np.where(front, person.squareness, person.squareness + 0.5)
        sine, cosine = np.abs(np.sin(self.theta)), np.abs(np.cos(self.theta))
        radius = ((sine / half_width) ** power + (cosine / half_depth) ** power) ** (-1 / power)
        lumbar = float(edge(u, -0.02, -0.35))
        lateral = np.minimum(1, radius * sine / (34 + 22 * lumbar))
        gutter = (1 - lateral**2) * ~front * (11 + 5 * edge(u, 0.3, -0.05) + 12 * lumbar)
        sternum_dip = (1 - edge(radius * sine, 10, 45)) * front * 3
        return (radius - gutter - sternum_dip) * self.wave("cage", u, 0.02)

    def rib_position(self, z_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ribs at one height.

        Returns
        -------
        offset : signed distance from the nearest rib's middle line, in units of its half height
        cartilage : True where that rib is cartilage
        inside : True where the azimuth lies between the first and the last rib, that is, in the intercostal wall
        """
        person, spacing = self.person, self.person.thorax_height / 12
        front = 1 - self.azimuth
        best = np.full(AZIMUTH_COUNT, 99.0)
        cartilage = np.zeros(AZIMUTH_COUNT, dtype=bool)
        top, bottom = np.full(AZIMUTH_COUNT, -1e9), np.full(AZIMUTH_COUNT, 1e9)
        for number in range(1, 13):
            drop = person.rib_drop * (0.35 + 0.65 * min(1, number / 6)) * (1 + self.rib_phase * number)
            line = self.level_z(number) + 0.2 * spacing - drop * edge(front, 0.02, 0.95) * 1.05
            if number > 4:  # costal cartilage climbs back to the sternum
                line = line + (number - 4) * 13 * edge(self.azimuth, 0.24, 0.06)
            end = (0, 0, 0, 0, 0, 0, 0, 0.07, 0.10, 0.14, 0.42, 0.62)[number - 1]
            exists = self.azimuth > end
            height = self.rib_height * (1.25 if number == 1 else 1.0) / (0.8 + 0.2 * edge(front, 0.7, 0.2))
            slope = 1 + 0.25 * window(self.azimuth, 0.2, 0.7, 0.2)
            offset = np.where(exists, np.abs(z_mm - line) / (height * slope), 99.0)
            nearer = offset < best
            best = np.where(nearer, offset, best)
            cartilage = np.where(nearer, self.azimuth < 0.20 + 0.012 * max(0, number - 4), cartilage)
            top = np.maximum(top, np.where(exists, line, -1e9))
            bottom = np.minimum(bottom, np.where(exists, line, 1e9))
        return best, cartilage, (z_mm <= top + 3) & (z_mm >= bottom - 3)

    def layers(self, u: float) -> list[Layer]:
        """The layers outside the rib cage at one height, from the ribs outward, subcutaneous fat excluded."""
        person, a = self.person, self.azimuth
        behind = 1 - a
        shift = self.scapula_shift
        girdle = window(u, 0.50, 0.96, 0.10)
        size = person.half_width / 138
        across = np.tanh(12 * np.sin(self.theta))  # 1 on the right, -1 on the left, smooth at the midline

        def muscle(name: str, label: int, base_mm: float, mask: np.ndarray) -> Layer:
            right, left = self.side_gain[name]
            gain = (right + left) / 2 + (right - left) / 2 * across
            return Layer("muscle", label, base_mm * person.muscle * gain * mask * self.wave(name, u, 0.16))

        def fat(name: str, base_mm: float, mask: np.ndarray | float = 1.0) -> Layer:
            gap = base_mm * self.wave(name, u, 0.6) - 0.25
            return Layer("fat", 0, np.maximum(0, gap) * mask)

        x = behind * np.pi * person.depth / 2  # distance from the midline along the back, about
        es_width = (34 + 24 * edge(u, 0.38, 0.0) - 16 * edge(u, -0.3, -0.75)) * size
        es_mask = np.clip(1 - (x / es_width) ** 3.2, 0, 1) ** 0.55 * (1 - self.furrow * np.exp(-((x / 9) ** 2)))
        sacral = 1 - edge(u, -0.90, -0.62)
        es_base = (16 + 3 * edge(u, 0.6, 0.9) + 13 * edge(u, 0.42, 0.0) + 12 * edge(u, 0.0, -0.35)) * (1 - sacral)
        slips = 0.65 + 0.5 * np.abs(np.sin(24 * a * np.pi + 9 * u))
        pec_top = 1 - edge(u, 0.93, 1.0)
        pec_lateral = 0.22 + (0.13 + self.pec_reach) * edge(u, self.pec_low - 0.05, 0.72)
        # The latissimus is a belly beside the erector spinae below T11, and a thin sheet over its side above.
        lat_border = 0.07 + (self.latissimus_border - 0.07) * (1 - edge(u, 0.0, 0.26)) + 0.34 * edge(u, 0.28, 0.62)
        lat_taper = 0.4 + 0.6 * edge(behind - lat_border, 0.02, 0.2)
        plane = person.plane
        return [
            fat("under_es", 0.5 * plane, window(behind, 0, 0.2, 0.05)),
            muscle("erector_spinae", ERECTOR_SPINAE, es_base, es_mask),
            fat("rib_plane", 0.9 * plane),
            Layer("bone", 0, 7.0 * window(a, 0.52, 0.84, 0.02) * (1 - edge(u, -0.66, -0.60))),
            muscle("gluteus", OTHER_MUSCLE, 30, window(a, 0.50, 0.90, 0.1) * (1 - edge(u, -0.80, -0.62))),
            muscle("serratus", OTHER_MUSCLE, 5.4, window(a, 0.36, 0.74, 0.08) * window(u, 0.28, 0.86, 0.1) * slips),
            muscle("rectus", OTHER_MUSCLE, 9, window(a, 0.05, 0.18, 0.04) * (1 - edge(u, 0.06, 0.22))),
            muscle(
                "oblique",
                OTHER_MUSCLE,
                5.6,
                window(a, 0.20, 0.62, 0.09) * (1 - edge(u, 0.22, 0.40)) * edge(u, -0.95, -0.7),
            ),
            fat("axilla", self.axilla, window(a, 0.34, 0.60, 0.16) * girdle + 0.06 * plane / self.axilla),
            muscle("pectoralis_minor", PECTORALIS, 7.2, window(a, 0.19, 0.29, 0.06) * window(u, 0.62, 0.86, 0.08)),
            fat("pec_plane", 1.2 * plane, window(a, 0.05, 0.4, 0.1)),
            muscle(
                "pectoralis_major",
                PECTORALIS,
                8.2,
                (0.7 + 0.6 * edge(a, 0.10, 0.30))
                * window(a, 0.075, 1.0, 0.045)
                * (1 - edge(a, pec_lateral - 0.06, pec_lateral + 0.06))
                * edge(u, self.pec_low, self.pec_low + 0.16)
                * pec_top,
            ),
            muscle("subscapularis", OTHER_MUSCLE, 9, window(a, 0.62 + shift, 0.76 + shift, 0.07) * girdle),
            Layer("bone", 0, 3.6 * window(a, 0.62 + shift, 0.79 + shift, 0.012) * window(u, 0.56, 0.93, 0.03)),
            muscle("infraspinatus", OTHER_MUSCLE, 9, window(a, 0.60 + shift, 0.77 + shift, 0.07) * girdle),
            fat("scapula_plane", 1.3 * plane, window(a, 0.5, 0.9, 0.05)),
            muscle(
                "rhomboid", OTHER_MUSCLE, 5.2, window(behind, 0.015, 0.17 - shift, 0.04) * window(u, 0.58, 0.90, 0.06)
            ),
            muscle("teres", OTHER_MUSCLE, 9, window(a, 0.54 + shift, 0.63 + shift, 0.05) * window(u, 0.48, 0.72, 0.08)),
            muscle(
                "latissimus",
                OTHER_MUSCLE,
                5.8,
                window(a, 0.52 - 0.04 * u, 1 - lat_border, 0.05)
                * lat_taper
                * (1 - edge(u, 0.58, 0.74))
                * edge(u, -0.5, -0.2),
            ),
            fat("trapezius_plane", 0.8 * plane, window(behind, 0, 0.3, 0.05)),
            muscle(
                "trapezius",
                OTHER_MUSCLE,
                4.0 + 3 * edge(u, 0.8, 1.0),
                window(behind, 0.004, 0.03 + 0.25 * edge(u, 0.1, 0.85), 0.05) * edge(u, 0.05, 0.2),
            ),
        ]

    def fat_depth(self, u: float) -> np.ndarray:
        """Subcutaneous fat (mm) at each azimuth, breast included; thinner over the sternum and the spine."""
        person = self.person
        depth = person.fat * (0.55 + 0.45 * window(self.azimuth, 0.25, 0.85, 0.2) + 0.3 * edge(u, 0.3, -0.1))
        breast = person.breast * window(self.azimuth, 0.16, 0.30, 0.14) * window(u, 0.42, 0.58, 0.2)
        return depth * self.wave("fat", u, 0.3) + breast * self.wave("breast", u, 0.2) + 0.8


_MUSCLES = [
    "erector_spinae",
    "serratus",
    "rectus",
    "oblique",
    "pectoralis_minor",
    "pectoralis_major",
    "subscapularis",
    "infraspinatus",
    "rhomboid",
    "teres",
    "latissimus",
    "trapezius",
    "gluteus",
]
