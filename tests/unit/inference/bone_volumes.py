"""A spine that networks without training can be asked about, and networks that answer by rule."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from myotome.geometry import Grid, Volume
from myotome.networks import SEQUENCE

PITCH, HEIGHT = 10, 8  # slices of 3 mm from a body to the next, and of a body
NAMES = (7, 6, 5, 4, 3, 2)  # of the bodies from below: L2, L1, T12, T11, T10, T9
SLICES = PITCH * len(NAMES)
ROW = np.repeat(NAMES, PITCH)  # name of each slice; bins are as thick as slices
CENTRE = (40, 26)


def make_spine(order: tuple = (0, 1, 2), slices: int = SLICES) -> Volume:
    """Six bodies of 250 HU in muscle in fat, x to the right, y to the front; in the file to the left, back and up."""
    x, y = np.meshgrid(np.arange(80), np.arange(64), indexing="ij")
    radius = np.hypot((x - 40) / 34, (y - 32) / 27)
    plane = np.select([radius < 0.75, radius < 1], [50, -105], -1000).astype(np.float32)
    plane[60:64, 20:30] = 180  # a vessel on the right
    image = np.repeat(plane[..., None], slices, axis=2)
    for first in range(1, slices, PITCH):
        image[34:46, 21:31, first : first + HEIGHT] = 250
    affine = np.diag([4.0, 4.0, 3.0, 1.0])
    affine[:3, 3] = -160, -130, -300
    image, affine = image[::-1, ::-1], affine.copy()
    affine[:2, 3] += 4.0 * np.array([79, 63])
    affine[:2, :2] *= -1
    return Volume(image.transpose(order), Grid(tuple(image.shape[axis] for axis in order), affine[:, [*order, 3]]))


class RuledRow(nn.Module):
    """Gives each bin its name in a row, ``sure`` more than any other; the name ``rival`` places lower gets a share."""

    def __init__(self, row: np.ndarray = ROW, sure: float = 20.0, rival: int = 0, share: float = 0.0) -> None:
        super().__init__()
        self.row, self.sure, self.rival, self.share = row, sure, rival, share
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, projections: torch.Tensor) -> torch.Tensor:
        inside = torch.nonzero(projections[0, 4, 0] > 0)[:, 0]
        logits = torch.zeros(1, len(SEQUENCE), projections.shape[-1])
        names = torch.from_numpy(self.row)
        logits[0, names, inside] = self.sure
        if self.rival:
            logits[0, (names + self.rival).clamp(0, len(SEQUENCE) - 1), inside] = self.sure * self.share
        return logits


class RuledBone(nn.Module):
    """Stands for a `BoneDensitySegmenter`: labels by density, the vessel by its 180 HU."""

    def __init__(self, **row: object) -> None:
        super().__init__()
        self.level = RuledRow(**row)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hu = image[:, 1] * 500 - 150
        logits = torch.zeros(len(image), 14, *hu.shape[1:])
        logits[:, 1:9] = ((hu > 215).float() * 60)[:, None]
        logits[:, 12] = ((hu > 120) & (hu <= 215)).float() * 70
        logits[:, 11] = ((hu > 0) & (hu <= 120)).float() * 70
        logits[:, 10] = ((hu > -149) & (hu <= 0)).float() * 70
        logits[:, 13] = (hu <= -149).float() * 70
        return logits.softmax(1)


def make_network(**row: object) -> RuledBone:
    return RuledBone(**row).eval()
