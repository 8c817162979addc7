"""Lumbar MR in sagittal or axial slices: the discs, measured one by one."""

from __future__ import annotations

from myotome.biomarkers.lumbar_disc import SCHEMA, find_plane, measure_discs
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.measurement import Measurement
from myotome.pipeline.kind import CaseKind, Findings, Subject
from myotome.pipeline.magnetic_resonance import refuse_other_parts, require_mr
from myotome.report.lumbar_disc import write_disc_overview, write_disc_thumbnail
from myotome.report.lumbar_disc_page import write_disc_report
from myotome.structures import LabelMap

__all__ = ["LUMBAR_DISC", "require_lumbar_mr"]

# Parts of the body, as headers name them, that are no lumbar spine; ABDOMEN and PELVIS are seen in headers of such.
_ELSEWHERE = {"KNEE", "HIP", "ANKLE", "FOOT", "WRIST", "HAND", "ELBOW", "SHOULDER", "HEAD", "BREAST", "NECK", "LEG"}
_ELSEWHERE |= {"CSPINE", "TSPINE"}


def require_lumbar_mr(volume: Volume) -> None:
    """Refuse an image that is not MR, is of another part of the body, or is coronal."""
    require_mr(volume, "lumbar discs are measured on MR", "the lumbar spine")
    refuse_other_parts(volume, _ELSEWHERE, "the lumbar spine", "a lumbar spine")
    if find_plane(volume.grid) is None:
        raise InputError("the slices are coronal, or nearer to it than to another plane: give sagittal or axial ones.")


def _measure(
    volume: Volume, label_map: LabelMap, subject: Subject, findings: Findings
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    return measure_discs(volume, label_map, findings.instances)


LUMBAR_DISC = CaseKind(
    schema=SCHEMA,
    modality="MR",
    across="LR",
    require_image=require_lumbar_mr,
    measure=_measure,
    write_overview=write_disc_overview,
    write_report=write_disc_report,
    write_thumbnail=write_disc_thumbnail,
)
