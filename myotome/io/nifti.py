"""NIfTI images in, label maps and volumes out. The only place that knows nibabel."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from myotome.errors import GeometryError, InputError
from myotome.geometry import Acquisition, Grid, Volume
from myotome.io.atomic import atomic_path
from myotome.structures import LabelMap, LabelSchema

__all__ = ["read_nifti", "read_nifti_label_map", "read_nifti_labels", "write_nifti", "write_nifti_label_map"]

_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, OSError, ValueError)
_MILLIMETRE_CODES = (0, 2)  # xyzt_units & 7: unknown (read as mm, as every reader does) and mm
_SPACING_TOLERANCE = 0.01
_AIR_BELOW_HU = -200
_LARGEST_BYTE = 255
_PIECE_BYTES = 1 << 20
_PICTURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}


def _damaged(path: Path) -> InputError:
    return InputError(f"'{path.name}' is damaged or cut short: copy it again from its source.")


def _read_raw_header(path: Path) -> nibabel.Nifti1Header:
    """The header as it is written, before nibabel mends it (it would turn a negative spacing positive)."""
    not_an_image = InputError(f"'{path.name}' is not an image: give a NIfTI file, a DICOM folder or a zip of one.")
    try:
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
            start = file.read(540)
    except _DAMAGED as error:
        raise _damaged(path) from error
    if picture := next((name for mark, name in _PICTURES.items() if start.startswith(mark)), None):
        raise InputError(
            f"'{path.name}' is a picture ({picture}), whose values are not the scanner's and which has no spacing: "
            "give the DICOM series, or NIfTI made from it."
        )
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        size = kind.template_dtype.itemsize
        if len(start) < size:
            continue
        header = kind(start[:size], check=False)
        if int(header["sizeof_hdr"]) == size and header["magic"].item()[:2] == b"n+":
            return header
    raise not_an_image


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _check_header(header: nibabel.Nifti1Header, path: Path, fewest_axes: int) -> None:
    """Refuse what cannot be measured, each with its sentence."""
    rank = int(header["dim"][0])
    shape = [int(size) for size in header["dim"][1 : rank + 1]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if not fewest_axes <= len(shape) <= 3 or min(shape) < 1:
        raise GeometryError(
            f"'{path.name}' is {len(shape)}-dimensional (shape {'x'.join(map(str, shape))}): give one 3-D volume."
        )
    spacing = [float(size) for size in header["pixdim"][1:4]]
    if not all(np.isfinite(size) and size > 0 for size in spacing):
        raise GeometryError(
            f"'{path.name}' has a voxel spacing of {' x '.join(f'{size:g}' for size in spacing)} mm, which is zero or "
            "negative along an axis: rewrite it with its true spacing."
        )
    if int(header["xyzt_units"]) & 7 not in _MILLIMETRE_CODES:
        raise GeometryError(f"'{path.name}' is not measured in millimetres: rewrite it with its spacing in mm.")
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise GeometryError(
            f"'{path.name}' does not say how its voxels lie in the patient (sform and qform are both unset): "
            "convert it again from DICOM."
        )


def _check_affine(affine: np.ndarray, header: nibabel.Nifti1Header, path: Path) -> None:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if np.isfinite(lengths).all() and not np.allclose(lengths, header["pixdim"][1:4], rtol=_SPACING_TOLERANCE):
        stated, implied = (" x ".join(f"{size:.4g}" for size in sizes) for sizes in (header["pixdim"][1:4], lengths))
        raise GeometryError(
            f"'{path.name}' gives two spacings, {stated} mm in pixdim and {implied} mm in its sform: "
            "rewrite it with its true spacing."
        )


def _rescaled(image: nibabel.Nifti1Image) -> np.ndarray:
    """Voxels in their unit: the stored type where it is enough, else int16 or float32, never float64."""
    stored = np.asanyarray(image.dataobj.get_unscaled())
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    if stored.dtype.kind not in "iuf":
        raise InputError("the image holds colours or complex numbers: give one with a single intensity per voxel.")
    if not stored.dtype.isnative:
        stored = stored.astype(stored.dtype.newbyteorder("="))
    if (slope, intercept) != (1, 0) or stored.dtype.kind == "f" or stored.dtype.itemsize > 2:
        whole = stored.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer()
        if whole and stored.size:
            ends = [int(value) * int(slope) + int(intercept) for value in (stored.min(), stored.max())]
            if min(ends) >= -32768 and max(ends) <= 32767:
                return (stored.astype(np.int32) * int(slope) + int(intercept)).astype(np.int16)
        stored = stored.astype(np.float32)
        if (slope, intercept) != (1, 0):
            stored = stored * np.float32(slope) + np.float32(intercept)
    return stored


class _GzipPieces(igzip.IGzipFile):
    """A gzip file that fills a large buffer a piece at a time, so that no second copy of it is held."""

    def readinto(self, buffer: bytearray) -> int:
        view, done = memoryview(buffer).cast("B"), 0
        while piece := super().readinto(view[done : done + _PIECE_BYTES]):
            done += piece
        return done


def _read_image(path: Path, header: nibabel.Nifti1Header) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine; a compressed file is read to its end, because only there does gzip check what came out."""
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    if not _is_gzip(path):
        with path.open("rb") as file:
            image = kind.from_filename(path) if path.suffix == ".nii" else kind.from_stream(file)
            return _rescaled(image), image.affine
    with path.open("rb") as file, _GzipPieces(fileobj=file, mode="rb") as stream:
        image = kind.from_stream(stream)
        array = _rescaled(image)
        while stream.read(_PIECE_BYTES):
            pass
        return array, image.affine


