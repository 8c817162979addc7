"""What one scan says: surveyed once, with its reference; and rated by a method under whatever coefficients.

A row of a scan is plain numbers, so that it can be kept as JSON and rated again without the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from myotome.biomarkers.bone_density import (
    SPINE,
    BoneDensitySettings,
    BoneSurvey,
    CalibrationRefused,
    LevelSurvey,
    MethodCoefficients,
    References,
    ReferenceTissue,
    calibrate,
    calibrate_with_phantom,
    compute_mean_ratio,
    measure_survey,
)
from myotome.geometry import Volume

__all__ = [
    "COLUMNS",
    "HU",
    "SEGMENTER_REFUSED",
    "Rating",
    "Reference",
    "describe_survey",
    "find_spoiling",
    "mean_ratio",
    "rate",
    "read_reference",
    "read_survey",
    "tabulate_readings",
]

HU = "hu"
"""Name of the method without a calibration: mean HU, turned into a density by the training part's line."""

SEGMENTER_REFUSED = "segmenter_refused"
"""Flag of a scan that the networks refused to label: there is nothing to measure."""

COLUMNS = (
    *("job_id", "part", "case", "patient", "factor", "step", "fault", "sex", "age_years", "tube_voltage_kv", "kernel"),
    *("scanner", "slice_thickness_mm", "noise_hu", "method", "bmd", "lower", "upper", "levels", "flags"),
    *("truth", "qct", "qct_reason", "counted", "outcome", "reason", "refusal", "positive"),
)
_LEVELS_USED = "levels_used:"
_Z = 1.96
# A line through rods that scatter more than that around it is no reference.
_MOST_SE_MG_CM3 = 3.0


