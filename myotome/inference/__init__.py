"""Segmenters: a bundle's networks run on a volume by a checked engine, or a phantom's known truth."""

from myotome.inference.bone_slices import BoneInferer
from myotome.inference.disc_levels import LEVEL_FLOOR, DiscLevels, name_levels
from myotome.inference.disc_tracks import DiscTrack, SliceDisc, link_discs
from myotome.inference.discs import DiscFinder, DiscInferer
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
    "LEVEL_FLOOR",
    "AdjacentSliceInferer",
    "BoneInferer",
    "BundleSegmenter",
    "DiscFinder",
    "DiscInferer",
    "DiscLevels",
    "DiscTrack",
    "Grader",
    "L3Inferer",
    "LabelMapInferer",
    "LevelFinder",
    "PhantomSegmenter",
    "SegmentVolumed",
    "Segmenter",
    "SliceDisc",
    "SliceInferer",
    "VolumeInferer",
    "WindowInferer",
    "YViewInferer",
    "link_discs",
    "name_levels",
    "schema_of",
    "spread_device",
]
