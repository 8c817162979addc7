"""What a level network says of the projections of one spine, bin by bin."""

from __future__ import annotations

import torch
from monai.networks.utils import eval_mode
from torch import Tensor, nn
from torch.nn.functional import pad

from myotome.transforms import SpineProjections

__all__ = ["compute_spine_logits"]

_BINS = 160  # a shorter field is padded, as in training
_EVEN = 16


def compute_spine_logits(network: nn.Module, seen: SpineProjections) -> Tensor:
    """(C, Z) float32 logits of a `myotome.networks.LevelNetwork` for the Z bins of the field, lowest first."""
    size = seen.array.shape[-1]
    bins = max(_BINS, -(-size // _EVEN) * _EVEN)
    before = (bins - size) // 2
    image = pad(torch.from_numpy(seen.array)[None], (before, bins - size - before))
    with eval_mode(network):
        return network(image.to(next(network.parameters()).device))[0, :, before : before + size].float().cpu()
