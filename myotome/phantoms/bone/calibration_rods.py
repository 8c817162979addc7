"""The calibration phantom that QCT lays under the back: rods of known mineral density in water-equivalent plastic."""

from __future__ import annotations

from typing import Any

import numpy as np

from myotome.attenuation import compute_hu, get_density, mix_k2hpo4
from myotome.phantoms.ct_scan import CtScan

__all__ = ["QCT_PHANTOMS", "describe_rods", "draw_rods"]

#: Densities of the rods in mg/cm3, by kind of phantom: aqueous K2HPO4, or hydroxyapatite in solid water.
QCT_PHANTOMS = {"k2hpo4": (0.0, 50.0, 100.0, 200.0), "ha": (0.0, 75.0, 150.0)}
#: Height of the slab that holds the rods (mm).
SLAB_MM = 28.0
_HALF_WIDTH_MM = 92.0
_SPACING_MM = 42.0
_RADIUS_MM = 9.0
_GAP_MM = 2.0


def describe_rods(kind: str, back_mm: float, energy_kev: float) -> list[dict[str, float]]:
    """Place in the scanner's plane, density and true HU of each rod.

    Parameters
    ----------
    kind : one of `QCT_PHANTOMS`.
    back_mm : y of the lowest point of the back, where QCT is read; the slab lies 2 mm below it.
    energy_kev : effective energy of the beam.
    """
    densities = QCT_PHANTOMS[kind]
    y = back_mm - _GAP_MM - SLAB_MM / 2
    places = (np.arange(len(densities)) - (len(densities) - 1) / 2) * _SPACING_MM
    return [
        {
            "density_mg_cm3": density,
            "x_mm": float(x),
            "y_mm": float(y),
            "radius_mm": _RADIUS_MM,
            "hu": float(compute_hu(_mix(kind, density), energy_kev)),
        }
        for x, density in zip(places, densities, strict=True)
    ]


def _mix(kind: str, density_mg_cm3: float) -> dict[str, float]:
    if kind == "k2hpo4":
        return mix_k2hpo4(density_mg_cm3)
    mineral = density_mg_cm3 / 1000
    return {
        "solid_water": get_density("solid_water") * (1 - mineral / get_density("hydroxyapatite")),
        "hydroxyapatite": mineral,
    }


def draw_rods(plane: np.ndarray, scan: CtScan, rods: list[dict[str, Any]], energy_kev: float) -> None:
    """Draw slab and rods into a plane (X, Y) of Hounsfield units, in place."""
    axis = ((np.arange(scan.matrix) - (scan.matrix - 1) / 2) * scan.in_plane_mm).astype(np.float32)
    x, y = axis[:, None], axis[None, :]
    depth = np.minimum(_HALF_WIDTH_MM - np.abs(x), SLAB_MM / 2 - np.abs(y - np.float32(rods[0]["y_mm"])))
    _cover(plane, depth, float(compute_hu("solid_water", energy_kev)), scan.in_plane_mm)
    for rod in rods:
        distance = np.hypot(x - np.float32(rod["x_mm"]), y - np.float32(rod["y_mm"]))
        _cover(plane, np.float32(rod["radius_mm"]) - distance, rod["hu"], scan.in_plane_mm)


def _cover(plane: np.ndarray, depth_mm: np.ndarray, hu: float, pixel_mm: float) -> None:
    plane += np.clip(depth_mm / pixel_mm + 0.5, 0, 1) * (np.float32(hu) - plane)
