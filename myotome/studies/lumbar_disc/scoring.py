"""One case scored: pixels, boundary and objects, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from myotome.biomarkers.lumbar_disc import UNNAMED, find_disc_slices, find_plane
from myotome.geometry import Volume
from myotome.measurement import Instance
from myotome.metrics import (
    ObjectSet,
    compute_dice,
    compute_hausdorff,
    compute_nsd,
    compute_precision,
    compute_recall,
    compute_surface_distances,
    match_objects,
)
from myotome.structures import LabelMap

__all__ = ["CaseScores", "Finder", "SliceDetection", "score_case", "score_levels"]


class SliceDetection(Protocol):
    """One object that a detector found in one slice."""

    slice_index: int
    score: float

    def draw(self, shape: tuple[int, int]) -> np.ndarray:
        """(X, Y) boolean mask, the slice's two axes in the volume's order."""
        ...


class Finder(Protocol):
    """What is scored: gives a label map, and what it saw in each slice before it decided."""

    def segment(self, volume: Volume) -> LabelMap: ...

    def find_instances(self, volume: Volume, label_map: LabelMap) -> tuple[Instance, ...]: ...

    def detect_slices(self, volume: Volume, least_score: float = 0.05) -> Sequence[SliceDetection]: ...


@dataclass(frozen=True, eq=False)
class CaseScores:
    """Scores of one case.

    Attributes
    ----------
    rows : of each slice that shows a disc, or in which one was found: see `score_case`
    pairs : reference and predicted objects of each of these slices, the unsure ones among them
    """

    rows: list[dict[str, Any]]
    pairs: list[tuple[ObjectSet, ObjectSet]]


def score_case(
    reference: LabelMap,
    prediction: LabelMap,
    detections: Sequence[SliceDetection],
    *,
    least_score: float = 0.5,
    tolerance_mm: float = 1.0,
) -> CaseScores:
    """Score every slice of a case; one label is one disc, whatever it is called.

    Columns of a row: ``slice``; ``precision``, ``recall`` and ``dice`` of pixels, ``hd95_mm`` and ``nsd`` of contours
    (all by the label map); ``found``, ``missed``, ``invented`` and ``overlap`` (sum of IoU) of objects at IoU 0.5, by
    the detections of ``least_score`` or more. Where a mask is empty, what it makes undefined is ``None``.

    Notes
    -----
    Of a sagittal volume, detections above the topmost labelled disc are left out: the thoracic discs there are not
    annotated. The same goes for axial slices without a reference: it is not known that they show no disc.
    """
    axis = reference.grid.slice_axis("LR")
    spacing = tuple(np.delete(reference.grid.spacing_mm, axis))
    slices = find_disc_slices(reference)
    ceiling = _find_ceiling_mm(reference) if find_plane(reference.grid) == "sagittal" else None
    if ceiling is not None:
        slices = sorted({*slices, *find_disc_slices(prediction), *(one.slice_index for one in detections)})
    scores = CaseScores([], [])
    for index in slices:
        truth, found = (np.take(one.array, index, axis) for one in (reference, prediction))
        objects = ObjectSet(tuple(truth == label for label in np.unique(truth[truth > 0])))
        seen = _draw(detections, index, truth.shape, reference, ceiling)
        if not (objects.masks or seen.masks or found.any()):
            continue
        sure = [place for place, score in enumerate(seen.scores) if score >= least_score]
        kept = ObjectSet(tuple(seen.masks[place] for place in sure), tuple(seen.scores[place] for place in sure))
        row = {"slice": index, **_score_pixels(truth > 0, found > 0, spacing, tolerance_mm)}
        matching = match_objects(objects, kept)
        row |= {"found": matching.found, "missed": matching.missed, "invented": matching.invented}
        scores.rows.append(row | {"overlap": float(sum(matching.overlaps))})
        scores.pairs.append((objects, seen))
    return scores


def _score_pixels(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, ...], tolerance_mm: float
) -> dict[str, float | None]:
    distances = compute_surface_distances(reference, prediction, spacing_mm)
    return {
        "precision": compute_precision(reference, prediction),
        "recall": compute_recall(reference, prediction),
        "dice": compute_dice(reference, prediction),
        "hd95_mm": compute_hausdorff(distances),
        "nsd": compute_nsd(distances, tolerance_mm),
    }


def _draw(
    detections: Sequence[SliceDetection],
    index: int,
    shape: tuple[int, ...],
    reference: LabelMap,
    ceiling_mm: float | None,
) -> ObjectSet:
    """Objects of one slice, without those whose middle lies above the ceiling."""
    masks, scores = [], []
    for one in detections:
        if one.slice_index != index:
            continue
        mask = one.draw((shape[0], shape[1]))
        if mask.any() and (ceiling_mm is None or _height_mm(mask, index, reference) <= ceiling_mm):
            masks.append(mask)
            scores.append(one.score)
    return ObjectSet(tuple(masks), tuple(scores))


def _find_ceiling_mm(reference: LabelMap) -> float | None:
    """Patient height of the top of the topmost labelled disc; ``None`` without one."""
    places = np.argwhere(reference.array > 0)
    if not len(places):
        return None
    return float((places @ reference.grid.affine[2, :3] + reference.grid.affine[2, 3]).max())


def _height_mm(mask: np.ndarray, index: int, reference: LabelMap) -> float:
    axis = reference.grid.slice_axis("LR")
    middle = np.insert(np.argwhere(mask).mean(axis=0), axis, index)
    return float(reference.grid.affine[2, :3] @ middle + reference.grid.affine[2, 3])


def score_levels(reference: LabelMap, prediction: LabelMap) -> dict[str, Any]:
    """Whether the named discs of a sagittal volume were found under their names.

    Returns
    -------
    dict : ``labelled`` (named discs of the reference), ``named`` (those whose own label overlaps them with Dice of 0.5
        or more), and ``dice_NAME`` of each, in three dimensions; ``None`` for one that is in neither map.
    """
    scores: dict[str, Any] = {"labelled": 0, "named": 0}
    for structure in reference.schema.structures:
        if structure.name == UNNAMED:
            continue
        truth, found = (one.array == structure.index for one in (reference, prediction))
        dice = compute_dice(truth, found)
        scores[f"dice_{structure.name}"] = dice
        if truth.any():
            scores["labelled"] += 1
            scores["named"] += int(dice is not None and dice >= 0.5)
    return scores
