"""Training the bundles: data sets, what a stage learns from, iterations, and checkpoints that resume."""

from myotome.training.checkpoint import (
    StageCheckpoint,
    StageFiles,
    TrainingProgress,
    copy_fitting_weights,
    read_weights,
    write_weights,
)
from myotome.training.setup import read_datalist, start_stage
from myotome.training.slabs import SlabDataset, SlabSampling
from myotome.training.stages import AveragedWeights, MixedPrecisionUpdate, PooledDice, StageBatch, StageOutput, UseAverage

__all__ = [
    "AveragedWeights",
    "MixedPrecisionUpdate",
    "PooledDice",
    "SlabDataset",
    "SlabSampling",
    "StageBatch",
    "StageCheckpoint",
    "StageFiles",
    "StageOutput",
    "UseAverage",
    "TrainingProgress",
    "copy_fitting_weights",
    "read_datalist",
    "read_weights",
    "start_stage",
    "write_weights",
]
