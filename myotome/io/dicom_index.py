"""Which study and series a DICOM file belongs to, told from its first elements: for finding cases among many files."""

from __future__ import annotations

import contextlib
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pydicom

from myotome.errors import InputError
from myotome.io.dicom_files import IMAGE_CLASSES, begins_as_dicom, is_dicom

__all__ = ["IndexEntry", "index_archive", "index_file", "read_texts"]

_TAGS = ["SOPClassUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
_TEXT_TAGS = [
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
]
_IMAGES = set.union(*IMAGE_CLASSES.values())


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
        return _read_entry(str(path)) if is_dicom(path) else None
    except Exception as error:  # a damaged header can raise anything
        raise _refusal(path, error, "is a damaged DICOM file: copy it again, or remove it") from error


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
                    if begins_as_dicom(file.read(132)):
                        file.seek(0)
                        yield _read_entry(file)
    except Exception as error:  # a damaged archive or header can raise anything
        sentence = "is not a zip archive that can be read, or holds a damaged DICOM file: copy it again"
        raise _refusal(path, error, sentence) from error


def _refusal(path: Path, error: Exception, sentence: str) -> InputError:
    """What is wrong with a file: what the system says when it cannot be read at all, or else the sentence."""
    if isinstance(error, OSError) and error.errno is not None:
        sentence = f"may not be read ({os.strerror(error.errno).lower()}): ask for permission, or copy it again"
    return InputError(f"'{path.name}' {sentence}.")


def _read_entry(source: str | IO[bytes]) -> IndexEntry:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote header values, which may name a person
        header = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=_TAGS, force=True)
        sop_class = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
        patient, study, series = (
            str(header.get(tag) or "").strip() for tag in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        )
        is_image = sop_class in _IMAGES
    if sop_class is None or (is_image and not (study or series)):
        raise ValueError("the header ends early")
    return IndexEntry(patient, study, series, is_image)


def read_texts(paths: Iterable[Path | str]) -> set[str]:
    """What headers say about a person or in free text, to be taken out of sentences; what cannot be read says nothing.

    Parameters
    ----------
    paths : DICOM files; of each, names, identifiers, descriptions and UIDs are read
    """
    texts = set()
    for path in paths:
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TEXT_TAGS, force=True)
            texts |= {str(header.get(tag) or "") for tag in _TEXT_TAGS}
    return texts - {""}
