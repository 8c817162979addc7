"""Segmenters: a bundle's networks run on a volume by a checked engine, or a phantom's known truth."""

from myotome.inference.label_maps import LabelMapInferer
from myotome.inference.segmenter import (
    BundleSegmenter,
    PhantomSegmenter,
    Segmenter,
    schema_of,
    spread_device,
)
from myotome.inference.slices import AdjacentSliceInferer, SliceInferer
from myotome.inference.transform import SegmentVolumed
from myotome.inference.windows import WindowInferer

__all__ = [
    "AdjacentSliceInferer",
    "BundleSegmenter",
    "LabelMapInferer",
    "PhantomSegmenter",
    "SegmentVolumed",
    "Segmenter",
    "SliceInferer",
    "WindowInferer",
    "schema_of",
    "spread_device",
]
