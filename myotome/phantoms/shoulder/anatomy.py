"""The shoulder in oblique-sagittal section: where bones, muscles and fossa lie at each distance from the Y-view.

Points are in mm on the plane of the section, x to the patient's back and y downwards, with the junction of the three
limbs of the Y near the origin. ``lateral_mm`` is the distance of the section from the Y-view towards the arm: below
zero lies the scapula's body, above it the glenoid and the humeral head. One drawing serves both shoulders.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from myotome.phantoms.canvas import smooth_line, smooth_outline
from myotome.phantoms.shoulder.person import ShoulderPerson

__all__ = ["Fossa", "ShoulderAnatomy"]

Rod = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Fossa:
    """The supraspinous fossa in one section: its outline, its roof, the muscle's outline and the muscle's tendon."""

    outline: np.ndarray
    centre: np.ndarray
    roof: np.ndarray
    muscle: np.ndarray
    muscle_centre: np.ndarray
    margin_mm: float
    tendon: Rod


class ShoulderAnatomy:
    """All shapes of one person, ready to be drawn at any distance from the Y-view.

    Parameters
    ----------
    person : whose shoulder it is.
    seed : of the variation between people that no trait of the person describes.
    """

    def __init__(self, person: ShoulderPerson, seed: int) -> None:
        self.person, self.seed = person, seed
        rng = np.random.default_rng((seed, 13))
        self._turn = float(np.deg2rad(rng.normal(0, 6)))
        self._roof = float(rng.uniform(5.5, 10.0))
        self._flat = float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.15))
        self._margin = float(rng.uniform(0.5, 1.3))
        self._opening = float(rng.normal(0, 0.08))
        self.gap_mm = float(rng.uniform(0.4, 2.5))
        self.fast_flow = bool(rng.random() < 0.5)

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points of the mean man's drawing as they lie in this person."""
        cosine, sine = np.cos(self._turn), np.sin(self._turn)
        return self.person.size * np.asarray(points, dtype=float) @ np.array([[cosine, sine], [-sine, cosine]])

    def vary(self, name: str, points: np.ndarray, spread_mm: float = 1.0) -> np.ndarray:
        """Points moved by this person's own deviations, the same at every section."""
        points = np.asarray(points, dtype=float)
        rng = np.random.default_rng((self.seed, 17, zlib.crc32(name.encode())))
        return points + rng.normal(0, 0.5 * spread_mm, (1, 2)) + rng.normal(0, 0.75 * spread_mm, points.shape)

    def outline(self, name: str, points: np.ndarray, spread_mm: float = 1.2) -> np.ndarray:
        """A muscle's smooth closed outline in this person."""
        return self.place(smooth_outline(self.vary(name, points, spread_mm)))

    def bone(self, name: str, points: np.ndarray, radii: np.ndarray) -> Rod:
        """A smoothly bent bone in this person."""
        return smooth_line(*self.rod(name, points, radii), 9)

    def rod(self, name: str, points: np.ndarray, radii: np.ndarray, spread_mm: float = 0.9) -> Rod:
        """A tapering rod in this person."""
        return self.place(self.vary(name, points, spread_mm)), self.person.size * np.asarray(radii, dtype=float)

    def body(self, lateral_mm: float) -> Rod:
        """The scapula's body; towards the arm it thickens into the neck."""
        thick = np.interp(lateral_mm, [-40, -10, 0, 12, 15, 17], [0.7, 0.85, 1.0, 2.0, 1.5, 0.0])
        length = np.interp(lateral_mm, [-40, 0, 14], [1.25, 1.0, 0.55])
        points = np.array([(0, 0), (1.5, 20), (6, 42), (11, 62)]) * (1, length)
        return self.bone("body", points, np.array([3.4, 2.3, 2.4, 4.6]) * thick)

    def spine(self, lateral_mm: float) -> Rod:
        """The scapular spine; beyond the Y-view it leaves the body and becomes the acromion."""
        points = np.array([(0, 0), (14, -9 + 8 * self._opening), (26, -18 + 14 * self._opening), (33.5, -25)], float)
        radii = np.array([4.2, 2.7, 3.1, 5.0])
        start = np.interp(lateral_mm, [2, 14], [0.0, 0.75])
        points[:3] += start * (points[3] - points[:3]) * 0.9
        acromion = np.array([(12, -38), (4, -40), (-4, -40), (-12, -38)]) + (0, np.interp(lateral_mm, [25, 45], [0, 2]))
        share = float(np.interp(lateral_mm, [8, 26], [0, 1]))
        medial = np.interp(lateral_mm, [-40, -4], [0.72, 1.0])
        points = (1 - share) * points * medial + share * acromion
        radii = (1 - share) * radii + share * np.array([4.2, 4.4, 4.4, 3.8])
        return self.bone("spine", points, radii * np.interp(lateral_mm, [46, 52], [1, 0.05]))

    def coracoid(self, lateral_mm: float) -> Rod:
        """The coracoid process; inwards of the Y-view the blade above the spine, thin and upright, takes its place."""
        points = np.array(
            [(0, 0), (-7.5, -9), (-15, -18 - 12 * self._opening), (-22, -25.5 - 9 * self._opening)], float
        )
        thick = np.interp(lateral_mm, [-14, -3, 0], [0.38, 0.85, 1.0])
        start = np.interp(lateral_mm, [3, 12], [0.0, 0.85])
        points[:3] += start * (points[3] - points[:3])
        points += np.array([(-14, 8)]) * np.interp(lateral_mm, [8, 30], [0, 1])
        points *= np.interp(lateral_mm, [-40, -4], [0.8, 1.0])
        gone = np.interp(lateral_mm, [28, 36], [1, 0])
        return self.bone("coracoid", points, np.array([4.4, 5.0, 5.0, 6.0]) * thick * gone)

    def fossa(self, lateral_mm: float) -> Fossa:
        """The fossa between spine and coracoid under its roof, and the supraspinatus in it."""
        spine, coracoid = self.spine(min(lateral_mm, 2.0)), self.coracoid(min(lateral_mm, 3.0))
        along_spine = _inner_side(*spine, toward=-1)
        along_coracoid = _inner_side(*coracoid, toward=1)
        apex = 0.5 * (along_spine[0] + along_coracoid[0]) + self.place(np.array([(0, 1.0)]))[0]
        roof = _roof(along_spine[-1], along_coracoid[-1], self._roof * self.person.size)
        points = np.vstack((apex, along_spine[1:], roof, along_coracoid[:0:-1]))
        outline = _dense(points)
        centre = apex + 0.62 * (roof[len(roof) // 2] - apex)
        muscle = self._muscle(outline, apex, lateral_mm)
        middle = muscle.mean(axis=0)
        front = coracoid[0][-1] - middle
        place = middle + front * 0.22
        bow = 0.04 * np.array([-front[1], front[0]])
        line = np.array([place - 0.13 * front, place + 0.02 * front + bow, place + 0.16 * front])
        tendon = line, np.array([0.45, 0.85, 0.6]) * self.person.size
        margin = self._margin + 1.2 * max(0.0, 0.7 - self.person.occupation)
        roof = np.vstack((along_coracoid[-1:], roof[::-1], along_spine[-1:]))
        return Fossa(outline, centre, roof, muscle, middle, margin, tendon)

    def _muscle(self, outline: np.ndarray, apex: np.ndarray, lateral_mm: float) -> np.ndarray:
        """The fossa shrunk towards its floor until the muscle fills the wanted share of it."""
        fade = np.interp(lateral_mm, [-40, -25, 0, 8, 22], [0.8, 1.05, 1.0, 0.8, 0.35])
        scale = np.sqrt(max(self.person.occupation * fade, 0.03))
        shrink = np.array([scale / self._flat**0.5, scale * self._flat**0.5])
        points = apex + (outline - apex) * np.minimum(shrink, 1.0)
        centre = points.mean(axis=0)
        rng = np.random.default_rng((self.seed, 19))
        offset = points - centre
        angle = np.arctan2(offset[:, 1], offset[:, 0])
        wave = sum(
            rng.normal(0, 0.028 / order**0.5) * np.cos(order * angle + rng.uniform(0, 6)) for order in (2, 3, 4, 6)
        )
        points = centre + offset * (1 + wave)[:, None]
        return _rounded(points, 0.035 + 0.05 * (1 - self.person.occupation))


def _inner_side(points: np.ndarray, radii: np.ndarray, toward: int) -> np.ndarray:
    """The side of a rod that faces the fossa, a little inside the bone; ends on top of its tip."""
    along = np.gradient(points, axis=0)
    normal = np.stack((-along[:, 1], along[:, 0]), axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    normal *= np.sign(normal[:, :1] * toward + 1e-9)
    inner = points + normal * (radii[:, None] - 0.6)
    inner[-1] = points[-1] + (normal[-1] * 0.6 + along[-1] / np.linalg.norm(along[-1]) * 0.7) * radii[-1]
    return inner


def _roof(start: np.ndarray, stop: np.ndarray, bulge_mm: float, count: int = 7) -> np.ndarray:
    """Points between the two tips, bulging upwards in the middle."""
    t = np.linspace(0, 1, count + 2)[1:-1, None]
    along = stop - start
    normal = np.array([along[1], -along[0]]) / np.linalg.norm(along)
    normal *= -np.sign(normal[1])
    return start + t * along + 4 * t * (1 - t) * bulge_mm * normal


def _dense(points: np.ndarray, count: int = 240) -> np.ndarray:
    """A closed polygon of evenly spaced points through the given ones."""
    closed = np.vstack((points, points[:1]))
    place = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))))
    even = np.linspace(0, place[-1], count, endpoint=False)
    return np.stack([np.interp(even, place, closed[:, axis]) for axis in (0, 1)], axis=1)


def _rounded(points: np.ndarray, share: float) -> np.ndarray:
    """A closed polygon with its corners rounded over a share of its length, its area kept."""
    count = len(points)
    lag = np.minimum(np.arange(count), count - np.arange(count))
    kernel = np.exp(-0.5 * (lag / (share * count)) ** 2)
    smooth = np.fft.ifft(np.fft.fft(points, axis=0) * np.fft.fft(kernel / kernel.sum())[:, None], axis=0).real
    centre = smooth.mean(axis=0)
    return centre + (smooth - centre) * np.sqrt(_area(points) / _area(smooth))


def _area(points: np.ndarray) -> float:
    x, y = points.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
