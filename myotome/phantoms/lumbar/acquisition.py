"""How a lumbar spine is scanned: sagittal or axial, T1 or T2, scanners of all kinds, and the coil's field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.errors import InputError
from myotome.phantoms.lumbar.person import LEVELS
from myotome.phantoms.lumbar.plane import Plane
from myotome.phantoms.mr_scan import HERTZ_PER_TESLA, VENDORS, MrScan

__all__ = ["AXIAL_LEVELS", "PLANES", "LumbarScan", "make_lumbar_scan", "make_sensitivity"]

PLANES = ("sagittal", "axial")
AXIAL_LEVELS = LEVELS[2:]  # the three discs of which axial slices are taken
_COIL_MM = 30.0  # behind the back's skin at L3, on average


@dataclass(frozen=True)
class LumbarScan(MrScan):
    """One acquisition; the default is a plain sagittal T2-weighted one.

    Sagittal: ``slices`` from one side to the other, ``turn_deg`` off the sagittal plane. Axial: ``slices`` through one
    disc, ``level``, parallel to it but for ``turn_deg``, ``shift_mm`` above its middle. ``isotropic_mm``, when given,
    is the voxel to which a sagittal scan is interpolated, as some data sets are. ``saturation`` is the strength of a
    band that darkens what lies before the spine. ``offset_mm`` moves the field along its two axes.
    """

    plane: str = "sagittal"
    weighting: str = "T2"
    te_ms: float = 100.0
    spacing_mm: float = 0.9
    matrix: int = 288
    slices: int = 13
    thickness_mm: float = 4.0
    gap_mm: float = 0.4
    bias: float = 0.6
    noise: float = 0.015
    saturation: float = 0.0
    level: str = "L4-L5"
    isotropic_mm: float | None = None
    turn_deg: float = 0.0
    shift_mm: float = 0.0

    def __post_init__(self) -> None:
        if self.plane not in PLANES:
            raise InputError(f"plane '{self.plane}' is neither sagittal nor axial.")
        if self.weighting not in ("T1", "T2"):
            raise InputError(f"weighting '{self.weighting}' is neither T1 nor T2.")
        if self.level not in LEVELS:
            raise InputError(f"level '{self.level}' is not one of {', '.join(LEVELS)}.")
        if self.plane == "axial" and self.isotropic_mm is not None:
            raise InputError("an axial stack is not interpolated: leave out isotropic_mm.")

    @property
    def step_mm(self) -> float:
        """Between the middles of neighbouring slices."""
        return self.thickness_mm + self.gap_mm


def make_lumbar_scan(seed: int, plane: str = "sagittal", level: str = "L4-L5", slices: int | None = None) -> LumbarScan:
    """Sample one acquisition from the whole range. Scans of one seed share scanner, sequence and coil at all levels.

    Parameters
    ----------
    seed : of the person.
    plane : ``sagittal`` or ``axial``.
    level : the disc of an axial stack.
    slices : of an axial stack, 3 by default; a sagittal scan has 11 to 17.
    """
    rng = np.random.default_rng((seed, 431))
    weighting = str(rng.choice(["T2", "T1"], p=[0.72, 0.28]))
    ranges = {"T2": (2600, 5000, 80, 125), "T1": (420, 760, 8, 20)}[weighting]
    field = float(rng.choice([1.5, 3.0], p=[0.6, 0.4]))
    axial = plane == "axial"
    isotropic = not axial and rng.random() < 0.25
    matrix = int(rng.choice([256, 288, 320], p=[0.5, 0.25, 0.25]))
    width = rng.uniform(170, 225) if axial else rng.uniform(218, 232) if isotropic else rng.uniform(225, 300)
    moving = rng.random() < 0.3
    count = int(rng.integers(11, 18)) if not isotropic else 16
    bandwidth = rng.uniform(200, 450) * (1.3 if field > 2 else 1.0)
    scan = {
        "vendor": str(rng.choice(VENDORS)),
        "field_t": field,
        "tr_ms": float(rng.uniform(*ranges[:2])),
        "te_ms": float(rng.uniform(*ranges[2:])),
        "spacing_mm": float(width / matrix),
        "matrix": matrix,
        "thickness_mm": float(rng.choice([4.0, 4.5, 5.0]) if not isotropic else 4.0),
        "gap_mm": float(rng.choice([0.4, 0.5, 0.8]) if not isotropic else 0.1),
        "resolution": (float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.65, 0.95))),
        "filtering": float(rng.uniform(0.1, 0.8)),
        "noise": float(np.exp(rng.uniform(np.log(0.004), np.log(0.035)))),
        "bias": float(rng.uniform(0.2, 0.6) if rng.random() < 0.4 else rng.uniform(0.6, 1.25)),
        "motion": float(rng.uniform(0.01, 0.06)) if moving else 0.0,
        "chemical_shift_px": float(rng.choice([-1, 1]) * HERTZ_PER_TESLA * field / bandwidth),
        "frequency_axis": int(rng.integers(2)),
        "saturation": float(rng.uniform(0.4, 0.9)) if rng.random() < 0.6 else 0.0,
        "scale": float(np.exp(rng.uniform(np.log(250), np.log(1500)))),
        "offset_mm": (float(rng.normal(0, 7)), float(rng.normal(0, 7))),
        "isotropic_mm": 1.0 if isotropic else None,
    }
    if axial:
        own = np.random.default_rng((seed, 433, LEVELS.index(level)))
        scan |= {"thickness_mm": 4.0, "gap_mm": 0.4, "slices": 3 if slices is None else slices, "level": level}
        return LumbarScan(
            plane=plane,
            weighting=weighting,
            turn_deg=float(own.normal(0, 2.5)),
            shift_mm=float(own.normal(0, 0.7)),
            **scan,
        )
    return LumbarScan(plane=plane, weighting=weighting, slices=count, turn_deg=float(rng.normal(0, 2.5)), **scan)


def make_sensitivity(scan: LumbarScan, plane: Plane, back_mm: float, seed: int) -> np.ndarray:
    """The coil's field on one plane (X, Y): two rows of loops behind the back, evened out by the scanner.

    Parameters
    ----------
    back_mm : y of the back's skin at L3.
    seed : of the person, in whose scans the loops lie alike.
    """
    rng = np.random.default_rng((seed, 439))
    field = np.zeros(plane.canvas.shape, dtype=np.float32)
    origin, axes = np.zeros(3), np.eye(3)
    x, y, z = (plane.along(origin, axis) for axis in axes)
    y = y - np.float32(back_mm - _COIL_MM - rng.normal(0, 5))
    for height in (-60, 20, 100, 180):
        for side in (-55, 55):
            place = np.array([side, height]) + rng.normal(0, 8, 2)
            square = (x - np.float32(place[0])) ** 2 + y**2 + (z - np.float32(place[1])) ** 2
            field += np.float32(rng.uniform(0.75, 1.25)) / (1 + square / np.float32(65**2)) ** 1.5
    usual = np.float32(0.75)
    return (field / usual) ** np.float32(scan.bias)
