"""Which slices show a label map best, and how to cut them from a volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_opening
from scipy.ndimage import label as label_components

from myotome.geometry import Upright, Volume, reorient
from myotome.structures import LabelMap

__all__ = [
    "Case",
    "Cut",
    "choose_axial",
    "choose_coronal",
    "choose_sagittal",
    "choose_window",
    "cut",
    "cut_upright",
    "make_case",
]

_BODY_HU = -500
_MARGIN_MM = 10.0
_COARSE_MM = 4.0
_SEEN_MM = 2.0
_HEIGHTS = (0.82, 0.5, 0.18)
_OPPOSITE = dict(zip("LRPAIS", "RLAPSI", strict=True))
_SHOWN_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True, eq=False)
class Case:
    """Image and labels in RAS order, cropped to the body in the axial plane."""

    image: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]
    slice_numbers: np.ndarray


@dataclass(frozen=True, eq=False)
class Cut:
    """One plane, ready to show: rows run down the screen, the patient's right lies on the viewer's left."""

    image: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float]
    edges: tuple[str, str, str, str]


def make_case(volume: Volume, label_map: LabelMap) -> Case:
    """Views of a volume and its labels in RAS order, cropped in plane to the body with a margin of 10 mm."""
    image, affine = reorient(volume.array, volume.grid.affine)
    labels, _ = reorient(label_map.array, volume.grid.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    body = _find_body(image, spacing)
    box = []
    for axis in (0, 1):
        others = (1 - axis, 2)
        used = np.flatnonzero((labels > 0).any(axis=others) | body.any(axis=others)[: image.shape[axis]])
        margin = int(np.ceil(_MARGIN_MM / spacing[axis]))
        low, high = (used[0], used[-1]) if used.size else (0, image.shape[axis] - 1)
        box.append(slice(max(0, low - margin), high + margin + 1))
    numbers = np.arange(image.shape[2])
    if "I" in volume.grid.axis_codes:
        numbers = numbers[::-1]
    return Case(image[*box], labels[*box], tuple(float(s) for s in spacing), numbers)


def _find_body(image: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Mask (x, y, 1) of the body in plane: the largest object once thin ones, such as the table, are gone."""
    steps = np.maximum(1, np.round(_COARSE_MM / spacing)).astype(int)
    coarse = image[:: steps[0], :: steps[1], :: steps[2]] > _BODY_HU
    opened = binary_opening(coarse, np.ones((4, 4, 1), bool))
    components, count = label_components(opened)
    if count == 0:
        return np.zeros((*image.shape[:2], 1), bool)
    body = components == 1 + np.argmax(np.bincount(components.ravel())[1:])
    return np.repeat(np.repeat(body.any(axis=2, keepdims=True), steps[0], axis=0), steps[1], axis=1)


def choose_axial(case: Case) -> list[int]:
    """Three axial slices, top to bottom: near 82, 50 and 18 % of the labelled height, each where most is labelled."""
    area = np.count_nonzero(case.labels, axis=(0, 1))
    used = np.flatnonzero(area)
    depth = case.labels.shape[2]
    low, high = (used[0], used[-1]) if used.size else (0, depth - 1)
    chosen = []
    for height in _HEIGHTS:
        middle = low + height * (high - low)
        reach = 0.08 * (high - low)
        near = np.flatnonzero(np.abs(np.arange(depth) - middle) <= max(reach, 0.5))
        if not area[near].any() and used.size:
            near = used[np.abs(used - middle) == np.abs(used - middle).min()]
        chosen.append(int(near[np.argmax(area[near])]) if used.size else round(float(middle)))
    return chosen


def choose_coronal(case: Case) -> int:
    """The coronal plane with most labelled structures, the rarest counting as much as the largest."""
    return _choose(case, 1)


def choose_sagittal(case: Case) -> int:
    """The sagittal plane right of the middle with most labelled structures, the rarest counting as the largest."""
    middle = case.labels.shape[0] // 2
    return middle + _choose(Case(case.image, case.labels[middle:], case.spacing_mm, case.slice_numbers), 0)


def _choose(case: Case, axis: int) -> int:
    """By what is labelled at every second millimetre of a plane."""
    others = tuple(other for other in range(3) if other != axis)
    steps = [1 if other == axis else max(1, round(_SEEN_MM / case.spacing_mm[other])) for other in range(3)]
    labels = case.labels[tuple(slice(None, None, step) for step in steps)]
    score = np.zeros(labels.shape[axis])
    for label in range(1, int(labels.max()) + 1):
        area = np.count_nonzero(labels == label, axis=others)
        score += np.sqrt(area / max(1, area.max()))
    return int(np.argmax(score)) if score.any() else labels.shape[axis] // 2


def cut(case: Case, axis: int, index: int) -> Cut:
    """The plane at an index: axial seen from the feet, coronal from the front, sagittal from the patient's right.

    Sagittal: anterior lies on the viewer's left.
    """
    x_mm, y_mm, z_mm = case.spacing_mm
    spacing, edges = {
        2: ((y_mm, x_mm), ("R", "L", "A", "P")),
        1: ((z_mm, x_mm), ("R", "L", "S", "I")),
        0: ((z_mm, y_mm), ("A", "P", "S", "I")),
    }[axis]
    planes = [np.flip(np.moveaxis(array, axis, 0)[index].T, (0, 1)) for array in (case.image, case.labels)]
    return Cut(planes[0], planes[1], spacing, edges)


def cut_upright(volume: Volume, label_map: LabelMap, turn: Upright, index: int) -> Cut:
    """One slice of an image as it was acquired, turned upright."""
    codes = volume.grid.axis_codes
    down, right = (
        codes[axis] if step > 0 else _OPPOSITE[codes[axis]]
        for axis, step in ((turn.rows, turn.row_step), (turn.columns, turn.column_step))
    )
    spacing = volume.grid.spacing_mm
    image, labels = (turn.plane(array, index) for array in (volume.array, label_map.array))
    edges = (_OPPOSITE[right], right, _OPPOSITE[down], down)
    return Cut(image, labels, (spacing[turn.rows], spacing[turn.columns]), edges)


def choose_window(image: np.ndarray) -> tuple[float, float]:
    """Intensities to show black and white where none are customary (MR): the 1st and 99th percentile."""
    low, high = (float(value) for value in np.percentile(image, _SHOWN_PERCENTILES))
    return (low, high) if high > low else (low, low + 1)
