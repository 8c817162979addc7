"""2.5D networks: every slice of a volume, each with its two neighbours as channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn.functional import pad

from myotome.geometry import reorient
from myotome.inference.engines import Engine
from myotome.inference.label_maps import LabelMapInferer
from myotome.transforms import (
    PlaneRestorer,
    decide_muscle,
    decide_within,
    find_body_box,
    in_plane_size,
    neighbour_step,
    resample_plane,
)

__all__ = ["AdjacentSliceInferer", "SliceInferer", "spread_slices"]


class SliceInferer(LabelMapInferer):
    """Label maps by a 2.5D network that gives the cascade's five probabilities, or its three class logits for a mask.

    Slices are read, resampled, run and restored one after the other, so that beside image and label map only a few
    slices are held. See `LabelMapInferer`.

    Parameters
    ----------
    divisible : slices are padded at their far edges to a multiple of this, and the padding is cut off again.
    batch_size : slices per call of the network.
    neighbour_mm : how far away the neighbours lie (`myotome.transforms.neighbour_step`); ``None``: the next slices.

    `decide` says what the network's (C, ...) output means for a pixel, and `outside` what lies beyond the body's box.
    """

    decide = staticmethod(decide_muscle)
    outside = 0

    def __init__(
        self,
        spacing_mm: float = 0.8,
        window_hu: Sequence[float] = (-150, 250),
        divisible: int = 32,
        batch_size: int = 1,
        neighbour_mm: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(spacing_mm, window_hu, **settings)
        self.divisible, self.batch_size, self.neighbour_mm = divisible, batch_size, neighbour_mm

    def _settings(self) -> str:
        seen = f"slices {self.spacing_mm} mm, {self.window_hu} HU, margin {self.margin_mm} mm, /{self.divisible}"
        return f"{seen}, neighbours {self.neighbour_mm} mm" if self.neighbour_mm else seen

    def iter_probabilities(
        self, array: np.ndarray, affine: np.ndarray, network: nn.Module, slices: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What the network says of evenly spread slices, one after the other, on its own in-plane grid.

        Parameters
        ----------
        array, affine : (X, Y, Z) image in HU, and (4, 4) voxel indices to patient mm, RAS+.
        slices : how many; a volume of fewer gives every one. They come from the lowest to the highest.

        Yields
        ------
        probabilities : (C, x, y) float32; hu : (x, y) float32, the slice on the same grid, cropped to the body
        """
        image, _, size, step = self._locate(array, affine)
        chosen = spread_slices(image.shape[2], slices)
        numbers = iter(chosen)
        for planes in self.open(network).map(self._batches(image, (), size, chosen, step)):
            for plane in planes:
                hu = resample_plane(_tensor(image[..., next(numbers)]), size)
                yield plane[:, : size[0], : size[1]].float().numpy(), hu.numpy().copy()

    def _locate(self, array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, tuple, tuple[int, int], int]:
        """The image in RAS order, cropped to the body; the body's box; the working plane's size; a neighbour's step."""
        image, ras = reorient(array, affine)
        spacing = np.linalg.norm(ras[:3, :3], axis=0)
        with self._timed("find body"):
            box = find_body_box(image, spacing, self.margin_mm)
        image = image[box]
        size = in_plane_size(image.shape[:2], spacing[:2], self.spacing_mm)
        return image, box, size, neighbour_step(float(spacing[2]), self.neighbour_mm)

    def _run(self, array: np.ndarray, affine: np.ndarray, engine: Engine, masks: Sequence[np.ndarray]) -> np.ndarray:
        image, box, size, step = self._locate(array, affine)
        places = (_working_positions(full, part) for full, part in zip(image.shape[:2], size, strict=True))
        restore = PlaneRestorer(*places, size, self.decide)
        labels = np.full_like(array, self.outside, dtype=np.uint8)
        target = reorient(labels, affine)[0][box]
        known = [reorient(mask, affine)[0][box] for mask in masks]
        depth = image.shape[2]
        outputs = engine.map(self._batches(image, known, size, range(depth), step))
        for start in range(0, depth, self.batch_size):
            with self._timed("network"):
                planes = next(outputs)
            with self._timed("restore"):
                for index, plane in enumerate(planes, start):
                    target[..., index] = restore(plane[:, : size[0], : size[1]].numpy())
            self._tell(min(start + self.batch_size, depth) / depth)
        return labels if not masks else decide_within(masks[0], labels)

    def _batches(
        self,
        image: np.ndarray,
        masks: Sequence[np.ndarray],
        size: tuple[int, int],
        slices: Sequence[int],
        step: int = 1,
    ) -> Iterator[tuple[Tensor, ...]]:
        """What the network is given for each batch of ``slices``; neighbours are resampled once."""
        depth = image.shape[2]
        ready: dict[int, Tensor] = {}
        for start in range(0, len(slices), self.batch_size):
            rows = []
            chosen = slices[start : start + self.batch_size]
            for index in chosen:
                wanted = [min(max(index + move, 0), depth - 1) for move in (-step, 0, step)]
                ready |= {at: self._prepare(image[..., at], size) for at in wanted if at not in ready}
                ready = {at: plane for at, plane in ready.items() if at >= wanted[0]}
                rows.append(torch.stack([ready[at] for at in wanted]))
            further = [
                _pad(
                    torch.stack([resample_plane(_tensor(mask[..., at]), size, "nearest")[None] for at in chosen]),
                    self.divisible,
                )
                for mask in masks
            ]
            yield torch.stack(rows), *further

    def _prepare(self, plane: np.ndarray, size: tuple[int, int]) -> Tensor:
        low, high = self.window_hu
        with self._timed("prepare"):
            scaled = resample_plane(_tensor(plane), size).sub(low).div_(high - low).clamp_(0, 1)
            return _pad(scaled, self.divisible)


