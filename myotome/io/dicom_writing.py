"""DICOM series out: a volume as CT or MR Image Storage, one file per slice."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from myotome import __version__
from myotome.errors import InputError
from myotome.geometry import Volume, reorient
from myotome.io.atomic import atomic_folder
from myotome.io.dicom_codes import make_uid

__all__ = ["write_dicom_series"]

_INTERCEPT = -1024
# By the direction that the slices follow each other in: the way columns, rows and slices of DICOM images run.
_AXIS_ORDERS = {"IS": "LPS", "LR": "PIR", "PA": "LIP"}
_DATE, _TIME = "20000101", "120000"


def write_dicom_series(folder: Path | str, volume: Volume, *, seed: str = "") -> None:
    """Write a synthetic volume as a CT or MR series; the same volume and seed give the same bytes, UIDs included.

    For phantoms only: the patient is called ``PHANTOM^<subject>``. A CT's values are rounded to whole Hounsfield units
    and stored as int16 with a rescale intercept of -1024, its slices run from feet to head, rows to the back and
    columns to the left, whatever the order of the volume's axes. MR values are rounded and stored as they are; its
    slices are those of the volume (the only axis of one voxel, or the one that is spaced most widely), and each is
    turned as a reader expects it: sagittal ones with rows to the feet and columns to the back.

    Parameters
    ----------
    folder : made here; it must not exist or be empty
    volume : any regular grid; an oblique one keeps its orientation
    seed : makes other UIDs for the same volume

    Raises
    ------
    InputError
        When the volume is neither CT nor MR, or a value does not fit 16 bits (or is negative, for MR).
    OutputError
        When the folder holds something or cannot be written; nothing half-written is left.
    """
    if volume.modality not in ("CT", "MR"):
        raise InputError(f"a DICOM series of {volume.modality} values is not written here: give a CT or MR volume.")
    array, affine = reorient(volume.array, np.array(volume.grid.affine), _axis_order(volume))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    if volume.modality == "CT" and (array.max() > 32767 + _INTERCEPT or array.min() < -32768 - _INTERCEPT):
        raise InputError("the volume has values that do not fit 16 bits: clip it to -3000 .. 30000 HU first.")
    if volume.modality == "MR" and (array.min() < 0 or array.max() > 65535):
        raise InputError("the volume has values that do not fit 16 bits: scale it to 0 .. 4095 first.")
    common = _common_header(volume, array, affine, seed)
    common.update(_ct_header(volume) if volume.modality == "CT" else _mr_header(volume, array))
    with atomic_folder(folder) as temporary:
        for k in range(array.shape[2]):
            dataset = _slice_dataset(common, array[:, :, k], affine, k)
            dataset.save_as(temporary / f"{k + 1:04d}.dcm", enforce_file_format=True)


def _axis_order(volume: Volume) -> str:
    """Directions of columns, rows and slices."""
    if volume.modality == "CT":
        return _AXIS_ORDERS["IS"]
    single = [axis for axis, size in enumerate(volume.grid.shape) if size == 1]
    axis = single[0] if len(single) == 1 else int(np.argmax(volume.grid.spacing_mm))
    return next(order for codes, order in _AXIS_ORDERS.items() if volume.grid.axis_codes[axis] in codes)


def _digest(array: np.ndarray, affine: np.ndarray, seed: str) -> str:
    digest = hashlib.sha256(f"{seed} {array.shape} {affine.round(6).tolist()}".encode())
    for k in range(array.shape[2]):
        digest.update(np.rint(array[:, :, k]).astype("<i4").astype("<i2").tobytes())
    return digest.hexdigest()


def _decimal(value: float) -> DSfloat:
    """A decimal string of at most 16 characters."""
    return DSfloat(float(value) + 0.0, auto_format=True)


def _common_header(volume: Volume, array: np.ndarray, affine: np.ndarray, seed: str) -> Dataset:
    """What all slices share."""
    acquisition = volume.acquisition
    subject = acquisition.subject_id or "PHANTOM"
    digest = _digest(array, affine, seed)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    dataset = Dataset()
    dataset.update(
        {
            "SpecificCharacterSet": "ISO_IR 192",
            "Manufacturer": acquisition.manufacturer or "Myotome phantom",
            "ManufacturerModelName": "Digital reference object",
            "SoftwareVersions": __version__,
            "DeviceSerialNumber": "0",
            "ReferringPhysicianName": "",
            "AccessionNumber": "",
            "StudyDescription": f"Phantom {volume.modality}",
            "SeriesDescription": acquisition.series_description or "phantom",
            "PatientName": f"PHANTOM^{subject}",
            "PatientID": subject,
            "PatientBirthDate": "",
            "PatientSex": acquisition.sex or "O",
            "PatientPosition": "HFS",
            "StudyInstanceUID": make_uid("study", subject, seed),
            "SeriesInstanceUID": make_uid("series", subject, digest),
            "FrameOfReferenceUID": make_uid("frame of reference", subject, seed),
            "PositionReferenceIndicator": "",
            "StudyID": "1",
            "SeriesNumber": "1",
            "AcquisitionNumber": "1",
            "ImageOrientationPatient": [_decimal(x) for x in (affine[:3, :2] / spacing[:2]).T.ravel()],
            "PixelSpacing": [_decimal(spacing[1]), _decimal(spacing[0])],
            "SliceThickness": _decimal(acquisition.slice_thickness_mm or spacing[2]),
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": array.shape[1],
            "Columns": array.shape[0],
            "BitsAllocated": 16,
        }
    )
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(dataset, keyword, _DATE)
        setattr(dataset, keyword.replace("Date", "Time"), _TIME)
    if acquisition.contrast_agent:
        dataset.ContrastBolusAgent = acquisition.contrast_agent
    if acquisition.height_m:
        dataset.PatientSize = _decimal(acquisition.height_m)
    return dataset


def _ct_header(volume: Volume) -> dict[str, object]:
    acquisition = volume.acquisition
    header = {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "BodyPartExamined": acquisition.body_part or "CHEST",
        "KVP": _decimal(acquisition.tube_voltage_kv or 120),
        "ConvolutionKernel": acquisition.kernel or "STANDARD",
        "GantryDetectorTilt": "0",
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": str(_INTERCEPT),
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenter": "40",
        "WindowWidth": "400",
    }
    if acquisition.reconstruction_diameter_mm:
        header["ReconstructionDiameter"] = _decimal(acquisition.reconstruction_diameter_mm)
    return header


def _mr_header(volume: Volume, array: np.ndarray) -> dict[str, object]:
    """A spin echo's; the contrast's words stand in the series description, or else here."""
    acquisition = volume.acquisition
    low, high = np.percentile(array, (1, 99))
    bits = 12 if array.max() < 4096 else 16
    words = f"{acquisition.weighting or ''} TSE{' FS' if acquisition.fat_suppressed else ''}".strip()
    header = {
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "BodyPartExamined": acquisition.body_part or "SHOULDER",
        "Laterality": "",
        "ScanningSequence": "SE",
        "SequenceVariant": "NONE",
        "ScanOptions": "FS" if acquisition.fat_suppressed else "",
        "ProtocolName": words,
        "MRAcquisitionType": "2D",
        "EchoTime": _decimal(acquisition.echo_time_ms) if acquisition.echo_time_ms else "",
        "EchoTrainLength": "",
        "RepetitionTime": _decimal(acquisition.repetition_time_ms) if acquisition.repetition_time_ms else "",
        "SpacingBetweenSlices": _decimal(volume.grid.spacing_mm[int(np.argmax(volume.grid.spacing_mm))]),
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "WindowCenter": _decimal(round((low + high) / 2, 1)),
        "WindowWidth": _decimal(max(1.0, round(high - low, 1))),
    }
    if acquisition.field_strength_t:
        header["MagneticFieldStrength"] = _decimal(acquisition.field_strength_t)
    return header


def _slice_dataset(common: Dataset, image: np.ndarray, affine: np.ndarray, k: int) -> Dataset:
    """One slice; ``image`` is (columns, rows) in Hounsfield units, or MR values."""
    dataset = Dataset()
    dataset.update(common)
    position = affine[:3, 3] + k * affine[:3, 2]
    dataset.SOPInstanceUID = make_uid("slice", str(common.SeriesInstanceUID), str(k))
    dataset.InstanceNumber = str(k + 1)
    dataset.ImagePositionPatient = [_decimal(x) for x in position]
    dataset.SliceLocation = _decimal(position[2])
    stored = np.rint(image.T).astype(np.int32) - int(common.get("RescaleIntercept", 0))
    dataset.PixelData = np.ascontiguousarray(stored.astype("<i4").astype("<i2")).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = common.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
