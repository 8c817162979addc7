"""Hounsfield units of tissues at the effective energy of one scan, from their composition."""

from __future__ import annotations

from dataclasses import dataclass, replace

from myotome.attenuation import compute_hu, compute_k2hpo4_slope, get_density
from myotome.phantoms.abdomen.tissues import compute_tissue_hu
from myotome.phantoms.bone.acquisition import EFFECTIVE_KEV, BoneScan
from myotome.phantoms.bone.person import BonePerson

__all__ = ["REFERENCE_KEV", "BoneHu", "compute_bone_hu", "compute_effective_kev", "compute_tissues"]

#: Energy at which true densities are defined: that of QCT at 120 kV.
REFERENCE_KEV = EFFECTIVE_KEV[120.0]


@dataclass(frozen=True)
class BoneHu:
    """HU of trabecular bone = marrow + by_density x density (mg/cm3 of K2HPO4); and HU of compact bone."""

    marrow: float
    by_density: float
    compact: float

    def trabecular(self, bmd_mg_cm3):
        """HU of trabecular bone of a density in mg/cm3, a number or an array."""
        return self.marrow + self.by_density * bmd_mg_cm3

    def lifted(self, hu: float) -> BoneHu:
        """The same bone with contrast agent in its marrow, that adds so many HU."""
        return replace(self, marrow=self.marrow + hu)


def compute_effective_kev(person: BonePerson, scan: BoneScan) -> float:
    """Effective energy: of the tube's voltage, the scanner's filter, and the body, which hardens the beam."""
    body = 0.09 * (min(max(person.body.bmi_kg_m2, 16.0), 42.0) - 25)
    return EFFECTIVE_KEV[scan.tube_voltage_kv] + scan.energy_shift_kev + body


def compute_bone_hu(person: BonePerson, energy_kev: float) -> BoneHu:
    """HU of this person's bone at an energy.

    Trabecular bone is bone tissue (ICRU-44) in red and yellow marrow, as much of it as gives, at `REFERENCE_KEV`, the
    HU of the K2HPO4 solution of its density; at other energies it departs from the solution as bone does.
    """
    tissue, marrow = compute_hu("cortical_bone", energy_kev), _compute_marrow(person, energy_kev)
    there, marrow_there = compute_hu("cortical_bone", REFERENCE_KEV), _compute_marrow(person, REFERENCE_KEV)
    by_share = (tissue - marrow) / (there - marrow_there)
    soft = compute_hu("soft_tissue", energy_kev)
    return BoneHu(
        marrow=float(marrow - by_share * marrow_there),
        by_density=float(by_share * compute_k2hpo4_slope(REFERENCE_KEV)),
        compact=float(tissue + person.porosity * (soft - tissue)),
    )


def _compute_marrow(person: BonePerson, energy_kev: float) -> float:
    shares = {"red_marrow": 1 - person.marrow_fat, "yellow_marrow": person.marrow_fat}
    return float(compute_hu({name: share * get_density(name) for name, share in shares.items()}, energy_kev))


def compute_tissues(person: BonePerson, scan: BoneScan) -> dict[str, float]:
    """HU of every tissue by name, as the abdomen's phantoms name them.

    Fat, muscle, blood, bone and contrast agent follow from their composition at the scan's effective energy; other soft
    tissues, which no energy changes much, are those of 120 kV.
    """
    energy = compute_effective_kev(person, scan)
    hu = dict(compute_tissue_hu(person.body, "none", 120.0))
    bone = compute_bone_hu(person, energy)
    fat = float(compute_hu({"adipose": person.fat_g_cm3}, energy))
    blood = float(compute_hu({"blood": person.blood_g_cm3}, energy))
    hu["visceral_fat"] += fat - hu["fat"]
    hu["muscle_fat"] += fat - hu["fat"]
    hu |= {"fat": fat, "muscle": float(compute_hu({"muscle": person.muscle_g_cm3}, energy))}
    hu |= {"aorta": blood, "cava": blood - 1, "vessel": blood - 2, "cortex": bone.compact}
    hu |= {"marrow": bone.trabecular(1.05 * person.bmd_mg_cm3), "calcification": 0.4 * bone.compact}
    if scan.contrast != "none":
        plain = compute_tissue_hu(person.body, "none", 120.0)
        enhanced = compute_tissue_hu(person.body, scan.contrast, 120.0)
        stronger = _iodine_hu(energy) / _iodine_hu(REFERENCE_KEV)
        for name, value in plain.items():
            hu[name] += (enhanced[name] - value) * stronger
    return hu


def _iodine_hu(energy_kev: float) -> float:
    """HU that 1 mg/cm3 of iodine adds to water."""
    return float(compute_hu({"water": 1.0, "iodine": 0.001}, energy_kev))
