"""Batches of random crops from volumes that stay on a device: cut, turned and resampled by one interpolation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from myotome.errors import InputError

__all__ = ["CropSampling", "DeviceCrops", "LabelledVolume"]

_AIR_HU = -1000.0


@dataclass(frozen=True, eq=False)
class LabelledVolume:
    """``image`` (X, Y, Z) int16 HU and ``label`` (X, Y, Z) uint8 on one grid of ``spacing_mm`` (3,), in RAS order."""

    image: np.ndarray
    label: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class CropSampling:
    """How crops are drawn and changed; what is drawn is uniform, and of each crop alone.

    A crop has ``size`` voxels of ``spacing_mm``. ``foreground_share`` of them are centred on a voxel of a label, each
    label of the volume as often as the others; the rest anywhere; and every one is moved into the volume where it would
    reach beyond. Then it is turned by up to ``rotation_deg`` either way about each axis through its middle, shows
    ``zoom`` (low, high) times as much, and is mirrored along each axis with the probability ``mirror``. Noise of up to
    ``noise_hu`` is added, ``window_hu`` is scaled to 0..1 and clipped, and what comes of it is multiplied by
    1 +- ``gain`` and moved by +- ``offset``.
    """

    size: tuple[int, int, int] = (96, 96, 96)
    spacing_mm: float = 1.5
    window_hu: tuple[float, float] = (-150.0, 250.0)
    foreground_share: float = 0.75
    rotation_deg: tuple[float, float, float] = (5.0, 5.0, 15.0)
    zoom: tuple[float, float] = (0.85, 1.2)
    mirror: tuple[float, float, float] = (0.5, 0.0, 0.0)
    noise_hu: float = 15.0
    gain: float = 0.1
    offset: float = 0.1


class DeviceCrops:
    """Endless batches ``{"image": (B, 1, X, Y, Z) float32, "label": (B, 1, X, Y, Z) uint8}`` on a device.

    The volumes lie there as they are, int16 and uint8. What a batch shows depends on ``seed`` and its number alone; its
    noise also on the kind of device. A batch is asked for without waiting for the device.

    Parameters
    ----------
    volumes : what is cropped, each as often as the others.
    batch : crops of a batch, drawn independently.
    sampling : how they are drawn.
    seed : of everything that is drawn.
    device : where volumes and batches are.

    ``start``, the number of the first batch, is set when a run resumes.

    Raises
    ------
    InputError
        When there is no volume, or an image and its label differ in shape.
    """

    def __init__(
        self,
        volumes: Sequence[LabelledVolume],
        batch: int = 8,
        sampling: CropSampling | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if not volumes:
            raise InputError("there is no volume to crop: give at least one.")
        for volume in volumes:
            if volume.image.shape != volume.label.shape:
                shapes = f"{volume.image.shape} and {volume.label.shape}"
                raise InputError(f"an image and its label differ in shape, {shapes}: put both on one grid.")
        self.batch, self.sampling, self.seed, self.start = batch, sampling or CropSampling(), seed, 0
        self.device = torch.device(device)
        self._spacings = [np.asarray(volume.spacing_mm, dtype=float) for volume in volumes]
        self._voxels = [_find_labelled(volume.label) for volume in volumes]
        self._images = [torch.from_numpy(np.ascontiguousarray(v.image, np.int16)).to(self.device) for v in volumes]
        self._labels = [torch.from_numpy(np.ascontiguousarray(v.label, np.uint8)).to(self.device) for v in volumes]
        self._axes = [
            (torch.arange(size, device=self.device) - (size - 1) / 2).reshape(
                [-1 if k == axis else 1 for k in range(4)]
            )
            for axis, size in enumerate(self.sampling.size)
        ]
        self._generator = torch.Generator(self.device)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self.draw(number) for number in count(self.start))

    @torch.no_grad()
    def draw(self, number: int) -> dict[str, Tensor]:
        """Batch ``number`` of this seed."""
        rng = np.random.default_rng((self.seed, number))
        chosen = [self._place(rng) for _ in range(self.batch)]
        # One copy that nothing waits for: a row per crop, its 3 x 4 matrix, then noise, gain and offset.
        rows = np.stack([np.append(matrix.ravel(), self._draw_intensity(rng)) for _, _, matrix in chosen])
        rows = torch.from_numpy(rows.astype(np.float32)).to(self.device, non_blocking=True)
        grid = self._points(rows[:, :12].reshape(-1, 3, 4))
        image = torch.empty((self.batch, 1, *self.sampling.size), device=self.device)
        label = torch.empty_like(image, dtype=torch.uint8)
        for index, (volume, box, _) in enumerate(chosen):
            points = grid[index, None]
            air = self._images[volume][box].float()[None, None] - _AIR_HU
            image[index] = grid_sample(air, points, mode="bilinear", align_corners=False)[0]
            shown = self._labels[volume][box].float()[None, None]
            label[index] = grid_sample(shown, points, mode="nearest", align_corners=False)[0].to(torch.uint8)
        self._generator.manual_seed(int(rng.integers(2**62)))
        return {"image": self._change(image.add_(_AIR_HU), rows[:, 12:]), "label": label}

    def _place(self, rng: np.random.Generator) -> tuple[int, tuple[slice, ...], np.ndarray]:
        """Volume, the box of it that a crop shows, and (3, 4): steps of the crop's axes, and its middle, in that box.

        Coordinates of the box run from -1 to 1 between its outer faces, the last axis first, as ``grid_sample`` has it.
        """
        sampling, volume = self.sampling, int(rng.integers(len(self._images)))
        shape, spacing = np.array(self._images[volume].shape), self._spacings[volume]
        half = np.array(sampling.size) * sampling.spacing_mm / spacing / 2
        centre = np.where(
            shape > 2 * half, np.clip(self._centre(volume, rng), half - 0.5, shape - half - 0.5), (shape - 1) / 2
        )
        steps = _draw_turn(sampling, rng) * sampling.spacing_mm / spacing[:, None]
        reach = np.abs(steps) @ ((np.array(sampling.size) - 1) / 2)
        low = np.clip(np.floor(centre - reach).astype(int) - 1, 0, shape - 1)
        high = np.clip(np.ceil(centre + reach).astype(int) + 2, low + 1, shape)
        matrix = np.column_stack((2 * steps, 2 * (centre - low) + 1)) / (high - low)[:, None]
        matrix[:, 3] -= 1
        return volume, tuple(slice(a, b) for a, b in zip(low, high, strict=True)), matrix[::-1]

    def _centre(self, volume: int, rng: np.random.Generator) -> np.ndarray:
        shape, labelled = self._images[volume].shape, self._voxels[volume]
        if rng.random() < self.sampling.foreground_share and labelled:
            voxels = labelled[int(rng.integers(len(labelled)))]
            place = np.array(np.unravel_index(voxels[rng.integers(len(voxels))], shape), dtype=float)
            size = np.array(self.sampling.size)
            # The voxel of number size // 2 shows that place; the middle of an even size lies half a voxel before it.
            return place - (size // 2 - (size - 1) / 2) * self.sampling.spacing_mm / self._spacings[volume]
        return rng.uniform(-0.5, np.array(shape) - 0.5)

    def _draw_intensity(self, rng: np.random.Generator) -> np.ndarray:
        """Noise in HU, gain and offset of one crop."""
        sampling = self.sampling
        drawn = rng.random(), 1 + sampling.gain * rng.uniform(-1, 1), sampling.offset * rng.uniform(-1, 1)
        return np.array(drawn) * (sampling.noise_hu, 1, 1)

    def _points(self, matrices: Tensor) -> Tensor:
        """(B, X, Y, Z, 3) places from (B, 3, 4): sums, as a product of matrices may be rounded to fewer digits."""
        steps = matrices.movedim(2, 0)[:, :, None, None, None]
        return steps[3] + sum(axis * step for axis, step in zip(self._axes, steps[:3], strict=True))

    def _change(self, image: Tensor, drawn: Tensor) -> Tensor:
        low, high = self.sampling.window_hu
        noise, gain, offset = drawn.T[:, :, None, None, None, None]
        if self.sampling.noise_hu:
            image += noise * torch.randn(image.shape, generator=self._generator, device=self.device)
        return image.sub_(low).div_(high - low).clamp_(0, 1).mul_(gain).add_(offset)


def _find_labelled(label: np.ndarray) -> list[np.ndarray]:
    """Flat places of the voxels of each label that occurs, background left out."""
    places = np.flatnonzero(label)
    found = label.ravel()[places]
    return [places[found == value] for value in np.unique(found)]


def _draw_turn(sampling: CropSampling, rng: np.random.Generator) -> np.ndarray:
    """(3, 3): steps through the body, in target voxels, along each axis of the crop."""
    turn = np.eye(3)
    for axis, most in enumerate(sampling.rotation_deg):
        angle = np.deg2rad(most * rng.uniform(-1, 1))
        one, other = [k for k in range(3) if k != axis]
        about = np.eye(3)
        about[one, one] = about[other, other] = np.cos(angle)
        about[one, other], about[other, one] = -np.sin(angle), np.sin(angle)
        turn = about @ turn
    mirrored = np.where(rng.random(3) < sampling.mirror, -1.0, 1.0)
    return turn * mirrored * rng.uniform(*sampling.zoom)
