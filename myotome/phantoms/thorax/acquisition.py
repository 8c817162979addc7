"""How a thorax is scanned: slice thickness, kernel, dose, contrast, metal, field of view and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.phantoms.ct_scan import CtScan

__all__ = ["Scan", "make_scan"]


@dataclass(frozen=True)
class Scan(CtScan):
    """One acquisition; ``bottom`` and ``top`` are shares of the thorax's height."""

    bottom: float = -0.10
    top: float = 1.06


def make_scan(seed: int) -> Scan:
    """Sample one acquisition from the whole range: 1-8 mm slices, 0.6-1.0 mm pixels, any dose, kernel and coverage."""
    rng = np.random.default_rng((seed, 71))
    in_plane = float(rng.uniform(0.6, 1.0))
    sharp = rng.random() < 0.3
    wide = 512 * in_plane
    return Scan(
        slice_thickness_mm=float(rng.choice([1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0])),
        in_plane_mm=in_plane,
        blur_mm=float(rng.uniform(0.35, 0.9)),
        sharpening=float(rng.uniform(0.3, 1.0)) if sharp else 0.0,
        noise_hu=float(np.exp(rng.uniform(np.log(5), np.log(22)))) * (1.4 if sharp else 1.0),
        streaks=float(rng.uniform(0, 1)) if rng.random() < 0.4 else 0.0,
        contrast=str(rng.choice(["none", "venous", "arterial"], p=[0.6, 0.25, 0.15])),
        metal=bool(rng.random() < 0.12),
        rotation_deg=float(rng.normal(0, 3.5)),
        offset_mm=(float(rng.normal(0, 8)), float(rng.normal(0, 8))),
        field_mm=float(min(wide, rng.uniform(320, 420))) if rng.random() < 0.45 else None,
        bottom=float(rng.uniform(0.05, 0.35)) if rng.random() < 0.2 else float(rng.uniform(-0.15, -0.02)),
        top=float(rng.uniform(0.70, 0.95)) if rng.random() < 0.2 else float(rng.uniform(1.0, 1.08)),
        table=bool(rng.random() < 0.85),
    )
