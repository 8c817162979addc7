"""Calibration by any two or more tissues: the effective energy at which their HU lie on one line.

At each energy the tissues' true HU follow from composition, density and the NIST mass attenuation coefficients. The
energy at which the measured HU lie best on a line against them (largest R2; Michalski et al., Med Eng Phys 2020;78:55)
is the scan's effective energy, the line is the scanner's scale, and a density of K2HPO4 is what the HU of bone, put
back on the true scale, are at that energy. Each tissue counts by its error; the tube voltage, and how large the trunk
is, may say beforehand which energies are likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.biomarkers.bone_density.calibration import Calibration, CalibrationRefused
from myotome.biomarkers.bone_density.energy import ENERGIES_KEV, interpolate_slope, tabulate_tissues
from myotome.biomarkers.bone_density.gate import Refusal, check_references
from myotome.biomarkers.bone_density.references import References
from myotome.biomarkers.bone_density.settings import BoneDensitySettings

__all__ = ["EnergyFit", "calibrate_multi_tissue", "search_energy"]


@dataclass(frozen=True, eq=False)
class EnergyFit:
    """The line ``HU measured = offset + slope x HU true`` at the energy that suits the tissues best.

    ``covariance`` is of (offset, slope, energy); ``None`` when the tissues leave the energy open. ``r2`` is weighted.
    ``deviations`` say by how many of its SDs each tissue lies off the line.
    """

    energy_kev: float
    offset_hu: float
    slope: float
    covariance: np.ndarray | None
    r2: float
    deviations: np.ndarray


def search_energy(
    hu: np.ndarray, sd_hu: np.ndarray, true_hu: np.ndarray, prior_kev: tuple[float, float] | None = None
) -> EnergyFit:
    """Find the effective energy among 1, 1.5 ... 200 keV by the weighted R2 of a line through the tissues.

    Between two energies of the grid the best place is read off the parabola through three of them.

    Parameters
    ----------
    hu : (tissues,) measured
    sd_hu : (tissues,) how far each may be off, above 0
    true_hu : (tissues, energies) at each of `ENERGIES_KEV`
    prior_kev : mean and SD of what the tube voltage says; its squared distance is added to the residual
    """
    weights = 1 / np.asarray(sd_hu, dtype=float) ** 2
    residual = _fit_lines(np.asarray(hu, dtype=float), weights, true_hu)[2]
    cost = residual if prior_kev is None else residual + ((ENERGIES_KEV - prior_kev[0]) / prior_kev[1]) ** 2
    best = int(np.argmin(cost))
    energy = _refine(cost, best)
    true = np.array([np.interp(energy, ENERGIES_KEV, row) for row in true_hu])
    slope, offset, left = (float(one[0]) for one in _fit_lines(np.asarray(hu, dtype=float), weights, true[:, None]))
    mean = weights @ hu / weights.sum()
    r2 = 1 - left / float(weights @ (hu - mean) ** 2)
    off = (hu - offset - slope * true) / sd_hu
    change = np.gradient(true_hu, ENERGIES_KEV, axis=1)[:, best]
    jacobian = np.stack([np.ones_like(true), true, slope * change], axis=1)
    information = jacobian.T @ (weights[:, None] * jacobian)
    if prior_kev is not None:
        information[2, 2] += 1 / prior_kev[1] ** 2
    return EnergyFit(energy, offset, slope, _invert(information), float(r2), off)


def _fit_lines(hu: np.ndarray, weights: np.ndarray, true_hu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope, offset and weighted sum of squared residuals of measured on true HU, at every energy."""
    share = weights / weights.sum()
    x = true_hu - share @ true_hu
    y = hu - share @ hu
    spread = weights @ x**2
    slope = (weights * y) @ x / np.where(spread > 0, spread, 1)
    offset = share @ hu - slope * (share @ true_hu)
    residual = weights @ (y[:, None] - slope * x) ** 2
    return slope, offset, residual


