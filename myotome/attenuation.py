"""How strongly matter attenuates X-rays: mass attenuation coefficients, and the Hounsfield units that follow from them.

Tissues and compounds are mixtures of elements, whose coefficients are tabulated in ``configs/attenuation.yaml`` with
their source. Between the tabulated energies log(coefficient) is a cubic spline of log(energy), broken at absorption
edges. The K2HPO4-equivalent density of anything is that of the aqueous solution (`mix_k2hpo4`) with its Hounsfield
units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from ruamel.yaml import YAML
from scipy.interpolate import CubicSpline

from myotome.errors import InputError
from myotome.resources import config_path

__all__ = [
    "MATERIALS",
    "compute_hu",
    "compute_k2hpo4_slope",
    "compute_linear_attenuation",
    "get_density",
    "get_mass_attenuation",
    "mix_k2hpo4",
]

#: Lowest and highest energy of the tables (keV).
_RANGE_KEV = (1.0, 200.0)
# Standard atomic weights (IUPAC 2021, abridged) of the elements that formulas name.
_ATOMIC_WEIGHTS = {
    "H": 1.008,
    "C": 12.011,
    "O": 15.999,
    "P": 30.974,
    "Ti": 47.867,
    "K": 39.098,
    "Ca": 40.078,
    "I": 126.90,
}


@dataclass(frozen=True, eq=False)
class _Element:
    """Splines of log(coefficient) over log(energy), one between two absorption edges, and the edges in keV."""

    edges_kev: np.ndarray
    pieces: tuple[CubicSpline, ...]

    def at(self, energy_kev: np.ndarray) -> np.ndarray:
        log_energy = np.log(energy_kev)
        number = np.searchsorted(self.edges_kev, energy_kev, side="right")
        values = np.empty_like(log_energy)
        for index in np.unique(number):
            chosen = number == index
            values[chosen] = self.pieces[index](log_energy[chosen])
        return np.exp(values)


@dataclass(frozen=True)
class _Material:
    """Density in g/cm3, the mass fraction of each element, and the water that a dissolved gram displaces."""

    density_g_cm3: float
    fractions: Mapping[str, float]
    in_water_cm3_g: float


@cache
def _read_tables() -> tuple[dict[str, _Element], dict[str, _Material]]:
    table = YAML(typ="safe").load(config_path("attenuation.yaml"))
    elements = {name: _fit(np.array(rows, dtype=float)) for name, rows in table["elements"].items()}
    materials = {
        name: _Material(
            density := float(row["density_g_cm3"]), _weigh(row), float(row.get("in_water_cm3_g", 1 / density))
        )
        for name, row in table["materials"].items()
    }
    return elements, materials


def _fit(rows: np.ndarray) -> _Element:
    energy, values = np.log(rows).T
    cuts = np.flatnonzero(np.diff(rows[:, 0]) <= 0) + 1
    bounds = [0, *cuts, len(rows)]
    pieces = [CubicSpline(energy[a:b], values[a:b]) for a, b in pairwise(bounds)]
    return _Element(rows[cuts, 0], tuple(pieces))


def _weigh(row: Mapping) -> dict[str, float]:
    """Mass fractions that add up to 1."""
    masses = row.get("parts") or {name: count * _ATOMIC_WEIGHTS[name] for name, count in row["atoms"].items()}
    total = sum(masses.values())
    return {name: mass / total for name, mass in masses.items()}


#: Names of all materials of ``configs/attenuation.yaml``.
MATERIALS: tuple[str, ...] = tuple(_read_tables()[1])


def get_mass_attenuation(material: str, energy_kev: ArrayLike) -> np.ndarray:
    """Mass attenuation coefficient with coherent scattering, by the mixture rule over the elements.

    Parameters
    ----------
    material : one of `MATERIALS`.
    energy_kev : photon energies of 1 to 200 keV, of any shape; at an absorption edge the value above it is meant.

    Returns
    -------
    ndarray : in cm2/g, of the shape of ``energy_kev``; empty for an empty input.

    Raises
    ------
    InputError
        When the material is unknown or an energy is outside 1 to 200 keV.
    """
    energy = np.asarray(energy_kev, dtype=float)
    if energy.size and not (energy.min() >= _RANGE_KEV[0] and energy.max() <= _RANGE_KEV[1]):
        raise InputError(
            f"attenuation is tabulated from {_RANGE_KEV[0]:g} to {_RANGE_KEV[1]:g} keV, not at {energy.min():g} to "
            f"{energy.max():g} keV: give energies in that range."
        )
    elements = _read_tables()[0]
    total = np.zeros_like(energy)
    for name, fraction in _find(material).fractions.items():
        total = total + fraction * elements[name].at(energy)
    return total


def get_density(material: str) -> float:
    """Density of a material in g/cm3.

    Raises
    ------
    InputError
        When the material is unknown.
    """
    return _find(material).density_g_cm3


def compute_linear_attenuation(mixture: str | Mapping[str, float], energy_kev: ArrayLike) -> np.ndarray:
    """Linear attenuation coefficient in 1/cm: the sum of mass attenuation times partial density.

    Parameters
    ----------
    mixture : a material at its own density, or the partial density of each material in g/cm3.
    energy_kev : photon energies of 1 to 200 keV, of any shape.
    """
    densities = {mixture: get_density(mixture)} if isinstance(mixture, str) else mixture
    total = np.zeros_like(np.asarray(energy_kev, dtype=float))
    for material, density_g_cm3 in densities.items():
        total = total + density_g_cm3 * get_mass_attenuation(material, energy_kev)
    return total


def compute_hu(mixture: str | Mapping[str, float], energy_kev: ArrayLike) -> np.ndarray:
    """Hounsfield units at single energies: 1000 (mu - mu_water) / (mu_water - mu_air).

    Parameters
    ----------
    mixture : a material at its own density, or the partial density of each material in g/cm3: 100 mg/cm3 of K2HPO4
        added to water is ``{"water": 1.0, "k2hpo4": 0.1}``.
    energy_kev : photon energies of 1 to 200 keV, of any shape.
    """
    water, air = (compute_linear_attenuation(name, energy_kev) for name in ("water", "air"))
    return 1000 * (compute_linear_attenuation(mixture, energy_kev) - water) / (water - air)


def mix_k2hpo4(density_mg_cm3: float) -> dict[str, float]:
    """Partial densities (g/cm3) of an aqueous solution with so many mg of K2HPO4 in a cm3.

    The salt displaces water: a solution holds less than 1 g of water in a cm3 (``in_water_cm3_g`` of the table).
    """
    salt = density_mg_cm3 / 1000
    return {"water": 1 - _find("k2hpo4").in_water_cm3_g * salt, "k2hpo4": salt}


def compute_k2hpo4_slope(energy_kev: ArrayLike) -> np.ndarray:
    """How many Hounsfield units 1 mg/cm3 of dissolved K2HPO4 adds to those of water (0) at single energies."""
    return compute_hu(mix_k2hpo4(1000.0), energy_kev) / 1000


def _find(material: str) -> _Material:
    materials = _read_tables()[1]
    if material not in materials:
        raise InputError(f"no attenuation of '{material}': configs/attenuation.yaml has {', '.join(materials)}.")
    return materials[material]
