"""Oblique-sagittal shoulder MR: the supraspinatus in the Y-view, measured and graded."""

from __future__ import annotations

import numpy as np

from myotome.biomarkers.orientation import compute_tilt_degrees
from myotome.biomarkers.rotator_cuff import SCHEMA, find_y_view, measure_supraspinatus
from myotome.biomarkers.shoulder_image import SIDEWAYS_DEGREES, flag_shoulder_image
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.measurement import Measurement
from myotome.pipeline.kind import CaseKind, Findings, Subject
from myotome.pipeline.magnetic_resonance import refuse_other_parts, require_mr
from myotome.report.shoulder import write_shoulder_overview, write_shoulder_thumbnail
from myotome.report.shoulder_page import write_shoulder_report
from myotome.structures import LabelMap

__all__ = ["SUPRASPINATUS", "require_shoulder_mr"]

# Parts of the body, as headers name them, that are no shoulder; CHEST and NECK are seen in the headers of shoulders.
_ELSEWHERE = {"KNEE", "HIP", "ANKLE", "FOOT", "WRIST", "HAND", "ELBOW", "HEAD", "BREAST", "ABDOMEN", "PELVIS", "LEG"}
_ELSEWHERE |= {"CSPINE", "TSPINE", "LSPINE"}


def require_shoulder_mr(volume: Volume) -> None:
    """Refuse an image that is not MR, is of another part of the body, or lies far from sagittal."""
    require_mr(volume, "the supraspinatus is graded on shoulder MR", "the shoulder")
    refuse_other_parts(volume, _ELSEWHERE, "the shoulder", "a shoulder")
    tilt = compute_tilt_degrees(volume.grid)
    if tilt > SIDEWAYS_DEGREES:
        raise InputError(
            f"the slices are {tilt:.0f} degrees from sagittal (an axial or coronal series?): give the oblique-sagittal "
            "one, which shows the scapular Y."
        )


def _measure(
    volume: Volume, label_map: LabelMap, subject: Subject, findings: Findings
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    rows, flags = measure_supraspinatus(volume, label_map, findings.grading)
    index = find_y_view(label_map)
    muscle = None
    if index is not None:
        muscle = (
            np.take(label_map.array, index, label_map.grid.slice_axis("LR")) == label_map.schema["supraspinatus"].index
        )
    return rows, tuple(dict.fromkeys((*flags, *flag_shoulder_image(volume, index, muscle))))


SUPRASPINATUS = CaseKind(
    schema=SCHEMA,
    modality="MR",
    across="LR",
    require_image=require_shoulder_mr,
    measure=_measure,
    write_overview=write_shoulder_overview,
    write_report=write_shoulder_report,
    write_thumbnail=write_shoulder_thumbnail,
)
