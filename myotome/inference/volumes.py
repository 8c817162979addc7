"""Inferers that take the whole image as it was loaded, and give its label map."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor, nn

from myotome.errors import InputError
from myotome.geometry import Grid

__all__ = ["KeepsRefusal", "VolumeInferer", "require_axial_grid"]

_LOG = logging.getLogger(__name__)


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


class KeepsRefusal(VolumeInferer):
    """What a `VolumeInferer` is on top when it may refuse an image: as a MONAI inferer it then labels nothing.

    The reason goes into the log, so that the next image of a run gets its turn; `segment` raises it.

    Attributes
    ----------
    refusal : str
        Why the last image has no label; empty when it has.
    """

    refusal = ""

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """(1, 1, X, Y, Z) uint8 label map of a (1, 1, X, Y, Z) image in HU whose ``affine`` is RAS+ mm."""
        self.refusal = ""
        try:
            return super().__call__(inputs, network, *args)
        except InputError as error:
            self.refusal = str(error)
            _LOG.warning("nothing is labelled: %s", error)
            return torch.zeros_like(inputs, dtype=torch.uint8)


def require_axial_grid(shape: tuple[int, ...], affine: np.ndarray) -> Grid:
    """The grid of an image whose slices are axial.

    Raises
    ------
    InputError
        When they are not.
    """
    grid = Grid(tuple(shape), affine)
    if grid.slice_axis("IS") != grid.axis("IS"):
        raise InputError("the slices are not axial: give the axial series, or resample it to axial slices.")
    return grid
