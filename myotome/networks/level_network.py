"""Where along the body a vertebra lies: a small network on projections of the spine, and what its answer means."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d

__all__ = ["LEVEL_CHANNELS", "LevelEvidence", "LevelNetwork", "locate_level"]

LEVEL_CHANNELS = 5
_WIDTHS = (8, 16, 24, 32)
_TRUNK = 48
_DILATIONS = (1, 2, 4, 8, 16, 32)
_NEAR, _APART = 3, 8  # bins: what counts as one place, and from where on it is another vertebra


class LevelEvidence(NamedTuple):
    """Where a level seems to be, in bins from the lowest, and how sure that is.

    ``confidence`` is the probability of the place (7 bins), ``rival`` that of the next best at least 8 bins away, and
    ``absent`` that the level is not in the field.
    """

    position: float
    confidence: float
    rival: float
    absent: float


class LevelNetwork(nn.Module):
    """Tells for each bin along z whether the level is there, and whether it is in the field at all.

    The coronal and the sagittal projections go through convolutions of their own, which keep z and end in one column;
    dilated convolutions along z then see the whole field, since a vertebra is known by its neighbours.

    Parameters
    ----------
    outputs : logits for each bin; two for a single level (`log_probabilities`), one for each name of a row of levels
        (`myotome.networks.spine_sequence`).
    """

    def __init__(self, outputs: int = 2) -> None:
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
        self.head = nn.Conv1d(_TRUNK, outputs, 1)

    def forward(self, projections: Tensor) -> Tensor:
        """(B, outputs, Z) of (B, 5, S, Z): by default logits of the level at each bin, and evidence that it is absent.

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

    @staticmethod
    def log_probabilities(logits: Tensor, inside: Tensor) -> Tensor:
        """(B, Z + 1) of (B, 2, Z) logits: the log probability of each bin, and last of "not in the field".

        Parameters
        ----------
        inside : (B, Z), true for bins of the field; the others have probability 0
        """
        share = inside.to(logits.dtype)
        absent = (logits[:, 1] * share).sum(1, keepdim=True) / share.sum(1, keepdim=True).clamp(min=1)
        heat = logits[:, 0].masked_fill(~inside.bool(), -1e4)
        return torch.cat((heat, absent), dim=1).log_softmax(dim=1)


def locate_level(log_probabilities: Tensor) -> LevelEvidence:
    """What the (Z + 1,) log probabilities of one image say.

    The place is the run of 7 bins with the largest probability; the position is the mean of the bins in it.
    """
    chances = log_probabilities.double().exp()
    bins, absent = chances[:-1], float(chances[-1])
    width = 2 * _NEAR + 1
    mass = avg_pool1d(bins[None, None], width, 1, _NEAR)[0, 0] * width
    best = int(mass.argmax())
    near = slice(max(0, best - _NEAR), best + _NEAR + 1)
    steps = torch.arange(len(bins), dtype=torch.float64, device=bins.device)
    position = float((bins * steps)[near].sum() / bins[near].sum().clamp(min=1e-12))
    elsewhere = mass[(steps - best).abs() >= _APART]
    rival = float(elsewhere.max()) if len(elsewhere) else 0.0
    return LevelEvidence(position, min(1.0, float(mass[best])), rival, absent)


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