@dataclass(frozen=True)
class Reference:
    """Density by the phantom-based method, its calibration's standard error, the levels; or why there is none."""

    mg_cm3: float | None
    calibration_se: float | None = None
    levels: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Rating:
    """What a method says of a scan, in mg/cm3 (HU for the method `HU`); ``flags`` say why there is no value.

    ``calibration_se`` is the part of the interval that is not the region's noise.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    levels: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    calibration_se: float | None = None

    @property
    def se(self) -> float:
        """Standard error by the interval; 0 without one."""
        return 0.0 if self.lower is None or self.upper is None else (self.upper - self.lower) / (2 * _Z)


# -- a survey as numbers -----------------------------------------------------------------------------------------------


def describe_survey(survey: BoneSurvey) -> dict[str, Any]:
    """A survey as JSON can hold it."""
    return asdict(survey)


def read_survey(table: Mapping[str, Any]) -> BoneSurvey:
    """The survey that `describe_survey` described, also after JSON."""
    levels = {}
    for level, row in table["levels"].items():
        lists = {name: tuple(row[name]) for name in ("slices", "centre_mm", "flags")}
        levels[level] = LevelSurvey(**{**row, **lists, "references": _read_references(row["references"])})
    return BoneSurvey(levels, _read_references(table["references"]), tuple(table["flags"]))


def _read_references(table: Mapping[str, Any]) -> References:
    tissues = {name: ReferenceTissue(**row) for name, row in table["tissues"].items()}
    return References(**{**table, "tissues": tissues})


# -- one scan ----------------------------------------------------------------------------------------------------------


def read_reference(
    volume: Volume, survey: BoneSurvey, levels: Sequence[str], settings: BoneDensitySettings
) -> Reference:
    """Density by the rods under the back: the mean of the first two levels that are whole and not fractured.

    None, with the reason, where there are not two levels, no rods, or the standard error of their line is above
    3 mg/cm3.

    Parameters
    ----------
    volume : in which the rods are looked for
    survey : by labels that are the reader's, not the method's
    levels : in the order in which a reader takes them
    """
    usable = [level for level in levels if level in survey.levels and survey.levels[level].usable]
    chosen = [survey.levels[level] for level in usable[: settings.mean.levels_in_mean]]
    if len(chosen) < settings.mean.levels_in_mean:
        return Reference(None, reason="fewer than two levels can be measured")
    slices = sorted({z for one in chosen for z in range(*one.slices)})
    calibration = calibrate_with_phantom(volume, settings, slices)
    if isinstance(calibration, CalibrationRefused):
        return Reference(None, reason=calibration.sentence)
    densities = [calibration.measure(one.hu, one.hu_se) for one in chosen]
    mean, error = (float(np.mean([getattr(d, name) for d in densities])) for name in ("mg_cm3", "calibration_se"))
    if error > _MOST_SE_MG_CM3:
        return Reference(None, reason=f"the rods do not lie on a line (standard error {error:.1f} mg/cm3)")
    return Reference(mean, error, tuple(one.level for one in chosen))


def rate(survey: BoneSurvey, method: str, settings: BoneDensitySettings) -> Rating:
    """What a method says of a surveyed scan, as the product would (`measure_survey`).

    Parameters
    ----------
    method : of calibration, or `HU`: the mean HU of the levels that the settings' own method takes
    """
    own = settings if method == HU else replace(settings, method=method)
    rows, flags = measure_survey(survey, own)
    wanted = "density" if method == HU else "bmd"
    row = next(one for one in rows if (one.structure, one.measure) == (SPINE, wanted))
    used = next((flag.removeprefix(_LEVELS_USED) for flag in flags if flag.startswith(_LEVELS_USED)), "")
    levels = tuple(level.strip() for level in used.split(",") if level.strip())
    words = tuple(dict.fromkeys((*row.flags, *flags)))
    error = None if method == HU or row.value is None else _calibration_se(survey, levels, own)
    return Rating(row.value, row.lower, row.upper, levels, words, error)


def _calibration_se(survey: BoneSurvey, levels: Sequence[str], settings: BoneDensitySettings) -> float:
    errors = []
    for level in levels:
        one = survey.levels[level]
        calibration = calibrate(one.references, settings.method, settings)
        errors.append(calibration.measure(one.hu, one.hu_se).calibration_se)
    return float(np.mean(errors))


def find_spoiling(rating: Rating, leave_out: Sequence[str]) -> str:
    """The first flag for which a value is not compared, or nothing."""
    return next((flag for flag in rating.flags if any(flag.startswith(start) for start in leave_out)), "")


def mean_ratio(survey: BoneSurvey, rating: Rating) -> float:
    """Where bone lies between fat and muscle, mean over the levels of a rating."""
    return compute_mean_ratio(survey, rating.levels)


# -- every scan --------------------------------------------------------------------------------------------------------


def tabulate_readings(
    rows: Sequence[Mapping[str, Any]],
    settings: BoneDensitySettings,
    plain: MethodCoefficients | None,
    leave_out: Sequence[str],
    methods: Sequence[str],
) -> pd.DataFrame:
    """One row per scan and method, with the columns `COLUMNS`.

    Parameters
    ----------
    rows : of scans, as `myotome.studies.qct_agreement.jobs.Worker` keeps them
    settings : with the coefficients that are to be tried
    plain : line of the method `HU`; that method is left out when ``None``
    leave_out : beginnings of flags with which a value is not compared
    """
    table = []
    for row in rows:
        survey = read_survey(row["survey"])
        for method in (*methods, *(() if plain is None else (HU,))):
            rating = rate(survey, method, settings)
            if method == HU:
                rating = _turn_into_density(rating, plain)
            table.append({**_facts(row), "method": method, **_judge(row, rating, settings, leave_out)})
    return pd.DataFrame(table, columns=list(COLUMNS))


def _turn_into_density(rating: Rating, plain: MethodCoefficients) -> Rating:
    if rating.value is None:
        return rating
    bmd = (rating.value - plain.intercept_mg_cm3) / plain.slope
    half = _Z * float(np.hypot(rating.se / plain.slope, plain.residual_sd_mg_cm3))
    return replace(rating, value=bmd, lower=bmd - half, upper=bmd + half)


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    job = {name: row["job"].get(name) for name in ("part", "case", "patient", "factor", "step", "fault")}
    reference = row["reference"]
    known = {"truth": row["truth_mg_cm3"], "qct": reference["mg_cm3"], "qct_reason": reference["reason"]}
    return {"job_id": row["job_id"], **job, **row["facts"], **known, "refusal": row.get("refusal", "")}


def _judge(
    row: Mapping[str, Any], rating: Rating, settings: BoneDensitySettings, leave_out: Sequence[str]
) -> dict[str, Any]:
    """The value, and whether it is compared."""
    known = [value for value in (row["reference"]["mg_cm3"], row["truth_mg_cm3"]) if value is not None]
    spoiling = find_spoiling(rating, leave_out)
    outcome, reason = "compared", ""
    if not known:
        outcome, reason = "no reference", row["reference"]["reason"]
    elif rating.value is None:
        outcome = "refused"
        reason = SEGMENTER_REFUSED if SEGMENTER_REFUSED in rating.flags else rating.flags[0]
    elif spoiling:
        outcome, reason = "left out", spoiling
    values = {"bmd": rating.value, "lower": rating.lower, "upper": rating.upper}
    return {
        **{name: np.nan if value is None else value for name, value in values.items()},
        "levels": ", ".join(rating.levels),
        "flags": "; ".join(rating.flags),
        "counted": outcome == "compared",
        "outcome": outcome,
        "reason": reason,
        "positive": bool(known) and known[0] < settings.cutoffs.osteoporosis_mg_cm3,
    }
