"""Physical measurements of labelled structures."""

from myotome.biomarkers.body_composition import measure_body_composition
from myotome.biomarkers.fat_fraction import FatFraction, estimate_fat_fraction
from myotome.biomarkers.lumbar_disc import measure_discs
from myotome.biomarkers.muscle import measure_muscles
from myotome.biomarkers.rotator_cuff import measure_supraspinatus
from myotome.biomarkers.sides import MidsagittalPlane, find_midsagittal_plane

__all__ = [
    "FatFraction",
    "MidsagittalPlane",
    "estimate_fat_fraction",
    "find_midsagittal_plane",
    "measure_body_composition",
    "measure_discs",
    "measure_muscles",
    "measure_supraspinatus",
]
