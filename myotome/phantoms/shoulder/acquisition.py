"""Scanning a drawn shoulder: sequence, coil, resolution, chemical shift, motion and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

__all__ = ["ShoulderScan", "acquire", "make_sensitivity", "make_shoulder_scan"]

# Edge enhancement of each make-believe vendor.
_SHARPENING = {"Vendor A": 0.0, "Vendor B": 0.3, "Vendor C": -0.15}
_HERTZ_PER_TESLA = 147.0  # water minus fat: 3.45 ppm of 42.58 MHz/T


@dataclass(frozen=True)
class ShoulderScan:
    """One acquisition; the default is a plain T2-weighted one.

    ``noise`` is the standard deviation in each channel as a share of fat's signal at the coil's mean sensitivity;
    ``bias`` the strength of the coil's field (0 none, 1 as uneven as a bare surface coil); ``motion`` the strength of
    ghosts (0 none); ``resolution`` the measured share of k-space along the two axes; ``filtering`` how softly k-space
    ends. ``frequency_axis`` is the array axis of the chemical shift; ghosts run along the other.
    """

    sequence: str = "T2"
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
    obliquity_deg: float = 25.0
    tilt_deg: float = 0.0
    offset_mm: tuple[float, float] = (0.0, 0.0)
    scale: float = 900.0


def make_shoulder_scan(seed: int, slices: int = 1) -> ShoulderScan:
    """Sample one acquisition from the whole range: three vendors, 1.5 and 3 T, T2 (mostly), T1 and PD weighting."""
    rng = np.random.default_rng((seed, 71))
    sequence = str(rng.choice(["T2", "T1", "PD"], p=[0.72, 0.15, 0.13]))
    tr, te = {"T2": (2800, 5500, 60, 105), "T1": (450, 750, 9, 20), "PD": (2200, 3600, 20, 42)}[sequence], None
    tr, te = float(rng.uniform(*tr[:2])), float(rng.uniform(*tr[2:]))
    field = float(rng.choice([1.5, 3.0], p=[0.6, 0.4]))
    matrix = int(rng.choice([256, 288, 320], p=[0.45, 0.3, 0.25]))
    suppressed = rng.random() < 0.02
    bandwidth = rng.uniform(130, 330) * (1.3 if field > 2 else 1.0)
    moving = rng.random() < 0.25
    return ShoulderScan(
        sequence=sequence,
        vendor=str(rng.choice(list(_SHARPENING))),
        field_t=field,
        tr_ms=tr,
        te_ms=te,
        fat_suppression=float(rng.uniform(0.8, 0.95)) if suppressed else 0.0,
        spacing_mm=float(rng.uniform(140, 178)) / matrix,
        matrix=matrix,
        slices=slices,
        thickness_mm=float(rng.choice([3.0, 3.5, 4.0, 5.0], p=[0.3, 0.25, 0.35, 0.1])),
        gap_mm=float(rng.choice([0.0, 0.3, 0.4, 0.8])),
        resolution=(float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.6, 0.95))),
        filtering=float(rng.uniform(0.1, 0.8)),
        noise=float(np.exp(rng.uniform(np.log(0.008), np.log(0.05)))),
        bias=float(rng.uniform(0.1, 0.4) if rng.random() < 0.6 else rng.uniform(0.4, 1.0)),
        motion=float(rng.uniform(0.01, 0.07)) if moving else 0.0,
        chemical_shift_px=float(rng.choice([-1, 1]) * _HERTZ_PER_TESLA * field / bandwidth),
        frequency_axis=int(rng.integers(2)),
        obliquity_deg=float(rng.uniform(12, 34)),
        tilt_deg=float(rng.normal(0, 3)),
        offset_mm=(float(rng.normal(0, 5)), float(rng.normal(0, 5))),
        scale=float(np.exp(rng.uniform(np.log(250), np.log(2500)))),
    )


def make_sensitivity(scan: ShoulderScan, seed: int) -> np.ndarray:
    """The coil's field (X, Y), 1 on average: loops before, behind and above the shoulder, evened out by the scanner."""
    rng = np.random.default_rng((seed, 73))
    axis = (np.arange(scan.matrix, dtype=np.float32) - (scan.matrix - 1) / 2) * scan.spacing_mm
    field = np.zeros((scan.matrix, scan.matrix), dtype=np.float32)
    for place in ((-85.0, 0.0), (85.0, 10.0), (-10.0, -80.0)):
        x, y = np.array(place) + rng.normal(0, 15, 2)
        distance = (axis[:, None] - np.float32(x)) ** 2 + (axis[None, :] - np.float32(y)) ** 2
        field += np.float32(rng.uniform(0.6, 1.4)) / (1 + distance / np.float32(60**2)) ** 1.5
    field **= scan.bias
    return field / field.mean()


def acquire(
    water: np.ndarray, fat: np.ndarray, scan: ShoulderScan, sensitivity: np.ndarray, rng: np.random.Generator
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


def _along(scan: ShoulderScan, axis: int, values: np.ndarray) -> np.ndarray:
    values = values.astype(np.complex64)
    return values[:, None] if axis == 0 else values[None, :]


def _shift(scan: ShoulderScan) -> np.ndarray:
    """Phases that move an image by the chemical shift."""
    return np.exp(-2j * np.pi * fft.fftfreq(scan.matrix) * scan.chemical_shift_px)


def _motion(scan: ShoulderScan, rng: np.random.Generator) -> np.ndarray:
    """Phase errors of breathing over the echoes: ghosts of the given share of the signal."""
    echo = fft.fftfreq(scan.matrix) * scan.matrix
    cycles = rng.uniform(0.08, 0.4)
    phase = 2 * scan.motion * np.sin(2 * np.pi * cycles * echo + rng.uniform(0, 6))
    return np.exp(1j * (phase + scan.motion * rng.normal(0, 0.5, scan.matrix)))


def _window(scan: ShoulderScan, axis: int) -> np.ndarray:
    """How much of each spatial frequency reaches the image; vendors sharpen or soften it."""
    frequency = np.abs(fft.fftfreq(scan.matrix)) * 2 / scan.resolution[axis]
    inside = np.clip((1 - frequency) * scan.matrix / 4, 0, 1)
    soft = 1 - scan.filtering * np.sin(0.5 * np.pi * np.clip(frequency, 0, 1)) ** 2
    enhanced = 1 + _SHARPENING[scan.vendor] * np.sin(np.pi * np.clip(frequency, 0, 1)) ** 2
    return (inside * soft * enhanced).astype(np.float32)
