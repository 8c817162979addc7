"""What every calibration gives: a density for HU, with its standard error; or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from myotome.biomarkers.bone_density.references import ReferenceTissue
from myotome.biomarkers.bone_density.settings import MethodCoefficients

__all__ = ["Calibration", "CalibrationRefused", "Density", "to_hydroxyapatite", "to_k2hpo4"]

Convert = Callable[[np.ndarray, float], float]

_HA_SLOPE, _HA_INTERCEPT = 1.15, -7.32
_STEP_OF_SD = 0.1


def to_hydroxyapatite(k2hpo4_mg_cm3: float) -> float:
    """Hydroxyapatite-equivalent density: 1.15 times the K2HPO4-equivalent one, minus 7.32 mg/cm3."""
    return _HA_SLOPE * k2hpo4_mg_cm3 + _HA_INTERCEPT


def to_k2hpo4(hydroxyapatite_mg_cm3: float) -> float:
    """The same the other way round: K2HPO4-equivalent density of a hydroxyapatite-equivalent one, in mg/cm3."""
    return (hydroxyapatite_mg_cm3 - _HA_INTERCEPT) / _HA_SLOPE


@dataclass(frozen=True)
class Density:
    """A density in mg/cm3 and its two errors: of the calibration, which all bodies share, and of the body's own HU."""

    mg_cm3: float
    calibration_se: float
    region_se: float

    @property
    def se(self) -> float:
        """Both errors together."""
        return float(np.hypot(self.calibration_se, self.region_se))


@dataclass(frozen=True)
class CalibrationRefused:
    """No calibration: the flags of what stood against it, and the same in a sentence each."""

    method: str
    reasons: tuple[str, ...]
    sentences: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """All reasons in one line."""
        return " ".join(self.sentences)


@dataclass(frozen=True, eq=False)
class Calibration:
    """How HU become densities (mg/cm3, K2HPO4), by one method in one place of one scan.

    Parameters
    ----------
    method : ``two_tissue``, ``multi_tissue`` or ``phantom``
    convert : (parameters, hu) to the raw density, before any correction of bias
    parameters : what the method estimated, such as the HU of fat and muscle
    covariance : of the parameters
    correction : what training gave; the corrected density is (raw - intercept) / slope
    energy_kev : effective energy that was found or taken; ``None`` where the method has none
    references : the tissues that were used
    r2 : of the line through the references, where there is one
    """

    method: str
    convert: Convert = field(repr=False)
    parameters: np.ndarray
    covariance: np.ndarray
    correction: MethodCoefficients = field(default_factory=MethodCoefficients)
    energy_kev: float | None = None
    references: Mapping[str, ReferenceTissue] = field(default_factory=dict)
    r2: float | None = None

    def raw(self, hu: float) -> float:
        """Density before the correction of bias, in mg/cm3."""
        return float(self.convert(self.parameters, hu))

    def measure(self, hu: float, hu_se: float = 0.0) -> Density:
        """Corrected density of HU that have a standard error of their own.

        The calibration's error is propagated to first order: g C g with the gradient g of the density to the
        parameters and their covariance C; what training says of its scale and of a residual SD is applied to it.
        """
        sd = np.sqrt(np.diag(self.covariance))
        gradient = np.zeros_like(self.parameters, dtype=float)
        for index in np.flatnonzero(sd > 0):
            step = np.zeros_like(gradient)
            step[index] = _STEP_OF_SD * sd[index]
            rise = self.convert(self.parameters + step, hu) - self.convert(self.parameters - step, hu)
            gradient[index] = rise / (2 * step[index])
        gain = self.convert(self.parameters, hu + 0.5) - self.convert(self.parameters, hu - 0.5)
        slope = self.correction.slope
        variance = float(gradient @ self.covariance @ gradient) * (self.correction.se_scale / slope) ** 2
        variance += self.correction.residual_sd_mg_cm3**2
        density = (self.raw(hu) - self.correction.intercept_mg_cm3) / slope
        return Density(density, float(np.sqrt(variance)), float(abs(gain) * hu_se / slope))

    def to_bmd(self, hu: float, hu_se: float = 0.0) -> tuple[float, float]:
        """Corrected density of HU and its standard error, both in mg/cm3 of K2HPO4."""
        density = self.measure(hu, hu_se)
        return density.mg_cm3, density.se
