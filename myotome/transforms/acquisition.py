"""Random acquisition: what scanners, doses and reconstructions do to an image, drawn anew for every training sample.

Every transform takes a dictionary whose ``image`` is a (C, H, W) float tensor in Hounsfield units (C neighbouring
slices; H runs right, W runs to the front) and whose ``label`` is (1, H, W). Ranges are (low, high), drawn uniformly.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

__all__ = [
    "RandBlurd",
    "RandContrastAgentd",
    "RandFieldOfViewd",
    "RandIslandsd",
    "RandLowResolutiond",
    "RandNeighbourLossd",
    "RandNoised",
    "RandObjectsd",
    "RandOpacityd",
    "RandShadingd",
    "RandStreaksd",
    "RandTissueContrastd",
]

Range = Sequence[float]
_AIR_HU = -1000.0
_LUT_START_HU, _LUT_END_HU = -1100, 2100


class _RandAcquisitiond(RandomizableTransform, MapTransform):
    """Applies :meth:`acquire` to each key with probability ``prob``; subclasses draw from ``self.R``."""

    def __init__(self, keys: Hashable | Sequence[Hashable], prob: float) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        self.randomize(None)
        if self._do_transform:
            for key in self.key_iterator(data):
                data[key] = self.acquire(data[key], data)
        return data

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        raise NotImplementedError

    def draw(self, limits: Range) -> float:
        return float(self.R.uniform(*limits))

    def generator(self) -> torch.Generator:
        """A torch generator seeded from ``self.R``: normal numbers ten times faster than numpy's legacy ones."""
        return torch.Generator().manual_seed(int(self.R.randint(2**31)))


