"""What true HU the reference tissues have at each effective energy, and how many HU a mg/cm3 of K2HPO4 is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from myotome.attenuation import compute_hu, compute_k2hpo4_slope
from myotome.biomarkers.bone_density.settings import TissueSettings

__all__ = ["ENERGIES_KEV", "compute_rho", "interpolate_slope", "interpolate_tissue", "tabulate_tissues"]

ENERGIES_KEV = np.arange(1.0, 200.25, 0.5)
"""Energies that are searched."""


@dataclass(frozen=True)
class _Key:
    """What a tissue's true HU depend on."""

    material: str
    density_g_cm3: float


@cache
def _tissue_hu(key: _Key) -> np.ndarray:
    return compute_hu({key.material: key.density_g_cm3}, ENERGIES_KEV)


@cache
def _slopes() -> np.ndarray:
    return compute_k2hpo4_slope(ENERGIES_KEV)


def tabulate_tissues(names: Iterable[str], tissues: Mapping[str, TissueSettings]) -> np.ndarray:
    """(tissues, energies) true HU at each of `ENERGIES_KEV`."""
    return np.stack([_tissue_hu(_Key(tissues[name].material, tissues[name].density_g_cm3)) for name in names])


def interpolate_tissue(tissue: TissueSettings, energy_kev: float) -> float:
    """True HU of a tissue at one energy, between those of the table."""
    return float(np.interp(energy_kev, ENERGIES_KEV, _tissue_hu(_Key(tissue.material, tissue.density_g_cm3))))


def interpolate_slope(energy_kev: float) -> float:
    """HU that 1 mg/cm3 of K2HPO4 adds to water at one energy."""
    return float(np.interp(energy_kev, ENERGIES_KEV, _slopes()))


def compute_rho(tissue: TissueSettings, energy_kev: float) -> float:
    """The K2HPO4-equivalent density (mg/cm3) of a tissue by its composition: its true HU per HU of a mg/cm3."""
    return interpolate_tissue(tissue, energy_kev) / interpolate_slope(energy_kev)
