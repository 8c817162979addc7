"""A volume of an abdomen that networks without training can be asked about, and networks that answer by rule."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from myotome.geometry import Grid, Volume

SLICES, MIDDLE = 40, 22


def make_volume(slices: int = SLICES, shape: tuple[int, int] = (128, 112), order: tuple = (0, 1, 2)) -> Volume:
    """Fat with a muscle ring, in slices of 3 mm from z = -200 on; the vertebra of slice ``MIDDLE`` is the densest."""
    x, y = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    radius = np.hypot((x - 64) / 50, (y - 56) / 44)
    plane = np.select([radius < 0.6, radius < 0.8, radius < 1], [-100, 55, -105], -1000)
    image = np.repeat(plane[..., None], slices, axis=2).astype(np.float32)
    image[58:70, 66:78] = 200
    if slices > 1:
        image[58:70, 66:78, MIDDLE - 1 : MIDDLE + 2] = 400
        image[58:70, 66:78, MIDDLE] = 600
    affine = np.diag([-3.0, -3.0, 3.0, 1.0])
    affine[:3, 3] = 190, 165, -200
    return Volume(image.transpose(order), Grid(tuple(image.shape[axis] for axis in order), affine[:, [*order, 3]]))


class RuledLevel(nn.Module):
    """Says that L3 is where bone is densest, so sure of it, and of its absence, as it is told."""

    def __init__(self, sure: float = 60.0, absent: float = -60.0, rival: int | None = None) -> None:
        super().__init__()
        self.sure, self.absent, self.rival = sure, absent, rival
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, projections: torch.Tensor) -> torch.Tensor:
        heat = torch.zeros_like(projections[:, 0, 0])
        best = int(projections[0, 0].mean(0).argmax())
        heat[:, best] = self.sure
        if self.rival is not None:
            heat[:, best + self.rival] = self.sure - 0.2
        return torch.stack((heat, torch.full_like(heat, self.absent)), dim=1)


class RuledMuscle(nn.Module):
    """Labels by density: muscle above -30 HU, subcutaneous fat below, air background."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hu = image * 400 - 150
        logits = torch.zeros(len(image), 5, *image.shape[2:])
        logits[:, 0] = (hu[:, 0] < -149).float() * 90
        logits[:, 1] = (hu[:, 0] > -30).float() * 80
        logits[:, 2] = 40
        return logits


class RuledSegmenter(nn.Module):
    """Stands for an `L3MuscleSegmenter`."""

    def __init__(self, **level: float) -> None:
        super().__init__()
        self.level, self.muscle = RuledLevel(**level), RuledMuscle()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.muscle(image).softmax(dim=1)


def make_network(**level: float) -> RuledSegmenter:
    return RuledSegmenter(**level).eval()
