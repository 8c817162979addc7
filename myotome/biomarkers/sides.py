"""Right and left: the body's mid-sagittal plane, found from its own mirror symmetry.

The plane is ``x = a + b z + c y`` in patient millimetres (RAS+), so a body that is off centre, leaning or rotated on
the table is still told apart correctly, on a grid of any orientation. It is where the labelled structures and the bone
best coincide with their own mirror image. A part cut off by the field of view leaves its partner
without a match wherever the plane lies, so truncation hardly moves the optimum; a silhouette's centre would follow it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter
from scipy.optimize import minimize

from myotome.biomarkers.coarse import CoarseCase, make_coarse_case
from myotome.geometry import Volume
from myotome.structures import LabelMap

__all__ = ["MidsagittalPlane", "find_midsagittal_plane"]

_BONE_HU = 200
_BODY_HU = -300
_BONE_WEIGHT = 2.0
_FEWEST_BLOCKS = 12
_MOST_POINTS = 2000
_ROTATIONS = np.tan(np.radians(np.arange(-40, 41, 5)))
_OFFSET_STEP_MM = 6.0
_WIDE_MM, _NARROW_MM = 10.0, 5.0


@dataclass(frozen=True)
class MidsagittalPlane:
    """The plane ``x = offset_mm + lean * z + rotation * y`` in patient millimetres (RAS+)."""

    offset_mm: float
    lean: float = 0.0
    rotation: float = 0.0

    def distance_mm(self, positions_mm: np.ndarray) -> np.ndarray:
        """Signed distance of (..., 3) positions from the plane; positive on the patient's right."""
        x, y, z = np.moveaxis(np.asarray(positions_mm, dtype=float), -1, 0)
        return (x - self.offset_mm - self.lean * z - self.rotation * y) / math.hypot(1, self.lean, self.rotation)

    def mirror(self, positions_mm: np.ndarray) -> np.ndarray:
        """Mirror images of (..., 3) positions."""
        normal = np.array([1.0, -self.rotation, -self.lean]) / math.hypot(1, self.lean, self.rotation)
        return positions_mm - 2 * self.distance_mm(positions_mm)[..., None] * normal

    def index_form(self, affine: np.ndarray) -> tuple[float, np.ndarray]:
        """Constant and (3,) slopes that give the signed distance from voxel indices: ``constant + index @ slopes``."""
        constant = float(self.distance_mm(affine[:3, 3]))
        slopes = np.array([float(self.distance_mm(affine[:3, 3] + affine[:3, axis])) - constant for axis in range(3)])
        return constant, slopes


@dataclass(frozen=True, eq=False)
class _Cue:
    """One kind of thing that should be symmetric: where it is, and how much it says."""

    points_mm: np.ndarray
    mask: np.ndarray
    weight: float


def find_midsagittal_plane(volume: Volume, label_map: LabelMap, coarse: CoarseCase | None = None) -> MidsagittalPlane:
    """Fit the mid-sagittal plane by mirror symmetry of the labels and of bone (above 200 HU).

    The search covers bodies turned by up to 40 degrees, then refines offset, lean and rotation together. Without
    labels and bone the body's outline is used; without a body, the middle of the image.

    Parameters
    ----------
    volume, label_map : on one grid, of any orientation
    coarse : their block means, where the caller already has them
    """
    coarse = make_coarse_case(volume, label_map) if coarse is None else coarse
    cues = _find_cues(coarse)
    if not cues:
        centre = coarse.affine @ np.append((np.array(coarse.labels.shape) - 1) / 2, 1)
        return MidsagittalPlane(float(centre[0]))
    points = np.concatenate([cue.points_mm for cue in cues])
    pivot = points.mean(axis=0)
    inverse = np.linalg.inv(coarse.affine)
    wide = _symmetry(cues, coarse, inverse, _WIDE_MM, smooth=False)
    low, high = np.percentile(points[:, 0], (5, 95))
    offsets = np.arange(low, high + _OFFSET_STEP_MM, _OFFSET_STEP_MM)
    start = max(
        ((offset, 0.0, rotation) for rotation in _ROTATIONS for offset in offsets),
        key=lambda guess: wide(_plane_through(guess, pivot)),
    )
    narrow = _symmetry(cues, coarse, inverse, _NARROW_MM, smooth=True)
    scales = np.array([5.0, 0.05, 0.05])
    origin = np.array(start) / scales
    found = minimize(
        lambda scaled: -narrow(_plane_through(scaled * scales, pivot)),
        origin,
        method="Nelder-Mead",
        options={"initial_simplex": np.vstack([origin, origin + np.eye(3)]), "xatol": 0.01, "fatol": 1e-6},
    )
    return _plane_through(found.x * scales, pivot)


def _plane_through(guess: np.ndarray, pivot: np.ndarray) -> MidsagittalPlane:
    """Plane given by its x at the pivot's height and depth, its lean and its rotation."""
    x, lean, rotation = map(float, guess)
    return MidsagittalPlane(float(x - lean * pivot[2] - rotation * pivot[1]), lean, rotation)


def _find_cues(coarse: CoarseCase) -> list[_Cue]:
    cues = [_make_cue(coarse, coarse.labels == label, 1.0) for label in range(1, int(coarse.labels.max()) + 1)]
    cues.append(_make_cue(coarse, coarse.density_hu > _BONE_HU, _BONE_WEIGHT))
    cues = [cue for cue in cues if len(cue.points_mm) >= _FEWEST_BLOCKS]
    if not cues:
        body = _make_cue(coarse, coarse.density_hu > _BODY_HU, 1.0)
        cues = [body] if len(body.points_mm) >= _FEWEST_BLOCKS else []
    return cues


def _make_cue(coarse: CoarseCase, mask: np.ndarray, weight: float) -> _Cue:
    points = coarse.positions_mm(mask)
    return _Cue(points[:: max(1, math.ceil(len(points) / _MOST_POINTS))], mask, weight)


def _symmetry(
    cues: list[_Cue], coarse: CoarseCase, inverse: np.ndarray, blur_mm: float, smooth: bool
) -> Callable[[MidsagittalPlane], float]:
    """Function that scores a plane: weighted share of each blurred cue found again at its points' mirror images.

    ``smooth`` interpolates by cubic splines (linear ones would favour planes that mirror the grid onto itself),
    else the nearest block counts. A slight preference for an upright, unrotated plane settles what a short scan leaves
    open.
    """
    blur = blur_mm / coarse.spacing_mm
    fields = [gaussian_filter(cue.mask.astype(np.float32), blur, mode="constant") for cue in cues]
    if smooth:
        fields = [spline_filter(field, order=3, mode="constant") for field in fields]

    def sample(field: np.ndarray, points_mm: np.ndarray) -> float:
        index = points_mm @ inverse[:3, :3].T + inverse[:3, 3]
        if smooth:
            return float(map_coordinates(field, index.T, order=3, mode="constant", prefilter=False).mean())
        index = np.rint(index).astype(int)
        inside = ((index >= 0) & (index < field.shape)).all(axis=1)
        return float(field[tuple(index[inside].T)].sum()) / len(index)

    whole = [sample(field, cue.points_mm) for field, cue in zip(fields, cues, strict=True)]

    def score(plane: MidsagittalPlane) -> float:
        total = sum(
            cue.weight * sample(field, plane.mirror(cue.points_mm)) / norm
            for field, cue, norm in zip(fields, cues, whole, strict=True)
        )
        return total / sum(cue.weight for cue in cues) - 0.3 * plane.lean**2 - 0.03 * plane.rotation**2

    return score
