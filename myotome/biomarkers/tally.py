"""One pass over the voxels of a case: everything that is counted, as whole numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    counter = _Counter(volume, label_map, plane)
    histogram, padded = counter.make_histogram(), 0
    with ThreadPoolExecutor(_thread_count()) as threads:
        slabs = [slice(start, start + _SLAB) for start in range(0, counter.depth, _SLAB)]
        for in_slab, padded_in_slab in threads.map(counter.count, slabs):
            histogram += in_slab
            padded += padded_in_slab
    by_slice = slice(None, None, -1) if volume.grid.axis_codes[volume.grid.axis("IS")] == "I" else slice(None)
    return Tally(
        histogram.reshape(-1, 2, histogram.shape[1]),
        counter.ranges.reshape(counter.depth, -1, 2, _RANGES)[by_slice],
        counter.sums.reshape(counter.depth, -1, 2)[by_slice],
        counter.contact.reshape(counter.depth, -1, 2, len(DIRECTIONS))[by_slice],
        padded.reshape(-1, 2),
    )


class _Counter:
    """Counts the slices of a case; each slab of them may be counted in a thread of its own.

    Attributes
    ----------
    depth : number of slices
    ranges, sums, contact : (depth, codes, ...) counts by slice as in `Tally`; a code is twice the label, and 1 on the
        left
    """

    def __init__(self, volume: Volume, label_map: LabelMap, plane: MidsagittalPlane) -> None:
        self._image, self._affine = reorient(volume.array, volume.grid.affine)
        self._labels, _ = reorient(label_map.array, label_map.grid.affine)
        constant, slopes = plane.index_form(self._affine)
        rows, columns, self.depth = self._image.shape
        across = constant + slopes[0] * np.arange(rows)[:, None] + slopes[1] * np.arange(columns)
        self._turned = abs(self._image.strides[0]) < abs(self._image.strides[1])
        self._across, self._lean = np.ascontiguousarray(self._lie(across)), slopes[2]
        self._highest = int(np.clip(np.ceil(self._image.max()), MUSCLE_HU[1], _HIGHEST_HU))
        self._padding_value = find_padding_value(self._image)
        self._codes = 2 * label_map.schema.class_count
        self.ranges = np.zeros((self.depth, self._codes, _RANGES), np.int64)
        self.sums = np.zeros((self.depth, self._codes))
        self.contact = np.zeros((self.depth, self._codes, len(DIRECTIONS)), np.int64)

    def make_histogram(self) -> np.ndarray:
        """(codes, bins) zeros."""
        return np.zeros((self._codes, self._highest - _LOWEST_HU + 1), np.int64)

    def count(self, slab: slice) -> tuple[np.ndarray, np.ndarray]:
        """Histogram, and padded voxels by code, of some slices; what is counted by slice goes to the attributes."""
        histogram, padded = self.make_histogram(), np.zeros(self._codes, np.int64)
        planes = _planes(self._labels[..., slab], self._image[..., slab], self._turned)
        for z, (label, density) in zip(range(self.depth)[slab], planes, strict=True):
            labelled = label > 0
            place = np.flatnonzero(labelled)
            if not place.size:
                continue
            code = ((label.astype(np.uint16) << 1) | (self._across < -self._lean * z)).take(place)
            self._count_contacts(z, code, labelled, density)
            hu = density.take(place)
            if hu.dtype != np.int16:
                hu = np.minimum(np.rint(hu), self._highest).astype(np.intp)
            if hu.min() <= PADDING_HU:
                measured = hu > PADDING_HU
                padded += np.bincount(code[~measured], minlength=self._codes)
                code, hu = code[measured], hu[measured]
                if not hu.size:
                    continue
            first, last = int(hu.min()), int(hu.max())
            width = last - first + 1
            starts = width * np.arange(self._codes) - first
            counts = np.bincount(starts.take(code) + hu, minlength=self._codes * width).reshape(-1, width)
            histogram[:, first - _LOWEST_HU : last - _LOWEST_HU + 1] += counts
            self.ranges[z], self.sums[z] = _sum_ranges(counts, first)
        return histogram, padded

    def _count_contacts(self, z: int, code: np.ndarray, labelled: np.ndarray, density: np.ndarray) -> None:
        masks = find_contacts(self._lie(labelled), self._lie(density), self._padding_value, self._affine)
        if masks is not None:
            at_edge = [code[self._lie(mask)[labelled]] for mask in masks]
            self.contact[z] = np.stack([np.bincount(touching, minlength=self._codes) for touching in at_edge], axis=1)

    def _lie(self, plane: np.ndarray) -> np.ndarray:
        """A slice as it lies in memory, and back."""
        return plane.T if self._turned else plane


def _planes(labels: np.ndarray, image: np.ndarray, turned: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels and HU of each axial slice as contiguous (x, y) arrays, or (y, x) where x runs fastest in memory."""
    order = (2, 1, 0) if turned else (2, 0, 1)
    yield from zip(*(np.ascontiguousarray(array.transpose(order)) for array in (labels, image)), strict=True)


def _thread_count() -> int:
    """Threads to count in: NumPy lets others run while it counts. A worker of a cohort is given its share."""
    share = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # a list where parallel regions are nested
    return max(1, int(share)) if share.isdigit() else len(os.sched_getaffinity(0))


def _sum_ranges(counts: np.ndarray, first_hu: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes, 4) voxels of each range, and (codes,) sums of the HU of muscle, from (codes, bins) counts."""
    hu = np.arange(first_hu, first_hu + counts.shape[1])

    def between(low: int, high: int) -> slice:
        return slice(*np.searchsorted(hu, (low, high + 1)))

    inside = [counts[:, between(*limits)].sum(axis=1) for limits in (IMAT_HU, LAMA_HU, NAMA_HU)]
    muscle = between(*MUSCLE_HU)
    return np.stack([counts.sum(axis=1) - sum(inside), *inside], axis=1), counts[:, muscle] @ hu[muscle].astype(float)
