"""A volume of an abdomen that networks without training can be asked about, and networks that answer by rule."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from myotome.geometry import Grid, Volume
from tests.unit.inference.bone_volumes import RuledRow

SLICES, MIDDLE = 40, 22
ROW = np.repeat([9, 8, 7, 6], [17, 11, 11, 1])  # name of each slice; bins are as thick as slices


def make_volume(slices: int = SLICES, shape: tuple[int, int] = (128, 112), order: tuple = (0, 1, 2)) -> Volume:
    """Fat with a muscle ring, in slices of 3 mm from z = -200 on; L3 is at slice ``MIDDLE``."""
    x, y = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    radius = np.hypot((x - 64) / 50, (y - 56) / 44)
    plane = np.select([radius < 0.6, radius < 0.8, radius < 1], [-100, 55, -105], -1000)
    image = np.repeat(plane[..., None], slices, axis=2).astype(np.float32)
    image[58:70, 66:78] = 400
    affine = np.diag([-3.0, -3.0, 3.0, 1.0])
    affine[:3, 3] = 190, 165, -200
    return Volume(image.transpose(order), Grid(tuple(image.shape[axis] for axis in order), affine[:, [*order, 3]]))


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

    def __init__(self, **row: object) -> None:
        super().__init__()
        self.level, self.muscle = RuledRow(**{"row": ROW, **row}), RuledMuscle()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.muscle(image).softmax(dim=1)


def make_network(**row: object) -> RuledSegmenter:
    return RuledSegmenter(**row).eval()
