"""Physical measurements of labelled structures."""

from myotome.biomarkers.muscle import measure_muscles
from myotome.biomarkers.sides import MidsagittalPlane, find_midsagittal_plane

__all__ = ["MidsagittalPlane", "find_midsagittal_plane", "measure_muscles"]
