"""3D networks: overlapping windows over an isotropic grid, a slab of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from monai.data.utils import compute_importance_map, compute_shape_offset, zoom_affine
from torch import Tensor

from myotome.errors import InputError
from myotome.geometry import reorient
from myotome.inference.device_copies import iter_on_host, put_on_device
from myotome.inference.engines import Engine
from myotome.inference.label_maps import LabelMapInferer
from myotome.transforms import (
    BatchRestorer,
    PlaneRestorer,
    decide_largest,
    find_body,
    find_body_box,
    find_neighbours,
)

__all__ = ["WindowInferer"]

_WINDOWS_ON_DEVICE = 8  # per call of the network: fewer leave a large GPU idle
_PLANES_ON_DEVICE = 32
_PLANES_AT_ONCE = 32  # taken out of the slab, in which they lie across: a line of memory holds as many


class WindowInferer(LabelMapInferer):
    """Label maps by a 3D network whose largest logit names the class. See `LabelMapInferer`.

    The grid, the windows and the blending are those of MONAI's ``Spacingd`` and ``SlidingWindowInferer``, and the
    labels those of the probabilities interpolated back to the image; but logits are summed, in half precision, only
    for the slab under work, and probabilities are interpolated only at the borders of structures.

    Parameters
    ----------
    roi_size : window, in working voxels.
    overlap : share of a window that the next one covers again.
    blending : weight of a window's voxels where windows overlap, ``"constant"`` or ``"gaussian"``.
    crop_body : lay the windows over the body's in-plane box rather than the whole image.
    skip_empty : leave out windows that hold nothing of the body; they are background.
    """

    def __init__(
        self,
        roi_size: Sequence[int] = (96, 96, 96),
        overlap: float = 0.5,
        blending: str = "constant",
        spacing_mm: float = 1.5,
        window_hu: Sequence[float] = (-150, 250),
        crop_body: bool = True,
        skip_empty: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(spacing_mm, window_hu, **settings)
        self.roi_size, self.overlap, self.blending = tuple(roi_size), overlap, blending
        self.crop_body, self.skip_empty = crop_body, skip_empty

    def _settings(self) -> str:
        return (
            f"windows {self.roi_size} at {self.spacing_mm} mm, {self.window_hu} HU, overlap {self.overlap} "
            f"{self.blending}, crop {self.crop_body}, skip {self.skip_empty}"
        )

    def _run(self, array: np.ndarray, affine: np.ndarray, engine: Engine, masks: Sequence[np.ndarray]) -> np.ndarray:
        if masks:
            raise InputError("a network of windows is given the image alone: it takes no further label map.")
        image, ras = reorient(array, affine)
        labels = np.zeros_like(array, dtype=np.uint8)
        target, _ = reorient(labels, affine)
        with self._timed("find body"):
            spacing = np.linalg.norm(ras[:3, :3], axis=0)
            if self.crop_body:
                box = find_body_box(image, spacing, self.margin_mm)
                image, target = image[box], target[box]
                ras = ras.copy()
                ras[:3, 3] += ras[:3, 0] * box[0].start + ras[:3, 1] * box[1].start
        with self._timed("prepare"):
            grid = _WorkingGrid.over(image.shape, ras, self.spacing_mm)
            if engine.resident:
                working = self._resample_on_device(image, grid, engine.device)
            else:
                working = self._resample(image, grid)
            windows = _windows(working.shape, self.roi_size, self.overlap)
            if self.skip_empty:
                windows = _with_body(windows, image, spacing, grid, self.roi_size)
        places, shape = self._places(image.shape, grid), working.shape[:2]
        planes = self._planes(working, windows, engine)
        if engine.resident:
            restore = BatchRestorer(*places[:2], shape, decide_largest, engine.device)
            restored = iter_on_host(self._restore(planes, places[2], lambda plane: restore(plane[None])[0]))
        else:
            restore = PlaneRestorer(*places[:2], shape, decide_largest)
            restored = self._restore(planes, places[2], lambda plane: restore(plane.numpy()))
        for index, plane in enumerate(restored):
            target[..., index] = plane
        return labels

    def _restore(
        self, planes: Iterable[Tensor], heights: np.ndarray, restore: Callable[[Tensor], Any]
    ) -> Iterator[Any]:
        """Labels of the image's slices in order, from (C, x, y) probabilities of the working planes in order."""
        done, previous = 0, None
        for index, plane in enumerate(planes):
            while done < len(heights) and heights[done] <= index:
                with self._timed("restore"):
                    share = float(index - heights[done])
                    restored = restore(torch.lerp(plane, previous, share) if share else plane)
                yield restored
                done += 1
            previous = plane

    def _places(self, shape: Sequence[int], grid: _WorkingGrid) -> list[np.ndarray]:
        """Padded working index of each image index along the three axes."""
        padding = _padding(grid.shape, self.roi_size)
        places = []
        for axis, size in enumerate(shape):
            inside = np.clip(grid.working_index(axis, size), 0, grid.shape[axis] - 1)
            places.append(inside + padding[axis][0])
        return places

    def _room(self, grid: _WorkingGrid, device: str) -> tuple[Tensor, Tensor]:
        """Zeros for the working grid, padded to one window at least, and the part of them that is the grid."""
        padding = _padding(grid.shape, self.roi_size)
        room = torch.zeros(
            [size + low + high for size, (low, high) in zip(grid.shape, padding, strict=True)], device=device
        )
        return room, room[tuple(slice(low, low + size) for size, (low, _) in zip(grid.shape, padding, strict=True))]

    def _resample(self, image: np.ndarray, grid: _WorkingGrid) -> Tensor:
        """(x, y, z) float32 of 0..1 on the working grid, padded to one window at least."""
        low_hu, high_hu = self.window_hu
        working, part = self._room(grid, "cpu")
        inside = part.numpy()
        x, y, z = (find_neighbours(grid.image_index(axis), image.shape[axis]) for axis in range(3))
        planes: dict[int, np.ndarray] = {}
        for index, (below, above, share) in enumerate(zip(*z, strict=True)):
            planes = {
                at: planes[at] if at in planes else _interpolate(image[..., at], x, y)
                for at in {int(below), int(above)}
            }
            plane = planes[int(below)]
            if share:
                plane = plane + (planes[int(above)] - plane) * share
            inside[..., index] = np.clip((plane - low_hu) / np.float32(high_hu - low_hu), 0, 1)
        return working

    def _resample_on_device(self, image: np.ndarray, grid: _WorkingGrid, device: str) -> Tensor:
        """What `_resample` gives, from slices that are brought to the device a few at a time."""
        low_hu, high_hu = self.window_hu
        working, inside = self._room(grid, device)
        x, y, z = (find_neighbours(grid.image_index(axis), image.shape[axis]) for axis in range(3))
        rows, columns = (tuple(torch.from_numpy(part).to(device) for part in axis) for axis in (x, y))
        for start in range(0, inside.shape[2], _PLANES_ON_DEVICE):
            some = slice(start, start + _PLANES_ON_DEVICE)
            below, above, share = (part[some] for part in z)
            first = int(below[0])
            planes = put_on_device(image[..., first : int(above[-1]) + 1], device)
            low, high, share = (torch.from_numpy(part).to(device) for part in (below - first, above - first, share))
            planes = torch.lerp(planes[low], planes[high], share[:, None, None])
            low, high, share = rows
            planes = torch.lerp(planes[:, low], planes[:, high], share[:, None])
            low, high, share = columns
            planes = torch.lerp(planes[:, :, low], planes[:, :, high], share)
            inside[..., some] = planes.sub_(low_hu).div_(high_hu - low_hu).clamp_(0, 1).permute(1, 2, 0)
        return working

    def _planes(self, working: Tensor, windows: list[tuple[int, int, int]], engine: Engine) -> Iterator[Tensor]:
        """(C, x, y) probabilities of every working plane in order, each as soon as no further window adds to it."""
        sizes, depth = self.roi_size, working.shape[2]
        ordered = sorted(windows, key=lambda start: start[2])
        outputs = self._outputs(working, ordered, engine)
        slab = _Slab(working.shape[:2], sizes, self.blending, working.device)
        for number, start in enumerate(ordered):
            with self._timed("network"):
                logits = next(outputs)
            slab.require_classes(len(logits))
            if start[2] > slab.level:
                yield from slab.take_planes(start[2])
            with self._timed("add"):
                slab.add(logits, start)
            self._tell((number + 1) / len(ordered))
        yield from slab.take_planes(depth)

    def _outputs(self, working: Tensor, windows: list[tuple[int, int, int]], engine: Engine) -> Iterator[Tensor]:
        """(C, x, y, z) logits of each window; on a device several per call, of which the last is filled up."""
        parts = (working[_part(start, self.roi_size)][None] for start in windows)
        if not engine.resident:
            yield from (output[0] for output in engine.map((part[None],) for part in parts))
            return
        while batch := list(islice(parts, _WINDOWS_ON_DEVICE)):
            filled = batch + batch[-1:] * (_WINDOWS_ON_DEVICE - len(batch))
            yield from engine.compute(torch.stack(filled))[: len(batch)]


