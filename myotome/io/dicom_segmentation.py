"""Label maps as DICOM Segmentation objects (BINARY), out and in."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from myotome import __version__
from myotome.errors import GeometryError, InputError, OutputError
from myotome.geometry import Grid, Volume, axis_codes, reorient
from myotome.io.atomic import atomic_path
from myotome.io.dicom_codes import MANUFACTURER, make_uid, missing_attribute, public_code
from myotome.io.dicom_files import Frame, make_frames
from myotome.io.dicom_geometry import arrange_frames
from myotome.measurement import Provenance
from myotome.structures import LabelMap, LabelSchema, Structure

__all__ = ["read_segmentation", "write_segmentation"]

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_OFF_GRID_VOXELS = 0.05
_STRANGER = 255
_NOT_IN_NAMES = re.compile(r"[\\^=\x00-\x1f]")


def write_segmentation(
    path: Path | str,
    label_map: LabelMap,
    volume: Volume,
    provenance: Provenance,
    *,
    reader: str | None = None,
    description: str = "Myotome segmentation",
) -> bool:
    """Write a label map as a DICOM SEG of the series it was drawn on; one segment per structure that is present.

    Segments are numbered from 1 without gaps, as DICOM asks, so their numbers are not those of the schema: a segment
    is told by its label, the structure's title.

    Parameters
    ----------
    label_map : on the volume's grid, in any axis order
    volume : read from DICOM (``acquisition.headers`` is not empty)
    provenance : what made the label map
    reader : who drew or corrected it, for the content creator's name; ``None`` when a bundle did it alone
    description : of the series, for lists

    Returns
    -------
    bool
        False when the label map is empty: a SEG without a segment is not allowed, so no file is written.

    Raises
    ------
    GeometryError
        When the label map does not lie on the slices of the headers.
    InputError
        When the volume was not read from DICOM.
    OutputError
        When the header lacks what a SEG must copy, or the file cannot be written.
    """
    present = [s for s in label_map.schema.structures if (label_map.array == s.index).any()]
    if not present:
        return False
    planes, affine = _on_source_grid(label_map, volume)
    numbers = np.zeros(256, np.uint8)
    numbers[[structure.index for structure in present]] = np.arange(1, len(present) + 1)
    # highdicom's axes are (slice, row, column) in LPS
    mask = highdicom.Volume(
        np.ascontiguousarray(numbers[planes.transpose(2, 1, 0)]),
        (_RAS_TO_LPS @ affine)[:, [2, 1, 0, 3]],
        coordinate_system="PATIENT",
        frame_of_reference_uid=volume.acquisition.headers[0].get("FrameOfReferenceUID"),
    )
    dataset = _make_segmentation(mask, present, volume, provenance)
    dataset.SeriesDescription = description[:64]
    if reader:
        dataset.ContentCreatorName = _NOT_IN_NAMES.sub(" ", reader)[:64]
    with atomic_path(path) as temporary:
        dataset.save_as(temporary)
    return True


def _source_frames(volume: Volume) -> tuple[list[Frame], np.ndarray]:
    headers = volume.acquisition.headers
    if not headers:
        raise InputError("the image was not read from DICOM, so it has no series that DICOM outputs could refer to.")
    return arrange_frames([frame for n, header in enumerate(headers) for frame in make_frames(Path(str(n)), header)])


def _on_source_grid(label_map: LabelMap, volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """The label map's array in the axis order of the source slices (column, row, slice), and its affine."""
    frames, affine = _source_frames(volume)
    rows, columns = frames[0].shape
    source = Grid((columns, rows, len(frames)), affine)
    array, turned = reorient(label_map.array, np.array(label_map.grid.affine), "".join(source.axis_codes))
    if not Grid(array.shape, turned).same_as(source, tolerance_mm=0.1):
        raise GeometryError("the label map does not lie on the slices of its series: give labels on the image's grid.")
    return array, affine


def _make_segmentation(
    mask: highdicom.Volume, present: list[Structure], volume: Volume, provenance: Provenance
) -> Segmentation:
    headers = volume.acquisition.headers
    series_uid = str(headers[0].get("SeriesInstanceUID", ""))
    entropy = (series_uid, provenance.run_id, provenance.bundle, provenance.weights_sha256, __version__)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # highdicom's warnings quote header values, which may name a person
            dataset = Segmentation(
                source_images=headers[:1] if "NumberOfFrames" in headers[0] else headers,
                pixel_array=mask,
                segmentation_type="BINARY",
                segment_descriptions=[
                    _describe(number, structure, provenance, entropy) for number, structure in enumerate(present, 1)
                ],
                series_instance_uid=make_uid("segmentation series", *entropy),
                series_number=900,
                sop_instance_uid=make_uid("segmentation", *entropy),
                instance_number=1,
                manufacturer=MANUFACTURER,
                manufacturer_model_name=provenance.bundle,
                software_versions=__version__,
                device_serial_number="0",
                content_label="MUSCLES" if volume.modality == "CT" else "STRUCTURES",
                content_description="Muscle segmentation" if volume.modality == "CT" else "Muscle and bone",
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"the series' headers do not allow a DICOM segmentation{missing_attribute(error)}: "
            "mend them, or convert the series to NIfTI."
        ) from error
    return dataset


