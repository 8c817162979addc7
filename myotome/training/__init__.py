"""Training the bundles: data sets, what a stage learns from, iterations, and checkpoints that resume."""

from myotome.training.bone_density import start_bone
from myotome.training.bundle_run import BundleTraining, can_train, train_bundle
from myotome.training.checkpoint import (
    StageCheckpoint,
    StageFiles,
    TrainingProgress,
    copy_fitting_weights,
)
from myotome.training.device_crops import CropSampling, DeviceCrops, LabelledVolume
from myotome.training.disc_table import DiscTable
from myotome.training.discs import DetectionLoss, DiscBatch, make_disc_targets, start_discs
from myotome.training.early_stopping import EarlyStopping
from myotome.training.evaluation import CaseScores, MaskedBatch
from myotome.training.grade_learning import FitTemperature, GradeKappa, GradeLoss
from myotome.training.grading import CropBatch, CropSource, RegionBatch, RegionOutput, read_teacher, start_grader
from myotome.training.grading_table import GradingTable
from myotome.training.l3_muscle import start_l3
from myotome.training.level_data import LevelBatch, LevelDataset, LevelSampling
from myotome.training.level_table import LevelTable, VertebraTable
from myotome.training.plane_data import PlaneDataset, PlaneSampling
from myotome.training.pretext import (
    JigsawBatch,
    JigsawScore,
    ReconstructionBatch,
    ReconstructionScore,
    make_permutations,
)
from myotome.training.segmentation import MaskedDiceCrossEntropy, MergedOutput, soft_dice_loss
from myotome.training.setup import list_images, read_datalist, require_known_overrides, start_stage
from myotome.training.slabs import SlabDataset, SlabSampling
from myotome.training.spine_sequence import SequenceDataset, SequenceLoss, SequenceOutput, SequenceScore
from myotome.training.stages import (
    AveragedWeights,
    MixedPrecisionUpdate,
    PooledDice,
    StageBatch,
    StageOutput,
    UseAverage,
)

__all__ = [
    "AveragedWeights",
    "BundleTraining",
    "CaseScores",
    "CropBatch",
    "CropSampling",
    "CropSource",
    "DetectionLoss",
    "DeviceCrops",
    "DiscBatch",
    "DiscTable",
    "EarlyStopping",
    "FitTemperature",
    "GradeKappa",
    "GradeLoss",
    "GradingTable",
    "JigsawBatch",
    "JigsawScore",
    "LabelledVolume",
    "LevelBatch",
    "LevelDataset",
    "LevelSampling",
    "LevelTable",
    "MaskedBatch",
    "MaskedDiceCrossEntropy",
    "MergedOutput",
    "MixedPrecisionUpdate",
    "PlaneDataset",
    "PlaneSampling",
    "PooledDice",
    "ReconstructionBatch",
    "ReconstructionScore",
    "RegionBatch",
    "RegionOutput",
    "SequenceDataset",
    "SequenceLoss",
    "SequenceOutput",
    "SequenceScore",
    "SlabDataset",
    "SlabSampling",
    "StageBatch",
    "StageCheckpoint",
    "StageFiles",
    "StageOutput",
    "TrainingProgress",
    "UseAverage",
    "VertebraTable",
    "can_train",
    "copy_fitting_weights",
    "list_images",
    "make_disc_targets",
    "make_permutations",
    "read_datalist",
    "read_teacher",
    "require_known_overrides",
    "soft_dice_loss",
    "start_bone",
    "start_discs",
    "start_grader",
    "start_l3",
    "start_stage",
    "train_bundle",
]
