"""Bone density on CT without a phantom: trabecular regions, reference tissues, calibrations and a gate before them."""

from myotome.biomarkers.bone_density.calibration import (
    Calibration,
    CalibrationRefused,
    Density,
    to_hydroxyapatite,
    to_k2hpo4,
)
from myotome.biomarkers.bone_density.measure import SPINE, choose_levels, measure_bone_density, measure_survey
from myotome.biomarkers.bone_density.methods import calibrate
from myotome.biomarkers.bone_density.qct_phantom import FoundRods, calibrate_with_phantom, find_rods
from myotome.biomarkers.bone_density.references import References, ReferenceTissue, collect_references
from myotome.biomarkers.bone_density.regions import Region, find_trabecular_regions
from myotome.biomarkers.bone_density.settings import (
    METHODS,
    BoneDensitySettings,
    Coefficients,
    MethodCoefficients,
    read_bone_density_settings,
)
from myotome.biomarkers.bone_density.survey import SCHEMA, BoneSurvey, LevelSurvey, compute_mean_ratio, survey_bone
from myotome.biomarkers.bone_density.two_tissue import compute_ratio, fit_two_tissue

__all__ = [
    "METHODS",
    "SCHEMA",
    "SPINE",
    "BoneDensitySettings",
    "BoneSurvey",
    "Calibration",
    "CalibrationRefused",
    "Coefficients",
    "Density",
    "FoundRods",
    "LevelSurvey",
    "MethodCoefficients",
    "ReferenceTissue",
    "References",
    "Region",
    "calibrate",
    "calibrate_with_phantom",
    "choose_levels",
    "collect_references",
    "compute_mean_ratio",
    "compute_ratio",
    "find_rods",
    "find_trabecular_regions",
    "fit_two_tissue",
    "measure_bone_density",
    "measure_survey",
    "read_bone_density_settings",
    "survey_bone",
    "to_hydroxyapatite",
    "to_k2hpo4",
]
