"""What an encoder learns from images alone: to draw them again, and to put their tiles in order."""

from __future__ import annotations

from torch import Tensor, nn

from myotome.networks.mobile_unet import FEATURE_CHANNELS, MobileEncoder

__all__ = ["PERMUTATIONS", "TILES", "Autoencoder", "JigsawNetwork"]

TILES = 9
PERMUTATIONS = 64
_WIDTHS = (64, 32, 24, 16, 8)
_PER_TILE, _TOGETHER = 64, 128


class Autoencoder(nn.Module):
    """Draws an image again from what the encoder keeps of it at stride 32, without any skip."""

    def __init__(self, encoder: MobileEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        layers: list[nn.Module] = []
        before = FEATURE_CHANNELS[-1]
        for width in _WIDTHS:
            layers += [
                nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
                nn.Conv2d(before, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            before = width
        self.decoder = nn.Sequential(*layers, nn.Conv2d(before, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) of (B, 1, H, W) in [0, 1], H and W divisible by 32."""
        return self.decoder(self.encoder(image)[-1])


class JigsawNetwork(nn.Module):
    """Tells in which of a fixed set of orders the nine tiles of an image lie.

    M. Noroozi and P. Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016. Each
    tile goes through the encoder alone; only the last layers see them together.

    Parameters
    ----------
    order_count : size of the set.
    """

    def __init__(self, encoder: MobileEncoder, order_count: int = PERMUTATIONS) -> None:
        super().__init__()
        self.encoder = encoder
        self.tile = nn.Sequential(nn.Linear(FEATURE_CHANNELS[-1], _PER_TILE), nn.ReLU())
        self.order = nn.Sequential(
            nn.Linear(TILES * _PER_TILE, _TOGETHER), nn.ReLU(), nn.Linear(_TOGETHER, order_count)
        )

    def forward(self, tiles: Tensor) -> Tensor:
        """(B, orders) logits of (B, 9, S, S) tiles in [0, 1], S divisible by 32."""
        count, _, height, width = tiles.shape
        seen = self.encoder(tiles.reshape(count * TILES, 1, height, width))[-1].mean((2, 3))
        return self.order(self.tile(seen).reshape(count, TILES * _PER_TILE))
