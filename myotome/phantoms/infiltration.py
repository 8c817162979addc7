"""Fat inside a muscle: streaks along its fibres and marbling between them, of an exactly given share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

__all__ = ["Infiltration", "Pattern", "Texture", "infiltrate"]

_STEP_MM = 0.25
_SIZE = 360
_SOFTNESS = 0.3


@dataclass(frozen=True)
class Infiltration:
    """How much fat a muscle holds, and how it lies.

    ``streakiness`` is 1 for streaks alone and 0 for marbling alone; ``diffuse_share`` is the part of the fat that is
    finer than any streak and lies everywhere alike; ``turn`` turns the streaks, in radians.
    """

    fat_percent: float
    streakiness: float = 0.7
    diffuse_share: float = 0.08
    turn: float = 0.0


class Texture:
    """Random textures of one person, smooth in plane and from section to section; they repeat after 90 mm.

    ``most_bend`` (1/mm) is how much streaks may curve at most; wide fields need little.
    """

    def __init__(self, seed: int, most_bend: float = 0.015) -> None:
        rng = np.random.default_rng((seed, 23))
        self._streaks = _fields(rng, (4.5, 0.8))
        self._marbling = _fields(rng, (0.8, 0.8))
        self._regions = _fields(rng, (4.0, 4.0))
        self._angle = float(rng.uniform(0, np.pi))
        self._bend = np.float32(rng.uniform(-most_bend, most_bend))

    def section(self, lateral_mm: float) -> Pattern:
        """The textures of one section."""
        finer = _mix(self._marbling, lateral_mm / 5)
        coarser = _mix(self._regions, lateral_mm / 20)
        return Pattern(_mix(self._streaks, lateral_mm / 14), finer, coarser, self._angle, self._bend)


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where in one section fat comes first."""

    streaks: np.ndarray
    marbling: np.ndarray
    regions: np.ndarray
    angle: float
    bend: np.float32

    def at(self, x: np.ndarray, y: np.ndarray, streakiness: float, turn: float = 0.0) -> np.ndarray:
        """How readily fat lies at each point: the greater, the earlier it is infiltrated. x, y in mm, of one shape."""
        cosine, sine = np.float32(np.cos(self.angle + turn)), np.float32(np.sin(self.angle + turn))
        along = x * cosine + y * sine
        across = y * cosine - x * sine + self.bend * along**2
        readiness = np.abs(_look_up(self.streaks, along, across))
        readiness *= np.float32(-1.6 * streakiness)
        place = _place(x, y)
        readiness += np.float32(1.15 - streakiness) * self.marbling.ravel().take(place)
        readiness += np.float32(0.5) * self.regions.ravel().take(place)
        return readiness

    def regions_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The coarse texture alone, of standard deviation 1. x, y in mm."""
        return _look_up(self.regions, x, y)


def infiltrate(readiness: np.ndarray, weights: np.ndarray, fat_share: float, diffuse_share: float) -> np.ndarray:
    """Share of fat in each of a muscle's pixels, so that their weighted mean is the wanted share (to about 1e-4).

    Parameters
    ----------
    readiness : (N,) where fat comes first; see `Texture`.
    weights : (N,) how much of each pixel can hold fat.
    fat_share : wanted sum of weights x fat over the sum of weights, 0-1.
    diffuse_share : part of the fat that is finer than any streak and lies everywhere alike.
    """
    total = float(weights.sum(dtype=np.float64))
    if total <= 0 or fat_share <= 0:
        return np.zeros_like(weights)
    wanted = min(fat_share, 0.98)
    floor = np.float32(wanted * diffuse_share)
    middle = float(np.quantile(readiness, 1 - wanted))
    low, high = middle - 1.5, middle + 1.5
    for _ in range(16):
        limit = np.float32(0.5 * (low + high))
        fat = np.clip(readiness * np.float32(1 / _SOFTNESS) + (np.float32(0.5) - limit / _SOFTNESS), 0, 1)
        fat *= 1 - floor
        fat += floor
        if float(fat @ weights) > wanted * total:
            low = limit
        else:
            high = limit
    return fat


def _fields(rng: np.random.Generator, sigma_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Two independent smooth fields of standard deviation 1."""
    frequency = fft.fftfreq(_SIZE, _STEP_MM).astype(np.float32)
    falls = [np.exp(-2 * (np.pi * frequency * sigma) ** 2).astype(np.float32) for sigma in sigma_mm]
    noise = rng.standard_normal((2, _SIZE, _SIZE), dtype=np.float32)
    field = fft.ifft2((noise[0] + 1j * noise[1]) * (falls[0][:, None] * falls[1][None, :]))
    return field.real / field.real.std(), field.imag / field.imag.std()


def _mix(pair: tuple[np.ndarray, np.ndarray], phase: float) -> np.ndarray:
    """A turning mixture of two fields, which keeps its statistics at every phase."""
    return np.float32(np.cos(phase)) * pair[0] + np.float32(np.sin(phase)) * pair[1]


def _look_up(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The nearest values of a field that repeats."""
    return field.ravel().take(_place(x, y))


def _place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    columns = (x * np.float32(1 / _STEP_MM)).astype(np.int32) % _SIZE
    rows = (y * np.float32(1 / _STEP_MM)).astype(np.int32) % _SIZE
    return columns * _SIZE + rows
