"""Calibration by the person's own fat and muscle: a line through two tissues of known equivalent density.

``BMD = rho_f + (HU_v - HU_f) (rho_m - rho_f) / (HU_m - HU_f)``. The densities rho (mg/cm3, K2HPO4) are fitted on
training scans that quantitative CT has measured, too (`fit_two_tissue`); until then they follow from the tissues'
compositions and the NIST tables at the effective energy of the tube voltage.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from myotome.biomarkers.bone_density.calibration import Calibration, CalibrationRefused
from myotome.biomarkers.bone_density.energy import compute_rho
from myotome.biomarkers.bone_density.gate import check_references
from myotome.biomarkers.bone_density.references import References
from myotome.biomarkers.bone_density.settings import BoneDensitySettings, TissueSettings
from myotome.errors import InputError

__all__ = ["TISSUES", "calibrate_two_tissue", "compute_ratio", "fit_two_tissue"]

TISSUES = ("fat", "muscle")


def calibrate_two_tissue(references: References, settings: BoneDensitySettings) -> Calibration | CalibrationRefused:
    """Calibrate by fat and muscle.

    The errors of both HU are those of their modes and of how the tissue differs from person to person. Where rho is not
    fitted, the energy has an error, too.

    Returns
    -------
    Calibration or CalibrationRefused
        The latter when the gate refuses.
    """
    refusals = list(check_references(references, TISSUES, settings))
    correction = settings.coefficients["two_tissue"].at(references.tube_voltage_kv)
    if refusals:
        reasons = tuple(dict.fromkeys(one.flag for one in refusals))
        return CalibrationRefused("two_tissue", reasons, tuple(one.sentence for one in refusals))
    energy, energy_sd = settings.energy.at(references.tube_voltage_kv, references.water_diameter_cm)
    fitted = correction.rho_fat_mg_cm3 is not None
    tissues = [references.tissues[name] for name in TISSUES]
    between = [settings.references.tissues[name].between_people_hu for name in TISSUES]
    variances = [one.se_hu**2 + sd**2 for one, sd in zip(tissues, between, strict=True)]
    parameters = [one.hu for one in tissues]
    if fitted:
        convert = partial(_convert_fitted, rho=(correction.rho_fat_mg_cm3, correction.rho_muscle_mg_cm3))
    else:
        convert = partial(_convert_by_energy, tissues=tuple(settings.references.tissues[name] for name in TISSUES))
        parameters.append(energy)
        variances.append(energy_sd**2)
    used = {name: references.tissues[name] for name in TISSUES}
    return Calibration(
        "two_tissue", convert, np.array(parameters), np.diag(variances), correction, None if fitted else energy, used
    )


def _line(hu: float, hu_fat: float, hu_muscle: float, rho: tuple[float, float]) -> float:
    return rho[0] + (hu - hu_fat) * (rho[1] - rho[0]) / (hu_muscle - hu_fat)


def _convert_fitted(parameters: np.ndarray, hu: float, *, rho: tuple[float, float]) -> float:
    return _line(hu, parameters[0], parameters[1], rho)


def _convert_by_energy(parameters: np.ndarray, hu: float, *, tissues: tuple[TissueSettings, ...]) -> float:
    rho = tuple(compute_rho(tissue, float(parameters[2])) for tissue in tissues)
    return _line(hu, parameters[0], parameters[1], rho)


def compute_ratio(hu_vertebra: float, references: References) -> float:
    """How far bone lies from fat, of the way to muscle: ``(HU_v - HU_f) / (HU_m - HU_f)``.

    Raises
    ------
    InputError
        When a reference is missing or both have the same HU.
    """
    fat, muscle = (references.tissues.get(name) for name in TISSUES)
    if fat is None or muscle is None or fat.hu == muscle.hu:
        raise InputError("there is no ratio without two different HU of fat and muscle: check both labels.")
    return (hu_vertebra - fat.hu) / (muscle.hu - fat.hu)


def fit_two_tissue(ratios: ArrayLike, bmd_mg_cm3: ArrayLike) -> tuple[float, float]:
    """Densities of fat and muscle with which ratios of HU give the densities of quantitative CT.

    The ratio carries nearly all the error, so it is regressed on the density, and the line is turned round:
    ``r = (BMD - rho_f) / (rho_m - rho_f)``. Regressing BMD on r would draw every estimate to the mean.

    Parameters
    ----------
    ratios : (cases,) of `compute_ratio`, one per case or body
    bmd_mg_cm3 : (cases,) by quantitative CT, in mg/cm3 of K2HPO4

    Returns
    -------
    rho_fat, rho_muscle : in mg/cm3

    Raises
    ------
    InputError
        With fewer than three cases, or when the ratio does not rise with density.
    """
    ratio, density = np.asarray(ratios, dtype=float), np.asarray(bmd_mg_cm3, dtype=float)
    if ratio.shape != density.shape or ratio.ndim != 1 or ratio.size < 3:
        raise InputError("rho of fat and muscle is fitted on three cases or more, each with a ratio and a density.")
    centred = density - density.mean()
    slope = float(centred @ ratio / (centred @ centred)) if centred.any() else 0.0
    if not slope > 0:
        raise InputError("the ratios do not rise with density, so rho cannot be fitted: check which case is which.")
    intercept = float(ratio.mean() - slope * density.mean())
    return -intercept / slope, (1 - intercept) / slope