class _Slab:
    """Weighted sums of logits for as many planes as a window has, from ``level`` on; what is below has been given."""

    def __init__(self, shape: Sequence[int], sizes: Sequence[int], blending: str, device: torch.device) -> None:
        self.level = 0
        self._sizes, self._blending = sizes, blending
        self._weight = _importance(sizes, blending).to(device)
        self._seen = torch.zeros((*shape, sizes[2]), device=device)
        self._sum: Tensor | None = None

    def require_classes(self, count: int) -> None:
        """Say how many classes there are, before anything is added or taken."""
        if self._sum is None:
            self._sum = self._seen.new_zeros((count, *self._seen.shape), dtype=torch.float16)

    def add(self, logits: Tensor, start: Sequence[int]) -> None:
        """Add the (C, x, y, z) logits of one window."""
        place = _part(start[:2], self._sizes[:2])
        weighted = logits if self._blending == "constant" else logits * self._weight
        self._sum[(slice(None), *place)] += weighted.half()
        self._seen[place] += self._weight

    def take_planes(self, level: int) -> Iterator[Tensor]:
        """Probabilities of the planes up to a level, which then is the slab's own; background where no window was."""
        depth = self._seen.shape[2]
        count = min(level - self.level, depth)
        for first in range(0, count, _PLANES_AT_ONCE):
            yield from self._probabilities(slice(first, min(first + _PLANES_AT_ONCE, count)))
        background = self._seen.new_zeros((1 if self._sum is None else len(self._sum), *self._seen.shape[:2]))
        background[0] = 1
        yield from (background for _ in range(level - self.level - count))
        for values in (self._seen, *([] if self._sum is None else self._sum)):  # class by class: the copy is small
            values[..., : depth - count] = values[..., count:].clone()
            values[..., depth - count :] = 0
        self.level = level

    def _probabilities(self, planes: slice) -> Iterator[Tensor]:
        seen = self._seen[..., planes].movedim(-1, 0).contiguous()
        if self._sum is None:
            yield from torch.ones_like(seen)[:, None]
            return
        for logits, weight in zip(self._sum[..., planes].movedim(-1, 0).contiguous(), seen, strict=True):
            logits = logits.float() / weight.clamp(min=1e-6)
            logits[0].masked_fill_(weight == 0, 1e4)
            yield logits.softmax(dim=0)


