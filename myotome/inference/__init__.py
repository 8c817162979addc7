"""Segmenters: a bundle's networks run on a volume by a checked engine, or a phantom's known truth."""

from myotome.inference.bone_slices import BoneInferer
from myotome.inference.l3_slices import L3Inferer, LevelFinder
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
from myotome.inference.volumes import VolumeInferer
from myotome.inference.windows import WindowInferer
from myotome.inference.y_views import YViewInferer

__all__ = [
    "AdjacentSliceInferer",
    "BoneInferer",
    "BundleSegmenter",
    "Grader",
    "L3Inferer",
    "LabelMapInferer",
    "LevelFinder",
    "PhantomSegmenter",
    "SegmentVolumed",
    "Segmenter",
    "SliceInferer",
    "VolumeInferer",
    "WindowInferer",
    "YViewInferer",
    "schema_of",
    "spread_device",
]
