"""One pass over the voxels of a case: everything that is counted, as whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.biomarkers.flags import DIRECTIONS, PADDING_HU, find_contacts, find_padding_value
from myotome.biomarkers.sides import MidsagittalPlane
from myotome.geometry import Volume, reorient
from myotome.structures import LabelMap

__all__ = ["IMAT_HU", "LAMA_HU", "MUSCLE_HU", "NAMA_HU", "Tally", "count_voxels"]

MUSCLE_HU = (-29, 150)
NAMA_HU = (30, 150)
LAMA_HU = (-29, 29)
IMAT_HU = (-190, -30)

_LOWEST_HU = PADDING_HU + 1
_HIGHEST_HU = 32767
_BINS = _HIGHEST_HU - _LOWEST_HU + 1
_SLAB = 32
_OTHER, _IMAT, _LAMA, _NAMA, _RANGES = 0, 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of one case; the side axis is (right, left), ``z`` the volume's own inferior-superior array index.

    Attributes
    ----------
    histogram : (labels, 2, bins) voxels per whole HU, the first bin is ``lowest_hu``
    ranges : (z, labels, 2, 4) voxels per slice outside all ranges, IMAT, LAMA and NAMA
    muscle_hu_sum : (z, labels, 2) sum of the HU of voxels of -29..150 HU per slice
    contact : (z, labels, 2, 4) faces that touch the edge of the field of view towards right, left, anterior, posterior
    padded : (labels, 2) labelled voxels that hold no measured value (-1500 HU or below); counted nowhere else
    """

    histogram: np.ndarray
    ranges: np.ndarray
    muscle_hu_sum: np.ndarray
    contact: np.ndarray
    padded: np.ndarray
    lowest_hu: int = _LOWEST_HU


def count_voxels(volume: Volume, label_map: LabelMap, plane: MidsagittalPlane) -> Tally:
    """Count every labelled voxel once, by label, side, HU and slice, a slab of slices at a time.

    HU that are not whole numbers are rounded to the nearest: the ranges (-30 | -29) are defined on whole HU.
    """
    image, affine = reorient(volume.array, volume.grid.affine)
    labels, _ = reorient(label_map.array, label_map.grid.affine)
    constant, slopes = plane.index_form(affine)
    codes = 2 * label_map.schema.class_count
    depth = image.shape[2]
    histogram = np.zeros(codes * _BINS, np.int64)
    ranges = np.zeros((depth, codes, _RANGES), np.int64)
    sums = np.zeros((depth, codes))
    contact = np.zeros((depth, codes, len(DIRECTIONS)), np.int64)
    padded = np.zeros(codes, np.int64)
    padding_value = find_padding_value(image)
    range_of_bin = _range_of_bin()
    for start in range(0, depth, _SLAB):
        slab = np.ascontiguousarray(labels[..., start : start + _SLAB])
        i, j, k = np.nonzero(slab)
        if i.size == 0:
            continue
        density = np.rint(image[..., start : start + _SLAB][i, j, k]).astype(np.int32)
        left = constant + slopes[0] * i + slopes[1] * j + slopes[2] * (k + start) < 0
        code = 2 * slab[i, j, k].astype(np.int64) + left
        for z in np.unique(k):
            chosen = k == z
            sided = np.zeros(slab.shape[:2], np.uint8)
            sided[i[chosen], j[chosen]] = code[chosen]
            contact[start + z] = find_contacts(sided, image[..., start + z], padding_value, affine, codes)
        measured = density > PADDING_HU
        padded += np.bincount(code[~measured], minlength=codes)
        code, k = code[measured], k[measured] + start
        bins = np.minimum(density[measured], _HIGHEST_HU) - _LOWEST_HU
        histogram += np.bincount(code * _BINS + bins, minlength=histogram.size)
        kind = range_of_bin[bins]
        ranges += np.bincount((k * codes + code) * _RANGES + kind, minlength=ranges.size).reshape(ranges.shape)
        muscle = kind >= _LAMA
        flat = np.bincount((k * codes + code)[muscle], bins[muscle] + float(_LOWEST_HU), minlength=sums.size)
        sums += flat.reshape(sums.shape)
    by_slice = slice(None, None, -1) if volume.grid.axis_codes[volume.grid.axis("IS")] == "I" else slice(None)
    return Tally(
        histogram.reshape(-1, 2, _BINS),
        ranges.reshape(depth, -1, 2, _RANGES)[by_slice],
        sums.reshape(depth, -1, 2)[by_slice],
        contact.reshape(depth, -1, 2, len(DIRECTIONS))[by_slice],
        padded.reshape(-1, 2),
    )


def _range_of_bin() -> np.ndarray:
    hu = np.arange(_LOWEST_HU, _HIGHEST_HU + 1)
    kinds = np.full(_BINS, _OTHER, np.int64)
    for kind, (low, high) in ((_IMAT, IMAT_HU), (_LAMA, LAMA_HU), (_NAMA, NAMA_HU)):
        kinds[(hu >= low) & (hu <= high)] = kind
    return kinds
