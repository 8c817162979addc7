"""Where the stages of the L3 segmenter begin."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from myotome.networks import L3MuscleSegmenter, copy_source, read_weights

__all__ = ["start_l3"]

_LOG = logging.getLogger(__name__)


def start_l3(
    segmenter: L3MuscleSegmenter,
    stage: str,
    device: torch.device,
    weights: str | Path,
    source: str = "scratch",
    source_path: str | Path | None = None,
) -> nn.Module:
    """One stage of the segmenter, ready to train on a device.

    The weights are loaded when the file exists. When it does not, ``source`` says where the stage ``muscle`` begins
    (see :func:`myotome.networks.copy_source`); the other stages begin at random.

    Raises
    ------
    BundleError
        When the source's weights cannot be had.
    InputError
        When there is no such source, or it needs a path and there is none.
    """
    if Path(weights).is_file():
        read_weights(segmenter, weights)
    elif stage == "muscle":
        given = copy_source(segmenter, source, source_path)
        _LOG.info(
            "source %s: %d tensors (%d numbers) transferred, %d tensors (%d numbers) fresh",
            source,
            len(given.transferred),
            given.transferred_count,
            len(given.fresh),
            given.fresh_count,
        )
    segmenter.to(device=device, memory_format=torch.channels_last)
    return segmenter.training_stage(stage).to(device)
