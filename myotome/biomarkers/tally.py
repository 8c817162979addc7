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
_LAMA, _NAMA, _RANGES = 2, 3, 4


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of one case; the side axis is (right, left), ``z`` the volume's own inferior-superior array index.

    Attributes
    ----------
    histogram : (labels, 2, bins) voxels per whole HU, from ``lowest_hu`` to the highest of the image (150 at least)
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
    """Count every labelled voxel once, by label, side, HU and slice: one histogram per slice holds all of it.

    HU that are not whole numbers are rounded to the nearest: the ranges (-30 | -29) are defined on whole HU.
    """
    image, affine = reorient(volume.array, volume.grid.affine)
    labels, _ = reorient(label_map.array, label_map.grid.affine)
    constant, slopes = plane.index_form(affine)
    across = constant + slopes[0] * np.arange(image.shape[0])[:, None] + slopes[1] * np.arange(image.shape[1])
    highest = int(np.clip(np.ceil(image.max()), MUSCLE_HU[1], _HIGHEST_HU))
    bins, codes, depth = highest - _LOWEST_HU + 1, 2 * label_map.schema.class_count, image.shape[2]
    in_range = _ranges(np.arange(_LOWEST_HU, highest + 1))
    muscle_hu = np.arange(_LOWEST_HU, highest + 1.0) * (in_range[_LAMA] + in_range[_NAMA])
    histogram = np.zeros((codes, bins), np.int64)
    ranges = np.zeros((depth, codes, _RANGES), np.int64)
    sums = np.zeros((depth, codes))
    contact = np.zeros((depth, codes, len(DIRECTIONS)), np.int64)
    padded = np.zeros(codes, np.int64)
    padding_value = find_padding_value(image)
    for z in range(depth):
        label = np.ascontiguousarray(labels[..., z])
        labelled = label > 0
        if not labelled.any():
            continue
        density = np.ascontiguousarray(image[..., z])
        sided = (2 * label + (across + slopes[2] * z < 0)) * labelled
        contact[z] = find_contacts(sided, density, padding_value, affine, codes)
        code, hu = sided[labelled], np.rint(density[labelled])
        measured = hu > PADDING_HU
        if not measured.all():
            padded += np.bincount(code[~measured], minlength=codes)
            code, hu = code[measured], hu[measured]
        place = code * np.int64(bins) + (hu.astype(np.int64).clip(max=highest) - _LOWEST_HU)
        counts = np.bincount(place, minlength=codes * bins).reshape(codes, bins)
        histogram += counts
        ranges[z] = counts @ in_range.T
        sums[z] = counts @ muscle_hu
    by_slice = slice(None, None, -1) if volume.grid.axis_codes[volume.grid.axis("IS")] == "I" else slice(None)
    return Tally(
        histogram.reshape(-1, 2, bins),
        ranges.reshape(depth, -1, 2, _RANGES)[by_slice],
        sums.reshape(depth, -1, 2)[by_slice],
        contact.reshape(depth, -1, 2, len(DIRECTIONS))[by_slice],
        padded.reshape(-1, 2),
    )


def _ranges(hu: np.ndarray) -> np.ndarray:
    """(4, bins) of 0 and 1: which of the four ranges each whole HU is in."""
    named = [(hu >= low) & (hu <= high) for low, high in (IMAT_HU, LAMA_HU, NAMA_HU)]
    return np.stack([~np.logical_or.reduce(named), *named]).astype(np.int64)
