"""Labelling many slices with one set of weights: what a study asks of the L3 segmenter, without files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from myotome.geometry import Volume
from myotome.inference.l3_slices import take_l3_plane
from myotome.networks import L3MuscleSegmenter, read_weights

__all__ = ["AxialSlice", "SliceSegmenter"]


class AxialSlice(Protocol):
    """One slice of a CT: the volume and the slice's index along its inferior-superior axis."""

    volume: Volume
    index: int


class SliceSegmenter:
    """An L3 segmenter with its weights.

    Parameters
    ----------
    weights : ``model.pt`` of the bundle, or of one training of it.
    batch_size : slices in one go.

    Raises
    ------
    BundleError
        When there are no such weights, or they are of another network.
    """

    def __init__(self, weights: Path | str, batch_size: int = 4) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = read_weights(L3MuscleSegmenter(), weights).to(self.device).eval()
        self._batch_size = batch_size

    @torch.inference_mode()
    def label(self, slices: Sequence[AxialSlice]) -> list[np.ndarray]:
        """uint8 labels of each slice on the image's own pixels, its two axes in the order that the volume has them."""
        labels = []
        for start in range(0, len(slices), self._batch_size):
            cut = [_cut(item) for item in slices[start : start + self._batch_size]]
            planes = [take_l3_plane(array, affine) for array, affine in cut]
            images = np.stack([plane.take_scaled(array, 0) for plane, (array, _) in zip(planes, cut, strict=True)])
            probabilities = self._network(torch.from_numpy(images)[:, None].to(self.device)).float().cpu().numpy()
            for plane, shares, (array, _) in zip(planes, probabilities, cut, strict=True):
                found = np.zeros(array.shape, np.uint8)
                plane.put(found, 0, plane.restore_labels(shares))
                labels.append(found.squeeze(plane.slice_axis))
        return labels


def _cut(item: AxialSlice) -> tuple[np.ndarray, np.ndarray]:
    """The slice as an image of its own, (X, Y, 1) in some order, and an affine with its directions and spacings."""
    axis = item.volume.grid.axis("IS")
    return np.take(item.volume.array, [item.index], axis), item.volume.grid.affine
