"""Scores of a predicted label map against a reference, on the original grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.metrics.overlap import compute_dice, compute_generalized_dice
from myotome.metrics.surface import (
    SurfaceDistances,
    compute_assd,
    compute_hausdorff,
    compute_nsd,
    compute_rms_dta,
    compute_surface_distances,
)
from myotome.structures import LabelMap, LabelSchema

__all__ = ["Score", "score_label_map"]

_MUSCLE_HU = (-29, 150)
_RESPIRATORY = ("pectoralis", "erector_spinae", "intercostal")
_FOSSA = ("supraspinatus", "supraspinous_fossa")


@dataclass(frozen=True)
class Score:
    """One figure of agreement; ``value`` is ``None`` where it is not defined. ``unit`` is UCUM, ``1`` for a ratio."""

    structure: str
    score: str
    value: float | None
    unit: str


def score_label_map(
    reference: LabelMap,
    prediction: LabelMap,
    volume: Volume | None = None,
    tolerance_mm: float | None = 2.0,
    *,
    ignore: np.ndarray | None = None,
    slices: Sequence[int] | None = None,
) -> list[Score]:
    """Score every structure, and those that make a whole: muscle tissue and respiratory muscles, or the whole fossa.

    Scores: ``dice`` (equal to the voxel-wise F1), ``nsd``, ``hd95``, ``assd``, ``rms_dta`` (mm), ``volume_error`` (%,
    signed, of the reference's volume), ``density_error`` (HU, signed; mean HU of voxels of -29..150 HU, only with a
    volume), and for ``all`` ``generalized_dice`` and ``generalized_dice_with_background``.

    Parameters
    ----------
    reference, prediction : on one grid, with one schema
    volume : the CT, for the density error
    tolerance_mm : of the NSD; ``None`` leaves out the four surface scores, which take most of the time
    ignore : boolean mask of voxels that are not annotated; they count for nothing
    slices : indices along the inferior-superior array axis; only these count, and distances are then measured within
        each slice, between contours, and pooled

    Notes
    -----
    Both masks empty: every score is ``None`` (nothing to agree on). Only one empty: Dice and NSD are 0, distances
    ``None``, and the volume error is -100 % or, without a reference volume, ``None``.

    Raises
    ------
    InputError
        When the grids or schemas differ, or ``ignore`` or ``slices`` do not fit them.
    """
    region = _select(reference, prediction, volume, ignore, slices)
    scores: list[Score] = []
    labelled = _crop(region)
    for name, labels in _structures(reference.schema).items():
        scores += _score_mask(name, labelled, labels, tolerance_mm)
    classes = reference.schema.class_count
    for score, background in (("generalized_dice", False), ("generalized_dice_with_background", True)):
        pair = (array[region.counted] for array in (region.reference, region.prediction))
        scores.append(Score("all", score, compute_generalized_dice(*pair, classes, include_background=background), "1"))
    return scores


@dataclass(frozen=True, eq=False)
class _Region:
    """The arrays that are compared, slices last, and what of them counts."""

    reference: np.ndarray
    prediction: np.ndarray
    density_hu: np.ndarray | None
    counted: np.ndarray
    spacing_mm: tuple[float, float, float]
    by_slice: bool


def _select(
    reference: LabelMap,
    prediction: LabelMap,
    volume: Volume | None,
    ignore: np.ndarray | None,
    slices: Sequence[int] | None,
) -> _Region:
    grid = reference.grid
    if reference.schema.name != prediction.schema.name:
        raise InputError(
            f"schemas '{reference.schema.name}' and '{prediction.schema.name}' cannot be compared: use one."
        )
    for what, other in (("prediction", prediction), ("image", volume)):
        if other is not None and not grid.same_as(other.grid):
            raise InputError(f"the {what} is not on the reference's grid: bring it there by nearest neighbour first.")
    if ignore is not None and ignore.shape != grid.shape:
        raise InputError(f"an ignore mask of shape {ignore.shape} does not fit the reference's grid of {grid.shape}.")
    axis = grid.axis("IS")
    depth = grid.shape[axis]
    if slices is not None and (len(slices) == 0 or not all(0 <= index < depth for index in slices)):
        raise InputError(f"slices {list(slices)} are not in the image: give indices from 0 to {depth - 1}.")
    chosen = slice(None) if slices is None else sorted(set(slices))

    def view(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array, axis, -1)[..., chosen]

    counted = np.ones(grid.shape, bool) if ignore is None else ~ignore.astype(bool)
    spacing = list(grid.spacing_mm)
    spacing.append(spacing.pop(axis))
    return _Region(
        view(reference.array),
        view(prediction.array),
        None if volume is None else view(volume.array),
        view(counted),
        tuple(spacing),
        slices is not None,
    )


def _crop(region: _Region) -> _Region:
    """The part of a region that holds labels, and a voxel around it: most of an image is neither."""
    labelled = (region.reference > 0) | (region.prediction > 0)
    box = []
    for axis in range(3):
        found = np.flatnonzero(labelled.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(max(0, found[0] - 1), found[-1] + 2) if found.size else slice(0, 1))
    part = tuple(box)
    return replace(
        region,
        reference=region.reference[part],
        prediction=region.prediction[part],
        density_hu=None if region.density_hu is None else region.density_hu[part],
        counted=region.counted[part],
    )


def _structures(schema: LabelSchema) -> dict[str, list[int]]:
    """Labels of each structure and group that is scored."""
    structures = {structure.name: [structure.index] for structure in schema.structures}
    groups = {}
    if all(name in structures for name in _RESPIRATORY):
        groups["muscle_tissue"] = [label for labels in structures.values() for label in labels]
        groups["respiratory_muscles"] = [structures[name][0] for name in _RESPIRATORY]
    if all(name in structures for name in _FOSSA):
        groups["muscle_and_fossa"] = [structures[name][0] for name in _FOSSA]
    return {**structures, **groups}


def _score_mask(name: str, region: _Region, labels: list[int], tolerance_mm: float | None) -> Iterator[Score]:
    chosen = np.zeros(256, bool)
    chosen[labels] = True
    reference, prediction = (chosen[array] & region.counted for array in (region.reference, region.prediction))
    yield Score(name, "dice", compute_dice(reference, prediction), "1")
    if tolerance_mm is not None:
        distances = _distances(reference, prediction, region)
        yield Score(name, "nsd", compute_nsd(distances, tolerance_mm), "1")
        yield Score(name, "hd95", compute_hausdorff(distances), "mm")
        yield Score(name, "assd", compute_assd(distances), "mm")
        yield Score(name, "rms_dta", compute_rms_dta(distances), "mm")
    volume = np.count_nonzero(reference)
    error = 100 * (np.count_nonzero(prediction) / volume - 1) if volume else None
    yield Score(name, "volume_error", error, "%")
    if region.density_hu is not None:
        means = [_mean_density(region.density_hu[mask]) for mask in (reference, prediction)]
        error = None if None in means else means[1] - means[0]
        yield Score(name, "density_error", error, "[hnsf'U]")


def _distances(reference: np.ndarray, prediction: np.ndarray, region: _Region) -> SurfaceDistances:
    ignore = None if region.counted.all() else ~region.counted
    if not region.by_slice:
        return compute_surface_distances(reference, prediction, region.spacing_mm, ignore)
    parts = []
    for z in range(reference.shape[-1]):
        ignored = None if ignore is None else ignore[..., z]
        pair = reference[..., z], prediction[..., z]
        parts.append(compute_surface_distances(*pair, region.spacing_mm[:2], ignored))
    return SurfaceDistances.join(parts)


def _mean_density(values: np.ndarray) -> float | None:
    values = values[(np.rint(values) >= _MUSCLE_HU[0]) & (np.rint(values) <= _MUSCLE_HU[1])]
    return float(values.mean(dtype=float)) if values.size else None
