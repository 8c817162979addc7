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
from myotome.transforms.grids import CropBodyd, ResampleInPlaned, RestoreLabelMapd, find_body_box

__all__ = [
    "CropBodyd",
    "RandBlurd",
    "RandContrastAgentd",
    "RandFieldOfViewd",
    "RandIslandsd",
    "RandLowResolutiond",
    "RandNeighbourLossd",
    "RandNoised",
    "RandObjectsd",
    "RandOpacityd",
    "RandShadingd",
    "RandStreaksd",
    "RandTissueContrastd",
    "ResampleInPlaned",
    "RestoreLabelMapd",
    "find_body_box",
]
