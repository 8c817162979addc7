"""The supraspinatus in the Y-view of a shoulder MR: areas, occupation ratio, fat fraction and tangent sign.

A shoulder has one Y-view, and what is measured in it stands for the case: the rows carry no ``slice_index``, and a
row ``y_view_slice`` names the slice.

Measures, by name: ``area`` (cm2; of the muscle's contour, and of the fossa as muscle and rest together),
``occupation_ratio`` (%), ``fat_fraction`` and ``fat_fraction_otsu`` (%, of the area in the muscle's contour),
``tangent_sign`` (1 positive, 0 negative), ``height_above_tangent`` (mm, of the muscle's highest point),
``y_view_slice``; from a grading ``positive_probability`` (statistic ``A`` to ``E``, the binary definition),
``grade_probability`` (statistic ``grade_0`` to ``grade_4``) and ``goutallier_grade``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label as label_components
from scipy.spatial import ConvexHull, QhullError

from myotome.biomarkers.fat_fraction import FatFraction, estimate_fat_fraction
from myotome.biomarkers.goutallier import read_definition
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.measurement import Grading, Measurement
from myotome.structures import LabelMap

__all__ = [
    "SCHEMA",
    "Tangent",
    "find_tangent",
    "find_y_view",
    "measure_supraspinatus",
]

SCHEMA = "supraspinatus_mri"
SEVERE_ATROPHY_PERCENT = 40.0  # Thomazeau 1996: stage 3, the muscle fills less than 40 % of the fossa

_MUSCLE, _REST, _SPINE, _CORACOID = "supraspinatus", "supraspinous_fossa", "scapular_spine", "coracoid_process"
_CONTOUR = "whole contour"
_OCCUPATION = "muscle area per fossa area"


@dataclass(frozen=True)
class Tangent:
    """The common upper tangent of scapular spine and coracoid process, and where the muscle lies by it.

    Attributes
    ----------
    spine, coracoid : array indices of the slice (two numbers each) of the voxels that the line touches
    height_mm : of the muscle's highest voxel above the line; negative when the whole muscle lies below
    """

    spine: tuple[int, int]
    coracoid: tuple[int, int]
    height_mm: float

    @property
    def positive(self) -> bool:
        """True when the muscle nowhere rises above the line."""
        return self.height_mm <= 0


@dataclass(frozen=True, eq=False)
class _YView:
    """One slice: its image, its labels by structure name, and its geometry."""

    index: int
    image: np.ndarray
    masks: dict[str, np.ndarray]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float]:
        first, second = np.linalg.norm(self.affine, axis=0)
        return float(first), float(second)

    @property
    def pixel_cm2(self) -> float:
        return self.spacing_mm[0] * self.spacing_mm[1] / 100


def find_y_view(label_map: LabelMap) -> int | None:
    """Index, across the slices, of the slice in which the muscle is labelled; the largest cut when there are several.

    ``None`` when no slice has any.
    """
    axis = label_map.grid.slice_axis("LR")
    muscle = label_map.array == label_map.schema[_MUSCLE].index
    counts = muscle.sum(axis=tuple(other for other in range(3) if other != axis))
    return int(counts.argmax()) if counts.any() else None


def measure_supraspinatus(
    volume: Volume, label_map: LabelMap, grading: Grading | None = None
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """Measure the supraspinatus in the Y-view of a shoulder MR.

    Parameters
    ----------
    volume : MR, one slice or several, of any orientation
    label_map : on the same grid, in the numbering of ``supraspinatus_mri``
    grading : what the networks say of the grade, if they were asked

    Returns
    -------
    measurements : as listed at the head of this module
    flags : of the case: the image's, the grading's, ``no_supraspinatus_found``, ``several_slices_labelled``,
        ``retraction_suspected`` (the muscle fills less than 40 % of the fossa: in a retracted tear the Y-view shows
        another part of the muscle, and area, occupation ratio and grade can mislead)

    Notes
    -----
    Occupation ratio: area of the muscle's cut over that of the fossa (Thomazeau et al., Acta Orthop Scand
    1996;67:264-268). Tangent sign: positive when the muscle does not rise above the line that touches the upper
    borders of coracoid process and scapular spine (Zanetti et al., Invest Radiol 1998;33:163-170). Without a muscle
    every row is ``None`` with the flag ``absent``, and no grade is given.

    Raises
    ------
    InputError
        When the grids differ, the image is not an MR, or the labels are of another schema.
    """
    _check(volume, label_map)
    flags = [*volume.acquisition.flags, *(grading.flags if grading is not None else ())]
    index = find_y_view(label_map)
    if index is None:
        return tuple(_absent_rows()), tuple(dict.fromkeys([*flags, "no_supraspinatus_found"]))
    view = _cut(volume, label_map, index)
    rows = list(_measure_areas(view))
    fat = estimate_fat_fraction(view.image, view.masks[_MUSCLE], view.spacing_mm, view.masks[_REST])
    rows += _fat_rows(fat, volume.acquisition.fat_suppressed is True)
    rows += _tangent_rows(view)
    rows.append(Measurement(_MUSCLE, "y_view_slice", float(index), "1", method="slice that was measured"))
    rows += _grade_rows(grading)
    ratio = next(row.value for row in rows if row.measure == "occupation_ratio")
    flags += ["several_slices_labelled"] * _in_several_slices(label_map)
    flags += ["retraction_suspected"] * (ratio is not None and ratio < SEVERE_ATROPHY_PERCENT)
    return tuple(rows), tuple(dict.fromkeys(flags))


def _check(volume: Volume, label_map: LabelMap) -> None:
    if volume.modality != "MR":
        raise InputError(
            f"the supraspinatus is measured on MR, and this image is {volume.modality}: give the MR series."
        )
    if label_map.schema.name != SCHEMA:
        raise InputError(f"these labels are of '{label_map.schema.name}': the supraspinatus needs those of '{SCHEMA}'.")
    if not volume.grid.same_as(label_map.grid):
        raise InputError(
            f"the label map ({label_map.grid.shape}) is not on the image's grid ({volume.grid.shape}): "
            "resample it to the image by nearest neighbour."
        )


def _in_several_slices(label_map: LabelMap) -> bool:
    axis = label_map.grid.slice_axis("LR")
    return int((label_map.array > 0).any(axis=tuple(other for other in range(3) if other != axis)).sum()) > 1


def _cut(volume: Volume, label_map: LabelMap, index: int) -> _YView:
    axis = volume.grid.slice_axis("LR")
    labels = np.take(label_map.array, index, axis)
    masks = {structure.name: labels == structure.index for structure in label_map.schema.structures}
    image = np.take(volume.array, index, axis).astype(np.float64)
    return _YView(index, image, masks, np.delete(volume.grid.affine[:3, :3], axis, axis=1))


def _measure_areas(view: _YView) -> Iterator[Measurement]:
    """Areas and occupation ratio; a label at the image's border is cut off."""
    muscle, rest = view.masks[_MUSCLE], view.masks[_REST]
    cut = ("truncated",) * bool(_at_border(muscle))
    fossa_cut = cut or ("truncated",) * bool(_at_border(rest))
    area = float(muscle.sum()) * view.pixel_cm2
    yield Measurement(_MUSCLE, "area", area, "cm2", method=_CONTOUR, flags=cut)
    method = "muscle and rest of the fossa"
    if not rest.any():
        yield Measurement(_REST, "area", None, "cm2", method=method, flags=("absent", *fossa_cut))
        yield Measurement(_MUSCLE, "occupation_ratio", None, "%", method=_OCCUPATION, flags=("fossa_absent", *cut))
        return
    fossa = area + float(rest.sum()) * view.pixel_cm2
    yield Measurement(_REST, "area", fossa, "cm2", method=method, flags=fossa_cut)
    ratio = 100 * area / fossa
    yield Measurement(_MUSCLE, "occupation_ratio", ratio, "%", method=_OCCUPATION, flags=fossa_cut)


