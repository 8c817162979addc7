"""Running a 2.5D network over every slice of a volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["AdjacentSliceInferer"]


class AdjacentSliceInferer(Inferer):
    """Runs a network over whole slices, each with its two neighbours as channels; the end slices are repeated.

    Parameters
    ----------
    batch_size : slices per call of the network.
    divisible : slices are padded at their far edges to a multiple of this, and the padding is cut off again.
    bfloat16 : compute in bfloat16: several times faster on processors that support it, but labels then differ
        slightly between machines.
    progress : called with the share of the slices that is done, 0 to 1.
    """

    def __init__(
        self,
        batch_size: int = 4,
        divisible: int = 32,
        bfloat16: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        self.batch_size, self.divisible, self.bfloat16, self.progress = batch_size, divisible, bfloat16, progress

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Apply ``network`` to a (1, 1, X, Y, Z) image.

        Further (1, 1, X, Y, Z) arguments are handed to the network slice by slice.

        Returns
        -------
        (1, C, X, Y, Z) float16 tensor on the CPU: what the network gives for each slice
        """
        volume = _slices_first(inputs)
        others = [_slices_first(other) for other in args]
        depth, height, width = volume.shape
        device = next(network.parameters()).device
        for start in range(0, depth, self.batch_size):
            index = torch.arange(start, min(start + self.batch_size, depth))
            neighbours = torch.stack([index - 1, index, index + 1], dim=1).clamp_(0, depth - 1)
            batch = [self._pad(volume[neighbours]).to(device)]
            batch += [self._pad(other[index][:, None]).to(device) for other in others]
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
                output = network(*batch)[..., :height, :width].half().cpu()
            if start == 0:
                result = torch.empty((depth, *output.shape[1:]), dtype=torch.float16)
            result[index] = output
            if self.progress:
                self.progress(float(index[-1] + 1) / depth)
        return result.permute(1, 2, 3, 0)[None]

    def _pad(self, batch: Tensor) -> Tensor:
        height, width = batch.shape[-2:]
        return pad(batch, (0, -width % self.divisible, 0, -height % self.divisible))


def _slices_first(image: Tensor) -> Tensor:
    """(Z, X, Y) plain tensor of a (1, 1, X, Y, Z) image."""
    plain = image.as_tensor() if hasattr(image, "as_tensor") else image
    return plain[0, 0].permute(2, 0, 1).contiguous().cpu()
