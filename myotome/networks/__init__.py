"""Networks and their weights: the respiratory-muscle cascade, the supraspinatus grader, and the L3 segmenter."""

from myotome.networks.cascade import STAGES, CascadeStage, RespiratoryCascade
from myotome.networks.l3_muscle import (
    L3_STAGES,
    PRETEXT_STAGES,
    SOURCES,
    L3MuscleSegmenter,
    Transfer,
    copy_source,
    list_transfer,
)
from myotome.networks.level_network import LEVEL_CHANNELS, LevelEvidence, LevelNetwork, locate_level
from myotome.networks.mobile_unet import MobileEncoder, MobileUNet
from myotome.networks.pretext import PERMUTATIONS, TILES, Autoencoder, JigsawNetwork
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
from myotome.networks.weights import read_imagenet_weights, read_mobilenet_weights, read_weights, write_weights

__all__ = [
    "CLASSIFIERS",
    "CROP_SIZE",
    "DEFINITION_NAMES",
    "GRADER_STAGES",
    "L3_STAGES",
    "LEVEL_CHANNELS",
    "MASKS",
    "PERMUTATIONS",
    "PRETEXT_STAGES",
    "REGION_GROUPS",
    "SOURCES",
    "STAGES",
    "TILES",
    "Autoencoder",
    "CascadeStage",
    "CropBox",
    "JigsawNetwork",
    "L3MuscleSegmenter",
    "LevelEvidence",
    "LevelNetwork",
    "MobileEncoder",
    "MobileUNet",
    "RespiratoryCascade",
    "SmallClassifier",
    "SupraspinatusGrader",
    "Transfer",
    "VggClassifier",
    "copy_source",
    "list_transfer",
    "locate_level",
    "read_imagenet_weights",
    "read_mobilenet_weights",
    "read_weights",
    "regions_of",
    "sample_squares",
    "write_weights",
]