def _refine(cost: np.ndarray, best: int) -> float:
    if not 0 < best < cost.size - 1:
        return float(ENERGIES_KEV[best])
    left, middle, right = cost[best - 1 : best + 2]
    curve = left - 2 * middle + right
    shift = 0.5 * (left - right) / curve if curve > 0 else 0.0
    return float(ENERGIES_KEV[best] + shift * (ENERGIES_KEV[1] - ENERGIES_KEV[0]))


def _invert(information: np.ndarray) -> np.ndarray | None:
    """The inverse of an information matrix, scaled so that HU and keV are alike; ``None`` when it is singular."""
    scale = np.sqrt(np.diag(information))
    if not (scale > 0).all():
        return None
    scaled = information / np.outer(scale, scale)
    if np.linalg.cond(scaled) > 1e12:
        return None
    return np.linalg.inv(scaled) / np.outer(scale, scale)


def calibrate_multi_tissue(references: References, settings: BoneDensitySettings) -> Calibration | CalibrationRefused:
    """Calibrate by the tissues that ``settings.multi_tissue.references`` names; every one of them has to pass.

    Returns
    -------
    Calibration or CalibrationRefused
        The latter when the gate refuses, the tissues do not lie on a line, or the line or its energy is no scanner's.
    """
    names = settings.multi_tissue.references
    refusals = list(check_references(references, names, settings))
    if not refusals:
        tissues = [references.tissues[name] for name in names]
        between = [settings.references.tissues[name].between_people_hu for name in names]
        sd = np.array([np.hypot(one.se_hu, other) for one, other in zip(tissues, between, strict=True)])
        use_voltage = settings.multi_tissue.search == "with_tube_voltage"
        likely = settings.energy.at(references.tube_voltage_kv, references.water_diameter_cm)
        prior = likely if use_voltage else None
        table = tabulate_tissues(names, settings.references.tissues)
        fit = search_energy(np.array([one.hu for one in tissues]), sd, table, prior)
        refusals += _check_fit(fit, names, settings)
    if refusals:
        reasons = tuple(dict.fromkeys(one.flag for one in refusals))
        return CalibrationRefused("multi_tissue", reasons, tuple(one.sentence for one in refusals))
    return Calibration(
        "multi_tissue",
        _convert,
        np.array([fit.offset_hu, fit.slope, fit.energy_kev]),
        fit.covariance,
        settings.coefficients["multi_tissue"].at(references.tube_voltage_kv),
        fit.energy_kev,
        {name: references.tissues[name] for name in names},
        fit.r2,
    )


def _convert(parameters: np.ndarray, hu: float) -> float:
    offset, slope, energy = (float(one) for one in parameters)
    return (hu - offset) / slope / interpolate_slope(energy)


def _check_fit(fit: EnergyFit, names: tuple[str, ...], settings: BoneDensitySettings) -> list[Refusal]:
    limits, found = settings.references, []
    low, high = settings.energy.plausible_kev
    sd = np.inf if fit.covariance is None else float(np.sqrt(fit.covariance[2, 2]))
    if sd > settings.energy.most_sd_kev or not low <= fit.energy_kev <= high:
        sentence = f"The tissues fit an effective energy of {fit.energy_kev:.0f} keV with an error of {sd:.0f} keV"
        found.append(Refusal("energy_not_found", f"{sentence}, which is no scanner's or too unsure."))
    least, most = limits.scale_slope
    if not least <= fit.slope <= most or abs(fit.offset_hu) > limits.most_offset_hu:
        sentence = f"The tissues' HU are {fit.offset_hu:.0f} + {fit.slope:.2f} times the true ones"
        found.append(Refusal("slope_impossible", f"{sentence}, which is no scanner's scale."))
    worst = int(np.argmax(np.abs(fit.deviations)))
    if abs(fit.deviations[worst]) > limits.most_disagreement_sd:
        sentence = (
            f"{names[worst].replace('_', ' ').capitalize()} lies {abs(fit.deviations[worst]):.1f} SD off the line"
        )
        found.append(Refusal("references_disagree", f"{sentence} through the references."))
    return found
