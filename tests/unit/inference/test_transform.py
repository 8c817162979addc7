"""A bundle as a MONAI transform labels what the segmenter labels."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from myotome.geometry import Grid, Volume
from myotome.inference import BundleSegmenter, SegmentVolumed


def test_the_transform_gives_the_segmenters_labels_with_the_images_affine(bundle):
    array = np.full((40, 30, 3), -1000, np.int16)
    array[8:32, 6:24] = np.random.default_rng(0).integers(-100, 100, (24, 18, 3))
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    image = MetaTensor(torch.from_numpy(array.astype(np.float32))[None], affine=torch.from_numpy(affine))
    given = {"image": image, "other": 1}
    result = SegmentVolumed(["image", "missing"], bundle, allow_missing_keys=True, engine="eager")(given)
    expected = BundleSegmenter(bundle, engine="eager").segment(Volume(array, Grid(array.shape, affine)))
    labels = result["image"]
    assert isinstance(labels, MetaTensor) and labels.dtype == torch.uint8
    assert np.array_equal(labels[0].numpy(), expected.array) and labels.any()
    assert np.array_equal(labels.affine, affine)
    assert result["other"] == 1 and given["image"] is image