@dataclass(frozen=True, eq=False)
class _WorkingGrid:
    """An isotropic grid over an image, as MONAI's ``Spacing`` lays it: index = scale * working index + offset."""

    shape: tuple[int, int, int]
    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def over(cls, shape: Sequence[int], affine: np.ndarray, spacing_mm: float) -> _WorkingGrid:
        wanted = zoom_affine(affine, [spacing_mm] * 3, diagonal=False)
        size, offset = compute_shape_offset(shape, affine, wanted)
        wanted = np.array(wanted)
        wanted[:3, 3] = np.asarray(offset)[:3]
        matrix = np.linalg.inv(affine) @ wanted
        return cls(tuple(int(part) for part in size), np.diag(matrix)[:3].copy(), matrix[:3, 3].copy())

    def image_index(self, axis: int) -> np.ndarray:
        """Image index of each working index along an axis."""
        return self.scale[axis] * np.arange(self.shape[axis]) + self.offset[axis]

    def working_index(self, axis: int, count: int) -> np.ndarray:
        """Working index of the first ``count`` image indices along an axis."""
        return (np.arange(count) - self.offset[axis]) / self.scale[axis]


def _padding(shape: Sequence[int], roi_size: Sequence[int]) -> list[tuple[int, int]]:
    """What is added before and after each axis so that one window fits."""
    missing = [max(0, roi - size) for size, roi in zip(shape, roi_size, strict=True)]
    return [(part // 2, part - part // 2) for part in missing]


def _windows(shape: Sequence[int], roi_size: Sequence[int], overlap: float) -> list[tuple[int, int, int]]:
    """First voxel of each window; the last along an axis ends with the volume."""
    starts = []
    for size, roi in zip(shape, roi_size, strict=True):
        step = max(1, int(roi * (1 - overlap)))
        starts.append([min(start, size - roi) for start in range(0, size - roi + step, step)])
    return [(x, y, z) for x in starts[0] for y in starts[1] for z in starts[2]]


def _with_body(
    windows: list[tuple[int, int, int]],
    image: np.ndarray,
    spacing_mm: np.ndarray,
    grid: _WorkingGrid,
    roi_size: Sequence[int],
) -> list[tuple[int, int, int]]:
    """The windows that hold a voxel of the body; all of them where no body is found."""
    body, step = find_body(image, spacing_mm)
    if not body.any():
        return windows
    padding = _padding(grid.shape, roi_size)
    chosen = []
    for window in windows:
        part = []
        for axis, start in enumerate(window):
            edges = (np.array([start, start + roi_size[axis]]) - padding[axis][0]) * grid.scale[axis] + grid.offset[
                axis
            ]
            low, high = edges / step[axis]
            part.append(slice(max(0, int(low) - 1), max(0, int(np.ceil(high)) + 1)))
        if body[tuple(part)].any():
            chosen.append(window)
    return chosen


def _part(start: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(first, first + size) for first, size in zip(start, sizes, strict=True))


def _importance(sizes: Sequence[int], blending: str) -> Tensor:
    weight = compute_importance_map(tuple(sizes), mode=blending, sigma_scale=0.125).float()
    return weight.clamp(min=float(weight[weight > 0].min()))


def _interpolate(plane: np.ndarray, x: tuple, y: tuple) -> np.ndarray:
    """A plane at the given neighbours and shares along both axes, linearly."""
    low, high, share = x
    rows = plane[low].astype(np.float32)
    rows += (plane[high] - rows) * share[:, None]
    low, high, share = y
    columns = rows.take(low, axis=1)
    return columns + (rows.take(high, axis=1) - columns) * share
