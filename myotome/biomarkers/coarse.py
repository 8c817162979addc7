"""A volume in blocks of a few millimetres: enough to see bone, blood and symmetry, at a hundredth of the size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.geometry import Volume, reorient
from myotome.structures import LabelMap

__all__ = ["BLOCK_MM", "CoarseCase", "make_coarse_case"]

BLOCK_MM = 5.0
_LOWEST_HU, _HIGHEST_HU = -1024, 3071


@dataclass(frozen=True, eq=False)
class CoarseCase:
    """Block means of a volume and the label at each block's centre, in RAS order.

    ``density_hu`` and ``labels`` share one shape; ``affine`` takes block indices to patient millimetres.
    """

    density_hu: np.ndarray
    labels: np.ndarray
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def positions_mm(self, mask: np.ndarray) -> np.ndarray:
        """(N, 3) patient positions of the blocks in a mask."""
        return np.argwhere(mask) @ self.affine[:3, :3].T + self.affine[:3, 3]


def make_coarse_case(volume: Volume, label_map: LabelMap) -> CoarseCase:
    """Average a volume over blocks of about 5 mm, a slab of slices at a time.

    Values are clipped to -1024..3071 HU first, so that padding outside the reconstruction circle counts as air. Voxels
    that do not fill a block at the far end of an axis are left out.
    """
    image, affine = reorient(volume.array, volume.grid.affine)
    labels, _ = reorient(label_map.array, label_map.grid.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factors = np.minimum(np.maximum(1, np.round(BLOCK_MM / spacing).astype(int)), image.shape)
    counts = np.array(image.shape) // factors
    density = np.empty(counts, np.float32)
    (fx, fy, fz), (nx, ny, nz) = factors, counts
    for block in range(nz):
        slab = image[: nx * fx, : ny * fy, block * fz : (block + 1) * fz].clip(_LOWEST_HU, _HIGHEST_HU)
        density[..., block] = slab.reshape(nx, fx, ny, fy, fz).mean(axis=(1, 3, 4), dtype=np.float32)
    starts = factors // 2
    picked = labels[tuple(slice(s, s + n * f, f) for s, n, f in zip(starts, counts, factors, strict=True))]
    coarse_affine = affine.copy()
    coarse_affine[:3, :3] = affine[:3, :3] * factors
    coarse_affine[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factors - 1) / 2)
    return CoarseCase(density, np.ascontiguousarray(picked[:nx, :ny, :nz]), coarse_affine)
