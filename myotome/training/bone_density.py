"""Where the stages of the bone segmenter begin."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from myotome.networks import BoneDensitySegmenter, L3MuscleSegmenter, read_weights
from myotome.training.checkpoint import copy_fitting_weights

__all__ = ["start_bone"]

_LOG = logging.getLogger(__name__)


def start_bone(
    segmenter: BoneDensitySegmenter,
    stage: str,
    device: torch.device,
    weights: str | Path,
    source_path: str | Path | None = None,
) -> nn.Module:
    """One stage of the segmenter, ready to train on a device.

    The weights are loaded when the file exists. When it does not, and ``source_path`` names the weights of an L3
    segmenter, whose networks are of the same kind, what fits of those is where both stages begin.

    Raises
    ------
    BundleError
        When the source's weights are missing, or are not those of an L3 segmenter.
    """
    if Path(weights).is_file():
        read_weights(segmenter, weights)
    elif source_path:
        source = read_weights(L3MuscleSegmenter(), source_path)
        taken = (
            copy_fitting_weights(segmenter.tissue, source.muscle),
            copy_fitting_weights(segmenter.level, source.level),
        )
        _LOG.info("tissue starts from %d tensors of %s, level from %d", taken[0], source_path, taken[1])
    segmenter.to(device=device, memory_format=torch.channels_last)
    return segmenter.training_stage(stage)
