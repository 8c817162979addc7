"""Images in patient space: a grid of voxels, and a volume of intensities on it.

Affines follow the NIfTI convention (RAS+): voxel indices to millimetres that grow towards the patient's right,
front and head. Everything here is a value; nothing is changed in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from myotome.errors import GeometryError, InputError

__all__ = ["Acquisition", "Grid", "Upright", "Volume", "axis_codes", "reorient", "sheared", "stand_upright"]

_AXIS_NAMES = (("L", "R"), ("P", "A"), ("I", "S"))
_SHEAR_TOLERANCE = 1e-3
_ANISOTROPY = 1.5


def sheared(affine: np.ndarray) -> bool:
    """True when the columns of the affine's 3 x 3 part are not perpendicular (cosine above 0.001)."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(columns.T @ columns - np.eye(3)).max() > _SHEAR_TOLERANCE)


def axis_codes(affine: np.ndarray) -> tuple[str, str, str]:
    """Anatomical direction in which each voxel index grows, such as ``("R", "A", "S")``."""
    codes = [""] * 3
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    strength = np.abs(directions)
    for _ in range(3):
        world, index = np.unravel_index(np.argmax(strength), (3, 3))
        codes[index] = _AXIS_NAMES[world][int(directions[world, index] > 0)]
        strength[world, :] = -1
        strength[:, index] = -1
    return codes[0], codes[1], codes[2]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular, unsheared grid of voxels.

    Parameters
    ----------
    shape : three positive integers
    affine : (4, 4) array
        Voxel index to patient millimetres, RAS+.

    Raises
    ------
    GeometryError
        When the shape is not three-dimensional, or the affine is singular, not finite or sheared.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"an image of shape {shape} is not a volume: give one three-dimensional image.")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            raise GeometryError(
                "the affine is not a finite 4 x 4 matrix ending in 0 0 0 1: rewrite the image's header."
            )
        if abs(np.linalg.det(affine[:3, :3])) < 1e-6:
            raise GeometryError("the voxel spacing is zero along an axis: rewrite the image with its true spacing.")
        if sheared(affine):
            raise GeometryError("the affine is sheared (a tilted gantry?): resample the image to perpendicular axes.")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each index, in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_volume_mm3(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def axis_codes(self) -> tuple[str, str, str]:
        return axis_codes(self.affine)

    def axis(self, codes: str) -> int:
        """Index of the array axis that runs along one of two opposite directions, such as ``"LR"`` or ``"IS"``."""
        return next(index for index, code in enumerate(self.axis_codes) if code in codes)

    def slice_axis(self, across: str = "IS") -> int:
        """The array axis across the slices: the only one of size 1, else the clearly coarsest, else along ``across``.

        Parameters
        ----------
        across : the two directions that the slices are expected to follow each other in, where nothing tells
        """
        single = [axis for axis, size in enumerate(self.shape) if size == 1]
        if len(single) == 1:
            return single[0]
        steps = np.array(self.spacing_mm)
        coarsest = int(np.argmax(steps))
        clearly = steps[coarsest] >= _ANISOTROPY * np.delete(steps, coarsest).max()
        return coarsest if clearly else self.axis(across)

    def slice_z_mm(self, index: int) -> float:
        """Patient height (RAS z) of the middle of one slice, counted along the inferior-superior axis."""
        middle = (np.array(self.shape) - 1) / 2
        middle[self.axis("IS")] = index
        return float(self.affine[2, :3] @ middle + self.affine[2, 3])

    def same_as(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """True when both grids have one shape and no voxel centre differs by more than the tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
        corners[:, :3] *= np.array(self.shape) - 1
        return bool(np.abs(corners @ (self.affine - other.affine).T).max() <= tolerance_mm)


@dataclass(frozen=True, eq=False)
class Acquisition:
    """What the header says of how an image was made; ``None`` is "not recorded".

    ``sex`` is ``M`` or ``F``. ``body_part`` is one of DICOM's words, such as ``SHOULDER``. ``weighting`` of MR is
    ``T1``, ``T2`` or ``PD``. ``headers`` are the source DICOM data sets without pixels, in slice order along the last
    array axis; what reads or writes DICOM uses them, everything else leaves them alone.
    """

    subject_id: str | None = None
    study_uid: str | None = None
    series_uid: str | None = None
    series_description: str | None = None
    tube_voltage_kv: float | None = None
    kernel: str | None = None
    slice_thickness_mm: float | None = None
    contrast_agent: str | None = None
    manufacturer: str | None = None
    height_m: float | None = None
    sex: str | None = None
    reconstruction_diameter_mm: float | None = None
    body_part: str | None = None
    weighting: str | None = None
    fat_suppressed: bool | None = None
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    field_strength_t: float | None = None
    flags: tuple[str, ...] = ()
    headers: tuple[Any, ...] = field(default=(), repr=False)


@dataclass(frozen=True, eq=False)
class Volume:
    """An image: intensities on a grid (Hounsfield units for CT).

    Raises
    ------
    InputError
        When the array does not fit the grid or holds a value that is not finite.
    """

    array: np.ndarray
    grid: Grid
    modality: str = "CT"
    acquisition: Acquisition = field(default_factory=Acquisition)

    def __post_init__(self) -> None:
        if tuple(self.array.shape) != self.grid.shape:
            raise InputError(f"an array of shape {self.array.shape} does not fit a grid of {self.grid.shape}.")
        if np.issubdtype(self.array.dtype, np.floating) and not np.isfinite(self.array).all():
            raise InputError("the image holds values that are not numbers (NaN or infinite): mend its source file.")


@dataclass(frozen=True)
class Upright:
    """How a slice is turned so that people and networks see it alike: head or front up, front or right on the left.

    Parameters
    ----------
    across, rows, columns : array axes across the slices, down the screen, and to the right on it
    row_step, column_step : 1, or -1 where the array's index runs up or to the left
    """

    across: int
    rows: int
    columns: int
    row_step: int
    column_step: int

    def plane(self, array: np.ndarray, index: int) -> np.ndarray:
        """(rows, columns) view of one slice of a volume's array."""
        plane = array[(slice(None),) * self.across + (index,)]
        if self.rows > self.columns:
            plane = plane.T
        return plane[:: self.row_step, :: self.column_step]

    def locate(self, shape: tuple[int, int, int], index: tuple[int, int]) -> tuple[int, int]:
        """(row, column) in the plane of the voxel whose indices along the array's two other axes, in order, are given.

        Parameters
        ----------
        shape : of the volume's array
        """
        row, column = index if self.rows < self.columns else index[::-1]
        rows, columns = shape[self.rows], shape[self.columns]
        return (
            row if self.row_step > 0 else rows - 1 - row,
            column if self.column_step > 0 else columns - 1 - column,
        )


def stand_upright(grid: Grid, across: int) -> Upright:
    """How the slices of a grid are turned upright.

    The axis nearer to feet and head runs down the screen, from the head to the feet; in axial slices it is the one from
    front to back. The other runs from front to back, or from the patient's right to the left.

    Parameters
    ----------
    across : array axis across the slices
    """
    codes = grid.axis_codes
    first, second = (axis for axis in range(3) if axis != across)
    height = np.abs(grid.affine[2, :3]) / np.linalg.norm(grid.affine[:3, :3], axis=0)
    if codes[across] in "IS":
        rows = first if codes[first] in "AP" else second
    else:
        rows = first if height[first] > height[second] else second
    columns = second if rows == first else first
    steps = [1 if codes[axis] in "ILP" else -1 for axis in (rows, columns)]
    return Upright(across, rows, columns, *steps)


def reorient(array: np.ndarray, affine: np.ndarray, codes: str = "RAS") -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip the axes of an array so that its indices grow towards ``codes``.

    Returns
    -------
    array : view of the input with its axes permuted and flipped
    affine : (4, 4) array of the view; every voxel keeps its place in patient space
    """
    now = axis_codes(affine)
    pairs = ["".join(sorted(pair)) for pair in _AXIS_NAMES]
    family = {letter: pair for pair in pairs for letter in pair}
    order = [next(i for i, code in enumerate(now) if family[code] == family[wanted]) for wanted in codes]
    array = array.transpose(order)
    affine = affine[:, [*order, 3]].copy()
    for index, wanted in enumerate(codes):
        if now[order[index]] != wanted:
            array = np.flip(array, index)
            affine[:3, 3] += affine[:3, index] * (array.shape[index] - 1)
            affine[:3, index] *= -1
    return array, affine
