"""Label maps on disk, in the shape of the images they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.data import NibabelWriter
from torch import Tensor

__all__ = ["VolumeWriter"]


class VolumeWriter(NibabelWriter):
    """A `NibabelWriter` that keeps three axes: MONAI's own drops the last one of a single slice, or adds a fourth."""

    def set_data_array(self, data_array: np.ndarray | Tensor, channel_dim: int | None = 0, **kwargs: Any) -> None:
        """Take a (1, X, Y, Z) label map, or an (X, Y, Z) one when ``channel_dim`` is ``None``."""
        self.data_obj = data_array if channel_dim is None else data_array[0]
