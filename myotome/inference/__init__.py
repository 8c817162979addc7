"""Segmenters: a bundle's networks run on a volume by a checked engine, or a phantom's known truth."""

from myotome.inference.label_maps import LabelMapInferer
from myotome.inference.segmenter import (
    BundleSegmenter,
    Grader,
    PhantomSegmenter,
    Segmenter,
    schema_of,
    spread_device,
)
from myotome.inference.slices import AdjacentSliceInferer, SliceInferer
from myotome.inference.transform import SegmentVolumed
from myotome.inference.windows import WindowInferer
from myotome.inference.y_views import YViewInferer

__all__ = [
    "AdjacentSliceInferer",
    "BundleSegmenter",
    "Grader",
    "LabelMapInferer",
    "PhantomSegmenter",
    "SegmentVolumed",
    "Segmenter",
    "SliceInferer",
    "WindowInferer",
    "YViewInferer",
    "schema_of",
    "spread_device",
]