def _describe(
    number: int, structure: Structure, provenance: Provenance, entropy: tuple[str, ...]
) -> SegmentDescription:
    """A segment: what it is, what drew it, and its colour."""
    by_hand = provenance.bundle in ("", "none")
    algorithm = None
    if not by_hand:
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name=provenance.bundle,
            family=codes.DCM.ArtificialIntelligence,
            version=provenance.bundle_version,
            source=MANUFACTURER,
        )
    return SegmentDescription(
        segment_number=number,
        segment_label=structure.title,
        segmented_property_category=public_code(structure.category),
        segmented_property_type=public_code(structure.code),
        algorithm_type="MANUAL" if by_hand else "AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=make_uid("segment", structure.name, *entropy),
        tracking_id=structure.name,
        primary_anatomic_structures=[public_code(part) for part in structure.parts] or None,
        display_color=highdicom.color.CIELabColor.from_rgb(*structure.colour),
    )


def read_segmentation(path: Path | str, schema: LabelSchema, grid: Grid) -> LabelMap:
    """Read a DICOM SEG onto a grid; segments are told by their label (a structure's name or title), not their number.

    Parameters
    ----------
    path : a BINARY or LABELMAP segmentation
    schema : numbering of the label map that is returned
    grid : of the image the segmentation was drawn on, in any axis order

    Raises
    ------
    InputError
        When it is not such a file, a label is not in the schema, or two segments overlap.
    GeometryError
        When a frame does not lie on the grid.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            if dataset.get("SOPClassUID") != SegmentationStorage and dataset.get("SegmentationType") != "LABELMAP":
                raise InputError(f"'{path.name}' is not a DICOM segmentation: give a SEG object or a NIfTI label map.")
            if dataset.SegmentationType == "FRACTIONAL":
                raise InputError(f"'{path.name}' holds probabilities, not labels: export it as a binary segmentation.")
            masks = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
    except (pydicom.errors.InvalidDicomError, AttributeError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"'{path.name}' is not a DICOM segmentation that can be read: export it again.") from error
    array = np.zeros(grid.shape, np.uint8)
    names = {int(segment.SegmentNumber): str(segment.get("SegmentLabel", "")) for segment in dataset.SegmentSequence}
    labels = _labels_by_number(names, schema)
    for frame, mask in zip(make_frames(path, dataset), masks, strict=True):
        numbers = _to_numbers(dataset, frame, mask)
        _refuse_strangers(numbers[labels[numbers] == _STRANGER], names, schema)
        _place(array, grid, frame, labels[numbers])
    return LabelMap(array, grid, schema)


def _labels_by_number(names: dict[int, str], schema: LabelSchema) -> np.ndarray:
    """Schema index of each segment number; a segment that the schema does not know is a stranger."""
    known = {_key(word): s.index for s in schema.structures for word in (s.name, s.title)}
    labels = np.zeros(65536, np.uint8)
    for number, name in names.items():
        if number:  # 0 is the background of a LABELMAP
            labels[number] = known.get(_key(name), _STRANGER)
    return labels


def _refuse_strangers(found: np.ndarray, names: dict[int, str], schema: LabelSchema) -> None:
    """A viewer writes the segments of every model it knows; one that the schema lacks must be empty."""
    if found.size:
        raise InputError(
            f"the segment '{names[int(found[0])]}' is not in schema '{schema.name}': name segments "
            f"{', '.join(s.title for s in schema.structures)}."
        )


def _key(label: str) -> str:
    return label.strip().casefold().replace("_", " ")


def _to_numbers(dataset: pydicom.Dataset, frame: Frame, mask: np.ndarray) -> np.ndarray:
    """Segment numbers (columns, rows) of one frame."""
    if dataset.SegmentationType == "LABELMAP":
        return mask.T
    groups = [dataset.PerFrameFunctionalGroupsSequence[frame.index]]
    groups += list(dataset.get("SharedFunctionalGroupsSequence") or [])
    numbers = [g.SegmentIdentificationSequence[0] for g in groups if "SegmentIdentificationSequence" in g]
    return (mask.T > 0) * np.uint16(numbers[0].ReferencedSegmentNumber)


def _place(array: np.ndarray, grid: Grid, frame: Frame, labels: np.ndarray) -> None:
    """Write one frame's labels where they lie in the array."""
    if frame.position is None or frame.orientation is None or frame.spacing_mm is None:
        raise GeometryError("a frame of the segmentation does not say where it lies: export it again.")
    slice_affine = np.eye(4)
    row, column = frame.orientation
    slice_affine[:3, :3] = np.stack(
        [row * frame.spacing_mm[1], column * frame.spacing_mm[0], np.cross(row, column)], axis=1
    )
    slice_affine[:3, 3] = frame.position
    slice_affine = _RAS_TO_LPS @ slice_affine
    view, affine = reorient(array, np.array(grid.affine), "".join(axis_codes(slice_affine)))
    corners = np.array([[0, 0, 0, 1], [labels.shape[0] - 1, 0, 0, 1], [0, labels.shape[1] - 1, 0, 1]], float).T
    corners = (np.linalg.inv(affine) @ slice_affine @ corners)[:3].T
    expected = corners[0].round() + np.array(
        [[0, 0, 0], [labels.shape[0] - 1, 0, 0], [0, labels.shape[1] - 1, 0]], float
    )
    i, j, k = (int(index) for index in corners[0].round())
    inside = min(i, j, k) >= 0 and i + labels.shape[0] <= view.shape[0] and j + labels.shape[1] <= view.shape[1]
    if np.abs(corners - expected).max() > _OFF_GRID_VOXELS or not inside or k >= view.shape[2]:
        raise GeometryError("the segmentation does not lie on the image's grid: give the one drawn on this series.")
    target = view[i : i + labels.shape[0], j : j + labels.shape[1], k]
    if ((target > 0) & (labels > 0) & (target != labels)).any():
        raise InputError("two segments overlap, and a voxel has one label here: mend the segmentation.")
    np.copyto(target, labels, where=labels > 0)
