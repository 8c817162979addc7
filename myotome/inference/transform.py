"""A bundle as one MONAI transform, for pipelines that are made of transforms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from myotome.geometry import Grid, Volume
from myotome.inference.segmenter import BundleSegmenter

__all__ = ["SegmentVolumed"]


class SegmentVolumed(MapTransform):
    """Replace (1, X, Y, Z) images in HU by the bundle's (1, X, Y, Z) uint8 label map on the same grid.

    Parameters
    ----------
    keys : images, as `monai.transforms.LoadImaged` gives them with ``ensure_channel_first``.
    bundle : name of a shipped bundle, or a bundle's folder.
    settings : further arguments of `BundleSegmenter`, such as ``engine`` and ``precision``.
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        bundle: str | Path,
        allow_missing_keys: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._segmenter = BundleSegmenter(bundle, **settings)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        for key in self.key_iterator(data):
            image = data[key]
            array = image.as_tensor().cpu().numpy()[0]
            volume = Volume(array, Grid(array.shape, np.asarray(image.affine.cpu(), dtype=np.float64)))
            labels = np.ascontiguousarray(self._segmenter.segment(volume).array)
            data[key] = MetaTensor(torch.from_numpy(labels)[None]).copy_meta_from(image)
        return data
