"""Scanning a drawn section by MR: resolution, chemical shift, motion and noise. Shoulder and lumbar spine share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

__all__ = ["HERTZ_PER_TESLA", "VENDORS", "MrScan", "acquire"]

# Edge enhancement of each make-believe vendor.
_SHARPENING = {"Vendor A": 0.0, "Vendor B": 0.3, "Vendor C": -0.15}
VENDORS = tuple(_SHARPENING)
HERTZ_PER_TESLA = 147.0  # water minus fat: 3.45 ppm of 42.58 MHz/T


@dataclass(frozen=True)
class MrScan:
    """What every acquisition has; the default is a plain T2-weighted one.

    ``noise`` is the standard deviation in each channel as a share of fat's signal at the coil's mean sensitivity;
    ``bias`` the strength of the coil's field (0 none, 1 as uneven as a bare surface coil); ``motion`` the strength of
    ghosts (0 none); ``resolution`` the measured share of k-space along the two axes; ``filtering`` how softly k-space
    ends. ``frequency_axis`` is the array axis of the chemical shift; ghosts run along the other.
    """

    vendor: str = "Vendor A"
    field_t: float = 1.5
    tr_ms: float = 4000.0
    te_ms: float = 80.0
    fat_suppression: float = 0.0
    spacing_mm: float = 0.55
    matrix: int = 288
    slices: int = 1
    thickness_mm: float = 3.5
    gap_mm: float = 0.5
    resolution: tuple[float, float] = (0.9, 0.75)
    filtering: float = 0.4
    noise: float = 0.02
    bias: float = 0.35
    motion: float = 0.0
    chemical_shift_px: float = 1.0
    frequency_axis: int = 0
    offset_mm: tuple[float, float] = (0.0, 0.0)
    scale: float = 900.0


def acquire(
    water: np.ndarray, fat: np.ndarray, scan: MrScan, sensitivity: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The image of one section: (X, Y) signals, relative to fat's, to (X, Y) uint16 pixels of 0-4095.

    Fat is moved along the frequency axis, motion varies the phase from echo to echo, k-space is measured as far as
    the resolution goes and softened, noise is added in both channels, and the magnitude is kept (Rician noise).
    """
    space = fft.fft2(water * sensitivity)
    space += fft.fft2(fat * sensitivity) * _along(scan, scan.frequency_axis, _shift(scan))
    if scan.motion:
        space *= _along(scan, 1 - scan.frequency_axis, _motion(scan, rng))
    windows = [_window(scan, axis) for axis in (0, 1)]
    passed = np.sqrt(np.mean(windows[0] ** 2) * np.mean(windows[1] ** 2))
    noise = rng.standard_normal((2, *space.shape), dtype=np.float32) * np.float32(scan.noise / passed * scan.matrix)
    space += noise[0] + 1j * noise[1]
    space *= windows[0][:, None] * windows[1][None, :]
    image = np.abs(fft.ifft2(space))
    return np.clip(np.rint(image * np.float32(scan.scale)), 0, 4095).astype(np.uint16)


def _along(scan: MrScan, axis: int, values: np.ndarray) -> np.ndarray:
    values = values.astype(np.complex64)
    return values[:, None] if axis == 0 else values[None, :]


def _shift(scan: MrScan) -> np.ndarray:
    """Phases that move an image by the chemical shift."""
    return np.exp(-2j * np.pi * fft.fftfreq(scan.matrix) * scan.chemical_shift_px)


def _motion(scan: MrScan, rng: np.random.Generator) -> np.ndarray:
    """Phase errors of breathing over the echoes: ghosts of the given share of the signal."""
    echo = fft.fftfreq(scan.matrix) * scan.matrix
    cycles = rng.uniform(0.08, 0.4)
    phase = 2 * scan.motion * np.sin(2 * np.pi * cycles * echo + rng.uniform(0, 6))
    return np.exp(1j * (phase + scan.motion * rng.normal(0, 0.5, scan.matrix)))


def _window(scan: MrScan, axis: int) -> np.ndarray:
    """How much of each spatial frequency reaches the image; vendors sharpen or soften it."""
    frequency = np.abs(fft.fftfreq(scan.matrix)) * 2 / scan.resolution[axis]
    inside = np.clip((1 - frequency) * scan.matrix / 4, 0, 1)
    soft = 1 - scan.filtering * np.sin(0.5 * np.pi * np.clip(frequency, 0, 1)) ** 2
    enhanced = 1 + _SHARPENING[scan.vendor] * np.sin(np.pi * np.clip(frequency, 0, 1)) ** 2
    return (inside * soft * enhanced).astype(np.float32)
