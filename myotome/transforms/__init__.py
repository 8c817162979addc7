"""MONAI dictionary transforms: random acquisition for training, preparation and restoration for inference."""

from myotome.transforms.acquisition import (
    RandBlurd,
    RandContrastAgentd,
    RandFieldOfViewd,
    RandIslandsd,
    RandLowResolutiond,
    RandNeighbourLossd,
    RandNoised,
    RandObjectsd,
    RandOpacityd,
    RandShadingd,
    RandStreaksd,
    RandTissueContrastd,
)
from myotome.transforms.grids import (
    CropBodyd,
    PlaneRestorer,
    ResampleInPlaned,
    RestoreLabelMapd,
    decide_muscle,
    decide_within,
    find_body,
    find_body_box,
    find_neighbours,
    in_plane_size,
    resample_plane,
)
from myotome.transforms.plane_batches import RandIntensity, RandTurn, seeded_generator
from myotome.transforms.planes import WorkingPlane, scale_to_percentiles
from myotome.transforms.saving import VolumeWriter

__all__ = [
    "CropBodyd",
    "PlaneRestorer",
    "RandBlurd",
    "RandContrastAgentd",
    "RandFieldOfViewd",
    "RandIntensity",
    "RandIslandsd",
    "RandLowResolutiond",
    "RandNeighbourLossd",
    "RandNoised",
    "RandObjectsd",
    "RandOpacityd",
    "RandShadingd",
    "RandStreaksd",
    "RandTissueContrastd",
    "RandTurn",
    "ResampleInPlaned",
    "RestoreLabelMapd",
    "VolumeWriter",
    "WorkingPlane",
    "decide_muscle",
    "decide_within",
    "find_body",
    "find_body_box",
    "find_neighbours",
    "in_plane_size",
    "resample_plane",
    "scale_to_percentiles",
    "seeded_generator",
]
