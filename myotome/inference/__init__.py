"""Segmenters: a bundle's networks run on a volume, or a phantom's known truth."""

from myotome.inference.segmenter import (
    BundleSegmenter,
    PhantomSegmenter,
    Segmenter,
    read_metadata,
    require_matching_weights,
)
from myotome.inference.slices import AdjacentSliceInferer

__all__ = [
    "AdjacentSliceInferer",
    "BundleSegmenter",
    "PhantomSegmenter",
    "Segmenter",
    "read_metadata",
    "require_matching_weights",
]
