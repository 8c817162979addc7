"""What a training config starts from: the list of cases, and a stage with the weights it builds on."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from torch import nn

from myotome.errors import InputError
from myotome.training.checkpoint import copy_fitting_weights, read_weights

__all__ = ["read_datalist", "start_stage"]

_LOG = logging.getLogger(__name__)


def read_datalist(path: str | Path, key: str) -> list[dict[str, str]]:
    """Rows of one list of a ``datalist.json``, their relative paths resolved against its folder.

    Raises
    ------
    InputError
        When the file is missing or unreadable, or the list is absent or empty.
    """
    path = Path(path)
    try:
        table = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"no readable data list at {path}: make the data first, or set dataset_dir.") from error
    rows = table.get(key) if isinstance(table, dict) else None
    if not rows:
        raise InputError(f"{path} lists no '{key}' cases: make the data again, or set dataset_dir.")
    return [{name: str(path.parent / value) for name, value in row.items()} for row in rows]


def start_stage(
    cascade: nn.Module, stage: str, device: torch.device, weights: str | Path, warm_start: str | None = None
) -> nn.Module:
    """One stage of a cascade, ready to train on a device.

    The cascade's weights are loaded when the file exists, so earlier stages are there to build on. A stage with
    ``warm_start`` begins from the weights of that other stage wherever they fit.
    """
    if Path(weights).is_file():
        read_weights(cascade, weights)
    elif warm_start:
        _LOG.warning("no weights at %s: %s starts from random weights", weights, stage)
    if warm_start:
        count = copy_fitting_weights(getattr(cascade, stage), getattr(cascade, warm_start))
        _LOG.info("%s starts from %d tensors of %s", stage, count, warm_start)
    cascade.to(device=device, memory_format=torch.channels_last)
    return cascade.stage(stage)
