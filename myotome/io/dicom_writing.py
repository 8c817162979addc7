"""DICOM series out: a volume as CT Image Storage, one file per slice."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from myotome import __version__
from myotome.errors import InputError
from myotome.geometry import Volume, reorient
from myotome.io.atomic import atomic_folder
from myotome.io.dicom_codes import make_uid

__all__ = ["write_dicom_series"]

_INTERCEPT = -1024
_DATE, _TIME = "20000101", "120000"


def write_dicom_series(folder: Path | str, volume: Volume, *, seed: str = "") -> None:
    """Write a synthetic volume as a CT series; the same volume and seed give the same bytes, UIDs included.

    For phantoms only: the patient is called ``PHANTOM^<subject>``. Values are rounded to whole Hounsfield units and
    stored as int16 with a rescale intercept of -1024. Slices run from feet to head, rows to the back and columns to
    the left, whatever the order of the volume's axes.

    Parameters
    ----------
    folder : made here; it must not exist or be empty
    volume : any regular grid; an oblique one keeps its orientation
    seed : makes other UIDs for the same volume

    Raises
    ------
    InputError
        When the volume is not CT, or a value does not fit 16 bits.
    OutputError
        When the folder holds something or cannot be written; nothing half-written is left.
    """
    if volume.modality != "CT":
        raise InputError(f"a CT series cannot hold {volume.modality} values: give a CT volume.")
    array, affine = reorient(volume.array, np.array(volume.grid.affine), "LPS")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    if array.size and (array.max() > 32767 + _INTERCEPT or array.min() < -32768 - _INTERCEPT):
        raise InputError("the volume has values that do not fit 16 bits: clip it to -3000 .. 30000 HU first.")
    common = _common_header(volume, array, affine, seed)
    with atomic_folder(folder) as temporary:
        for k in range(array.shape[2]):
            dataset = _slice_dataset(common, array[:, :, k], affine, k)
            dataset.save_as(temporary / f"{k + 1:04d}.dcm", enforce_file_format=True)


def _digest(array: np.ndarray, affine: np.ndarray, seed: str) -> str:
    digest = hashlib.sha256(f"{seed} {array.shape} {affine.round(6).tolist()}".encode())
    for k in range(array.shape[2]):
        digest.update(np.rint(array[:, :, k]).astype("<i2").tobytes())
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
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "SOPClassUID": CTImageStorage,
            "Modality": "CT",
            "Manufacturer": acquisition.manufacturer or "Myotome phantom",
            "ManufacturerModelName": "Digital reference object",
            "SoftwareVersions": __version__,
            "DeviceSerialNumber": "0",
            "ReferringPhysicianName": "",
            "AccessionNumber": "",
            "StudyDescription": "Phantom CT",
            "SeriesDescription": acquisition.series_description or "phantom",
            "PatientName": f"PHANTOM^{subject}",
            "PatientID": subject,
            "PatientBirthDate": "",
            "PatientSex": "O",
            "BodyPartExamined": "CHEST",
            "KVP": _decimal(acquisition.tube_voltage_kv or 120),
            "ConvolutionKernel": acquisition.kernel or "STANDARD",
            "GantryDetectorTilt": "0",
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
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "RescaleIntercept": str(_INTERCEPT),
            "RescaleSlope": "1",
            "RescaleType": "HU",
            "WindowCenter": "40",
            "WindowWidth": "400",
        }
    )
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(dataset, keyword, _DATE)
        setattr(dataset, keyword.replace("Date", "Time"), _TIME)
    _add_if_known(dataset, volume)
    return dataset


def _add_if_known(dataset: Dataset, volume: Volume) -> None:
    acquisition = volume.acquisition
    if acquisition.contrast_agent:
        dataset.ContrastBolusAgent = acquisition.contrast_agent
    if acquisition.height_m:
        dataset.PatientSize = _decimal(acquisition.height_m)
    if acquisition.reconstruction_diameter_mm:
        dataset.ReconstructionDiameter = _decimal(acquisition.reconstruction_diameter_mm)


def _slice_dataset(common: Dataset, image: np.ndarray, affine: np.ndarray, k: int) -> Dataset:
    """One slice; ``image`` is (columns, rows) in Hounsfield units."""
    dataset = Dataset()
    dataset.update(common)
    position = affine[:3, 3] + k * affine[:3, 2]
    dataset.SOPInstanceUID = make_uid("slice", str(common.SeriesInstanceUID), str(k))
    dataset.InstanceNumber = str(k + 1)
    dataset.ImagePositionPatient = [_decimal(x) for x in position]
    dataset.SliceLocation = _decimal(position[2])
    stored = np.rint(image.T).astype(np.int32) - _INTERCEPT
    dataset.PixelData = np.ascontiguousarray(stored.astype("<i2")).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
