"""Grading many Y-views with one set of weights: what a study asks of a grader, in batches and without files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.networks import MASKS, REGION_GROUPS, SupraspinatusGrader, read_weights, regions_of
from myotome.structures import LabelMap
from myotome.transforms.planes import WorkingPlane, keep_largest_pieces

__all__ = ["BatchGrader", "YView", "take_y_view"]

_CLASSES = 5


@dataclass(frozen=True, eq=False)
class YView:
    """One slice: ``image`` (H, W) float16 on the working grid, ``label`` (rows, columns) as drawn, and the geometry."""

    image: np.ndarray
    label: np.ndarray
    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def plane(self) -> WorkingPlane:
        """Between the image's pixels and the working grid; made when asked for, since it is large."""
        return WorkingPlane(self.shape, self.affine)


def take_y_view(volume: Volume, label_map: LabelMap) -> YView:
    """The slice of an image in which its label map is drawn, on the working grid.

    Raises
    ------
    InputError
        When nothing is labelled, or more than one slice is.
    """
    plane = WorkingPlane(volume.grid.shape, volume.grid.affine)
    others = tuple(axis for axis in range(3) if axis != plane.slice_axis)
    drawn = np.flatnonzero(label_map.array.any(axis=others))
    if len(drawn) != 1:
        raise InputError(f"{len(drawn)} slices are labelled: label the structures in one slice, the Y-view.")
    index = int(drawn[0])
    image = plane.take_scaled(volume.array, index)
    label = plane.take(label_map.array, index).astype(np.uint8)
    return YView(image.astype(np.float16), label, volume.grid.shape, volume.grid.affine)


class BatchGrader:
    """A grader with its weights.

    Parameters
    ----------
    weights : ``model.pt`` of the bundle, or of one training of it.
    classifier : that the weights are of, ``"small"`` or ``"vgg19"``.
    batch_size : slices in one go.

    Raises
    ------
    BundleError
        When there are no such weights, or they are of another network.
    """

    def __init__(self, weights: Path | str, classifier: str = "small", batch_size: int = 16) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = read_weights(SupraspinatusGrader(classifier), weights).to(self.device).eval()
        self._batch_size = batch_size

    def label(self, views: Sequence[YView]) -> list[np.ndarray]:
        """(rows, columns) uint8 labels of each slice, on the image's own pixels."""
        return [label for batch, images in self._batches(views) for label in self._label(batch, images)]

    def grade(self, views: Sequence[YView], masks: str = "predicted", calibrated: bool = False) -> np.ndarray:
        """(n, 10) probabilities: positive by definitions A to E, then grades 0 to 4, as `YViewInferer` says.

        Parameters
        ----------
        masks : one of :data:`myotome.networks.MASKS`.
        calibrated : divide by the temperatures that the weights hold.

        Raises
        ------
        InputError
            When ``masks`` is not known.
        """
        if masks not in MASKS:
            raise InputError(f"masks '{masks}' are not known: choose one of {', '.join(MASKS)}.")
        found = [np.empty((0, 10), np.float32)]
        for batch, images in self._batches(views):
            with torch.inference_mode():
                logits = self._network.grade_logits(self._network.crop(images, self._choose(batch, images, masks)))
                if not calibrated:
                    scale = self._network.temperature
                    logits = torch.cat((logits[:, :10] * scale[:5].repeat_interleave(2), logits[:, 10:] * scale[5:]), 1)
                found.append(self._network.probabilities(logits).float().cpu().numpy())
        return np.concatenate(found)

    def _choose(self, batch: Sequence[YView], images: Tensor, masks: str) -> Tensor:
        if masks == "none":
            return torch.zeros((len(images), _CLASSES, *images.shape[2:]), device=self.device)
        given = self._label(batch, images) if masks == "predicted" else [view.label for view in batch]
        labels = [view.plane.resample_labels(label, _CLASSES) for view, label in zip(batch, given, strict=True)]
        return regions_of(torch.from_numpy(np.stack(labels))[:, None].to(self.device))

    @torch.inference_mode()
    def _label(self, batch: Sequence[YView], images: Tensor) -> list[np.ndarray]:
        regions = self._network.region_logits(images).softmax(dim=1).cpu().numpy()
        return [
            keep_largest_pieces(view.plane.restore_labels(region), REGION_GROUPS)
            for view, region in zip(batch, regions, strict=True)
        ]

    def _batches(self, views: Sequence[YView]) -> Iterator[tuple[Sequence[YView], Tensor]]:
        for start in range(0, len(views), self._batch_size):
            batch = views[start : start + self._batch_size]
            images = np.stack([view.image for view in batch])[:, None].astype(np.float32)
            yield batch, torch.from_numpy(images).to(self.device)
