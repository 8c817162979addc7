"""The one network that every pipeline of the comparison is given."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.networks.nets import AttentionUnet
from torch import nn

from benchmarks.recipe import CLASSES

__all__ = ["make_network"]


def make_network(weights: Path | None = None, classes: int = CLASSES) -> nn.Module:
    """The 3D `AttentionUnet` of the comparison, in eval mode.

    Parameters
    ----------
    weights : state dict; untrained weights of a fixed seed when ``None``
    classes : outputs, background included
    """
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, classes, (16, 32, 64, 128, 256), (2, 2, 2, 2))
    if weights is not None:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()
