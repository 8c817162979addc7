"""Measurements as a DICOM structured report (TID 1500) that refers to the segments they were made on."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import highdicom
import pydicom
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from myotome import __version__
from myotome.errors import InputError, OutputError
from myotome.geometry import Volume
from myotome.io.atomic import atomic_path
from myotome.io.dicom_codes import (
    LATERALITY,
    MANUFACTURER,
    STATISTICS,
    VERTEBRAE,
    declare_private_scheme,
    make_uid,
    measure_code,
    method_code,
    missing_attribute,
    private_code,
    public_code,
    unit_code,
)
from myotome.measurement import CaseResult, Measurement, Provenance
from myotome.structures import Structure

__all__ = ["write_structured_report"]

_PROCEDURES = {
    "CT": Code("25045-6", "LN", "CT Unspecified Body Region"),
    "MR": Code("25056-3", "LN", "MR Unspecified Body Region"),
}
_FLAG_NAME = private_code("QUALITY_FLAG", "Quality flag")
_SIMPLE_FLAG = re.compile(r"[a-z0-9_]{1,64}")


def write_structured_report(
    path: Path | str, result: CaseResult, volume: Volume, segmentation_path: Path | str
) -> bool:
    """Write a TID 1500 report: one measurement group (TID 1411) per structure and side, on its segment.

    The right and left groups of a structure refer to the one segment that holds both sides and carry the laterality
    in their finding site. What stands for several structures, such as the spine, has a group without a segment (TID
    1501). Measures of the whole structure and of levels with a vertebral code are reported; those of single slices are
    in the tables only, and so is what has no value. Flags are qualitative evaluations.

    Parameters
    ----------
    result : what was measured
    volume : read from DICOM
    segmentation_path : the SEG that `write_segmentation` made from the result's label map

    Returns
    -------
    bool
        False when there is no segmentation or no value to report: no file is written.

    Raises
    ------
    InputError
        When the volume was not read from DICOM.
    OutputError
        When the headers lack what a report must copy, or the file cannot be written.
    """
    headers = volume.acquisition.headers
    if not headers:
        raise InputError("the image was not read from DICOM, so it has no series that DICOM outputs could refer to.")
    if not Path(segmentation_path).is_file():
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # highdicom's warnings quote header values, which may name a person
            segmentation = pydicom.dcmread(segmentation_path, stop_before_pixels=True)
            series = SourceSeriesForSegmentation(str(headers[0].SeriesInstanceUID))
            groups = _make_groups(result, segmentation, series)
            if not groups:
                return False
            report = _make_report(groups, result, _PROCEDURES[volume.modality], [segmentation, *headers])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"the series' headers do not allow a DICOM report{missing_attribute(error)}: "
            "mend them, or convert the series to NIfTI."
        ) from error
    with atomic_path(path) as temporary:
        report.save_as(temporary)
    return True


def _refer_to_segments(
    segmentation: pydicom.Dataset, series: SourceSeriesForSegmentation
) -> dict[str, ReferencedSegment]:
    """A reference to each segment, by the name of its structure.

    It names the series that was segmented and not each image of it: hundreds, in every group.
    """
    file = segmentation.SOPClassUID, segmentation.SOPInstanceUID
    return {
        segment.TrackingID: ReferencedSegment(*file, int(segment.SegmentNumber), source_series=series)
        for segment in segmentation.SegmentSequence
    }


def _make_groups(result: CaseResult, segmentation: pydicom.Dataset, series: SourceSeriesForSegmentation) -> list:
    """Measurement groups in the schema's order, right before left before both."""
    segments = _refer_to_segments(segmentation, series)
    groups = []
    for structure in result.structures:
        segment = segments.get(structure.name)
        if segment is None and structure.index:
            continue
        for side in ("right", "left", "both"):
            rows = [m for m in result.measurements if (m.structure, m.side) == (structure.name, side)]
            level = None if result.level is None else result.level.name
            measurements = [_make_measurement(row, row.level or level) for row in rows if _is_reported(row)]
            if measurements:
                groups.append(_make_group(structure, side, segment, (rows, measurements), result.provenance))
    return groups


def _is_reported(row: Measurement) -> bool:
    if row.value is None:
        return False
    return row.level in VERTEBRAE if row.level is not None else row.slice_index is None


def _make_measurement(row: Measurement, level: str | None) -> highdicom.sr.Measurement:
    return highdicom.sr.Measurement(
        name=measure_code(row),
        value=float(f"{row.value:.6g}"),
        unit=unit_code(row.unit),
        derivation=STATISTICS.get(row.statistic),
        method=method_code(row),
        finding_sites=[FindingSite(VERTEBRAE[level])] if level in VERTEBRAE else None,
    )


def _make_group(
    structure: Structure,
    side: str,
    segment: ReferencedSegment | None,
    content: tuple[list, list],
    provenance: Provenance,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations:
    rows, measurements = content
    sites = structure.parts or (structure.code,)
    flags = sorted(
        {flag for row in rows for flag in row.flags if row.slice_index is None and _SIMPLE_FLAG.fullmatch(flag)}
    )
    shared = {
        "tracking_identifier": TrackingIdentifier(
            uid=make_uid("group", structure.name, side, provenance.run_id),
            identifier=structure.title if side == "both" else f"{structure.title}, {side}",
        ),
        "finding_category": public_code(structure.category),
        "finding_type": public_code(structure.code),
        "finding_sites": [FindingSite(public_code(site), laterality=LATERALITY.get(side)) for site in sites],
        "algorithm_id": AlgorithmIdentification(name=MANUFACTURER, version=__version__),
        "measurements": measurements,
        "qualitative_evaluations": [_make_flag(flag) for flag in flags],
    }
    if segment is None:
        return MeasurementsAndQualitativeEvaluations(**shared)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **shared)


def _make_flag(flag: str) -> QualitativeEvaluation:
    return QualitativeEvaluation(name=_FLAG_NAME, value=private_code(flag.upper(), flag.replace("_", " ").capitalize()))


def _make_report(
    groups: list, result: CaseResult, procedure: Code, evidence: list[pydicom.Dataset]
) -> Comprehensive3DSR:
    provenance = result.provenance
    observer = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=make_uid("device", MANUFACTURER, __version__),
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=provenance.bundle,
        ),
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=procedure,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    entropy = (str(evidence[0].SOPInstanceUID), provenance.run_id, __version__)
    report = Comprehensive3DSR(
        evidence=evidence,
        content=content,
        series_instance_uid=make_uid("report series", *entropy),
        series_number=901,
        sop_instance_uid=make_uid("report", *entropy),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=provenance.bundle,
        software_versions=__version__,
        device_serial_number="0",
        is_complete=True,
        series_description="Myotome measurements",
    )
    declare_private_scheme(report)
    return report
