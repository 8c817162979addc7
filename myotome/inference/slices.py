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
from myotome.inference.device_copies import iter_on_host, put_on_device
from myotome.inference.engines import Engine
from myotome.inference.label_maps import LabelMapInferer
from myotome.transforms import (
    BatchRestorer,
    PlaneRestorer,
    decide_muscle,
    decide_within,
    find_body_box,
    in_plane_size,
    neighbour_step,
    resample_plane,
    resample_planes,
)

__all__ = ["AdjacentSliceInferer", "SliceInferer", "spread_slices"]

_SLICES_ON_DEVICE = 16  # per call of the network: fewer leave a large GPU idle


class SliceInferer(LabelMapInferer):
    """Label maps by a 2.5D network that gives the cascade's five probabilities, or its three class logits for a mask.

    Slices are read, resampled, run and restored one after the other, so that beside image and label map only a few
    slices are held. See `LabelMapInferer`.

    Parameters
    ----------
    divisible : slices are padded at their far edges to a multiple of this, and the padding is cut off again.
    batch_size : slices per call of the network; on a GPU at least 16.
    neighbour_mm : how far away the neighbours lie (`myotome.transforms.neighbour_step`); ``None``: the next slices.

    `decide` says what the network's (C, ...) output means for a pixel, array or tensor, and `outside` what lies beyond
    the body's box.
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
        places = [_working_positions(full, part) for full, part in zip(image.shape[:2], size, strict=True)]
        labels = np.full_like(array, self.outside, dtype=np.uint8)
        target = reorient(labels, affine)[0][box]
        depth, done = image.shape[2], 0
        if engine.resident and not masks:
            restored = iter_on_host(self._label_on_device(image, size, places, step, engine))
        else:
            known = [reorient(mask, affine)[0][box] for mask in masks]
            restored = self._label_here(image, known, size, places, step, engine)
        for planes in restored:
            for plane in planes[: depth - done]:
                target[..., done] = plane
                done += 1
            self._tell(done / depth)
        return labels if not masks else decide_within(masks[0], labels)

    def _label_here(
        self,
        image: np.ndarray,
        masks: Sequence[np.ndarray],
        size: tuple[int, int],
        places: Sequence[np.ndarray],
        step: int,
        engine: Engine,
    ) -> Iterator[list[np.ndarray]]:
        """Labels of each batch of slices on the image's own pixels."""
        restore = PlaneRestorer(*places, size, self.decide)
        outputs = engine.map(self._batches(image, masks, size, range(image.shape[2]), step))
        while True:
            with self._timed("network"):
                planes = next(outputs, None)
            if planes is None:
                return
            with self._timed("restore"):
                restored = [restore(plane[:, : size[0], : size[1]].numpy()) for plane in planes]
            yield restored

    def _label_on_device(
        self, image: np.ndarray, size: tuple[int, int], places: Sequence[np.ndarray], step: int, engine: Engine
    ) -> Iterator[Tensor]:
        """Labels of each batch of slices, (B, X, Y); the last batch is filled up with its last slice."""
        restore = BatchRestorer(*places, size, self.decide, engine.device)
        depth, count = image.shape[2], max(self.batch_size, _SLICES_ON_DEVICE)
        for start in range(0, depth, count):
            low, high = max(start - step, 0), min(start + count + step, depth)
            planes = put_on_device(image[..., low:high], engine.device)[:, None]
            ready = _pad(_scale(resample_planes(planes, size)[:, 0], self.window_hu), self.divisible)
            here = torch.arange(start, start + count, device=engine.device).clamp_(max=depth - 1)
            near = torch.stack([here - step, here, here + step], dim=1).clamp_(0, depth - 1)
            output = engine.compute(ready[near - low])
            yield restore(output[..., : size[0], : size[1]])

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
        with self._timed("prepare"):
            return _pad(_scale(resample_plane(_tensor(plane), size), self.window_hu), self.divisible)


def spread_slices(depth: int, count: int) -> list[int]:
    """Indices of so many evenly spread slices, from the lowest on; of fewer slices every one."""
    return np.unique(((np.arange(count) + 0.5) * depth / count).astype(int)).tolist()


def _working_positions(full: int, part: int) -> np.ndarray:
    """Working position of each of ``full`` pixels when the same field has ``part`` working pixels."""
    return (np.arange(full) + 0.5) * part / full - 0.5


def _tensor(plane: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float32))


def _scale(planes: Tensor, window_hu: Sequence[float]) -> Tensor:
    """HU to 0..1, clipped."""
    low, high = window_hu
    return planes.sub(low).div_(high - low).clamp_(0, 1)


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
