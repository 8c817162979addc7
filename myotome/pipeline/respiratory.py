"""Chest CT: pectoralis, erector spinae, intercostal and other muscle, by side."""

from __future__ import annotations

from myotome.biomarkers.muscle import measure_muscles
from myotome.geometry import Volume
from myotome.measurement import Measurement
from myotome.pipeline.hounsfield import require_hounsfield
from myotome.pipeline.kind import CaseKind, Findings, Subject
from myotome.report.html import write_report
from myotome.report.overview import write_overview
from myotome.report.thumbnail import write_thumbnail
from myotome.structures import LabelMap

__all__ = ["RESPIRATORY"]


def _measure(
    volume: Volume, label_map: LabelMap, subject: Subject, findings: Findings
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    return measure_muscles(volume, label_map, height_m=subject.height_m)


RESPIRATORY = CaseKind(
    schema="respiratory_muscle_ct",
    modality="CT",
    require_image=require_hounsfield,
    measure=_measure,
    write_overview=write_overview,
    write_report=write_report,
    write_thumbnail=write_thumbnail,
)