def _at_border(mask: np.ndarray) -> bool:
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def _fat_rows(fat: FatFraction, suppressed: bool) -> Iterator[Measurement]:
    """Both fat fractions; a header that says fat was suppressed overrules what the image seems to show."""
    for measure, value, bounds, method in (
        ("fat_fraction", fat.percent, (fat.lower, fat.upper), "gaussian mixture"),
        ("fat_fraction_otsu", fat.otsu_percent, (None, None), "Otsu"),
    ):
        if suppressed:
            yield Measurement(_MUSCLE, measure, None, "%", method=method, flags=("fat_suppressed",))
        else:
            lower, upper = bounds
            yield Measurement(_MUSCLE, measure, value, "%", lower=lower, upper=upper, method=method, flags=fat.flags)


def find_tangent(muscle: np.ndarray, spine: np.ndarray, coracoid: np.ndarray, directions: np.ndarray) -> Tangent | None:
    """The line that touches scapular spine and coracoid process from above, and the muscle's height over it.

    Both are taken by their largest connected part, at voxel centres; the muscle too, so that a stray voxel does not
    decide. Above is towards the patient's head, projected into the slice.

    Parameters
    ----------
    muscle, spine, coracoid : boolean arrays of one slice
    directions : (3, 2) millimetres in patient space (RAS+) of a step along each array axis

    Returns
    -------
    The tangent, or ``None`` when one of the three is empty, or one bone lies beneath the other so that no line
    touches both from above.
    """
    parts = [_largest_part(mask) for mask in (spine, coracoid, muscle)]
    if not all(len(part) for part in parts):
        return None
    spine_at, coracoid_at, muscle_at = [_plane_mm(part, directions) for part in parts]
    bridge = _find_bridge(spine_at, coracoid_at)
    if bridge is None:
        return None
    start, end = spine_at[bridge[0]], coracoid_at[bridge[1]]
    along = (end - start) / np.linalg.norm(end - start)
    normal = np.array([-along[1], along[0]])
    normal = normal if normal[1] > 0 else -normal
    height = float(((muscle_at - start) @ normal).max())
    return Tangent(_pair(parts[0][bridge[0]]), _pair(parts[1][bridge[1]]), height)


