"""Inferers that take the whole image as it was loaded, and give its label map."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor, nn

__all__ = ["VolumeInferer"]


class VolumeInferer(Inferer):
    """Prepares an image itself, in any axis order, and brings the labels back to the image's own grid.

    As a MONAI inferer it is called with the (1, 1, X, Y, Z) image as it was loaded, and returns (1, 1, X, Y, Z) labels.
    In Python, `segment` does the same for arrays.
    """

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """(1, 1, X, Y, Z) uint8 label map of a (1, 1, X, Y, Z) image whose ``affine`` is RAS+ mm.

        Further (1, 1, X, Y, Z) tensors are label maps on the same grid, handed to the network with the image.
        """
        affine = np.asarray(inputs.affine.cpu(), dtype=np.float64).reshape(4, 4)
        arrays = [value.as_tensor() if isinstance(value, MetaTensor) else value for value in (inputs, *args)]
        image, *masks = (value[0, 0].cpu().numpy() for value in arrays)
        labels = torch.from_numpy(np.ascontiguousarray(self.segment(image, affine, network, *masks)))
        return MetaTensor(labels[None, None]).copy_meta_from(inputs)

    @abstractmethod
    def segment(self, array: np.ndarray, affine: np.ndarray, network: nn.Module, *masks: np.ndarray) -> np.ndarray:
        """(X, Y, Z) uint8 label map of an (X, Y, Z) image.

        Parameters
        ----------
        affine : (4, 4) voxel indices to patient mm, RAS+.
        masks : further (X, Y, Z) label maps, for networks that are given them.
        """
