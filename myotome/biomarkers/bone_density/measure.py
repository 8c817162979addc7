"""Bone density of each vertebral body and of the spine: values with intervals, or the reason why there is none.

Of each ``vertebral_body_...`` that is labelled: ``bmd`` (mg/cm3, K2HPO4) and ``bmd_ha`` (mg/cm3, hydroxyapatite) of its
trabecular region, ``density`` (mean HU), ``height_loss`` (%) and ``region_volume`` (mL). Of the ``vertebral_column``,
which is the mean of one or two bodies: ``bmd``, ``bmd_ha``, ``density``, ``bmd_class`` (0 above 120 mg/cm3, 1 from 80
to 120, 2 below 80), ``below_youden`` (1 or 0, by the cut-off of the training), ``effective_energy`` (keV) and, by the
other method, ``bmd_multi_tissue`` or ``bmd_two_tissue``. Of each reference tissue: ``reference_density`` (HU, mode).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from myotome.biomarkers.bone_density.calibration import Calibration, CalibrationRefused, Density, to_hydroxyapatite
from myotome.biomarkers.bone_density.gate import blood_is_enhanced
from myotome.biomarkers.bone_density.methods import calibrate
from myotome.biomarkers.bone_density.regions import PREFIX
from myotome.biomarkers.bone_density.settings import METHODS, BoneDensitySettings, read_bone_density_settings
from myotome.biomarkers.bone_density.survey import BoneSurvey, LevelSurvey, survey_bone
from myotome.geometry import Volume
from myotome.measurement import Measurement
from myotome.structures import LabelMap

__all__ = ["SPINE", "choose_levels", "measure_bone_density", "measure_survey"]

SPINE = "vertebral_column"
"""Structure of the rows that stand for several bodies."""

_HU, _MG = "[hnsf'U]", "mg/cm3"
_Z = 1.96
# What concerns every density; other flags of the case concern the picture, or are said once.
_ROW_FLAGS = (
    "contrast_suspected",
    "gap_between_slices",
    "levels_unsure",
    "lossy_compression",
    "missing_slices",
    "not_axial",
    "sharp_kernel",
    "thick_slices",
    "tube_voltage_unknown",
)


@dataclass(frozen=True)
class _Answer:
    """The densities of one method, by level: each a density, or the refusal of its calibration."""

    method: str
    by_level: dict[str, tuple[Calibration, Density] | CalibrationRefused]

    def density(self, level: str) -> Density | None:
        found = self.by_level.get(level)
        return found[1] if isinstance(found, tuple) else None


def measure_bone_density(
    volume: Volume, label_map: LabelMap, settings: BoneDensitySettings | None = None
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """Measure the density of trabecular bone in an axial CT of chest or abdomen, with no phantom in the scanner.

    Parameters
    ----------
    volume : CT in HU, of any axis order
    label_map : on its grid, in the numbering of ``bone_density_ct``
    settings : those of ``configs/bone_density.yaml`` when ``None``

    Returns
    -------
    measurements : as listed at the head of this module
    flags : of the case: those of `survey_bone` and `measure_survey`

    Raises
    ------
    InputError
        When the grids differ, the image is not a CT, or the labels are of another schema.
    """
    settings = settings or read_bone_density_settings()
    return measure_survey(survey_bone(volume, label_map, settings), settings)


def measure_survey(
    survey: BoneSurvey, settings: BoneDensitySettings | None = None
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """Turn what `survey_bone` found into densities.

    Intervals hold the errors of the references, of the region and what training left. The mean's interval holds the
    calibration's error whole, since its levels share the person's tissues, and the regions' as independent ones.

    Returns
    -------
    measurements : as listed at the head of this module
    flags : of the case, among them ``no_vertebra_found``, ``no_whole_vertebra``, ``calibration_refused``,
        ``contrast_suspected``, ``metal_near``, ``bias_not_corrected``, ``one_level_only``, ``thoracic_levels``,
        ``methods_differ``, ``levels_used:L1, L2`` and ``levels_fractured:T12``
    """
    settings = settings or read_bone_density_settings()
    answers = {method: _answer(survey, method, settings) for method in METHODS}
    answer = answers[settings.method]
    levels = choose_levels(survey, settings, answer)
    flags = (*survey.flags, *_case_flags(survey, answer, levels, settings))
    flags = tuple(dict.fromkeys(flags))
    rows = [row for one in survey.levels.values() for row in _body_rows(one, answer, flags)]
    rows += _spine_rows(survey, answers, levels, settings, flags)
    own = next((row.value for row in rows if (row.structure, row.measure) == (SPINE, "bmd")), None)
    other = next((row.value for row in rows if row.measure == f"bmd_{_other(settings.method)}"), None)
    if own is not None and other is not None and abs(own - other) > settings.mean.methods_differ_mg_cm3:
        flags = (*flags, "methods_differ")
    rows += _reference_rows(survey, settings)
    return tuple(rows), flags


def choose_levels(
    survey: BoneSurvey, settings: BoneDensitySettings | None = None, answer: _Answer | None = None
) -> tuple[str, ...]:
    """Which levels make up the mean: the first lumbar ones that can be measured, or else thoracic ones.

    Levels with a density come before those whose calibration was refused; the latter are named only where there is none
    with a density, so that it can be said why.
    """
    settings = settings or read_bone_density_settings()
    answer = answer or _answer(survey, settings.method, settings)
    usable = [level for level, one in survey.levels.items() if one.usable]
    measured = [level for level in usable if answer.density(level) is not None]
    for found in (measured, usable):
        for group in (settings.mean.lumbar, settings.mean.thoracic):
            chosen = [level for level in group if level in found][: settings.mean.levels_in_mean]
            if chosen:
                return tuple(chosen)
    return ()


def _answer(survey: BoneSurvey, method: str, settings: BoneDensitySettings) -> _Answer:
    found: dict[str, tuple[Calibration, Density] | CalibrationRefused] = {}
    for level, one in survey.levels.items():
        if one.hu is None or one.hu_se is None:
            continue
        calibration = calibrate(one.references, method, settings)
        refused = isinstance(calibration, CalibrationRefused)
        found[level] = calibration if refused else (calibration, calibration.measure(one.hu, one.hu_se))
    return _Answer(method, found)


def _case_flags(
    survey: BoneSurvey, answer: _Answer, levels: tuple[str, ...], settings: BoneDensitySettings
) -> Iterator[str]:
    if not survey.levels:
        yield "no_vertebra_found"
    elif all(one.height_loss_percent is None for one in survey.levels.values()):
        yield "no_whole_vertebra"
    references = survey.references
    if references.contrast_recorded or blood_is_enhanced(references, settings):
        yield "contrast_suspected"
    if "blood" not in references.tissues and survey.levels and not references.contrast_recorded:
        yield "contrast_not_checked"
    if references.metal:
        yield "metal_near"
    fractured = [level for level, one in survey.levels.items() if "fractured" in one.flags]
    if fractured:
        yield f"levels_fractured:{', '.join(fractured)}"
    if not levels:
        return
    if any(answer.density(level) is None for level in levels):
        yield "calibration_refused"
        return
    yield f"levels_used:{', '.join(levels)}"
    if len(levels) < settings.mean.levels_in_mean:
        yield "one_level_only"
    if levels[0] in settings.mean.thoracic:
        yield "thoracic_levels"
    if not settings.coefficients[answer.method].fitted:
        yield "bias_not_corrected"


def _body_rows(one: LevelSurvey, answer: _Answer, case_flags: tuple[str, ...]) -> Iterator[Measurement]:
    """The rows of one body."""
    shared = tuple(flag for flag in case_flags if flag in _ROW_FLAGS)
    flags = tuple(dict.fromkeys((*one.flags, *shared)))

    def row(measure: str, value: float | None, unit: str, **more) -> Measurement:
        return Measurement(f"{PREFIX}{one.level.lower()}", measure, value, unit, level=one.level, **more)

    found = answer.by_level.get(one.level)
    if one.hu is None or "fractured" in one.flags:
        why, density, method = one.flags or ("absent",), None, "trabecular region"
    elif isinstance(found, CalibrationRefused):
        why, density, method = found.reasons, None, found.sentence
    else:
        why, density, method = (), answer.density(one.level), _describe(answer.method)
    for measure, convert in (("bmd", float), ("bmd_ha", to_hydroxyapatite)):
        bounds = _bounds(density, convert)
        value = None if density is None else convert(density.mg_cm3)
        equivalent = "K2HPO4" if measure == "bmd" else "hydroxyapatite"
        text = f"{method}; {equivalent}" if density is not None else method
        yield row(measure, value, _MG, method=text, flags=tuple(dict.fromkeys((*why, *flags))), **bounds)
    limits = {} if one.hu is None else {"lower": one.hu - _Z * one.hu_se, "upper": one.hu + _Z * one.hu_se}
    yield row("density", one.hu, _HU, statistic="mean", method="trabecular region", flags=flags, **limits)
    yield row(
        "height_loss",
        one.height_loss_percent,
        "%",
        method="least of its tallest height, or its neighbours'",
        flags=one.flags,
    )
    volume = one.volume_ml or None
    yield row("region_volume", volume, "mL", method="trabecular region", flags=one.flags)


def _bounds(density: Density | None, convert) -> dict[str, float]:
    if density is None:
        return {}
    return {
        "lower": convert(density.mg_cm3 - _Z * density.se),
        "upper": convert(density.mg_cm3 + _Z * density.se),
    }


def _describe(method: str) -> str:
    return f"{method.replace('_', '-')} calibration"


def _describe_bias(method: str, settings: BoneDensitySettings) -> str:
    """Whose scans the bias was fitted on, as an end of a sentence."""
    coefficients = settings.coefficients[method]
    return f"; bias corrected by {coefficients.source}" if coefficients.fitted else ""


def _other(method: str) -> str:
    return next(one for one in METHODS if one != method)


def _mean(answer: _Answer, levels: tuple[str, ...]) -> Density | None:
    """Mean of levels: they share the calibration's error, and have their own of the region."""
    found = [answer.density(level) for level in levels]
    if not found or any(one is None for one in found):
        return None
    shared = float(np.mean([one.calibration_se for one in found]))
    own = float(np.sqrt(sum(one.region_se**2 for one in found)) / len(found))
    return Density(float(np.mean([one.mg_cm3 for one in found])), shared, own)


