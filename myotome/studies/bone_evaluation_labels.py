"""Another program's 117 structures of a CT as labels of bone density, as far as it has what is needed.

Its vertebrae are whole, with arch and processes; bodies are what lies in front of the spinal canal. It has no air, no
compact bone by itself, and no fat in its 117 structures: air is what lies outside the skin, fat, where there is no mask
of it, what has the HU of fat close under the skin, and compact bone is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import binary_fill_holes, binary_opening, distance_transform_edt
from scipy.ndimage import label as label_components

from myotome.biomarkers.bone_density import SCHEMA
from myotome.errors import InputError
from myotome.geometry import Grid, Volume, reorient
from myotome.structures import LabelMap, read_label_schema

__all__ = ["convert_117"]

# Numbers of the 117 structures (TotalSegmentator's order).
_VERTEBRAE = dict(zip(("l3", "l2", "l1", "t12", "t11", "t10", "t9", "t8"), range(29, 37), strict=True))
_CORD, _AORTA, _BACK_MUSCLES = 79, 52, (86, 87)
_CANAL_MM = 3.0  # from the front of the cord to the front of the canal
_NO_BODY_HU, _FAT_HU, _FAT_DEPTH_MM = -500, (-190, -30), 15.0


def convert_117(volume: Volume, labels: np.ndarray, fat: np.ndarray | None = None) -> tuple[Volume, LabelMap]:
    """The image and its labels of ``bone_density_ct``, both in RAS order.

    Parameters
    ----------
    volume : CT in HU, of any axis order
    labels : of its shape, in the numbering of the 117 structures
    fat : of its shape, not 0 in subcutaneous fat; by HU and depth under the skin when ``None``

    Returns
    -------
    volume, label map
        Vertebrae without spinal cord in any of their slices have no label, since their body cannot be told.

    Raises
    ------
    InputError
        When labels or fat are not of the image's shape.
    """
    for array in (labels, fat):
        if array is not None and array.shape != volume.grid.shape:
            raise InputError(f"labels of shape {array.shape} are not on the image's grid, {volume.grid.shape}.")
    image, affine = reorient(volume.array, volume.grid.affine)
    grid = Grid(image.shape, affine)
    found = reorient(labels, volume.grid.affine)[0]
    schema = read_label_schema(SCHEMA)
    index = {structure.name: structure.index for structure in schema.structures}
    outside = np.stack([_find_outside(image[..., z]) for z in range(image.shape[2])], axis=2)
    under = _find_fat(image, outside, grid) if fat is None else reorient(fat, volume.grid.affine)[0] > 0
    out = np.zeros(image.shape, np.uint8)
    out[outside] = index["air"]
    out[under & ~outside] = index["subcutaneous_fat"]
    out[np.isin(found, _BACK_MUSCLES)] = index["erector_spinae"]
    out[found == _AORTA] = index["aorta"]
    out[np.isin(found, list(_VERTEBRAE.values()))] = 0
    for level, body in _find_bodies(found, grid.spacing_mm).items():
        out[body] = index[f"vertebral_body_{level}"]
    return Volume(np.ascontiguousarray(image), grid, "CT", volume.acquisition), LabelMap(out, grid, schema)


def _find_outside(plane: np.ndarray) -> np.ndarray:
    """What of a slice lies outside its largest thing and is no thing of its own, such as a table."""
    parts, count = label_components(plane > _NO_BODY_HU)
    if not count:
        return np.ones(plane.shape, bool)
    body = binary_fill_holes(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))
    return ~body & (parts == 0)


def _find_fat(image: np.ndarray, outside: np.ndarray, grid: Grid) -> np.ndarray:
    """HU of fat, at most 15 mm under the skin."""
    low, high = _FAT_HU
    depth = [distance_transform_edt(~outside[..., z], sampling=grid.spacing_mm[:2]) for z in range(image.shape[2])]
    return (image >= low) & (image <= high) & (np.stack(depth, axis=2) <= _FAT_DEPTH_MM)


def _find_bodies(found: np.ndarray, spacing_mm: tuple[float, float, float]) -> Mapping[str, np.ndarray]:
    """(X, Y, Z) of each vertebral body: the largest part of a vertebra in front of the canal, thin processes opened."""
    cord = found == _CORD
    shown = np.flatnonzero(cord.any(axis=(0, 1)))
    bodies = {}
    for level, number in _VERTEBRAE.items():
        vertebra = found == number
        slices = np.flatnonzero(vertebra.any(axis=(0, 1)))
        if not np.isin(slices, shown).any():
            continue
        front = np.zeros_like(vertebra)
        for z in slices:
            nearest = shown[np.argmin(np.abs(shown - z))]
            edge = np.flatnonzero(cord[..., nearest].any(axis=0))[-1] + round(_CANAL_MM / spacing_mm[1])
            front[:, edge + 1 :, z] = vertebra[:, edge + 1 :, z]
        front = binary_opening(front, np.ones((3, 3, 1)))
        parts, count = label_components(front)
        if count:
            bodies[level] = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return bodies
