"""Random changes of whole batches of slices, for networks that see slices: geometry by one sampling, then intensity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

__all__ = ["RandIntensity", "RandTurn", "seeded_generator"]


def seeded_generator(seed: int) -> torch.Generator:
    """A generator on the CPU, so that what is drawn does not depend on the device."""
    return torch.Generator().manual_seed(int(seed))


@dataclass(frozen=True)
class RandTurn:
    """Draws how squares are turned, stretched, mirrored and moved.

    Rotation is up to ``rotation_deg`` either way. A square shows ``zoom`` times (low, high) as much of the image, each
    side up to ``stretch`` more or less. It is mirrored, anterior to posterior, with probability ``mirror``, and its
    middle moves by up to ``shift`` of its half side.
    """

    rotation_deg: float = 15.0
    zoom: tuple[float, float] = (0.8, 1.25)
    stretch: float = 0.08
    mirror: float = 0.5
    shift: float = 0.2

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B, 2, 2) matrices for the square's own coordinates, and (B, 2) shifts in half sides."""

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(count, *shape, generator=generator) * (high - low) + low

        angle = uniform(-self.rotation_deg, self.rotation_deg) * (math.pi / 180)
        low, high = (math.log(side) for side in self.zoom)
        sides = uniform(low, high).exp()[:, None] * uniform(1 - self.stretch, 1 + self.stretch, 2)
        sides[:, 0] = torch.where(uniform(0, 1) < self.mirror, -sides[:, 0], sides[:, 0])
        cos, sin = angle.cos(), angle.sin()
        turn = torch.stack((torch.stack((cos, -sin), dim=1), torch.stack((sin, cos), dim=1)), dim=1)
        return turn * sides[:, None], uniform(-self.shift, self.shift, 2)


@dataclass(frozen=True)
class RandIntensity:
    """Changes intensities in [0, 1]: gamma, gain and offset, the coil's bias, sharpness and noise; never the order.

    Each is drawn per image up to the size given: ``gamma`` and ``bias`` as factors e^±x, ``gain`` and ``offset`` as
    they are, ``noise`` as a standard deviation. ``blur`` mixes in so much of a smoothed image, ``sharpen`` takes away
    so much.
    """

    gamma: float = 0.3
    gain: float = 0.12
    offset: float = 0.05
    bias: float = 0.25
    noise: float = 0.05
    blur: float = 0.8
    sharpen: float = 0.3

    def __call__(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 1, H, W) of the same shape, within [0, 1]."""
        count, device = len(image), image.device

        def uniform(low: float, high: float) -> Tensor:
            drawn = torch.rand(count, 1, 1, 1, generator=generator) * (high - low) + low
            return drawn.to(device)

        smooth = avg_pool2d(avg_pool2d(image, 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False)
        image = torch.lerp(image, smooth, uniform(-self.sharpen, self.blur)).clamp(0, 1)
        image = image ** uniform(-self.gamma, self.gamma).exp()
        coarse = torch.randn(count, 1, 4, 4, generator=generator).to(device) * uniform(0, self.bias)
        bias = interpolate(coarse, image.shape[2:], mode="bilinear", align_corners=True).exp()
        image = image * bias * (1 + uniform(-self.gain, self.gain)) + uniform(-self.offset, self.offset)
        noise = torch.randn(image.shape, generator=generator).to(device)
        return (image + noise * uniform(0, 1).square() * self.noise).clamp(0, 1)