def _why_no_mean(survey: BoneSurvey, answer: _Answer, levels: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Flags and sentences that say why there is no mean."""
    if not survey.levels:
        return ("no_vertebra_found",), "no vertebral body is labelled"
    if not levels:
        flags = tuple(dict.fromkeys(flag for one in survey.levels.values() for flag in one.flags))
        whole = any(one.height_loss_percent is not None for one in survey.levels.values())
        return (() if whole else ("no_whole_vertebra",)) + flags, "no body can be measured"
    refused = [one for level in levels if isinstance(one := answer.by_level[level], CalibrationRefused)]
    flags = tuple(dict.fromkeys(flag for one in refused for flag in one.reasons))
    return flags, " ".join(dict.fromkeys(sentence for one in refused for sentence in one.sentences))


def _spine_rows(
    survey: BoneSurvey,
    answers: dict[str, _Answer],
    levels: tuple[str, ...],
    settings: BoneDensitySettings,
    case_flags: tuple[str, ...],
) -> Iterator[Measurement]:
    """The rows of the mean."""
    shared = tuple(flag for flag in case_flags if flag in _ROW_FLAGS)
    beware = tuple(flag for flag in case_flags if flag in ("one_level_only", "thoracic_levels"))
    mean_of = f"mean of {' and '.join(levels)}" if len(levels) > 1 else "".join(levels)
    means: dict[str, Density | None] = {}
    for method in (settings.method, _other(settings.method)):
        answer = answers[method]
        density = None if "levels_unsure" in case_flags else _mean(answer, levels)
        why, text = (), f"{_describe(method)}; {mean_of}"
        if density is None:
            why, text = _why_no_mean(survey, answer, levels)
            why = why or ("levels_unsure",)
        means[method] = density
        flags = tuple(dict.fromkeys((*why, *beware, *shared)))
        for measure, convert, equivalent in _measures(method, settings):
            value = None if density is None else convert(density.mg_cm3)
            named = f"{text}; {equivalent}{_describe_bias(method, settings)}" if density is not None else text
            more = {"method": named, "flags": flags, **_bounds(density, convert)}
            yield Measurement(SPINE, measure, value, _MG, **more)
        if method == settings.method:
            yield _mean_hu(survey, levels, mean_of, flags)
            yield from _classify(density, levels, settings, flags)
    yield _energy(answers["multi_tissue"], levels, survey, shared)


def _measures(method: str, settings: BoneDensitySettings) -> tuple[tuple, ...]:
    if method == settings.method:
        return ("bmd", float, "K2HPO4"), ("bmd_ha", to_hydroxyapatite, "hydroxyapatite")
    return ((f"bmd_{method}", float, "K2HPO4"),)


def _mean_hu(survey: BoneSurvey, levels: tuple[str, ...], mean_of: str, flags: tuple[str, ...]) -> Measurement:
    found = [survey.levels[level] for level in levels]
    if not found:
        return Measurement(SPINE, "density", None, _HU, statistic="mean", flags=flags or ("absent",))
    hu = float(np.mean([one.hu for one in found]))
    se = float(np.sqrt(sum(one.hu_se**2 for one in found)) / len(found))
    text = f"trabecular region, not calibrated; {mean_of}"
    limits = {"lower": hu - _Z * se, "upper": hu + _Z * se}
    return Measurement(SPINE, "density", hu, _HU, statistic="mean", method=text, flags=flags, **limits)


def _classify(
    density: Density | None, levels: tuple[str, ...], settings: BoneDensitySettings, flags: tuple[str, ...]
) -> Iterator[Measurement]:
    """Where the mean lies by the fixed cut-offs and by the training's, for lumbar levels only."""
    cutoffs, youden = settings.cutoffs, settings.coefficients[settings.method].youden_mg_cm3
    offsets = [cutoffs.thoracic_offsets.get(level) for level in levels if level in settings.mean.thoracic]
    value = None if density is None else density.mg_cm3
    text = f"above {cutoffs.normal_mg_cm3:g}, below {cutoffs.osteoporosis_mg_cm3:g} mg/cm3 K2HPO4; lumbar"
    if value is not None and any(one is None for one in offsets):
        value, flags = None, ("class_withheld_thoracic", *flags)
    elif value is not None and offsets:
        value += float(np.mean([one.mg_cm3 for one in offsets if one is not None]))
        flags = ("class_by_thoracic_offset", *flags)
        text += f", by an offset of thoracic levels ({'; '.join(dict.fromkeys(one.source for one in offsets if one))})"
    number = None if value is None else float((value <= cutoffs.normal_mg_cm3) + (value < cutoffs.osteoporosis_mg_cm3))
    near = value is not None and any(
        abs(value - limit) < _Z * density.se for limit in (cutoffs.normal_mg_cm3, cutoffs.osteoporosis_mg_cm3)
    )
    beware = ("near_cutoff", *flags) if near else flags
    yield Measurement(SPINE, "bmd_class", number, "1", method=text, flags=beware)
    below = None if value is None or youden is None else float(value < youden)
    why = ("no_youden_cutoff", *flags) if value is not None and youden is None else flags
    text = "" if youden is None else f"below {youden:.1f} mg/cm3 K2HPO4, Youden's cut-off of the training"
    yield Measurement(SPINE, "below_youden", below, "1", method=text, flags=why)


def _energy(answer: _Answer, levels: tuple[str, ...], survey: BoneSurvey, shared: tuple[str, ...]) -> Measurement:
    found = [one[0].energy_kev for level in levels if isinstance(one := answer.by_level.get(level), tuple)]
    if not found:
        why, text = _why_no_mean(survey, answer, levels)
        return Measurement(SPINE, "effective_energy", None, "keV", method=text, flags=why or ("absent",))
    text = "multi-tissue search, mean of the levels used"
    return Measurement(SPINE, "effective_energy", float(np.mean(found)), "keV", method=text, flags=shared)


def _reference_rows(survey: BoneSurvey, settings: BoneDensitySettings) -> Iterator[Measurement]:
    """HU of the references in the slices of all bodies."""
    for name, tissue in settings.references.tissues.items():
        found = survey.references.tissues.get(name)
        if found is None:
            yield Measurement(tissue.structure, "reference_density", None, _HU, flags=(f"{name}_missing",))
            continue
        limits = {"lower": found.hu - _Z * found.se_hu, "upper": found.hu + _Z * found.se_hu}
        text = f"robust mode of {found.voxels} voxels, SD {found.sd_hu:.0f} HU"
        yield Measurement(tissue.structure, "reference_density", found.hu, _HU, method=text, **limits)
