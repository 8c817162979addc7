"""Agreement of objects, each with its own mask: which of them were found, how well, and in what order of confidence.

Objects are matched one to one. A prediction matches a reference when the intersection of their masks over their union
(IoU) reaches a threshold, 0.5 where nothing else is said, and both have one label.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from myotome.errors import InputError

__all__ = [
    "COCO_THRESHOLDS",
    "DetectionTable",
    "Matching",
    "ObjectSet",
    "match_objects",
    "tabulate_detections",
    "weigh_average_precision",
]

COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU from 0.50 to 0.95, over which AP[.5:.95] is the mean."""

_RECALLS = 101
_MOST_DETECTIONS = 100


@dataclass(frozen=True, eq=False)
class ObjectSet:
    """The objects of one image.

    Parameters
    ----------
    masks : boolean arrays of the image's shape, two- or three-dimensional; they may overlap
    scores : confidence of each, 1 for all when left out
    labels : class of each, 1 for all when left out

    Raises
    ------
    InputError
        When there is not one score and one label per mask, a mask has another shape than the first, or a score is not
        finite.
    """

    masks: tuple[np.ndarray, ...]
    scores: tuple[float, ...] = ()
    labels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.masks)
        object.__setattr__(self, "masks", tuple(np.asarray(mask, bool) for mask in self.masks))
        object.__setattr__(self, "scores", tuple(float(one) for one in self.scores) or (1.0,) * count)
        object.__setattr__(self, "labels", tuple(int(one) for one in self.labels) or (1,) * count)
        if not len(self.scores) == len(self.labels) == count:
            raise InputError(f"{count} objects have {len(self.scores)} scores and {len(self.labels)} labels.")
        if not np.isfinite(self.scores).all():
            raise InputError("the score of an object is missing or infinite: give a number from 0 to 1.")
        if len({mask.shape for mask in self.masks}) > 1:
            raise InputError("the masks of one image have different shapes: give them on one grid.")


@dataclass(frozen=True)
class Matching:
    """How the objects of one or more images were matched.

    Attributes
    ----------
    overlaps : IoU of each matched pair
    missed : references that no prediction matches
    invented : predictions that match no reference
    """

    overlaps: tuple[float, ...]
    missed: int
    invented: int

    @staticmethod
    def join(parts: Sequence[Matching]) -> Matching:
        """Pool the objects of several images."""
        overlaps = tuple(overlap for part in parts for overlap in part.overlaps)
        return Matching(overlaps, sum(part.missed for part in parts), sum(part.invented for part in parts))

    @property
    def found(self) -> int:
        """Number of matched pairs (true positives)."""
        return len(self.overlaps)

    @property
    def precision(self) -> float | None:
        """Share of the predictions that match a reference; ``None`` without predictions."""
        total = self.found + self.invented
        return self.found / total if total else None

    @property
    def recall(self) -> float | None:
        """Share of the references that a prediction matches; ``None`` without references."""
        total = self.found + self.missed
        return self.found / total if total else None

    @property
    def recognition_quality(self) -> float | None:
        """RQ, the F1 of objects, ``TP / (TP + FP / 2 + FN / 2)``; ``None`` without any object."""
        total = self.found + (self.missed + self.invented) / 2
        return self.found / total if total else None

    @property
    def segmentation_quality(self) -> float | None:
        """SQ, the mean IoU of matched pairs; ``None`` without any."""
        return sum(self.overlaps) / self.found if self.found else None

    @property
    def panoptic_quality(self) -> float | None:
        """PQ = SQ RQ (Kirillov et al., CVPR 2019): 0 when nothing matches, ``None`` without any object."""
        total = self.found + (self.missed + self.invented) / 2
        return sum(self.overlaps) / total if total else None


