"""Which vertebra lies where along the body: a small network on projections of the spine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from myotome.networks.spine_sequence import SEQUENCE

__all__ = ["LEVEL_CHANNELS", "LevelNetwork"]

LEVEL_CHANNELS = 5
_WIDTHS = (8, 16, 24, 32)
_TRUNK = 48
_DILATIONS = (1, 2, 4, 8, 16, 32)


class LevelNetwork(nn.Module):
    """Gives each bin along z a logit for each name of `myotome.networks.SEQUENCE`.

    The coronal and the sagittal projections go through convolutions of their own, which keep z and end in one column;
    dilated convolutions along z then see the whole field, since a vertebra is known by its neighbours. The names of a
    row are decided together (`myotome.networks.decode_sequence`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.coronal, self.sagittal = _collapse(), _collapse()
        self.entry = nn.Conv1d(4 * _WIDTHS[-1], _TRUNK, 1)
        self.trunk = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(_TRUNK, _TRUNK, 3, padding=step, dilation=step, bias=False),
                nn.BatchNorm1d(_TRUNK),
                nn.ReLU(),
            )
            for step in _DILATIONS
        )
        self.head = nn.Conv1d(_TRUNK, len(SEQUENCE), 1)

    def forward(self, projections: Tensor) -> Tensor:
        """(B, 10, Z) logits of (B, 5, S, Z) projections, lowest bin first.

        Parameters
        ----------
        projections : coronal maximum and mean, sagittal maximum and mean, and 1 where z is within the field
            (`myotome.transforms.project_spine`)
        """
        inside = projections[:, 4:]
        seen = torch.cat(
            (
                _columns(self.coronal(torch.cat((projections[:, :2], inside), dim=1))),
                _columns(self.sagittal(torch.cat((projections[:, 2:4], inside), dim=1))),
            ),
            dim=1,
        )
        seen = self.entry(seen)
        for layer in self.trunk:
            seen = seen + layer(seen)
        return self.head(seen)


def _collapse() -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for width in _WIDTHS:
        layers += [
            nn.Conv2d(before, width, 3, stride=(2, 1), padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        before = width
    return nn.Sequential(*layers)


def _columns(seen: Tensor) -> Tensor:
    """(B, 2 C, Z) mean and maximum across the (B, C, S, Z) field."""
    return torch.cat((seen.mean(2), seen.amax(2)), dim=1)
