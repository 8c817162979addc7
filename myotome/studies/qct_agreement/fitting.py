"""What the training part gives: coefficients of every method, and Youden's cut-off. Nothing else is looked at here.

Of each method the raw estimate is regressed on QCT by Deming, once for everybody and once for each tube voltage with
enough people; the two-tissue method has its densities of fat and muscle fitted first, where the voltage is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from myotome.biomarkers.bone_density import (
    BoneDensitySettings,
    BoneSurvey,
    Coefficients,
    MethodCoefficients,
    fit_two_tissue,
)
from myotome.errors import InputError
from myotome.statistics.classification import find_youden
from myotome.statistics.deming import fit_deming
from myotome.studies.qct_agreement.readings import HU, Rating, find_spoiling, mean_ratio, rate, read_survey
from myotome.studies.qct_agreement.settings import Fitting, StudySettings

__all__ = ["Fit", "apply_fit", "fit_methods", "place_coefficients", "write_coefficients"]

_TWO_TISSUE = "two_tissue"
_EVERYBODY = "all"
_FEWEST = 10


@dataclass(frozen=True, eq=False)
class Fit:
    """What was fitted: coefficients by method (`HU` among them), and a table of them with intervals.

    The table has a row per method and tube voltage (``all`` for everybody): ``method``, ``voltage``, ``people``,
    ``rho_fat``, ``rho_muscle``, ``intercept`` and ``slope`` (with ``_lower`` and ``_upper``), ``se_scale``,
    ``residual_sd``, ``youden``.
    """

    coefficients: Mapping[str, Coefficients]
    table: pd.DataFrame

    @property
    def youden_mg_cm3(self) -> dict[str, float | None]:
        """By method."""
        return {method: one.youden_mg_cm3 for method, one in self.coefficients.items()}


@dataclass(frozen=True)
class _Person:
    """One scan of the training part: its survey, its QCT and that calibration's standard error, its tube voltage.

    ``same_scan`` is true where QCT was measured in the same image and region, whose noise both share.
    """

    survey: BoneSurvey
    qct: float
    qct_se: float
    same_scan: bool
    voltage: int | None


def fit_methods(
    rows: Sequence[Mapping[str, Any]], study: StudySettings, settings: BoneDensitySettings, source: str
) -> Fit:
    """Fit every method of the study, and HU without a calibration, on the rows of the training part that have QCT.

    Parameters
    ----------
    settings : whose coefficients are not looked at
    source : said with the coefficients

    Raises
    ------
    InputError
        When fewer than 10 people have QCT and a number of a method.
    """
    people = [_take(row) for row in rows if row["reference"]["mg_cm3"] is not None]
    coefficients, table = {}, []
    for method in (*study.methods, HU):
        fitter = _Fitter(method, study.fitting, settings.uncorrected(), study.leave_out)
        other, first = fitter.fit(people, MethodCoefficients(), _EVERYBODY)
        by_voltage = fitter.fit_voltages(people)
        fitted = Coefficients(source, None, other, {voltage: one for voltage, (one, _) in by_voltage.items()})
        youden = fitter.find_cutoff(people, fitted)
        coefficients[method] = replace(fitted, youden_mg_cm3=youden)
        lines = [first, *(row for _, row in by_voltage.values())]
        table += [{"method": method, **row, "youden": youden} for row in lines]
    return Fit(coefficients, pd.DataFrame(table))


def apply_fit(fit: Fit, settings: BoneDensitySettings) -> BoneDensitySettings:
    """The settings with the fitted coefficients of each of their methods."""
    for method, coefficients in fit.coefficients.items():
        if method != HU:
            settings = settings.with_coefficients(method, coefficients)
    return settings


def write_coefficients(fit: Fit) -> str:
    """The part ``coefficients`` of ``configs/bone_density.yaml``, as YAML text."""
    table = {}
    for method, one in fit.coefficients.items():
        if method != HU:
            by_voltage = {voltage: _round(each) for voltage, each in sorted(one.by_tube_voltage.items())}
            youden = None if one.youden_mg_cm3 is None else round(one.youden_mg_cm3, 2)
            table[method] = {
                "source": one.source,
                "youden_mg_cm3": youden,
                "other": _round(one.other),
                "by_tube_voltage": by_voltage,
            }
    return _write_yaml({"coefficients": table})


def place_coefficients(configuration: str, coefficients: str) -> str:
    """The text of a file like ``configs/bone_density.yaml`` with other coefficients of the methods that were fitted.

    Everything else stays as it is, comments too.

    Parameters
    ----------
    coefficients : as `write_coefficients` gives them

    Raises
    ------
    InputError
        When the configuration has no part ``coefficients`` of its own.
    """
    yaml = YAML(typ="safe")
    fitted, lines = yaml.load(coefficients)["coefficients"], configuration.splitlines(keepends=True)
    start = next((number for number, line in enumerate(lines) if line.startswith("coefficients:")), None)
    if start is None:
        raise InputError("the configuration has no part 'coefficients': give a file like configs/bone_density.yaml.")
    after = (number for number in range(start + 1, len(lines)) if not lines[number].startswith((" ", "\t")))
    end = next(after, len(lines))
    before = yaml.load("".join(lines[start:end]))["coefficients"]
    return "".join([*lines[:start], _write_yaml({"coefficients": {**before, **fitted}}), *lines[end:]])


def _write_yaml(table: Mapping[str, Any]) -> str:
    stream, yaml = StringIO(), YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(table, stream)
    return stream.getvalue()


def _round(one: MethodCoefficients) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in asdict(one).items()}


def _take(row: Mapping[str, Any]) -> _Person:
    survey, reference = read_survey(row["survey"]), row["reference"]
    voltage = survey.tube_voltage_kv
    error = reference["calibration_se"]
    voltage = None if voltage is None else round(voltage)
    return _Person(survey, reference["mg_cm3"], error or 0.0, error is not None, voltage)


@dataclass(frozen=True)
class _Fitter:
    """Fits one method; values with a flag that begins as ``leave_out`` says count as none."""

    method: str
    fitting: Fitting
    start: BoneDensitySettings
    leave_out: tuple[str, ...]

    def rate(self, people: Sequence[_Person], coefficients: Coefficients) -> list[tuple[_Person, Rating]]:
        """Everybody with a value."""
        settings = self.start
        if self.method != HU:
            settings = settings.with_coefficients(self.method, coefficients)
        rated = [(one, rate(one.survey, self.method, settings)) for one in people]
        known = [(one, found) for one, found in rated if found.value is not None]
        return [(one, found) for one, found in known if not find_spoiling(found, self.leave_out)]

    def fit_voltages(self, people: Sequence[_Person]) -> dict[int, tuple[MethodCoefficients, dict[str, Any]]]:
        """Each voltage with enough people; HU knows no voltage."""
        found = {}
        for voltage in sorted({one.voltage for one in people if one.voltage is not None}):
            known = self.rate([one for one in people if one.voltage == voltage], Coefficients())
            if self.method == HU or len(known) < self.fitting.fewest_at_voltage:
                continue
            base = MethodCoefficients()
            if self.method == _TWO_TISSUE:
                ratios = [mean_ratio(one.survey, rating) for one, rating in known]
                fat, muscle = fit_two_tissue(ratios, [one.qct for one, _ in known])
                base = MethodCoefficients(rho_fat_mg_cm3=fat, rho_muscle_mg_cm3=muscle)
            found[voltage] = self.fit([one for one, _ in known], base, str(voltage))
        return found

    def fit(
        self, people: Sequence[_Person], base: MethodCoefficients, voltage: str
    ) -> tuple[MethodCoefficients, dict[str, Any]]:
        """Deming's line of the raw estimate on QCT, with the coefficients' row of the table."""
        known = self.rate(people, Coefficients(other=base))
        if len(known) < _FEWEST:
            raise InputError(
                f"{len(known)} people of the training part have QCT and a number of {self.method} ({voltage} kV): "
                f"fitting needs {_FEWEST} or more."
            )
        qct, raw = np.array([one.qct for one, _ in known]), np.array([rating.value for _, rating in known])
        # HU have another unit than QCT: their errors are taken to be as large, each beside its own spread.
        unit = float(raw.var() / qct.var()) if self.method == HU and qct.var() > 0 else 1.0
        line = fit_deming(qct, raw, error_ratio=self.fitting.error_ratio * unit)
        intercept, slope = line.intercept.value, line.slope.value
        errors = (raw - intercept) / slope - qct
        fitted = replace(base, intercept_mg_cm3=intercept, slope=slope, **_fit_spread(errors, known, slope))
        row = {"voltage": voltage, "people": len(known)}
        row |= {"rho_fat": base.rho_fat_mg_cm3, "rho_muscle": base.rho_muscle_mg_cm3}
        for name, estimate in (("intercept", line.intercept), ("slope", line.slope)):
            row |= {name: estimate.value, f"{name}_lower": estimate.lower, f"{name}_upper": estimate.upper}
        return fitted, {**row, "se_scale": fitted.se_scale, "residual_sd": fitted.residual_sd_mg_cm3}

    def find_cutoff(self, people: Sequence[_Person], fitted: Coefficients) -> float | None:
        """Youden's cut-off of the corrected estimate; ``None`` where everybody is on one side of the fixed one."""
        known = self.rate(people, fitted)
        qct, bmd = np.array([one.qct for one, _ in known]), np.array([rating.value for _, rating in known])
        if self.method == HU:
            bmd = (bmd - fitted.other.intercept_mg_cm3) / fitted.other.slope
        target = (qct < self.start.cutoffs.osteoporosis_mg_cm3).astype(int)
        return -find_youden(target, -bmd) if 0 < target.sum() < len(target) else None


def _fit_spread(errors: np.ndarray, known: Sequence[tuple[_Person, Rating]], slope: float) -> dict[str, float]:
    """``se_scale``: how much larger the errors are than the calibration's own standard errors say.

    The variance of the errors against QCT is less what QCT's calibration adds, and, where QCT was measured in another
    scan, less the region's noise. Without a standard error to scale it is the residual SD.
    """
    own = np.array([(rating.calibration_se or 0.0) / slope for _, rating in known])
    ends = np.array([rating.se / slope for _, rating in known])
    elsewhere = np.array([not one.same_scan for one, _ in known])
    region = np.where(elsewhere, ends**2 - own**2, 0.0)
    explained = np.mean([one.qct_se**2 for one, _ in known]) + np.mean(region)
    variance = max(0.0, float(np.sum(errors**2) / (len(errors) - 2) - explained))
    mean = float(np.mean(own**2))
    if mean > 0:
        return {"se_scale": float(np.sqrt(variance / mean))}
    return {"residual_sd_mg_cm3": float(np.sqrt(variance))}
