"""Tasks that need no labels: what an encoder learns from unlabelled slices before it learns to segment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from myotome.networks import PERMUTATIONS, TILES, CropBox, sample_squares
from myotome.transforms import RandIntensity, RandTurn, seeded_generator

__all__ = ["JigsawBatch", "JigsawScore", "ReconstructionBatch", "ReconstructionScore", "make_permutations"]

_SIDE = 3
_CANDIDATES = 2000


def make_permutations(count: int = PERMUTATIONS) -> np.ndarray:
    """(count, 9) orders of nine tiles that differ from one another in as many places as can be; always the same.

    Of 2000 drawn orders, the one whose nearest neighbour among those taken is farthest (by Hamming distance) is taken
    next.
    """
    rng = np.random.default_rng(20165)
    drawn = np.stack([rng.permutation(TILES) for _ in range(_CANDIDATES)])
    taken = [0]
    nearest = (drawn != drawn[0]).sum(axis=1)
    while len(taken) < count:
        taken.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, (drawn != drawn[taken[-1]]).sum(axis=1))
    return drawn[taken]


class _PretextBatch:
    """Squares of ``patch`` pixels, turned and moved about the middle of the slices, changed in intensity."""

    def __init__(self, patch: int, turn: RandTurn | None = None, intensity: RandIntensity | None = None) -> None:
        self.patch, self.turn, self.intensity = patch, turn or RandTurn(0, (1, 1), 0, 0, 0), intensity

    def draw(self, batch: dict[str, Tensor], device: torch.device) -> tuple[Tensor, torch.Generator]:
        image = batch["image"].to(device)
        generator = seeded_generator(int(batch["seed"][0]))
        turn, shift = self.turn.draw(len(image), generator)
        half = torch.full((len(image),), self.patch / 2, device=device)
        middle = torch.full((len(image), 2), 0.5 * (image.shape[-1] - 1), device=device)
        square = sample_squares(
            image, CropBox(middle + shift.to(device) * half[:, None], half), turn.to(device), self.patch
        )
        return self.intensity(square, generator) if self.intensity else square, generator


class ReconstructionBatch(_PretextBatch):
    """``prepare_batch`` of the stage ``reconstruction``: an image, and the same image as what is to be drawn."""

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        image, _ = self.draw(batch, device)
        return image.contiguous(memory_format=torch.channels_last), image, (), {}


class JigsawBatch(_PretextBatch):
    """``prepare_batch`` of the stage ``jigsaw``: (B, 9, S, S) tiles out of order, and the number of the order.

    The square is cut into three by three cells, and a tile of ``tile`` pixels is taken from a random place of each, so
    that the tiles' edges do not fit each other. Each tile is scaled to the same mean and spread: its brightness would
    tell its place.

    Parameters
    ----------
    tile : divisible by 32 and no larger than a third of ``patch``.
    """

    def __init__(
        self, patch: int, tile: int = 64, turn: RandTurn | None = None, intensity: RandIntensity | None = None
    ) -> None:
        super().__init__(patch, turn, intensity)
        self.tile = tile
        self.orders = torch.from_numpy(make_permutations())

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        image, generator = self.draw(batch, device)
        number = torch.randint(len(self.orders), (len(image),), generator=generator)
        tiles = self._cut(image, generator)
        order = self.orders[number].to(device)
        return tiles[torch.arange(len(image), device=device)[:, None], order], number.to(device), (), {}

    def _cut(self, image: Tensor, generator: torch.Generator) -> Tensor:
        cell = self.patch // _SIDE
        play = torch.randint(cell - self.tile + 1, (TILES, 2), generator=generator)
        tiles = []
        for place, (down, right) in enumerate(play.tolist()):
            top, left = (place // _SIDE) * cell + down, (place % _SIDE) * cell + right
            tiles.append(image[:, 0, top : top + self.tile, left : left + self.tile])
        cut = torch.stack(tiles, dim=1)
        spread, mean = torch.std_mean(cut, dim=(2, 3), keepdim=True)
        return (0.5 + 0.2 * (cut - mean) / (spread + 0.02)).clamp(0, 1)


class JigsawScore:
    """``output_transform`` of :class:`ignite.metrics.Accuracy` for the stage ``jigsaw``."""

    def __call__(self, output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return output["pred"], output["label"]


class ReconstructionScore:
    """``output_transform`` of :class:`ignite.metrics.Average`: minus the mean squared error, so that more is better."""

    def __call__(self, output: dict[str, Tensor]) -> Tensor:
        return -mse_loss(output["pred"].float(), output["label"].float())