def match_objects(reference: ObjectSet, prediction: ObjectSet, threshold: float = 0.5) -> Matching:
    """Match the objects of one image one to one: as many pairs as can be, and among these the largest sum of IoU.

    Above an IoU of 0.5 and without overlapping masks, there is one matching only. Scores play no part. Empty masks
    match nothing.

    Raises
    ------
    InputError
        When the threshold is not above 0 and at most 1, or the masks of both are not of one shape.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"objects are matched at an IoU above 0 and at most 1, not at {threshold}.")
    overlap = _compute_overlaps(reference, prediction)
    alike = np.equal.outer(np.array(reference.labels, int), np.array(prediction.labels, int))
    usable = alike & (overlap >= threshold)
    rows, columns = linear_sum_assignment(np.where(usable, overlap + min(overlap.shape), 0), maximize=True)
    pairs = [(row, column) for row, column in zip(rows, columns, strict=True) if usable[row, column]]
    found = tuple(float(overlap[pair]) for pair in pairs)
    return Matching(found, len(reference.masks) - len(found), len(prediction.masks) - len(found))


def _compute_overlaps(reference: ObjectSet, prediction: ObjectSet) -> np.ndarray:
    """(references, predictions) IoU; 0 for two empty masks."""
    overlap = np.zeros((len(reference.masks), len(prediction.masks)))
    if overlap.size and reference.masks[0].shape != prediction.masks[0].shape:
        raise InputError("reference and prediction are not on one grid: bring the prediction's masks there first.")
    for row, first in enumerate(reference.masks):
        for column, second in enumerate(prediction.masks):
            union = np.count_nonzero(first | second)
            overlap[row, column] = np.count_nonzero(first & second) / union if union else 0.0
    return overlap


@dataclass(frozen=True, eq=False)
class DetectionTable:
    """Every prediction of a set of images by falling score, as COCO's evaluation matched it at each threshold.

    Attributes
    ----------
    thresholds : IoU at which predictions were matched
    scores, cases, labels : (D,) of each prediction: its confidence, the number of its case (patient), its class
    matched : (thresholds, D) whether it is the match of a reference
    references : (cases, classes) counts of reference objects
    classes : label of each column of ``references``
    """

    thresholds: tuple[float, ...]
    scores: np.ndarray
    cases: np.ndarray
    labels: np.ndarray
    matched: np.ndarray
    references: np.ndarray
    classes: tuple[int, ...]

    def average_precision(self, threshold: float | None = None) -> float | None:
        """AP of all cases at one of the thresholds, or the mean over all; ``None`` without a reference."""
        if not self.references.any():
            return None
        return float(weigh_average_precision(self, np.ones((1, len(self.references))), threshold)[0])


def tabulate_detections(
    pairs: Sequence[tuple[ObjectSet, ObjectSet]],
    cases: Sequence[int] | None = None,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
) -> DetectionTable:
    """Match predictions to references as COCO does, by pycocotools: by falling score, each to the best one left.

    Parameters
    ----------
    pairs : reference and prediction of each image; an image may have none of either
    cases : number of the case (patient) that each image is of, from 0; every image is a case of its own by default
    thresholds : IoU to match at

    Notes
    -----
    At most 100 predictions of an image count, those with the highest scores. A volume's masks are laid out flat: the
    IoU is the same.
    """
    from pycocotools.cocoeval import COCOeval

    owners = list(range(len(pairs))) if cases is None else [int(case) for case in cases]
    if len(owners) != len(pairs):
        raise InputError(f"{len(owners)} cases stand against {len(pairs)} images: give one per image.")
    classes = tuple(sorted({label for reference, _ in pairs for label in reference.labels}))
    references = np.zeros((max(owners, default=-1) + 1, len(classes)), int)
    for owner, (reference, _) in zip(owners, pairs, strict=True):
        for label in reference.labels:
            references[owner, classes.index(label)] += 1
    empty = DetectionTable(
        tuple(thresholds),
        *(np.empty(0), np.empty(0, int), np.empty(0, int), np.empty((len(thresholds), 0), bool)),
        references,
        classes,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = _describe_coco([pair[0] for pair in pairs], classes), _list_results(pairs, classes)
        if not found:
            return empty
        evaluation = COCOeval(truth, truth.loadRes(found), "segm")
        evaluation.params.iouThrs = np.array(thresholds)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [_MOST_DETECTIONS]
        evaluation.evaluate()
    return _gather(evaluation.evalImgs, owners, empty)


def _describe_coco(references: Sequence[ObjectSet], classes: Sequence[int]):
    from pycocotools.coco import COCO

    annotations = []
    for image, objects in enumerate(references, start=1):
        for mask, label in zip(objects.masks, objects.labels, strict=True):
            code = _encode(mask)
            area = int(np.count_nonzero(mask))
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": label, "segmentation": code}
            annotations.append({**entry, "area": area, "iscrowd": 0, "bbox": [0, 0, 1, 1]})
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [_describe_image(image, objects) for image, objects in enumerate(references, start=1)],
        "annotations": annotations,
        "categories": [{"id": label} for label in classes],
    }
    truth.createIndex()
    return truth


def _describe_image(image: int, objects: ObjectSet) -> dict:
    height, width = _lay_flat(objects.masks[0]).shape if objects.masks else (1, 1)
    return {"id": image, "height": height, "width": width}


def _list_results(pairs: Sequence[tuple[ObjectSet, ObjectSet]], classes: Sequence[int]) -> list[dict]:
    return [
        {"image_id": image, "category_id": label, "segmentation": _encode(mask), "score": score}
        for image, (_, objects) in enumerate(pairs, start=1)
        for mask, score, label in zip(objects.masks, objects.scores, objects.labels, strict=True)
        if label in classes
    ]


def _encode(mask: np.ndarray) -> dict:
    from pycocotools.mask import encode

    return encode(np.asfortranarray(_lay_flat(mask), dtype=np.uint8))


def _lay_flat(mask: np.ndarray) -> np.ndarray:
    return mask.reshape(mask.shape[0], -1)


def _gather(images: Sequence[dict | None], owners: Sequence[int], empty: DetectionTable) -> DetectionTable:
    """What COCO says of each image, as one table by falling score; ties stay in the order of the images."""
    known = [image for image in images if image is not None]
    scores = np.concatenate([np.asarray(image["dtScores"], float) for image in known])
    owner = np.concatenate([np.full(len(image["dtScores"]), owners[image["image_id"] - 1]) for image in known])
    labels = np.concatenate([np.full(len(image["dtScores"]), image["category_id"]) for image in known])
    matched = np.concatenate([np.asarray(image["dtMatches"]) > 0 for image in known], axis=1)
    order = np.argsort(-scores, kind="mergesort")
    places = empty.references, empty.classes
    return DetectionTable(
        empty.thresholds, scores[order], owner[order].astype(int), labels[order].astype(int), matched[:, order], *places
    )


def weigh_average_precision(table: DetectionTable, weights: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """(k,) average precision under (k, cases) weights; what `myotome.statistics.classification.bootstrap` takes.

    Precision, made to fall with recall, is read at 101 evenly spaced recalls from 0 to 1, 0 where a recall is never
    reached, and averaged over them, over the classes that have a reference, and over the thresholds (Lin et al., ECCV
    2014). Weights of 1 give pycocotools' own figure.

    Parameters
    ----------
    threshold : one of the table's; the mean over all of them when ``None``

    Returns
    -------
    NaN where no reference weighs.
    """
    rows = range(len(table.thresholds)) if threshold is None else [_find_threshold(table, threshold)]
    values = np.full((len(weights), len(table.classes)), np.nan)
    for column, label in enumerate(table.classes):
        chosen = table.labels == label
        matched, cases = table.matched[rows][:, chosen], table.cases[chosen]
        totals = weights @ table.references[:, column]
        for row in np.flatnonzero(totals > 0):
            values[row, column] = _compute_precision_area(matched, weights[row][cases], totals[row])
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    return np.divide(
        np.where(known, values, 0).sum(axis=1), counts, out=np.full(len(weights), np.nan), where=counts > 0
    )


def _find_threshold(table: DetectionTable, threshold: float) -> int:
    found = [place for place, value in enumerate(table.thresholds) if abs(value - threshold) < 1e-9]
    if not found:
        raise InputError(f"objects were not matched at an IoU of {threshold}: choose one of {table.thresholds}.")
    return found[0]


def _compute_precision_area(matched: np.ndarray, weights: np.ndarray, total: float) -> float:
    """Mean over thresholds of the area under the interpolated curve; 0 without a prediction."""
    if not weights.size:
        return 0.0
    right = np.cumsum(matched * weights, axis=1)
    every = np.cumsum(weights)
    precision = right / np.maximum(every, np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    wanted = np.linspace(0, 1, _RECALLS)
    areas = []
    for curve, recall in zip(precision, right / total, strict=True):
        places = np.searchsorted(recall, wanted, side="left")
        areas.append(np.append(curve, 0.0)[places].mean())
    return float(np.mean(areas))
