"""Distances between the surfaces of two masks, in mm: one expensive function, many cheap readers.

A surface is made of elements, one per 2 x 2 (x 2) neighbourhood of voxels that is neither all inside nor all outside,
weighted by the length (area) of the marching-cubes surface in it. This is the sub-voxel convention of Nikolov et al.
(JMIR 2021, ``surface-distance``) and of ``monai.metrics`` with ``use_subvoxels=True``, whose tables are used; every
mean, share and percentile here is weighted by area. Elements lie at the corners of voxels, so that oblique surfaces
come out up to half a voxel nearer than they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import distance_transform_edt

__all__ = [
    "SurfaceDistances",
    "compute_assd",
    "compute_hausdorff",
    "compute_nsd",
    "compute_rms_dta",
    "compute_surface_distances",
]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance (mm) from each element of one surface to the other surface, and the size of each element.

    ``reference_mm`` runs from the reference to the prediction, ``prediction_mm`` the other way; sizes are in mm2, in mm
    for contours. A mask without a surface has no elements; the other's distances are then infinite.
    """

    reference_mm: np.ndarray
    reference_size: np.ndarray
    prediction_mm: np.ndarray
    prediction_size: np.ndarray

    @property
    def defined(self) -> bool:
        """True when both masks have a surface."""
        return self.reference_mm.size > 0 and self.prediction_mm.size > 0

    @staticmethod
    def join(parts: list[SurfaceDistances]) -> SurfaceDistances:
        """Pool the distances of several slices or regions."""
        names = ("reference_mm", "reference_size", "prediction_mm", "prediction_size")
        return SurfaceDistances(*(np.concatenate([np.empty(0), *(getattr(p, name) for p in parts)]) for name in names))


def compute_surface_distances(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, ...], ignore: np.ndarray | None = None
) -> SurfaceDistances:
    """Distances between the surfaces of two boolean masks.

    Parameters
    ----------
    reference, prediction : boolean arrays of one shape, two- or three-dimensional
    spacing_mm : one per axis
    ignore : mask of voxels that are not annotated; surface elements that touch one count for neither mask
    """
    box = _bounding_box(reference | prediction)
    if box is None:
        return SurfaceDistances(*(np.empty(0) for _ in range(4)))
    sizes = _element_sizes(tuple(float(step) for step in spacing_mm))
    allowed = None if ignore is None else _neighbour_codes(np.pad(ignore[box], 1)) == 0
    found = []
    for mask in (reference, prediction):
        codes = _neighbour_codes(np.pad(mask[box], 1))
        surface = (codes > 0) & (codes < len(sizes) - 1)
        if allowed is not None:
            surface &= allowed
        found.append((surface, sizes[codes[surface]]))
    (in_reference, reference_size), (in_prediction, prediction_size) = found
    return SurfaceDistances(
        _distance_to(in_prediction, spacing_mm)[in_reference],
        reference_size,
        _distance_to(in_reference, spacing_mm)[in_prediction],
        prediction_size,
    )


def compute_nsd(distances: SurfaceDistances, tolerance_mm: float) -> float | None:
    """Normalized surface distance (surface Dice): share of both surfaces within the tolerance of the other one.

    ``None`` when neither mask has a surface, 0 when only one has.
    """
    total = distances.reference_size.sum() + distances.prediction_size.sum()
    if total == 0:
        return None
    near = distances.reference_size[distances.reference_mm <= tolerance_mm].sum()
    near += distances.prediction_size[distances.prediction_mm <= tolerance_mm].sum()
    return float(near / total)


def compute_hausdorff(distances: SurfaceDistances, percent: float = 95.0) -> float | None:
    """Larger of the two directed percentiles of distance (mm); at 100 the Hausdorff distance; ``None`` if undefined."""
    if not distances.defined:
        return None
    directed = (
        _weighted_percentile(distances.reference_mm, distances.reference_size, percent),
        _weighted_percentile(distances.prediction_mm, distances.prediction_size, percent),
    )
    return max(directed)


def compute_assd(distances: SurfaceDistances) -> float | None:
    """Average symmetric surface distance (mm): mean over both surfaces together. ``None`` if not defined."""
    if not distances.defined:
        return None
    values, sizes = _both(distances)
    return float(np.average(values, weights=sizes))


def compute_rms_dta(distances: SurfaceDistances) -> float | None:
    """Root mean square distance to agreement (mm), ``sqrt(mean d^2)`` over both surfaces. ``None`` if not defined."""
    if not distances.defined:
        return None
    values, sizes = _both(distances)
    return float(np.sqrt(np.average(values**2, weights=sizes)))


def _both(distances: SurfaceDistances) -> tuple[np.ndarray, np.ndarray]:
    values = np.concatenate([distances.reference_mm, distances.prediction_mm])
    return values, np.concatenate([distances.reference_size, distances.prediction_size])


def _weighted_percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    place = np.searchsorted(cumulative, cumulative[-1] * percent / 100)
    return float(values[order][min(place, len(values) - 1)])


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    box = []
    for axis in range(mask.ndim):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if used.size == 0:
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """One bit per voxel of each 2 x 2 (x 2) neighbourhood, the first voxel highest; one shorter along each axis."""
    corners = list(np.ndindex(*(2,) * mask.ndim))
    codes = np.zeros([size - 1 for size in mask.shape], np.uint8)
    for bit, corner in enumerate(reversed(corners)):
        view = mask[tuple(slice(at, at + size - 1) for at, size in zip(corner, mask.shape, strict=True))]
        codes |= view.astype(np.uint8) << np.uint8(bit)
    return codes


def _distance_to(surface: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    if not surface.any():
        return np.full(surface.shape, np.inf)
    return distance_transform_edt(~surface, sampling=spacing_mm)


@cache
def _element_sizes(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Area (or length) of the surface in each neighbourhood code, from MONAI's tables; torch is loaded here, at use."""
    from monai.metrics.utils import get_code_to_measure_table

    table, _ = get_code_to_measure_table(list(spacing_mm))
    return table.numpy().astype(float)
