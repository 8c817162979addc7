"""Every biomarker of every structure: one pass over the voxels against one pass per label, and whether they agree.

Both give, per structure and side: voxels (volume), mean, SD, median, four percentiles, and the numbers of voxels of fat
between the fibres, of low and of normal muscle. The one pass also counts them by slice, and contacts with the edge of
the field of view.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.runner import print_line, versions
from benchmarks.stopwatch import Stopwatch
from myotome.biomarkers.sides import MidsagittalPlane
from myotome.biomarkers.tally import IMAT_HU, LAMA_HU, NAMA_HU, count_voxels
from myotome.geometry import Volume
from myotome.io import read_volume
from myotome.structures import Code, LabelMap, LabelSchema, Structure

PERCENTILES = (5, 25, 75, 95)
RANGES_HU = (IMAT_HU, LAMA_HU, NAMA_HU)


def make_structures(volume: Volume, count: int) -> LabelMap:
    """The body cut into so many structures: sectors of rings that twist along the body."""
    x, y, z = (np.linspace(-1, 1, size, dtype=np.float32) for size in volume.array.shape)
    schema = _schema(count)
    labels = np.zeros_like(volume.array, dtype=np.uint8)  # as the volume lies in memory, like those of the inferers
    for k in range(labels.shape[2]):
        angle = np.arctan2(y[None, :], x[:, None]) + 0.4 * z[k]
        radius = np.hypot(x[:, None] / 0.8, y[None, :] / 0.6)
        rings = max(1, round(count / 10))
        ring = np.minimum((radius * rings).astype(np.int16), rings)
        sectors = -(-count // rings)
        sector = ((angle / (2 * np.pi) % 1) * sectors).astype(np.int16)
        index = ring * sectors + sector + 1
        inside = (radius < 1) & (volume.array[:, :, k] > -300) & (index <= count)
        labels[:, :, k] = np.where(inside, index, 0)
    return LabelMap(labels, volume.grid, schema)


def _schema(count: int) -> LabelSchema:
    code = Code("85756007", "SCT", "Tissue")
    return LabelSchema(
        "many",
        tuple(Structure(i, f"structure_{i}", f"Structure {i}", code, code, (255, 0, 0)) for i in range(1, count + 1)),
    )


def measure_once(volume: Volume, label_map: LabelMap, plane: MidsagittalPlane) -> np.ndarray:
    """(structures, 2 sides, 11) values from one pass."""
    tally = count_voxels(volume, label_map, plane)
    histograms = np.asarray(tally.histogram)[1:]
    values = [[_describe_counts(side, tally.lowest_hu) for side in structure] for structure in histograms]
    return np.array(values)


def measure_by_masks(volume: Volume, label_map: LabelMap, plane: MidsagittalPlane) -> np.ndarray:
    """The same values from one mask per structure, as is common; the sides' mask is made once.

    In C order, which masks are quickest in: NumPy takes ten times as long to index by one in the order of a NIfTI.
    """
    constant, slopes = plane.index_form(volume.grid.affine)
    i, j, k = np.ogrid[tuple(slice(size) for size in volume.array.shape)]
    left = constant + slopes[0] * i + slopes[1] * j + slopes[2] * k < 0
    structures = [s.index for s in label_map.schema.structures]
    return np.array([list(_describe_mask(volume.array, label_map.array, left, index)) for index in structures])


def _describe_mask(image: np.ndarray, labels: np.ndarray, left: np.ndarray, index: int) -> Iterator[list[float]]:
    mask = labels == index
    for side in (mask & ~left, mask & left):
        hu = image[side]
        shares = [np.count_nonzero((hu >= low) & (hu <= high)) for low, high in RANGES_HU]
        if hu.size == 0:
            yield [0.0] * (4 + len(PERCENTILES) + len(shares))
            continue
        hu = hu.astype(np.float64)
        yield [hu.size, hu.mean(), hu.std(), np.median(hu), *np.percentile(hu, PERCENTILES), *shares]


def _describe_counts(counts: np.ndarray, lowest_hu: int) -> list[float]:
    bins = np.flatnonzero(counts)
    shares = [counts[low - lowest_hu : high - lowest_hu + 1].sum() for low, high in RANGES_HU]
    if bins.size == 0:
        return [0.0] * (4 + len(PERCENTILES) + len(shares))
    counts, hu = counts[bins], bins + lowest_hu
    total = int(counts.sum())
    mean = float(counts @ hu) / total
    sd = float(np.sqrt(counts @ (hu - mean) ** 2 / total))
    rank = np.array((50, *PERCENTILES)) / 100 * (total - 1)
    below = np.cumsum(counts)
    lower, upper = (hu[np.searchsorted(below, place(rank), side="right")] for place in (np.floor, np.ceil))
    return [total, mean, sd, *(lower + (upper - lower) * (rank - np.floor(rank))), *shares]


def _timed(run, *arguments) -> tuple[np.ndarray, float]:
    begun = time.perf_counter()
    values = run(*arguments)
    return values, time.perf_counter() - begun


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="NIfTI image")
    parser.add_argument("--structures", type=int, default=20)
    options = parser.parse_args()
    volume = read_volume(options.image)
    label_map = make_structures(volume, options.structures)
    middle = volume.grid.affine @ np.append((np.array(volume.array.shape) - 1) / 2, 1)
    plane = MidsagittalPlane(float(middle[0]) + 0.1, lean=0.02)
    in_c_order = (
        Volume(np.ascontiguousarray(volume.array), volume.grid),
        LabelMap(np.ascontiguousarray(label_map.array), label_map.grid, label_map.schema),
    )
    clock = Stopwatch()
    clock.start()
    once, once_s = _timed(measure_once, volume, label_map, plane)
    masks, masks_s = _timed(measure_by_masks, *in_c_order, plane)
    again, again_s = _timed(measure_once, volume, label_map, plane)
    line = clock.stop()
    line |= {
        "once_s": round(again_s, 4),
        "once_first_s": round(once_s, 4),
        "masks_s": round(masks_s, 4),
        "ratio": round(masks_s / again_s, 3),
        "labelled_share": round(float(np.count_nonzero(label_map.array) / label_map.array.size), 4),
        "counts_equal": bool(np.array_equal(once[..., [0, 8, 9, 10]], masks[..., [0, 8, 9, 10]])),
        "largest_difference_hu": float(np.abs(once[..., 1:8] - masks[..., 1:8]).max()),
    }
    print_line({**line, "versions": versions(("numpy",))})
