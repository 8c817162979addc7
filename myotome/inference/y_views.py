"""The Y-view of a shoulder MR: which slice it is, what is in it, and how the muscle in it is graded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.networks.utils import eval_mode
from monai.visualize import GradCAM
from torch import Tensor

from myotome.biomarkers.goutallier import read_definition
from myotome.biomarkers.rotator_cuff import find_y_view
from myotome.biomarkers.shoulder_image import flag_shoulder_image
from myotome.geometry import Grid, Volume
from myotome.inference.volumes import VolumeInferer
from myotome.measurement import Grading
from myotome.networks import DEFINITION_NAMES, REGION_GROUPS, SupraspinatusGrader, regions_of
from myotome.structures import LabelMap, read_label_schema
from myotome.transforms import WorkingPlane, keep_largest_pieces, scale_to_percentiles

__all__ = ["YViewInferer"]

_SCHEMA = "supraspinatus_mri"
_BATCH = 4
_LEAST_CM2 = 0.3
_LARGEST_MUSCLE_CM2 = 20.0  # twice that of the strongest phantom
_CERTAINTY_WEIGHT = 4
_SHOWN_INTENSITY = 100.0


@dataclass(frozen=True)
class _Seen:
    """Area in cm2 of each structure in one slice, and the mean probability of its pixels; background first."""

    areas_cm2: np.ndarray
    certainties: np.ndarray

    @property
    def is_y_view(self) -> bool:
        """True when muscle, scapular spine and coracoid process are all there, and the muscle is no larger than one."""
        muscle, spine, coracoid = self.areas_cm2[[1, 3, 4]]
        return bool(min(muscle, spine, coracoid) >= _LEAST_CM2 and muscle <= _LARGEST_MUSCLE_CM2)

    @property
    def score(self) -> float:
        """Geometric mean of the three areas, weighed by how sure the network is of each: none makes up for another.

        The network learned Y-views alone, so it is surest of one. By areas alone a slice nearer to the arm, where the
        bones are larger, is preferred.
        """
        size = np.prod(self.areas_cm2[[1, 3, 4]]) ** (1 / 3)
        return float(size * np.prod(self.certainties[[1, 3, 4]]) ** _CERTAINTY_WEIGHT)


class YViewInferer(VolumeInferer):
    """Takes a shoulder MR of one or more sagittal slices and labels one of them, the Y-view.

    Labels are 0 outside the Y-view. `grade` asks the classifier about what is labelled.

    The Y-view is the slice that shows muscle, scapular spine and coracoid process, at least 0.3 cm2 of each and at most
    20 cm2 of muscle, and of which the network is sure; of several, the one with most of them and the greatest
    certainty. A slice that comes alone is held to the same. Where there is no such slice nothing is labelled, and so
    nothing is graded. Of muscle and fossa together, of the spine and of the coracoid process only the largest connected
    piece in a slice is kept.

    Parameters
    ----------
    spacing_mm, size : of the network's square working grid.
    attention : binary definition, ``A`` to ``E``, whose positive answer the attention map explains.
    least_score : of a slice that is taken for a Y-view; 0.3 is half that of the least sure of 220 validation phantoms,
        and lumbar spines of two people reach 0.08.
    progress : called with the share of the work that is done, 0 to 1.

    Raises
    ------
    InputError
        When there is no such definition.
    """

    def __init__(
        self,
        spacing_mm: float = 0.6,
        size: int = 256,
        attention: str = "A",
        least_score: float = 0.3,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        self.spacing_mm, self.size, self.progress = spacing_mm, size, progress
        self.least_score = least_score
        self.attention = read_definition(attention).name

    def segment(
        self, array: np.ndarray, affine: np.ndarray, network: SupraspinatusGrader, *masks: np.ndarray
    ) -> np.ndarray:
        """(X, Y, Z) uint8 label map of an (X, Y, Z) image; all 0 when no slice is a Y-view.

        Parameters
        ----------
        affine : (4, 4) voxel indices to patient mm, RAS+.
        """
        plane = self._plane(array.shape, affine)
        labels, best = np.zeros(array.shape, np.uint8), None
        for index, probabilities in enumerate(self._regions(array, plane, network)):
            decided = keep_largest_pieces(plane.restore_labels(probabilities), REGION_GROUPS)
            seen = _Seen(_areas_cm2(decided, plane, affine), _certainties(probabilities))
            if seen.is_y_view and seen.score >= self.least_score and (best is None or seen.score > best[0]):
                best = seen.score, index, decided
        if best is not None:
            plane.put(labels, best[1], best[2])
        return labels

    def grade(self, volume: Volume, label_map: LabelMap, network: SupraspinatusGrader) -> Grading | None:
        """What the classifier says of the labelled slice; ``None`` when no muscle is labelled.

        The crop follows the labels, so a reader who corrects them gets the grade of the corrected region.

        Parameters
        ----------
        label_map : on the volume's grid, in the numbering of ``supraspinatus_mri``
        """
        index = find_y_view(label_map)
        if index is None:
            return None
        plane = self._plane(volume.array.shape, volume.grid.affine)
        labels = plane.take(label_map.array, index)
        device = next(network.parameters()).device
        image = self._slices(volume.array, plane, [index]).to(device)
        regions = regions_of(torch.from_numpy(plane.resample_labels(labels, 5))[None, None].to(device))
        with eval_mode(network):  # a handler of an evaluator finds the network in training mode
            box, crop = network.find_box(regions), network.crop(image, regions)
            answers = network.probabilities(network.grade_logits(crop))[0].double().cpu().numpy()
        grades = answers[len(DEFINITION_NAMES) :]
        return Grading(
            slice_index=index,
            reason=_reason(index, plane, labels, volume.grid),
            probabilities={name: float(answers[place]) for place, name in enumerate(DEFINITION_NAMES)},
            grade_probabilities=tuple(float(value) for value in grades / grades.sum()),
            crop=crop[0, 0].cpu().numpy(),
            mask=crop[0, 1].cpu().numpy(),
            attention=self._attend(network, crop),
            attention_of=f"definition {self.attention}, positive",
            box_mm=self._box_mm(box, plane, labels.shape, volume.grid),
            flags=flag_shoulder_image(volume, index, np.take(label_map.array, index, plane.slice_axis) == 1),
        )

    def iter_probabilities(
        self, array: np.ndarray, affine: np.ndarray, network: SupraspinatusGrader, slices: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Probabilities of evenly spread slices, one at a time, and the slices themselves.

        Returns
        -------
        iterator of ((5, size, size) float32 probabilities, (size, size) float32 intensities from 0 to 100)
        """
        plane = self._plane(array.shape, affine)
        chosen = np.unique(np.linspace(0, plane.slice_count - 1, min(slices, plane.slice_count)).round().astype(int))
        for index in chosen:
            image = self._slices(array, plane, [int(index)])
            yield self._decide(image, network)[0], _SHOWN_INTENSITY * image[0, 0].numpy()

    def _plane(self, shape: tuple[int, ...], affine: np.ndarray) -> WorkingPlane:
        return WorkingPlane(shape, affine, self.spacing_mm, self.size)

    @staticmethod
    def _slices(array: np.ndarray, plane: WorkingPlane, indices: list[int]) -> Tensor:
        """(B, 1, size, size) slices on the working grid, scaled."""
        taken = [plane.resample(scale_to_percentiles(plane.take(array, index))) for index in indices]
        return torch.from_numpy(np.stack(taken)[:, None])

    @staticmethod
    def _decide(image: Tensor, network: SupraspinatusGrader) -> np.ndarray:
        device = next(network.parameters()).device
        with eval_mode(network):
            return network.region_logits(image.to(device)).softmax(dim=1).cpu().numpy()

    def _regions(self, array: np.ndarray, plane: WorkingPlane, network: SupraspinatusGrader) -> Iterator[np.ndarray]:
        """(5, size, size) probabilities of one slice after the other."""
        for start in range(0, plane.slice_count, _BATCH):
            indices = list(range(start, min(start + _BATCH, plane.slice_count)))
            yield from self._decide(self._slices(array, plane, indices), network)
            if self.progress:
                self.progress((indices[-1] + 1) / plane.slice_count)

    def _attend(self, network: SupraspinatusGrader, crop: Tensor) -> np.ndarray:
        """(S, S) Grad-CAM of the positive answer, 0 to 1; all 0 where nothing spoke for it."""
        classifier = network.classifier
        explain = GradCAM(classifier, classifier.attention_layer, postprocessing=_scale)
        positive = 2 * DEFINITION_NAMES.index(self.attention) + 1
        with eval_mode(network), torch.enable_grad():
            attention = explain(crop.detach().clone().requires_grad_(), class_idx=positive)
        return torch.as_tensor(attention)[0, 0].detach().float().cpu().numpy()

    def _box_mm(self, box: Any, plane: WorkingPlane, shape: tuple[int, int], grid: Grid) -> tuple[float, ...]:
        """The crop's square on the slice: left, top, width and height in mm from its upper left corner."""
        rows, columns = _in_plane_mm(plane, grid.affine)
        half = float(box.half_px[0]) * self.spacing_mm
        middle = (0.5 * shape[1] * columns, 0.5 * shape[0] * rows)
        centre = [
            at + (float(pixel) - 0.5 * (self.size - 1)) * self.spacing_mm
            for at, pixel in zip(middle, box.centre[0], strict=True)
        ]
        return centre[0] - half, centre[1] - half, 2 * half, 2 * half