def _pair(index: np.ndarray) -> tuple[int, int]:
    return int(index[0]), int(index[1])


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """(N, 2) indices of the largest connected part."""
    components, count = label_components(mask, np.ones((3, 3)))
    if count == 0:
        return np.empty((0, 2), int)
    return np.argwhere(components == 1 + np.bincount(components.ravel())[1:].argmax())


def _plane_mm(indices: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(N, 2) millimetres in the slice: across, and up towards the head."""
    steps = np.linalg.norm(directions, axis=0)
    basis = directions / steps
    up = basis.T @ np.array([0.0, 0.0, 1.0])
    norm = np.linalg.norm(up)
    up = up / norm if norm > 1e-6 else np.array([0.0, 1.0])
    across = np.array([up[1], -up[0]])
    return (indices * steps) @ np.stack([across, up], axis=1)


def _find_bridge(spine: np.ndarray, coracoid: np.ndarray) -> tuple[int, int] | None:
    """Indices of the points of the two sets that the upper hull of both joins."""
    points = np.concatenate([spine, coracoid])
    try:
        hull = ConvexHull(points)
    except QhullError:
        return None
    for edge, (_, upwards, _) in zip(hull.simplices, hull.equations, strict=True):
        low, high = sorted(int(corner) for corner in edge)
        if upwards > 0 and low < len(spine) <= high:
            return low, high - len(spine)
    return None


def _tangent_rows(view: _YView) -> Iterator[Measurement]:
    tangent = find_tangent(view.masks[_MUSCLE], view.masks[_SPINE], view.masks[_CORACOID], view.affine)
    method = "upper tangent of scapular spine and coracoid process"
    if tangent is None:
        missing = [f"{name}_absent" for name in (_SPINE, _CORACOID) if not view.masks[name].any()]
        flags = tuple(missing) or ("no_common_tangent",)
        yield Measurement(_MUSCLE, "tangent_sign", None, "1", method=method, flags=flags)
        yield Measurement(_MUSCLE, "height_above_tangent", None, "mm", method=method, flags=flags)
        return
    flags = ("within_a_voxel",) * (abs(tangent.height_mm) < max(view.spacing_mm))
    yield Measurement(_MUSCLE, "tangent_sign", float(tangent.positive), "1", method=method, flags=flags)
    yield Measurement(_MUSCLE, "height_above_tangent", tangent.height_mm, "mm", method=method)


def _grade_rows(grading: Grading | None) -> Iterator[Measurement]:
    """What the networks say, as numbers; nothing without a grading."""
    if grading is None:
        return
    for name, probability in grading.probabilities.items():
        method = read_definition(name).title
        yield Measurement(_MUSCLE, "positive_probability", float(probability), "1", statistic=name, method=method)
    for grade, probability in enumerate(grading.grade_probabilities):
        yield Measurement(_MUSCLE, "grade_probability", float(probability), "1", statistic=f"grade_{grade}")
    if grading.grade_probabilities:
        yield Measurement(_MUSCLE, "goutallier_grade", float(grading.grade), "1", method="most probable grade")


def _absent_rows() -> Iterator[Measurement]:
    for structure, measure, unit in (
        (_MUSCLE, "area", "cm2"),
        (_REST, "area", "cm2"),
        (_MUSCLE, "occupation_ratio", "%"),
        (_MUSCLE, "fat_fraction", "%"),
        (_MUSCLE, "fat_fraction_otsu", "%"),
        (_MUSCLE, "tangent_sign", "1"),
        (_MUSCLE, "height_above_tangent", "mm"),
        (_MUSCLE, "y_view_slice", "1"),
        (_MUSCLE, "goutallier_grade", "1"),
    ):
        yield Measurement(structure, measure, None, unit, flags=("absent",))
