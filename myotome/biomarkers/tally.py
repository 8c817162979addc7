"""One pass over the voxels of a case: everything that is counted, as whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
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
_RANGES = 4
_SLAB = 32


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
    codes, depth = 2 * label_map.schema.class_count, image.shape[2]
    bins = highest - _LOWEST_HU + 1
    histogram = np.zeros((codes, bins), np.int64)
    ranges = np.zeros((depth, codes, _RANGES), np.int64)
    sums = np.zeros((depth, codes))
    contact = np.zeros((depth, codes, len(DIRECTIONS)), np.int64)
    padded = np.zeros(codes, np.int64)
    padding_value = find_padding_value(image)
    turned = abs(image.strides[0]) < abs(image.strides[1])

    def lie(plane: np.ndarray) -> np.ndarray:
        return plane.T if turned else plane

    across = np.ascontiguousarray(lie(across))
    for z, (label, density) in enumerate(_planes(labels, image, turned)):
        labelled = label > 0
        place = np.flatnonzero(labelled)
        if not place.size:
            continue
        code = 2 * label.take(place).astype(np.intp) + (across < -slopes[2] * z).take(place)
        contacts = find_contacts(lie(labelled), lie(density), padding_value, affine)
        if contacts is not None:
            at_edge = [code[lie(mask)[labelled]] for mask in contacts]
            contact[z] = np.stack([np.bincount(touching, minlength=codes) for touching in at_edge], axis=1)
        hu = np.rint(density.take(place))
        measured = hu > PADDING_HU
        if not measured.all():
            padded += np.bincount(code[~measured], minlength=codes)
            code, hu = code[measured], hu[measured]
        if not hu.size:
            continue
        column = np.minimum(hu, highest).astype(np.intp) - _LOWEST_HU
        first, width = int(column.min()), int(np.ptp(column)) + 1
        counts = np.bincount(code * width + (column - first), minlength=codes * width).reshape(codes, width)
        histogram[:, first : first + width] += counts
        ranges[z], sums[z] = _sum_ranges(counts, first + _LOWEST_HU)
    by_slice = slice(None, None, -1) if volume.grid.axis_codes[volume.grid.axis("IS")] == "I" else slice(None)
    return Tally(
        histogram.reshape(-1, 2, bins),
        ranges.reshape(depth, -1, 2, _RANGES)[by_slice],
        sums.reshape(depth, -1, 2)[by_slice],
        contact.reshape(depth, -1, 2, len(DIRECTIONS))[by_slice],
        padded.reshape(-1, 2),
    )


def _planes(labels: np.ndarray, image: np.ndarray, turned: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels and HU of each axial slice as contiguous (x, y) arrays, or (y, x) where x runs fastest in memory."""
    order = (2, 1, 0) if turned else (2, 0, 1)
    labels, image = labels.transpose(order), image.transpose(order)
    for start in range(0, len(image), _SLAB):
        slab = slice(start, start + _SLAB)
        yield from zip(np.ascontiguousarray(labels[slab]), np.ascontiguousarray(image[slab]), strict=True)


def _sum_ranges(counts: np.ndarray, first_hu: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes, 4) voxels of each range, and (codes,) sums of the HU of muscle, from (codes, bins) counts."""
    hu = np.arange(first_hu, first_hu + counts.shape[1])

    def between(low: int, high: int) -> slice:
        return slice(*np.searchsorted(hu, (low, high + 1)))

    inside = [counts[:, between(*limits)].sum(axis=1) for limits in (IMAT_HU, LAMA_HU, NAMA_HU)]
    muscle = between(*MUSCLE_HU)
    return np.stack([counts.sum(axis=1) - sum(inside), *inside], axis=1), counts[:, muscle] @ hu[muscle].astype(float)
