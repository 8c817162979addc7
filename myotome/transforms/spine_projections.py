"""A CT seen from the front and from the side, about the spine: what tells the vertebral levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from myotome.geometry import reorient
from myotome.transforms.planes import make_resampling

__all__ = ["PROJECTION_MM", "PROJECTION_SIZE", "SpineProjections", "project_spine"]

PROJECTION_MM = 3.0
PROJECTION_SIZE = 64  # bins across: 192 mm
_BONE_HU = (80.0, 680.0)
_BODY_HU = -300.0
_SPINE_BINS = 10  # 30 mm: a vertebral body with its arch, wider than the bones of an arm
_MIDDLE_SHARE = 0.25  # the spine lies within this part of the body's width to either side of its middle
_CORONAL_BINS, _SAGITTAL_BINS = 18, 9  # to either side of the spine: 54 mm in depth, 27 mm in width


@dataclass(frozen=True, eq=False)
class SpineProjections:
    """``array`` (5, 64, Z) float32, lowest z first, and the patient's z of the first bin; bins are 3 mm apart.

    Channels are the coronal maximum and mean (across: the patient's left to right), the sagittal maximum and mean
    (across: back to front) of bone, 80 to 680 HU scaled to [0, 1], and ones.
    """

    array: np.ndarray
    first_mm: float

    def z_mm(self, position: float) -> float:
        """Patient z of a position in bins."""
        return self.first_mm + PROJECTION_MM * position


def project_spine(array: np.ndarray, affine: np.ndarray) -> SpineProjections:
    """Project the bone around the spine.

    The spine is where the mean of bone along z, over 30 mm, is largest in the middle half of the body. Maxima and means
    are taken over 54 mm of depth before and behind it, and over 27 mm of width beside it.

    Parameters
    ----------
    array : (X, Y, Z) in HU, axes in any order
    affine : (4, 4) voxel indices to patient mm, RAS+
    """
    image, turned = reorient(array, affine)
    spacing = np.linalg.norm(turned[:3, :3], axis=0)
    counts = [max(1, round(size * step / PROJECTION_MM)) for size, step in zip(image.shape, spacing, strict=True)]
    across, back, along = (
        make_resampling(count, size, PROJECTION_MM / step)
        for count, size, step in zip(counts, image.shape, spacing, strict=True)
    )
    bone, body = np.empty((image.shape[2], counts[0], counts[1]), np.float32), np.zeros(counts[:2], np.float32)
    low, high = _BONE_HU
    for index in range(image.shape[2]):
        plane = image[..., index].astype(np.float32)
        bone[index] = across @ ((plane - low) / (high - low)).clip(0, 1) @ back.T
        body += across @ (plane > _BODY_HU).astype(np.float32) @ back.T
    x, y = _find_spine(bone.mean(axis=0), body / image.shape[2])
    coronal = _window(bone, y, _CORONAL_BINS, axis=2)
    sagittal = _window(bone, x, _SAGITTAL_BINS, axis=1)
    views = [
        _window(coronal.max(axis=2), x, PROJECTION_SIZE // 2, axis=1),
        _window(coronal.mean(axis=2), x, PROJECTION_SIZE // 2, axis=1),
        _window(sagittal.max(axis=1), y, PROJECTION_SIZE // 2, axis=1),
        _window(sagittal.mean(axis=1), y, PROJECTION_SIZE // 2, axis=1),
    ]
    found = np.stack([(along @ view).T for view in views] + [np.ones((PROJECTION_SIZE, counts[2]), np.float32)])
    middle = turned[:3, :3] @ np.array([(size - 1) / 2 for size in image.shape]) + turned[:3, 3]
    return SpineProjections(found.astype(np.float32).clip(0, 1), float(middle[2]) - PROJECTION_MM * (counts[2] - 1) / 2)


def _find_spine(bone: np.ndarray, body: np.ndarray) -> tuple[int, int]:
    """Bins of the spine's middle in the (x, y) mean of bone along z."""
    columns = np.flatnonzero((body > 0.5).any(axis=1))
    left, right = (columns[0], columns[-1] + 1) if columns.size else (0, bone.shape[0])
    middle, reach = (left + right) / 2, _MIDDLE_SHARE * (right - left)
    smooth = uniform_filter(bone, _SPINE_BINS, mode="constant")
    beside = np.abs(np.arange(bone.shape[0]) - middle) > reach
    smooth[beside] = 0
    if not smooth.any():
        return int(middle), bone.shape[1] // 2
    x, y = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return int(x), int(y)


def _window(array: np.ndarray, centre: int, half: int, axis: int) -> np.ndarray:
    """``2 * half`` entries along an axis from ``centre - half`` on; zeros where there are none."""
    size = array.shape[axis]
    first, end = centre - half, centre + half
    part = [slice(None)] * array.ndim
    part[axis] = slice(max(0, first), max(0, min(size, end)))
    margins = [(0, 0)] * array.ndim
    margins[axis] = (min(2 * half, max(0, -first)), min(2 * half, max(0, end - size)))
    return np.pad(array[tuple(part)], margins)
