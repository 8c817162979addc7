"""How a drawn shoulder is scanned: sequences and scanners of all kinds, and the coil's field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.phantoms.mr_scan import HERTZ_PER_TESLA, VENDORS, MrScan

__all__ = ["ShoulderScan", "make_sensitivity", "make_shoulder_scan"]


@dataclass(frozen=True)
class ShoulderScan(MrScan):
    """One acquisition of a shoulder; ``sequence`` is ``T2``, ``T1`` or ``PD``."""

    sequence: str = "T2"
    obliquity_deg: float = 25.0
    tilt_deg: float = 0.0


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
        vendor=str(rng.choice(list(VENDORS))),
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
        chemical_shift_px=float(rng.choice([-1, 1]) * HERTZ_PER_TESLA * field / bandwidth),
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