class RandTissueContrastd(_RandAcquisitiond):
    """Remap Hounsfield units so that fat, muscle and bone take random values.

    The map is piecewise linear through lung, fat, muscle and bone, with random steps of ``wiggle_hu`` between -40
    and 160 HU, so that organs may turn brighter or darker than muscle.
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        prob: float = 0.9,
        fat_hu: Range = (-140, -60),
        muscle_hu: Range = (-10, 110),
        bone_gain: Range = (0.6, 1.4),
        wiggle_hu: float = 8.0,
    ) -> None:
        super().__init__(keys, prob)
        self.fat_hu, self.muscle_hu, self.bone_gain, self.wiggle_hu = fat_hu, muscle_hu, bone_gain, wiggle_hu

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        lung, fat = self.draw((-920, -700)), self.draw(self.fat_hu)
        muscle = max(self.draw(self.muscle_hu), fat + 50)
        shift = muscle - 50
        knots = np.array([_LUT_START_HU, -1000, -850, -100, 50, 150, _LUT_END_HU], dtype=float)
        gain = self.draw(self.bone_gain)
        values = np.array([-1100, -1000, lung, fat, muscle, 150 + shift, 150 + shift + gain * (_LUT_END_HU - 150)])
        hu = np.arange(_LUT_START_HU, _LUT_END_HU + 1)
        table = np.interp(hu, knots, values)
        bumps = np.arange(-40, 161, 20)
        steps = self.R.normal(0, self.wiggle_hu, len(bumps)) * (self.R.rand() < 0.7)
        table += np.interp(hu, bumps, steps, left=0, right=0)
        index = (image - _LUT_START_HU).clamp_(0, len(table) - 1).int()
        return torch.from_numpy(table.astype(np.float32))[index]


class RandContrastAgentd(_RandAcquisitiond):
    """Brighten blood and organs: unlabelled voxels in a random band of soft-tissue values rise by up to ``rise_hu``."""

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        prob: float = 0.3,
        rise_hu: Range = (20, 250),
        label_key: Hashable = "label",
    ) -> None:
        super().__init__(keys, prob)
        self.rise_hu, self.label_key = rise_hu, label_key

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        middle, width = self.draw((20, 75)), self.draw((5, 30))
        band = ((image - middle).abs() < width).float() * _clear_of(data[self.label_key], 2)
        return image + self.draw(self.rise_hu) * avg_pool2d(band, 3, 1, 1)


class RandIslandsd(_RandAcquisitiond):
    """Put soft tissue into fat: gland, lymph nodes, vessels or bowel, in islands clear of the labelled muscles."""

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        prob: float = 0.3,
        density_hu: Range = (0, 70),
        size_px: Range = (4, 14),
        label_key: Hashable = "label",
    ) -> None:
        super().__init__(keys, prob)
        self.density_hu, self.size_px, self.label_key = density_hu, size_px, label_key

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        fat = ((image > -150) & (image < -30)).float() * _clear_of(data[self.label_key], 3)
        shape = [max(3, round(size / self.draw(self.size_px))) for size in image.shape[-2:]]
        field = interpolate(torch.randn((1, 1, *shape), generator=self.generator()), image.shape[-2:], mode="bicubic")
        weight = ((field[0] - self.draw((0.2, 1.2))) * 3).clamp_(0, 1) * fat
        return image + weight * (self.draw(self.density_hu) - image)


class RandOpacityd(_RandAcquisitiond):
    """Fill the lung on one side of a random line: effusion, consolidation or collapse."""

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        prob: float = 0.15,
        density_hu: Range = (0, 60),
        label_key: Hashable = "label",
    ) -> None:
        super().__init__(keys, prob)
        self.density_hu, self.label_key = density_hu, label_key

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        height, width = image.shape[-2:]
        turn = self.R.rand() * 2 * np.pi
        y = torch.arange(height)[:, None] - self.draw((0.2, 0.8)) * height
        x = torch.arange(width)[None] - self.draw((0.2, 0.8)) * width
        side = y * np.cos(turn) + x * np.sin(turn) > 0
        lung = (image < -400) & (-max_pool2d(-image, 5, 1, 2) > _AIR_HU + 15)  # not the air around the body
        filled = max_pool2d((lung & side).float(), 3, 1, 1).bool() & (data[self.label_key] == 0) & (image < 0)
        return image.masked_fill(filled, self.draw(self.density_hu))


class RandShadingd(_RandAcquisitiond):
    """Add a smooth shading field (cupping, scatter, heel effect) and a global offset, in HU."""

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        prob: float = 0.5,
        amplitude_hu: Range = (0, 25),
        offset_hu: Range = (-12, 12),
    ) -> None:
        super().__init__(keys, prob)
        self.amplitude_hu, self.offset_hu = amplitude_hu, offset_hu

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        coarse = torch.from_numpy(self.R.uniform(-1, 1, (1, 1, 4, 4)).astype(np.float32)) * self.draw(self.amplitude_hu)
        field = interpolate(coarse, image.shape[-2:], mode="bilinear", align_corners=True)[0]
        return image + field + self.draw(self.offset_hu)


class RandBlurd(_RandAcquisitiond):
    """Reconstruction kernel: a Gaussian blur, and at times an unsharp edge as sharp kernels leave."""

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        prob: float = 0.8,
        sigma_px: Range = (0.2, 1.3),
        sharpen: Range = (0.3, 1.5),
        sharpen_prob: float = 0.25,
    ) -> None:
        super().__init__(keys, prob)
        self.sigma_px, self.sharpen, self.sharpen_prob = sigma_px, sharpen, sharpen_prob

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        image = _blur(image, self.draw(self.sigma_px))
        if self.R.rand() < self.sharpen_prob:
            image = image + self.draw(self.sharpen) * (image - _blur(image, self.draw((0.7, 1.5))))
        return image


class RandLowResolutiond(_RandAcquisitiond):
    """Sample the image coarsely and interpolate back: a large field of view, or a small reconstruction matrix."""

    def __init__(self, keys: Hashable | Sequence[Hashable], prob: float = 0.2, factor: Range = (1.1, 2.0)) -> None:
        super().__init__(keys, prob)
        self.factor = factor

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        shape = image.shape[-2:]
        coarse = [max(8, round(size / self.draw(self.factor))) for size in shape[:1]]
        small = interpolate(image[None], (coarse[0], round(coarse[0] * shape[1] / shape[0])), mode="area")
        return interpolate(small, shape, mode="bilinear", align_corners=False)[0]


class RandNoised(_RandAcquisitiond):
    """Quantum noise of a random dose: band-limited, stronger in places, with photon starvation along right-left rows.

    The noise power spectrum is f^ramp * exp(-(f / cut)^2), f in cycles per pixel, scaled to a standard deviation drawn
    from ``sigma_hu`` (the square of a uniform number, so that quiet images are common).
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        prob: float = 0.9,
        sigma_hu: Range = (2, 60),
        starvation_prob: float = 0.2,
        channel_correlation: Range = (0, 0.6),
    ) -> None:
        super().__init__(keys, prob)
        self.sigma_hu, self.starvation_prob, self.channel_correlation = sigma_hu, starvation_prob, channel_correlation

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        low, high = self.sigma_hu
        sigma = low + (high - low) * self.R.rand() ** 2
        noise = self._correlated(tuple(image.shape))
        noise *= sigma * self._strength(image.shape[-2:])
        if self.R.rand() < self.starvation_prob:
            noise += sigma * self.draw((0.5, 2.0)) * self._rows(tuple(image.shape))
        return image + noise

    def _correlated(self, shape: tuple[int, ...]) -> Tensor:
        white = torch.randn(shape, generator=self.generator())
        share = self.draw(self.channel_correlation)
        white = (1 - share) * white + share * white.mean(0, keepdim=True)
        if self.R.rand() < 0.2:
            return white / white.std()
        fy, fx = torch.fft.fftfreq(shape[1])[:, None], torch.fft.rfftfreq(shape[2])[None]
        frequency = torch.sqrt(fy**2 + fx**2)
        power = (frequency + 0.01) ** self.draw((0, 1)) * torch.exp(-((frequency / self.draw((0.12, 0.5))) ** 2))
        noise = torch.fft.irfft2(torch.fft.rfft2(white) * power, s=shape[1:])
        return noise / noise.std()

    def _strength(self, shape: Sequence[int]) -> Tensor:
        coarse = torch.from_numpy(self.R.uniform(-0.4, 0.4, (1, 1, 3, 3)).astype(np.float32))
        return interpolate(coarse, tuple(shape), mode="bilinear", align_corners=True)[0].exp_()

    def _rows(self, shape: tuple[int, ...]) -> Tensor:
        """Noise that is long from right to left (H) and thin from back to front (W), in a band of columns."""
        coarse = torch.randn((shape[0], 1, max(2, shape[1] // 24), shape[2]), generator=self.generator())
        rows = interpolate(coarse, shape[1:], mode="bilinear", align_corners=True)[:, 0]
        middle, width = self.R.rand() * shape[2], self.draw((0.1, 0.4)) * shape[2]
        return rows * torch.exp(-(((torch.arange(shape[2]) - middle) / width) ** 2))


class RandStreaksd(_RandAcquisitiond):
    """Streaks that fan out from a point (metal, contrast in a vein, the shoulder)."""

    def __init__(self, keys: Hashable | Sequence[Hashable], prob: float = 0.1, amplitude_hu: Range = (10, 120)) -> None:
        super().__init__(keys, prob)
        self.amplitude_hu = amplitude_hu

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        height, width = image.shape[-2:]
        dy = torch.arange(height)[:, None] - self.R.rand() * height
        dx = torch.arange(width)[None] - self.R.rand() * width
        spokes = torch.from_numpy(self.R.normal(0, 1, 361).astype(np.float32))
        angle = ((torch.atan2(dy, dx) + np.pi) * (180 / np.pi)).clamp_(0, 359.999)
        low = angle.floor()
        wedge = torch.lerp(spokes[low.int()], spokes[low.int() + 1], angle - low)
        falloff = torch.exp(-(dy**2 + dx**2).sqrt() / self.draw((20, 120)))
        return image + self.draw(self.amplitude_hu) * wedge * falloff


class RandObjectsd(_RandAcquisitiond):
    """Put tables, blankets and cables into the air: random thin arcs and bars where the image is exactly air."""

    def __init__(
        self, keys: Hashable | Sequence[Hashable], prob: float = 0.5, density_hu: Range = (-400, 300), most: int = 4
    ) -> None:
        super().__init__(keys, prob)
        self.density_hu, self.most = density_hu, most

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        air = image < _AIR_HU + 30
        height, width = image.shape[-2:]
        y, x = torch.arange(height)[:, None], torch.arange(width)[None]
        for _ in range(self.R.randint(1, self.most + 1)):
            radius = self.draw((0.02, 4)) * width
            centre = self.R.uniform(-0.5, 1.5, 2) * (height, width)
            distance = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2).sqrt_() - radius
            if radius > 0.2 * width:
                distance = distance.abs()
            image = torch.where((distance < self.draw((0.6, 8))) & air, self.draw(self.density_hu), image)
        return image


class RandFieldOfViewd(_RandAcquisitiond):
    """Truncate to a circular field of view; beyond it the image is padding and the label is background."""

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        prob: float = 0.15,
        radius_px: Range = (120, 260),
        label_key: Hashable = "label",
    ) -> None:
        super().__init__(keys, prob)
        self.radius_px, self.label_key = radius_px, label_key

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        height, width = image.shape[-2:]
        radius = self.draw(self.radius_px)
        reach, turn = radius - self.draw((0.1, 0.5)) * width, self.draw((0, 2 * np.pi))
        y = torch.arange(height)[:, None] - height / 2 - reach * np.cos(turn)
        x = torch.arange(width)[None] - width / 2 - reach * np.sin(turn)
        beyond = y**2 + x**2 > radius**2
        data[self.label_key] = data[self.label_key].masked_fill(beyond, 0)
        return image.masked_fill(beyond, float(self.R.choice([-1024, -2000, _AIR_HU])))


class RandNeighbourLossd(_RandAcquisitiond):
    """Repeat the centre slice in place of a neighbour, as at the first and last slice of a scan, or of both."""

    def __init__(self, keys: Hashable | Sequence[Hashable], prob: float = 0.08) -> None:
        super().__init__(keys, prob)

    def acquire(self, image: Tensor, data: dict[Hashable, Any]) -> Tensor:
        sources = [(1, 1, 2), (0, 1, 1), (1, 1, 1)][self.R.randint(3)]
        return image[list(sources)]


def _clear_of(label: Tensor, pixels: int) -> Tensor:
    """1 where no label lies in the square that reaches ``pixels`` to each side, else 0."""
    return 1 - max_pool2d((label > 0).float(), 2 * pixels + 1, 1, pixels)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of a (C, H, W) image, edges repeated (shifted sums: five times faster than conv2d)."""
    reach = max(1, int(np.ceil(3 * sigma)))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    weights /= weights.sum()
    image = pad(image, (reach, reach, reach, reach), mode="replicate")
    for axis in (1, 2):
        size = image.shape[axis] - 2 * reach
        total = image.narrow(axis, 0, size) * float(weights[0])
        for shift in range(1, 2 * reach + 1):
            total.add_(image.narrow(axis, shift, size), alpha=float(weights[shift]))
        image = total
    return image
