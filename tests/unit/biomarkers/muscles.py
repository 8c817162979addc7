"""A drawn muscle in fat, whose fat fraction is known to the sub-pixel, seen through a coil, with blur and shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, shift

SIZE, FINE, SPACING_MM = 128, 4, 0.7
MUSCLE, FAT = 200.0, 700.0


@dataclass(frozen=True)
class DrawnMuscle:
    """Image, contour and the fat around it, and the share of the contour's area that is fat (%)."""

    image: np.ndarray
    muscle: np.ndarray
    around: np.ndarray
    fat_percent: float


def draw_muscle(
    fat_percent: float = 20.0,
    shift_px: float = 0.0,
    bias: float = 0.0,
    noise: float = 10.0,
    levels: tuple[float, float] = (MUSCLE, FAT),
    tendon: bool = False,
    seed: int = 1,
) -> DrawnMuscle:
    """An ellipse of muscle with streaks of fat in an ellipse of fat; other muscle lies on the left and below.

    ``shift_px`` moves the fat along the second axis, ``bias`` is the logarithm of the coil's sensitivity from one edge
    of the image to the other, ``tendon`` puts a black rod of 2 by 10 mm into the muscle.
    """
    rng = np.random.default_rng(seed)
    count = SIZE * FINE
    x, y = np.meshgrid(*[(np.arange(count) + 0.5) / FINE - SIZE / 2] * 2, indexing="ij")
    fossa, muscle = (x / 36) ** 2 + (y / 26) ** 2 < 1, (x / 30) ** 2 + (y / 20) ** 2 < 1
    rod = muscle & (np.abs(x) < 7) & (np.abs(y) < 1.4) & tendon
    texture = gaussian_filter(rng.normal(size=x.shape), (8 * FINE, 1.2 * FINE))
    flesh = muscle & ~rod
    wanted = fat_percent / 100 * muscle.sum() / flesh.sum()
    streaks = flesh & (texture > np.quantile(texture[flesh], 1 - wanted)) if fat_percent else np.zeros_like(muscle)
    other = ((x < -40) | (y > 30)) & ~fossa
    water = (flesh & ~streaks) | other
    fat = ((~other) & ~muscle) | streaks
    drawn = levels[0] * water + levels[1] * shift(fat.astype(float), (0, shift_px * FINE), order=1, mode="nearest")
    image = _shrink(gaussian_filter(drawn, 0.7 * FINE)) * np.exp(bias * np.linspace(-0.5, 0.5, SIZE))[:, None]
    image = np.hypot(image + rng.normal(0, noise, image.shape), rng.normal(0, noise, image.shape))
    contour = _shrink(muscle) > 0.5
    around = (_shrink(fossa) > 0.5) & ~contour
    return DrawnMuscle(image, contour, around, 100 * streaks.sum() / muscle.sum())


def _shrink(plane: np.ndarray) -> np.ndarray:
    return plane.reshape(SIZE, FINE, SIZE, FINE).mean(axis=(1, 3))