def _scale(attention: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """Largest to 1; Grad-CAM has no values below 0."""
    highest = attention.max()
    return attention / highest if highest > 0 else attention * 0


def _in_plane_mm(plane: WorkingPlane, affine: np.ndarray) -> tuple[float, float]:
    """Distance between rows and between columns of a slice, as the working plane takes it."""
    spacing = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    rows, columns = plane.axes
    return float(spacing[rows]), float(spacing[columns])


def _areas_cm2(labels: np.ndarray, plane: WorkingPlane, affine: np.ndarray) -> np.ndarray:
    """Area of each label in a slice, background first."""
    return np.bincount(labels.ravel(), minlength=5) * np.prod(_in_plane_mm(plane, affine)) / 100


def _certainties(probabilities: np.ndarray) -> np.ndarray:
    """Mean probability of each class over the pixels that it wins; 0 where it wins none."""
    winner, flat = probabilities.argmax(axis=0).ravel(), probabilities.max(axis=0).ravel()
    count = np.bincount(winner, minlength=len(probabilities))
    return np.bincount(winner, flat, minlength=len(probabilities)) / np.maximum(count, 1)


def _reason(index: int, plane: WorkingPlane, labels: np.ndarray, grid: Grid) -> str:
    """Why this slice is the Y-view."""
    if plane.slice_count == 1:
        return "the image is this one slice"
    areas = _areas_cm2(labels, plane, grid.affine)
    seen = [
        f"{structure.title.lower()} ({areas[structure.index]:.1f} cm²)"
        for structure in read_label_schema(_SCHEMA).structures
        if structure.index != 2 and areas[structure.index]
    ]
    return f"slice {index} (from 0) of {plane.slice_count} shows {', '.join(seen)} together"
