"""MONAI dictionary transforms: random acquisition for training, preparation and restoration for inference."""

from myotome.transforms.acquisition import (
    RandBlurd,
    RandContrastAgentd,
    RandFieldOfViewd,
    RandLowResolutiond,
    RandNeighbourLossd,
    RandNoised,
    RandObjectsd,
    RandShadingd,
    RandStreaksd,
    RandTissueContrastd,
)

__all__ = [
    "RandBlurd",
    "RandContrastAgentd",
    "RandFieldOfViewd",
    "RandLowResolutiond",
    "RandNeighbourLossd",
    "RandNoised",
    "RandObjectsd",
    "RandShadingd",
    "RandStreaksd",
    "RandTissueContrastd",
]
