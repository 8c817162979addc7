"""How an abdomen is scanned: slice thickness, kernel, dose, voltage, phase, position, table and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.errors import InputError
from myotome.phantoms.abdomen.person import make_abdomen_person
from myotome.phantoms.abdomen.tissues import PHASES, VOLTAGES_KV
from myotome.phantoms.ct_scan import CtScan

__all__ = ["AbdomenScan", "make_abdomen_scan"]


@dataclass(frozen=True)
class AbdomenScan(CtScan):
    """One acquisition; the default is a plain one in the portal venous phase.

    Planes through a slice are drawn at least every ``sub_slice_mm``, in a volume's slices beside L3 every
    ``other_sub_slice_mm``. ``volume`` is False for one slice in the middle of L3. A volume reaches from ``bottom`` to
    ``top``, both in vertebrae: 10 is the middle of T10, 15 of L3, 18 of S1, 19 of S2. ``shift_mm`` moves a single
    slice up from the middle of L3. ``metal`` is a hip's, below the field, whose streaks reach into it.
    """

    contrast: str = "venous"
    volume: bool = False
    tube_voltage_kv: float = 120.0
    top: float = 10.0
    bottom: float = 19.0
    shading_hu: float = 0.0
    shift_mm: float = 0.0
    other_sub_slice_mm: float = 5.0

    def __post_init__(self) -> None:
        if self.contrast not in PHASES:
            raise InputError(f"contrast phase '{self.contrast}' is not one of {', '.join(PHASES)}.")
        if self.tube_voltage_kv not in VOLTAGES_KV:
            known = ", ".join(f"{voltage:g}" for voltage in VOLTAGES_KV)
            raise InputError(f"a tube voltage of {self.tube_voltage_kv:g} kV is not one of {known}.")
        if self.slice_thickness_mm <= 0 or self.in_plane_mm <= 0 or self.matrix < 16:
            raise InputError(
                "slice thickness and pixel must be above 0 mm and the matrix at least 16: give such a scan."
            )
        if self.volume and not 9.0 <= self.top < self.bottom <= 20.0:
            raise InputError(
                f"a field from vertebra {self.top:g} to {self.bottom:g} does not run down within 9 (T9) to 20 (S3)."
            )


def make_abdomen_scan(seed: int, volume: bool = False, in_plane_mm: float | None = None) -> AbdomenScan:
    """Sample one acquisition from the whole range.

    Parameters
    ----------
    seed : of the draw.
    volume : a whole scan of 3-5 mm slices, often of a shorter field, in place of one slice of 1-5 mm at L3.
    in_plane_mm : pixel of a volume; 1.5 to 2.5 mm by default, which a level finder needs no finer.
    """
    rng = np.random.default_rng((seed, 229))
    wide = 300 + 9.5 * (make_abdomen_person(seed).bmi_kg_m2 - 20)
    pixel = float(max(rng.uniform(0.66, 0.86), rng.uniform(1.02, 1.15) * wide / 512))
    sharp = bool(rng.random() < 0.2)
    thickness = float(rng.choice([1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0], p=[0.05, 0.05, 0.08, 0.1, 0.22, 0.1, 0.4]))
    voltage = float(rng.choice([80.0, 100.0, 120.0, 140.0], p=[0.05, 0.2, 0.68, 0.07]))
    phase = str(rng.choice(PHASES, p=[0.32, 0.1, 0.5, 0.08]))
    truncated = bool(rng.random() < 0.12)
    scan = {
        "slice_thickness_mm": thickness,
        "in_plane_mm": pixel,
        "blur_mm": float(rng.uniform(0.45, 1.05)),
        "sharpening": float(rng.uniform(0.3, 0.9)) if sharp else 0.0,
        "noise_hu": float(np.exp(rng.uniform(np.log(5), np.log(20)))) * (1.3 if sharp else 1.0),
        "streaks": float(rng.uniform(0, 0.5)) if rng.random() < 0.25 else 0.0,
        "contrast": phase,
        "metal": bool(rng.random() < 0.03),
        "rotation_deg": float(rng.normal(0, 3)),
        "offset_mm": (float(rng.normal(0, 8)), float(rng.normal(0, 10))),
        "field_mm": float(rng.uniform(300, 400)) if truncated else None,
        "table": bool(rng.random() < 0.92),
        "tube_voltage_kv": voltage,
        "shading_hu": float(rng.uniform(0, 5)),
        "shift_mm": float(np.clip(rng.normal(0, 3.5), -7, 7)),
    }
    if scan["metal"]:
        scan["streaks"] = float(rng.uniform(0.5, 1.2))
    if volume:
        scan["shift_mm"] = 0.0
        scan |= _sample_coverage(rng, in_plane_mm)
    return AbdomenScan(volume=volume, **scan)


def _sample_coverage(rng: np.random.Generator, in_plane_mm: float | None) -> dict:
    """Slices, pixels and field of a volume; three in five are whole, the others lack ribs, sacrum, or L3 itself."""
    pixel = float(rng.uniform(1.5, 2.5)) if in_plane_mm is None else in_plane_mm
    thickness = float(rng.choice([3.0, 4.0, 5.0]))
    top, bottom = float(rng.uniform(9.6, 10.6)), float(rng.uniform(18.3, 19.3))
    if rng.random() < 0.4:
        top = float(rng.uniform(9.6, 16.5))
        bottom = float(rng.uniform(top + 2.2, 19.3))
    return {
        "slice_thickness_mm": thickness,
        "in_plane_mm": pixel,
        "matrix": int(np.ceil(430 / pixel)),
        "blur_mm": 0.4 * pixel,
        "top": top,
        "bottom": bottom,
    }
