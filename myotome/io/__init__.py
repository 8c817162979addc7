"""Images and label maps in and out. What reads a format is imported when it is first needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.structures import LabelMap, LabelSchema

__all__ = ["read_label_map", "read_volume", "write_label_map", "write_volume"]

_NIFTI_SUFFIXES = (".nii", ".nii.gz")


def _is_nifti_name(path: Path) -> bool:
    return path.name.lower().endswith(_NIFTI_SUFFIXES)


class _Wish(NamedTuple):
    """What is asked of an image."""

    series_uid: str | None
    modality: str | None
    across: str
    single_slice: bool


def read_volume(
    path: Path | str,
    *,
    series_uid: str | None = None,
    modality: str | None = "CT",
    across: str = "IS",
    single_slice: bool = False,
) -> Volume:
    """Read an image from a DICOM folder, a zip of one, NIfTI, or one DICOM file (multi-frame, or its whole series).

    Parameters
    ----------
    path : the folder or file
    series_uid : which DICOM series to take where several are there
    modality : ``"CT"`` or ``"MR"``; ``None`` for whichever it is. NIfTI does not say: it is taken for what is asked
        for, and with ``None`` for a CT when it has values below -200.
    across : the direction in which the wanted slices follow each other; see `myotome.io.dicom_series.SeriesWish`
    single_slice : take a CT of one or two slices, too; a volume has three or more

    Raises
    ------
    InputError
        When there is nothing there, it is not an image, or it cannot be measured; the sentence says which.
    """
    path, wish = Path(path), _Wish(series_uid, modality, across, single_slice)
    try:
        if path.is_dir():
            return _read_folder(path, wish)
        if not path.is_file():
            raise InputError(f"there is nothing at '{path}': check the path.")
        return _read_file(path, wish)
    except PermissionError as error:
        raise InputError(f"'{path.name}' may not be read: ask for permission, or copy it elsewhere.") from error


def _read_folder(folder: Path, wish: _Wish) -> Volume:
    from myotome.io.dicom_series import read_dicom_series

    return read_dicom_series(folder, **wish._asdict())


def _read_file(path: Path, wish: _Wish) -> Volume:
    from zipfile import is_zipfile

    if path.suffix.lower() == ".zip" or (not _is_nifti_name(path) and is_zipfile(path)):
        return _read_archive(path, wish)
    if not _is_nifti_name(path):
        from myotome.io.dicom_files import is_dicom

        if is_dicom(path):
            from myotome.io.dicom_series import read_dicom_file

            return read_dicom_file(path, **wish._asdict())
    from myotome.io.nifti import read_nifti

    return read_nifti(path, modality=wish.modality, flat=wish.single_slice)


def _read_archive(path: Path, wish: _Wish) -> Volume:
    """A zip holds a DICOM series, or one NIfTI image."""
    from myotome.io.archive import unpacked

    with unpacked(path) as folder:
        images = [
            Path(root, name) for root, _, names in os.walk(folder) for name in names if _is_nifti_name(Path(name))
        ]
        if len(images) > 1:
            raise InputError(f"the archive '{path.name}' holds {len(images)} NIfTI images: give one of them.")
        if images:
            from myotome.io.nifti import read_nifti

            return read_nifti(images[0], modality=wish.modality, flat=wish.single_slice)
        try:
            return _read_folder(folder, wish)
        except InputError as error:
            raise type(error)(str(error).replace(folder.name, path.name)) from error


def read_label_map(path: Path | str, schema: LabelSchema, *, grid: Grid | None = None) -> LabelMap:
    """Read a label map in the numbering of a schema from a NIfTI file or, given the image's grid, a DICOM SEG.

    Parameters
    ----------
    path : the file
    schema : how structures are numbered; the segments of a SEG are told by their label
    grid : of the image, onto which a SEG is read

    Raises
    ------
    InputError
        When it is not a label map, or holds labels the schema does not know.
    """
    path = Path(path)
    if grid is not None and path.is_file() and not _is_nifti_name(path):
        from myotome.io.dicom_files import is_dicom
        from myotome.io.dicom_segmentation import read_segmentation

        if is_dicom(path):
            return read_segmentation(path, schema, grid)
    from myotome.io.nifti import read_nifti_label_map

    return read_nifti_label_map(path, schema)


def write_volume(path: Path | str, volume: Volume) -> None:
    """Write a volume as NIfTI (``.nii`` or ``.nii.gz``); the same volume gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    from myotome.io.nifti import write_nifti

    write_nifti(path, volume)


def write_label_map(path: Path | str, label_map: LabelMap) -> None:
    """Write a label map as NIfTI (``.nii`` or ``.nii.gz``); the same label map gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    from myotome.io.nifti import write_nifti_label_map

    write_nifti_label_map(path, label_map)