def _load(path: Path | str, fewest_axes: int = 3) -> tuple[np.ndarray, Grid]:
    """Voxels and grid; with ``fewest_axes`` 2, a slice that was written without its third axis is a volume of one."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file '{path.name}': check the path.")
    header = _read_raw_header(path)
    _check_header(header, path, fewest_axes)
    try:
        array, affine = _read_image(path, header)
    except (ImageFileError, HeaderDataError, *_DAMAGED) as error:
        raise _damaged(path) from error
    array = array.reshape((*array.shape, 1)[:3])
    _check_affine(affine, header, path)
    grid = Grid(array.shape, affine)
    if array.dtype.kind == "f":
        wrong = array.size - int(np.count_nonzero(np.isfinite(array)))
        if wrong:
            raise InputError(f"'{path.name}' has {wrong} voxels that are NaN or infinite: mend the file it came from.")
    return array, grid


def read_nifti(path: Path | str, *, modality: str | None = "CT", flat: bool = False) -> Volume:
    """Read one NIfTI image (``.nii`` or ``.nii.gz``) with its rescale applied.

    Parameters
    ----------
    modality : what it is, which the file does not say; with ``None`` a CT when it has values below -200, or else MR
    flat : take a CT slice that was written without its third axis; of MR one always is

    Returns
    -------
    Volume
        Array in the file's own axis order, int16 or smaller where that is exact and float32 otherwise. A CT that
        has no voxel below 0 gets the flag ``no_value_below_zero``: its numbers are perhaps not Hounsfield units. An MR
        image that holds whole numbers of 0 to 255 gets ``eight_bit``.

    Raises
    ------
    InputError
        When it is not a NIfTI file, is cut short, or holds colours, NaN or infinite values.
    GeometryError
        When it is not 3-D, or its spacing or affine cannot be right (zero, negative, contradictory, sheared, unset).
    """
    array, grid = _load(path, 3 if modality == "CT" and not flat else 2)
    if modality is None:
        modality = "CT" if array.min() < _AIR_BELOW_HU else "MR"
    flags = ("no_value_below_zero",) if modality == "CT" and array.min() >= 0 else ()
    if modality == "MR" and _is_eight_bit(array):
        flags = ("eight_bit",)
    return Volume(array, grid, modality, Acquisition(flags=flags))


def _is_eight_bit(array: np.ndarray) -> bool:
    """True for bytes, and for whole numbers that fill 0 to 255: an export for the screen, stretched and rounded."""
    if array.dtype.itemsize == 1:
        return True
    return bool(array.min() == 0 and array.max() == _LARGEST_BYTE and np.array_equal(array, np.rint(array)))


def read_nifti_labels(path: Path | str) -> tuple[np.ndarray, Grid]:
    """Read a label map of any numbering, such as another program's: (X, Y, Z) uint8 labels and their grid.

    Raises
    ------
    InputError, GeometryError
        As `read_nifti`, and when a voxel is not a whole number from 0 to 255.
    """
    array, grid = _load(path, 2)
    labels = array.astype(np.uint8)
    if not np.array_equal(labels, array):
        raise InputError(
            f"'{Path(path).name}' is not a label map: it holds values that are not whole numbers from 0 to 255."
        )
    return labels, grid


def read_nifti_label_map(path: Path | str, schema: LabelSchema) -> LabelMap:
    """Read a label map; values must be whole numbers that the schema knows.

    Raises
    ------
    InputError, GeometryError
        As `read_nifti_labels`, and when a voxel's label is not in the schema.
    """
    return LabelMap(*read_nifti_labels(path), schema)


def _write(path: Path | str, array: np.ndarray, grid: Grid) -> None:
    """Write an image so that the same voxels always give the same bytes (no time or name in the gzip header)."""
    image = nibabel.Nifti1Image(array, grid.affine)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if Path(path).suffix == ".gz":
            with igzip.IGzipFile(filename="", mode="wb", compresslevel=2, fileobj=file, mtime=0) as stream:
                image.to_stream(stream)
        else:
            image.to_stream(file)


def write_nifti(path: Path | str, volume: Volume) -> None:
    """Write a volume in its own type and grid.

    Raises
    ------
    OutputError
        When the file cannot be written; nothing half-written is left.
    """
    _write(path, volume.array, volume.grid)


def write_nifti_label_map(path: Path | str, label_map: LabelMap) -> None:
    """Write a label map as uint8 on its grid; equal label maps give equal bytes.

    Raises
    ------
    OutputError
        When the file cannot be written; nothing half-written is left.
    """
    _write(path, label_map.array, label_map.grid)
