"""What blur and chemical shift carry across a muscle's contour, and what tissue inside it is neither muscle nor fat.

An image of muscle and fat is the sum of the water's image and the fat's. Both are blurred, and the fat's is moved along
the frequency axis. From the labels one can draw both, and so find blur and shift by comparing the drawing with the
image where muscle and fat meet; then it is known how much of the contour's mean came from outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter, grey_erosion, uniform_filter
from scipy.optimize import least_squares

__all__ = ["Spread", "compute_dark_share", "compute_own_share", "measure_noise"]

_MARGIN = 12
_FEWEST_PIXELS = 30
_SMALLEST_CORE = 20
_INSIDE_SIGMA = 4.0
_SHARPENING_SIGMA = 0.75
_ZONE, _CLEAR = 3.5, 2.5
_RIM = 1.5
# Beforehand, in pixels: blur 0.75 +- 0.25 along each axis, shift 0 +- 1.5; the rim's fat is 0.2 +- 0.2 less.
_EXPECTED = np.array([0.75, 0.75, 0.0, 0.0, 0.2])
_TOLERANCE = np.array([0.25, 0.25, 1.5, 1.5, 0.2])
_LOWEST, _HIGHEST = np.array([0.3, 0.3, -3.5, -3.5, -0.2]), np.array([1.6, 1.6, 3.5, 3.5, 1.0])
_STARTS = ((0.0, 0.0), (1.2, 0.0), (-1.2, 0.0), (0.0, 1.2), (0.0, -1.2))
_SMALLEST_ERROR = 0.05
_NEIGHBOURS_ALIKE = 2.0  # neighbouring pixels err alike, so each counts for less


@dataclass(frozen=True)
class Spread:
    """Blur (standard deviations, pixels) and chemical shift (pixels) along both axes.

    ``rim`` is the share of fat that the pixels next to the muscle lack (its fascia).
    """

    blur: tuple[float, float]
    shift: tuple[float, float]
    rim: float


@dataclass(frozen=True, eq=False)
class _Scene:
    """A cut-out of the slice in shares (0 muscle, 1 fat), and what it is drawn from.

    ``water`` and ``fat`` are the contents of each pixel, in units of pure muscle and pure fat; ``ratio`` is muscle's
    level over the contrast.
    """

    shares: np.ndarray
    muscle: np.ndarray
    water: np.ndarray
    fat: np.ndarray
    rim: np.ndarray
    zone: np.ndarray
    error: float
    ratio: float

    def draw(self, water: np.ndarray, fat: np.ndarray, spread: Spread) -> np.ndarray:
        """Blurred water plus blurred and shifted fat, in units of the contrast."""
        size = self.shares.shape
        rows, columns = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
        blur = np.exp(-2 * np.pi**2 * ((rows * spread.blur[0]) ** 2 + (columns * spread.blur[1]) ** 2))
        moved = np.exp(-2j * np.pi * (rows * spread.shift[0] + columns * spread.shift[1]))
        spectrum = self.ratio * np.fft.rfft2(water) + (1 + self.ratio) * np.fft.rfft2(fat) * moved
        return np.fft.irfft2(spectrum * blur, s=size)


def measure_noise(shares: np.ndarray, near: np.ndarray) -> float:
    """Standard deviation of sharpened shares in pure muscle, from the evener of its 5 x 5 neighbourhoods."""
    sharp = _sharpen(shares)
    means = uniform_filter(sharp, 5)
    spread = np.sqrt(np.maximum(uniform_filter(sharp**2, 5) - means**2, 0))
    lean = near & (np.abs(means) < 0.12)
    return float(np.percentile(spread[lean], 30)) if lean.sum() >= _FEWEST_PIXELS else _SMALLEST_ERROR


def compute_dark_share(shares: np.ndarray, muscle: np.ndarray, noise: float) -> float:
    """What tendon and other dark tissue inside a contour take off its mean share; 0 or more.

    A pixel that is neither muscle nor fat lies below 0. So do the gaps that the chemical shift opens beside fat, but
    each of them has an overlap, above 1, on the fat's other side, and noise goes either way: what lies below 0 less
    what lies above 1, less what noise alone would leave there, is the dark tissue. The image is sharpened
    first, so that thin tendons count.
    """
    core = binary_erosion(muscle, iterations=2)
    if core.sum() < _SMALLEST_CORE:
        return 0.0
    values = _sharpen(shares)[core]
    densities = [np.exp(-0.5 * ((values - level) / noise) ** 2) / (noise * np.sqrt(2 * np.pi)) for level in (0, 1)]
    densities = np.stack([densities[0], np.full(values.shape, 1 / 1.6), densities[1]], axis=1)
    weights = np.array([0.4, 0.2, 0.4])
    for _ in range(15):
        belongs = densities * weights
        weights = (belongs / belongs.sum(axis=1, keepdims=True)).mean(axis=0)
    by_noise = noise / np.sqrt(2 * np.pi) * (weights[0] - weights[2])
    dark = (np.clip(values, 0, 1) - values).mean() - by_noise
    return max(float(dark) * core.sum() / muscle.sum(), 0.0)


def _sharpen(shares: np.ndarray) -> np.ndarray:
    return 2 * shares - gaussian_filter(shares, _SHARPENING_SIGMA)


def compute_own_share(
    shares: np.ndarray, muscle: np.ndarray, around: np.ndarray, ratio: float, noise: float
) -> tuple[float, Spread]:
    """Mean share of fat inside a contour, without what came from outside it.

    Parameters
    ----------
    shares : (x, y) image in which pure muscle is 0 and pure fat 1
    muscle, around : boolean; the contour, and the fat that lies around it (may be empty)
    ratio : muscle's level over the contrast of fat and muscle
    noise : standard deviation of ``shares``

    Returns
    -------
    share : of the contour's area; dark tissue counts as less than muscle
    spread : the blur and shift that were found
    """
    scene = _make_scene(shares, muscle, around, ratio, noise)
    spread = _fit_spread(scene)
    fat = scene.fat - spread.rim * scene.rim
    inside, nothing = scene.muscle.astype(float), np.zeros(scene.shares.shape)
    came = scene.draw(scene.water * ~scene.muscle, fat * ~scene.muscle, spread)[scene.muscle].mean()
    kept_water = scene.draw(inside, nothing, spread)[scene.muscle].mean()
    kept_fat = scene.draw(nothing, inside, spread)[scene.muscle].mean()
    own = (scene.shares + ratio)[scene.muscle].mean() - came
    return float((own - kept_water) / (kept_fat - kept_water)), spread


def _make_scene(shares: np.ndarray, muscle: np.ndarray, around: np.ndarray, ratio: float, noise: float) -> _Scene:
    """Contents by the labels: inside the muscle the local mean, around it fat, elsewhere what the image shows.

    Elsewhere is mostly the dark cortex of bone, blurred by what lies beside it; the darkest of 3 x 3 pixels is nearer
    to the truth.
    """
    places = np.argwhere(muscle)
    box = tuple(
        slice(max(low - _MARGIN, 0), high + _MARGIN + 1)
        for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True)
    )
    shares, muscle, around = shares[box], muscle[box], around[box]
    fat_inside, texture = _smooth_inside(shares, muscle)
    elsewhere = ~muscle & ~around
    seen = grey_erosion(shares, size=(3, 3)) / ratio + 1
    meeting = (_distance(muscle) <= _ZONE) & (_distance(around) <= _ZONE) & (_distance(elsewhere) > _CLEAR)
    return _Scene(
        shares=shares,
        muscle=muscle,
        water=np.where(muscle, 1 - fat_inside, np.where(around, 0.0, seen)),
        fat=np.where(muscle, fat_inside, around.astype(float)),
        rim=around & (_distance(muscle) <= _RIM),
        zone=meeting,
        error=_NEIGHBOURS_ALIKE * float(np.hypot(max(_SMALLEST_ERROR, noise), texture)),
        ratio=ratio,
    )


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the mask in pixels; infinite where there is none."""
    return distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf)


