"""Axial abdominal CT: muscle and fat in the slice through L3."""

from __future__ import annotations

from myotome.biomarkers.abdominal_image import MOST_TILT_DEGREES
from myotome.biomarkers.body_composition import SCHEMA, measure_body_composition
from myotome.biomarkers.orientation import compute_tilt_degrees
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.measurement import Measurement
from myotome.pipeline.hounsfield import require_hounsfield
from myotome.pipeline.kind import CaseKind, Findings, Subject
from myotome.report.l3_muscle import write_l3_overview, write_l3_thumbnail
from myotome.report.l3_muscle_page import write_l3_report
from myotome.structures import LabelMap

__all__ = ["L3_MUSCLE", "require_axial_ct"]

_SMALLEST_FIELD_MM = 150.0


def require_axial_ct(volume: Volume) -> None:
    """Refuse an image that is no CT in Hounsfield units, whose slices are not axial, or too small for an abdomen."""
    require_hounsfield(volume)
    tilt = compute_tilt_degrees(volume.grid, "IS")
    if tilt > MOST_TILT_DEGREES:
        raise InputError(
            f"the slices are {tilt:.0f} degrees from axial (a localiser, or a coronal or sagittal series?): "
            "give the axial series, or resample it to axial slices."
        )
    field_mm = min(
        volume.grid.shape[axis] * volume.grid.spacing_mm[axis] for axis in map(volume.grid.axis, ("LR", "PA"))
    )
    if field_mm < _SMALLEST_FIELD_MM:
        raise InputError(
            f"the slices are {field_mm:.0f} mm across, too small for a whole abdomen: give the series with the full "
            "field of view."
        )


def _measure(
    volume: Volume, label_map: LabelMap, subject: Subject, findings: Findings
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    return measure_body_composition(volume, label_map, height_m=subject.height_m, level=findings.level)


L3_MUSCLE = CaseKind(
    schema=SCHEMA,
    modality="CT",
    one_level=True,
    require_image=require_axial_ct,
    measure=_measure,
    write_overview=write_l3_overview,
    write_report=write_l3_report,
    write_thumbnail=write_l3_thumbnail,
)
