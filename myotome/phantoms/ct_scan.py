"""Scanning a drawn section by CT: what kernel, dose, position and metal make of it. Thorax and abdomen share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from myotome.phantoms.canvas import Box

__all__ = [
    "PADDING_HU",
    "CtScan",
    "add_metal",
    "add_noise",
    "blur",
    "draw_table",
    "field_mask",
    "lay_over",
    "make_affine",
    "make_shading",
    "resample_in_plane",
]

PADDING_HU = -1024.0


@dataclass(frozen=True)
class CtScan:
    """What every acquisition has. Lengths in mm, noise as the standard deviation in HU of a 5 mm slice of a usual body.

    ``field_mm`` is the diameter of the circle that the scanner reconstructed, None for the whole matrix.
    """

    slice_thickness_mm: float = 5.0
    in_plane_mm: float = 0.8
    matrix: int = 512
    blur_mm: float = 0.6
    sharpening: float = 0.0
    noise_hu: float = 12.0
    streaks: float = 0.0
    contrast: str = "none"
    metal: bool = False
    rotation_deg: float = 0.0
    offset_mm: tuple[float, float] = (0.0, 0.0)
    field_mm: float | None = None
    table: bool = True
    sub_slice_mm: float = 1.6


def field_mask(scan: CtScan) -> np.ndarray:
    """True inside the circle (or the square) that the scanner reconstructed."""
    if scan.field_mm is None:
        return np.ones((scan.matrix, scan.matrix), dtype=bool)
    axis = (np.arange(scan.matrix) - (scan.matrix - 1) / 2) * scan.in_plane_mm
    return np.hypot(axis[:, None], axis[None, :]) <= scan.field_mm / 2


def make_affine(scan: CtScan, z_mm: float) -> np.ndarray:
    """Voxel to patient mm of a matrix centred on the scanner's axis, its first slice at ``z_mm``."""
    half = (scan.matrix - 1) / 2 * scan.in_plane_mm
    affine = np.diag([scan.in_plane_mm, scan.in_plane_mm, scan.slice_thickness_mm, 1.0])
    affine[:3, 3] = -half, -half, z_mm
    return affine


def draw_table(scan: CtScan, back_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Air (X, Y) with the curved table below the back, whose lowest point lies at y = ``back_mm``."""
    plane = np.full((scan.matrix, scan.matrix), -1000.0, dtype=np.float32)
    if not scan.table:
        return plane
    axis = ((np.arange(scan.matrix) - (scan.matrix - 1) / 2) * scan.in_plane_mm).astype(np.float32)
    x, y = axis[:, None], axis[None, :]
    low = np.float32(back_mm - rng.uniform(2, 26))
    bow, wide = np.float32(rng.uniform(0.0002, 0.0010)), rng.uniform(190, 240)
    for drop, flatter, hu in ((0.0, 1.0, rng.uniform(-250, 250)), (rng.uniform(15, 45), 0.8, rng.uniform(-400, 100))):
        depth = np.abs(y - (low - np.float32(drop) + flatter * bow * x**2))
        cover = np.clip((1.4 - depth) / scan.in_plane_mm + 0.5, 0, 1) * (np.abs(x) < wide)
        plane += cover.astype(np.float32) * (np.float32(hu) - plane)
    return plane


def lay_over(background: np.ndarray, hu: np.ndarray, box: Box) -> np.ndarray:
    """The drawn part ``hu`` in its box of the whole image, with the background where there is nothing else."""
    whole = background.copy()
    part = whole[box]
    whole[box] = np.where(hu < -950, np.maximum(part, hu), hu)
    return whole


def make_shading(scan: CtScan, shading_hu: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth error (X, Y) of beam hardening and scatter."""
    axis = np.linspace(-1, 1, scan.matrix, dtype=np.float32)
    a, b, c = rng.normal(0, 1, 3).astype(np.float32)
    field = a * axis[:, None] + b * axis[None, :] + 1.5 * c * (0.4 - axis[:, None] ** 2 - axis[None, :] ** 2)
    return field * np.float32(shading_hu / 1.5)


def resample_in_plane(planes: np.ndarray, scan: CtScan, origin_mm: tuple[float, float], fill: float) -> np.ndarray:
    """Turn and shift drawn planes (C, X, Y) onto the scanner's square matrix, linearly.

    ``origin_mm`` is the patient position of the drawn voxel (0, 0); the matrix is centred on the scanner's axis.
    """
    angle = np.deg2rad(scan.rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = (scan.matrix - 1) / 2 * scan.in_plane_mm
    start = turn @ (np.array([-half, -half]) - np.array(scan.offset_mm))
    offset = (start - np.array(origin_mm)) / scan.in_plane_mm
    shape = (scan.matrix, scan.matrix)
    return np.stack([affine_transform(p, turn, offset, shape, order=1, cval=fill, prefilter=False) for p in planes])


def blur(hu: np.ndarray, scan: CtScan) -> np.ndarray:
    """The in-plane point spread of the kernel; sharp kernels overshoot at edges."""
    sigma = scan.blur_mm / scan.in_plane_mm
    soft = gaussian_filter(hu, sigma)
    if scan.sharpening:
        soft = soft + scan.sharpening * (soft - gaussian_filter(soft, 1.6 * sigma))
    return soft


def add_noise(hu: np.ndarray, scan: CtScan, shoulders: float, rng: np.random.Generator) -> np.ndarray:
    """Correlated noise, stronger in thin slices and thick bodies, streaky across the shoulders.

    Parameters
    ----------
    hu : (X, Y) array.
    shoulders : 0 below, 1 at the level of the shoulders.
    """
    body = hu > -500
    across = np.sqrt(max(body.sum(), 1)) * scan.in_plane_mm / 270
    level = scan.noise_hu * np.sqrt(5 / max(scan.slice_thickness_mm, 0.5)) * np.clip(across, 0.6, 1.8) ** 2
    level = min(level, 75.0)
    sigma = scan.blur_mm / scan.in_plane_mm * (0.6 if scan.sharpening else 1.0)
    noise = gaussian_filter(rng.normal(size=hu.shape).astype(np.float32), sigma)
    noise -= 0.5 * gaussian_filter(noise, 4)
    noise *= level / max(float(noise.std()), 1e-6)
    if scan.streaks and shoulders > 0:
        lines = gaussian_filter(rng.normal(size=hu.shape).astype(np.float32), (24, 0.8))
        noise += lines / max(float(lines.std()), 1e-6) * level * 1.2 * scan.streaks * shoulders
    return hu + noise


def add_metal(hu: np.ndarray, at: tuple[int, int], rng: np.random.Generator, radius_pixels: float = 5.0) -> np.ndarray:
    """A small metal object with the bright and dark rays it throws."""
    x, y = np.ogrid[: hu.shape[0], : hu.shape[1]]
    dx, dy = x - at[0], y - at[1]
    distance = np.hypot(dx, dy) + 1
    rays = np.sin(np.arctan2(dy, dx) * int(rng.integers(3, 7)) * 2 + rng.uniform(0, 6)) ** 3
    out = hu + (rays * 1800 / distance * np.exp(-distance / 90)).astype(np.float32) * (hu > -950)
    return np.where(distance < radius_pixels, 3071.0, out)
