"""How a chest is scanned for its bone: dose, voltage, kernel, a scanner's own scale and beam, and what spoils it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.errors import InputError
from myotome.phantoms.abdomen.tissues import PHASES, VOLTAGES_KV
from myotome.phantoms.bone.calibration_rods import QCT_PHANTOMS
from myotome.phantoms.bone.person import make_bone_person
from myotome.phantoms.ct_scan import CtScan

__all__ = ["EFFECTIVE_KEV", "SCANNERS", "BoneScan", "Scanner", "make_bone_scan"]

#: Energy (keV) at which a single line attenuates as the whole spectrum does in a body of BMI 25, by tube voltage.
EFFECTIVE_KEV = {80.0: 54.0, 100.0: 61.5, 120.0: 68.0, 140.0: 73.5}


@dataclass(frozen=True)
class Scanner:
    """What one machine does to every image: a harder or softer beam (keV), and HU off by a slope and an offset."""

    energy_shift_kev: float
    hu_slope: float
    hu_offset: float


#: The machines of the sampled acquisitions.
SCANNERS = {
    "A": Scanner(0.0, 1.0, 0.0),
    "B": Scanner(1.2, 0.992, 3.0),
    "C": Scanner(-1.0, 1.008, -4.0),
    "D": Scanner(0.6, 1.015, 5.0),
    "E": Scanner(-1.6, 0.985, -6.0),
    "F": Scanner(1.8, 1.004, 8.0),
}


@dataclass(frozen=True)
class BoneScan(CtScan):
    """One acquisition; the default is a plain low-dose chest CT at 120 kV of T8 to L2 on a scanner without faults.

    Attributes
    ----------
    top, bottom : ends of the field in vertebrae: 8 is the middle of T8, 12 of T12, 13 of L1, 15 of L3.
    shift_mm : moves all slices up, as another breath or another scan does.
    energy_shift_kev, hu_slope, hu_offset : of the scanner: its beam, and HU shown = slope x HU + offset.
    cupping_hu : how much darker the middle of the body is than its edge, and shading_hu : spread of a random, smooth
        error; both of beam hardening.
    metal : screws through the pedicles of T11 to L1 and rods behind them, with their streaks.
    qct_phantom : ``k2hpo4`` or ``ha``: rods of known density under the back; None without.
    acquisition_seed : of the noise and the random shading; the person does not depend on it.
    """

    tube_voltage_kv: float = 120.0
    in_plane_mm: float = 1.6
    matrix: int = 256
    blur_mm: float = 0.7
    noise_hu: float = 18.0
    top: float = 7.4
    bottom: float = 14.6
    shift_mm: float = 0.0
    scanner: str = "A"
    energy_shift_kev: float = 0.0
    hu_slope: float = 1.0
    hu_offset: float = 0.0
    cupping_hu: float = 0.0
    shading_hu: float = 0.0
    qct_phantom: str | None = None
    acquisition_seed: int = 0

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
        if not 7.0 <= self.top < self.bottom <= 17.5:
            raise InputError(
                f"a field from vertebra {self.top:g} to {self.bottom:g} does not run down within 7 (T7) to 17.5 (L5)."
            )
        if self.qct_phantom is not None and self.qct_phantom not in QCT_PHANTOMS:
            raise InputError(f"calibration phantom '{self.qct_phantom}' is not one of {', '.join(QCT_PHANTOMS)}.")
        if self.hu_slope <= 0:
            raise InputError(f"a scale of {self.hu_slope:g} turns HU over: give a slope above 0, near 1.")


def make_bone_scan(seed: int, in_plane_mm: float | None = None) -> BoneScan:
    """Sample one low-dose acquisition without contrast agent, of the person with that seed.

    Parameters
    ----------
    seed : of the draw, and of the person, whose width sets the field.
    in_plane_mm : pixel; 1.5 to 1.9 mm by default, which bone density needs no finer.
    """
    rng = np.random.default_rng((seed, 409))
    name = str(rng.choice(list(SCANNERS)))
    machine = SCANNERS[name]
    pixel = float(rng.uniform(1.5, 1.9)) if in_plane_mm is None else in_plane_mm
    wide = max(350.0, 1.04 * (312 + 9.5 * (make_bone_person(seed).body.bmi_kg_m2 - 20)))
    sharp = bool(rng.random() < 0.25)
    noise = float(np.exp(rng.uniform(np.log(9), np.log(26))))
    return BoneScan(
        slice_thickness_mm=float(rng.choice([3.0, 4.0, 5.0], p=[0.06, 0.06, 0.88])),
        in_plane_mm=pixel,
        matrix=int(np.ceil(min(wide, 500.0) / pixel)),
        blur_mm=float(rng.uniform(0.6, 0.95)),
        sharpening=float(rng.uniform(0.3, 0.9)) if sharp else 0.0,
        noise_hu=noise * (1.35 if sharp else 1.0),
        streaks=float(rng.uniform(0, 0.4)) if rng.random() < 0.3 else 0.0,
        rotation_deg=float(rng.normal(0, 2.5)),
        offset_mm=(float(rng.normal(0, 6)), float(rng.normal(0, 8))),
        table=bool(rng.random() < 0.95),
        tube_voltage_kv=float(rng.choice([80.0, 100.0, 120.0, 140.0], p=[0.03, 0.17, 0.73, 0.07])),
        top=float(rng.uniform(7.1, 7.5)),
        bottom=float(np.clip(rng.normal(14.75, 0.6), 12.6, 16.0)),
        shift_mm=float(rng.uniform(-2.5, 2.5)),
        scanner=name,
        energy_shift_kev=machine.energy_shift_kev + float(rng.normal(0, 0.3)),
        hu_slope=machine.hu_slope * float(1 + rng.normal(0, 0.002)),
        hu_offset=machine.hu_offset + float(rng.normal(0, 1.5)),
        cupping_hu=float(abs(rng.normal(0, 2.5))),
        shading_hu=float(rng.uniform(0, 1.5)),
        acquisition_seed=seed,
    )
