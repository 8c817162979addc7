"""Networks and their weights: the respiratory-muscle cascade, and the supraspinatus grader."""

from myotome.networks.cascade import STAGES, CascadeStage, RespiratoryCascade
from myotome.networks.supraspinatus import (
    CLASSIFIERS,
    CROP_SIZE,
    DEFINITION_NAMES,
    GRADER_STAGES,
    MASKS,
    REGION_GROUPS,
    CropBox,
    SmallClassifier,
    SupraspinatusGrader,
    VggClassifier,
    regions_of,
    sample_squares,
)
from myotome.networks.weights import read_imagenet_weights, read_weights, write_weights

__all__ = [
    "CLASSIFIERS",
    "CROP_SIZE",
    "DEFINITION_NAMES",
    "GRADER_STAGES",
    "MASKS",
    "REGION_GROUPS",
    "STAGES",
    "CascadeStage",
    "CropBox",
    "RespiratoryCascade",
    "SmallClassifier",
    "SupraspinatusGrader",
    "VggClassifier",
    "read_imagenet_weights",
    "read_weights",
    "regions_of",
    "sample_squares",
    "write_weights",
]