def _smooth_inside(shares: np.ndarray, muscle: np.ndarray) -> tuple[np.ndarray, float]:
    """Local mean of the fat inside the muscle, from pixels off its contour, and the standard deviation about it."""
    core = binary_erosion(muscle, iterations=2)
    core = core if core.sum() >= _SMALLEST_CORE else muscle
    clipped = np.clip(shares, 0, 1)
    total, weight = (gaussian_filter(item, _INSIDE_SIGMA) for item in (clipped * core, core.astype(float)))
    smooth = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), clipped[core].mean())
    return smooth, float(np.std((clipped - smooth)[core]))


def _fit_spread(scene: _Scene) -> Spread:
    """Blur, shift and rim that make the drawing most like the image where only muscle and fat are near.

    Without such a place (the fat around is not labelled) it is what is expected beforehand.
    """
    if scene.zone.sum() < _FEWEST_PIXELS:
        return _make_spread(_EXPECTED)

    def misfit(values: np.ndarray) -> np.ndarray:
        spread = _make_spread(values)
        drawn = scene.draw(scene.water, scene.fat - spread.rim * scene.rim, spread) - scene.ratio
        return np.concatenate([(drawn - scene.shares)[scene.zone] / scene.error, (values - _EXPECTED) / _TOLERANCE])

    starts = [np.array([*_EXPECTED[:2], *shift, _EXPECTED[4]]) for shift in _STARTS]
    start = min(starts, key=lambda values: float(np.square(misfit(values)).clip(0, 9).sum()))
    found = least_squares(
        misfit, start, loss="soft_l1", f_scale=1.5, diff_step=0.02, max_nfev=10, bounds=(_LOWEST, _HIGHEST)
    )
    return _make_spread(found.x)


def _make_spread(values: np.ndarray) -> Spread:
    first, second, x, y, rim = (float(value) for value in values)
    return Spread((first, second), (x, y), rim)
