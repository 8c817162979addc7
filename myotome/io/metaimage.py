"""MetaImage files (``.mha``): arrays and their grids. Public data sets use them; nothing is written in this format."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from myotome.errors import GeometryError, InputError
from myotome.geometry import Grid

__all__ = ["read_metaimage"]

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LONGEST_HEADER = 1 << 16
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def read_metaimage(path: Path | str) -> tuple[np.ndarray, Grid]:
    """Read a three-dimensional MetaImage with its data in the same file: (X, Y, Z) array in its stored type, and grid.

    Raises
    ------
    InputError
        When it is not such a file, or is cut short.
    GeometryError
        When it is not three-dimensional, or its grid cannot be right.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}): check the path.") from error
    header, start = _read_header(content, path)
    try:
        sizes = [int(word) for word in header["DimSize"].split()]
        kind = np.dtype(_TYPES[header["ElementType"]])
        shape = _check_shape(sizes, header, path)
        affine = _make_affine(header)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"'{path.name}' has a header that cannot be understood ({error}): convert it again."
        ) from error
    if _is_true(header, "BinaryDataByteOrderMSB", "ElementByteOrderMSB"):
        kind = kind.newbyteorder(">")
    data = content[start:]
    try:
        data = zlib.decompress(data) if _is_true(header, "CompressedData") else data
    except zlib.error as error:
        raise InputError(f"'{path.name}' is damaged or cut short: copy it again from its source.") from error
    needed = int(np.prod(shape)) * kind.itemsize
    if len(data) < needed:
        raise InputError(f"'{path.name}' is damaged or cut short: copy it again from its source.")
    array = np.frombuffer(data[:needed], dtype=kind).reshape(shape, order="F")
    return np.ascontiguousarray(array.astype(kind.newbyteorder("="))), Grid(shape, affine)


def _read_header(content: bytes, path: Path) -> tuple[dict[str, str], int]:
    """The header's words, and where the data begin: after the line that says where they are."""
    header, place = {}, 0
    while place < min(len(content), _LONGEST_HEADER):
        end = content.find(b"\n", place)
        key, sign, value = content[place : max(end, place)].partition(b"=")
        if end < 0 or not sign:
            break
        header[key.strip().decode("latin-1")] = value.strip().decode("latin-1")
        place = end + 1
        if "ElementDataFile" in header:
            if header["ElementDataFile"] != "LOCAL":
                raise InputError(f"'{path.name}' keeps its data in another file: give one that holds them.")
            return header, place
    raise InputError(f"'{path.name}' is not a MetaImage: give a file that ends in .mha.")


def _check_shape(sizes: list[int], header: dict[str, str], path: Path) -> tuple[int, int, int]:
    if len(sizes) != 3 or min(sizes) < 1:
        raise GeometryError(f"'{path.name}' is not one three-dimensional volume: give one.")
    if int(header.get("ElementNumberOfChannels", "1")) != 1:
        raise InputError(f"'{path.name}' has several values a voxel: give one with a single intensity.")
    return sizes[0], sizes[1], sizes[2]


def _make_affine(header: dict[str, str]) -> np.ndarray:
    """From the directions of the axes, one after the other in the header, to patient millimetres (RAS+)."""
    spacing = np.array(header["ElementSpacing"].split(), dtype=float)
    directions = np.array(header.get("TransformMatrix", "1 0 0 0 1 0 0 0 1").split(), dtype=float).reshape(3, 3).T
    origin = np.array(header.get("Offset", header.get("Position", "0 0 0")).split(), dtype=float)
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS @ directions * spacing
    affine[:3, 3] = _LPS_TO_RAS @ origin
    return affine


def _is_true(header: dict[str, str], *keys: str) -> bool:
    return any(header.get(key, "False").lower() == "true" for key in keys)
