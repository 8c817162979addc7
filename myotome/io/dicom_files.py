"""DICOM images found by content, one `Frame` per slice, whether a file holds one slice or many."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import iter_pixels, pixel_array
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from myotome.errors import InputError

__all__ = [
    "IMAGE_CLASSES",
    "Frame",
    "begins_as_dicom",
    "find_value",
    "is_dicom",
    "iter_headers",
    "make_frames",
    "read_frames",
]

IMAGE_CLASSES = {
    "CT": {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage},
    "MR": {MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage},
}


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice: where it lies and how its stored values become units. ``None`` is "not in the header".

    ``position`` and the rows of ``orientation`` (along a row, down a column) are in mm in the DICOM patient frame
    (LPS); ``spacing_mm`` is (between rows, between columns); ``index`` is its place in a multi-frame file.
    """

    path: Path
    index: int
    header: Dataset
    shape: tuple[int, int]
    position: np.ndarray | None
    orientation: np.ndarray | None
    spacing_mm: np.ndarray | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    image_type: tuple[str, ...]


def is_dicom(path: Path) -> bool:
    """True when a file has the DICOM mark, or begins as a data set written without one."""
    with path.open("rb") as file:
        return begins_as_dicom(file.read(132))


def begins_as_dicom(start: bytes) -> bool:
    """The same, of a file's first 132 bytes."""
    return start[128:132] == b"DICM" or (len(start) == 132 and start[:4] in (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00"))


def iter_headers(source: Path) -> Iterator[tuple[Path, Dataset]]:
    """Header (no pixels) of a DICOM file, or of every one below a folder, at any depth and under any name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote header values, which may name a person
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if not path.is_file():
                continue
            try:
                if is_dicom(path):
                    yield path, pydicom.dcmread(path, stop_before_pixels=True, force=True)
            except (OSError, EOFError, InvalidDicomError, AttributeError, ValueError, NotImplementedError) as error:
                raise InputError(f"'{path.name}' is a damaged DICOM file: copy it again, or remove it.") from error


def _array(value: Any, size: int) -> np.ndarray | None:
    """The numbers of an element, or ``None`` when it is absent, empty, of another size or not numbers."""
    try:
        numbers = np.array(value, dtype=float).ravel()
    except (TypeError, ValueError):
        return None
    return numbers if numbers.size == size and np.isfinite(numbers).all() else None


def _number(value: Any) -> float | None:
    numbers = _array(value, 1)
    return None if numbers is None else float(numbers[0])


def _words(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    return (value.upper(),) if isinstance(value, str) else tuple(str(word).upper() for word in value)


def _group_items(dataset: Dataset, frame: int | None) -> Iterator[Dataset]:
    """The data set, then the items of its functional groups: the frame's own before those that all frames share."""
    yield dataset
    groups = []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame and frame is not None and frame < len(per_frame):
        groups.append(per_frame[frame])
    groups += list(dataset.get("SharedFunctionalGroupsSequence") or [])
    for group in groups:
        for element in group:
            if element.VR == "SQ":
                yield from element.value


def find_value(dataset: Dataset, keyword: str, frame: int | None = None) -> Any:
    """Value of an element at the top of a data set or in its functional groups; ``None`` when absent or empty."""
    for item in _group_items(dataset, frame):
        value = item.get(keyword)
        if value is not None and value != "":
            return value
    return None


def make_frames(path: Path, header: Dataset) -> list[Frame]:
    """The slices of one image file, in the file's order."""
    count = int(header.get("NumberOfFrames") or 1)
    shape = (int(header.get("Rows") or 0), int(header.get("Columns") or 0))
    frames = []
    for index in range(count):
        value = {
            keyword: find_value(header, keyword, index)
            for keyword in (
                "ImagePositionPatient",
                "ImageOrientationPatient",
                "PixelSpacing",
                "RescaleSlope",
                "RescaleIntercept",
                "RescaleType",
                "FrameType",
            )
        }
        orientation = _array(value["ImageOrientationPatient"], 6)
        frames.append(
            Frame(
                path=path,
                index=index,
                header=header,
                shape=shape,
                position=_array(value["ImagePositionPatient"], 3),
                orientation=None if orientation is None else orientation.reshape(2, 3),
                spacing_mm=_array(value["PixelSpacing"], 2),
                slope=_number(value["RescaleSlope"]),
                intercept=_number(value["RescaleIntercept"]),
                rescale_type=str(value["RescaleType"] or "").upper(),
                image_type=_words(value["FrameType"] or header.get("ImageType")),
            )
        )
    return frames


def _decoded(path: Path, frames: list[Frame]) -> Iterator[np.ndarray]:
    """Stored values of some frames of one file."""
    header = frames[0].header
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    source: Path | Dataset = path
    if syntax in (None, DeflatedExplicitVRLittleEndian):
        source = pydicom.dcmread(path, force=True)
        source.file_meta.TransferSyntaxUID = syntax or ImplicitVRLittleEndian
    if int(header.get("NumberOfFrames") or 1) == 1:
        yield pixel_array(source, raw=True)
    else:
        yield from iter_pixels(source, indices=[frame.index for frame in frames], raw=True)


def _stored_bits_only(array: np.ndarray, header: Dataset) -> np.ndarray:
    """Keep the bits that hold the value: old files put overlays, or no sign, into the bits above them."""
    spare = 8 * array.dtype.itemsize - int(header.BitsStored)
    if spare <= 0 or array.dtype.kind not in "iu":
        return array
    return (array << spare) >> spare


def read_frames(frames: list[Frame]) -> Iterator[np.ndarray]:
    """Stored values (rows, columns) of each frame, in the order given, decompressed where needed.

    Raises
    ------
    InputError
        When a slice is damaged, in colour, or compressed in a way that cannot be decoded here.
    """
    position = 0
    while position < len(frames):
        path = frames[position].path
        end = position + 1
        while end < len(frames) and frames[end].path == path:
            end += 1
        run = frames[position:end]
        header = run[0].header
        try:
            if int(header.get("SamplesPerPixel", 1)) != 1:
                raise InputError(
                    "the series is in colour, so its values are not measurements: give the original images."
                )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for frame, array in zip(run, _decoded(path, run), strict=True):
                    if array.shape != frame.shape:
                        raise ValueError(f"{array.shape} pixels for {frame.shape}")
                    yield _stored_bits_only(array, header)
        except (AttributeError, EOFError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError) as error:
            syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
            kind = getattr(syntax, "name", None) or "no transfer syntax"
            raise InputError(
                f"the pixels of slice {position + 1} of {len(frames)} ({kind}) cannot be decoded: it is damaged or cut "
                "short, or compressed in a way not read here; copy the series again or export it uncompressed."
            ) from error
        position = end
