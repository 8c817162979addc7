"""Which study and series a DICOM file belongs to, told from its first elements: for finding cases among many files."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pydicom
from pydicom.errors import InvalidDicomError

from myotome.errors import InputError
from myotome.io.dicom_files import IMAGE_CLASSES, is_dicom

__all__ = ["IndexEntry", "index_archive", "index_file"]

_TAGS = ["SOPClassUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
_IMAGES = set.union(*IMAGE_CLASSES.values())
_DAMAGES = (OSError, EOFError, InvalidDicomError, AttributeError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class IndexEntry:
    """Where one DICOM file belongs; ``is_image`` is False for reports, segmentations and the like."""

    patient_id: str
    study_uid: str
    series_uid: str
    is_image: bool


def index_file(path: Path | str) -> IndexEntry | None:
    """Where a file belongs, or ``None`` when it is not DICOM.

    Raises
    ------
    InputError
        When it is DICOM and its header is damaged.
    """
    path = Path(path)
    try:
        if not is_dicom(path):
            return None
        return _read_entry(str(path))
    except _DAMAGES as error:
        raise InputError(f"'{path.name}' is a damaged DICOM file: copy it again, or remove it.") from error


def index_archive(path: Path | str) -> Iterator[IndexEntry]:
    """Where each DICOM file of a zip belongs, without unpacking it to disk.

    Raises
    ------
    InputError
        When it is not a zip that can be read, or a header in it is damaged.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                with archive.open(member) as file:
                    start = file.read(132)
                    if start[128:132] == b"DICM":
                        file.seek(0)
                        yield _read_entry(file)
    except (*_DAMAGES, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"'{path.name}' is not a zip archive that can be read: copy it again.") from error


def _read_entry(source: str | IO[bytes]) -> IndexEntry:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=_TAGS, force=True)
    sop_class = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    is_image = sop_class in _IMAGES
    if sop_class is None or (is_image and not (header.get("StudyInstanceUID") or header.get("SeriesInstanceUID"))):
        raise ValueError("the header ends early")
    return IndexEntry(
        patient_id=str(header.get("PatientID") or "").strip(),
        study_uid=str(header.get("StudyInstanceUID") or "").strip(),
        series_uid=str(header.get("SeriesInstanceUID") or "").strip(),
        is_image=is_image,
    )
