"""Axial CT of chest or abdomen: density of trabecular bone, without a phantom in the scanner."""

from __future__ import annotations

from myotome.biomarkers.bone_density import SCHEMA, measure_bone_density
from myotome.biomarkers.orientation import compute_tilt_degrees
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.measurement import Measurement
from myotome.pipeline.hounsfield import require_hounsfield
from myotome.pipeline.kind import CaseKind, Findings, Subject
from myotome.report.bone_density import write_bone_overview, write_bone_thumbnail
from myotome.report.bone_density_page import write_bone_report
from myotome.structures import LabelMap

__all__ = ["BONE_DENSITY", "require_bone_ct"]

_MOST_TILT_DEGREES = 30.0
_FEWEST_SLICES = 3


def require_bone_ct(volume: Volume) -> None:
    """Refuse an image that is no CT in Hounsfield units, is not axial, or cannot hold a whole vertebral body."""
    if volume.modality != "CT":
        raise InputError(f"bone density is measured on CT, and this image is {volume.modality}: give the CT series.")
    require_hounsfield(volume)
    tilt = compute_tilt_degrees(volume.grid, "IS")
    if tilt > _MOST_TILT_DEGREES:
        raise InputError(
            f"the slices are {tilt:.0f} degrees from axial (a localiser, or a coronal or sagittal series?): "
            "give the axial series, or resample it to axial slices."
        )
    count = volume.grid.shape[volume.grid.axis("IS")]
    if count < _FEWEST_SLICES:
        raise InputError(f"the image has {count} axial slices, too few for a whole vertebra: give the whole series.")


def _measure(
    volume: Volume, label_map: LabelMap, subject: Subject, findings: Findings
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    return measure_bone_density(volume, label_map)


BONE_DENSITY = CaseKind(
    schema=SCHEMA,
    modality="CT",
    require_image=require_bone_ct,
    measure=_measure,
    write_overview=write_bone_overview,
    write_report=write_bone_report,
    write_thumbnail=write_bone_thumbnail,
)
