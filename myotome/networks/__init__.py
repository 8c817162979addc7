"""Networks and their weights: the respiratory cascade, the supraspinatus grader, the L3 and the bone segmenters."""

from myotome.networks.bone_density import BONE_STAGES, TISSUE_OF_LABEL, TISSUES, BoneDensitySegmenter
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
from myotome.networks.spine_sequence import (
    SEQUENCE,
    SEQUENCE_LEVELS,
    UNKNOWN,
    SequenceEvidence,
    chain_loss,
    decode_sequence,
)
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
    "BONE_STAGES",
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
    "SEQUENCE",
    "SEQUENCE_LEVELS",
    "SOURCES",
    "STAGES",
    "TILES",
    "TISSUES",
    "TISSUE_OF_LABEL",
    "UNKNOWN",
    "Autoencoder",
    "BoneDensitySegmenter",
    "CascadeStage",
    "CropBox",
    "JigsawNetwork",
    "L3MuscleSegmenter",
    "LevelEvidence",
    "LevelNetwork",
    "MobileEncoder",
    "MobileUNet",
    "RespiratoryCascade",
    "SequenceEvidence",
    "SmallClassifier",
    "SupraspinatusGrader",
    "Transfer",
    "VggClassifier",
    "chain_loss",
    "copy_source",
    "decode_sequence",
    "list_transfer",
    "locate_level",
    "read_imagenet_weights",
    "read_mobilenet_weights",
    "read_weights",
    "regions_of",
    "sample_squares",
    "write_weights",
]