def spread_slices(depth: int, count: int) -> list[int]:
    """Indices of so many evenly spread slices, from the lowest on; of fewer slices every one."""
    return np.unique(((np.arange(count) + 0.5) * depth / count).astype(int)).tolist()


def _working_positions(full: int, part: int) -> np.ndarray:
    """Working position of each of ``full`` pixels when the same field has ``part`` working pixels."""
    return (np.arange(full) + 0.5) * part / full - 0.5


def _tensor(plane: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float32))


def _pad(planes: Tensor, divisible: int) -> Tensor:
    """Pad the last two axes at their far edges with zeros, to a multiple of ``divisible``."""
    height, width = planes.shape[-2:]
    return pad(planes, (0, -width % divisible, 0, -height % divisible))


class AdjacentSliceInferer(Inferer):
    """Probabilities of a 2.5D network on a prepared working grid, by PyTorch eager: the reference for `SliceInferer`.

    Parameters
    ----------
    batch_size : slices per call of the network.
    divisible : slices are padded at their far edges to a multiple of this, and the padding is cut off again.
    progress : called with the share of the slices that is done, 0 to 1.
    """

    def __init__(
        self, batch_size: int = 4, divisible: int = 32, progress: Callable[[float], None] | None = None
    ) -> None:
        super().__init__()
        self.batch_size, self.divisible, self.progress = batch_size, divisible, progress

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Apply ``network`` to a (1, 1, X, Y, Z) image.

        Further (1, 1, X, Y, Z) arguments are handed to the network slice by slice.

        Returns
        -------
        (1, C, X, Y, Z) float16 tensor on the CPU: what the network gives for each slice
        """
        volume = _slices_first(inputs)
        others = [_slices_first(other) for other in args]
        depth, height, width = volume.shape
        device = next(network.parameters()).device
        for start in range(0, depth, self.batch_size):
            index = torch.arange(start, min(start + self.batch_size, depth))
            neighbours = torch.stack([index - 1, index, index + 1], dim=1).clamp_(0, depth - 1)
            batch = [_pad(volume[neighbours], self.divisible).to(device)]
            batch += [_pad(other[index][:, None], self.divisible).to(device) for other in others]
            output = network(*batch)[..., :height, :width].half().cpu()
            if start == 0:
                result = torch.empty((depth, *output.shape[1:]), dtype=torch.float16)
            result[index] = output
            if self.progress:
                self.progress(float(index[-1] + 1) / depth)
        return result.permute(1, 2, 3, 0)[None]


def _slices_first(image: Tensor) -> Tensor:
    """(Z, X, Y) plain tensor of a (1, 1, X, Y, Z) image."""
    plain = image.as_tensor() if hasattr(image, "as_tensor") else image
    return plain[0, 0].permute(2, 0, 1).contiguous().cpu()
