"""From the image as it was made to the grid the networks work on, and back.

The working grid is in RAS order, cropped to the body, with 0.8 mm in-plane spacing and the slices that were made.
Because it shares the image's directions, both ways are separable: every working axis is one image axis, scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate

from myotome.errors import GeometryError

__all__ = [
    "BatchRestorer",
    "CropBodyd",
    "PlaneRestorer",
    "ResampleInPlaned",
    "RestoreLabelMapd",
    "decide_largest",
    "decide_muscle",
    "decide_within",
    "find_body",
    "find_body_box",
    "find_neighbours",
    "in_plane_size",
    "neighbour_step",
    "resample_plane",
    "resample_planes",
]

_AXIS_TOLERANCE = 1e-3


def find_body(image: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, list[int]]:
    """The largest object denser than -400 HU that is more than a sheet, on a grid of about 4 mm.

    An opening of 8 mm in each slice removes tables, blankets and tubes.

    Parameters
    ----------
    image : (X, Y, Z) array in HU

    Returns
    -------
    body : bool array, every ``step``-th voxel of the image; nowhere true when there is no such object
    step : voxels along each axis
    """
    step = [max(1, round(4 / spacing)) for spacing in spacing_mm]
    dense = image[tuple(slice(None, None, stride) for stride in step)] > -400
    dense = ndimage.binary_opening(
        dense, ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 2)[..., None]
    )
    objects, count = ndimage.label(dense)
    if count == 0:
        return dense, step
    return objects == 1 + int(np.argmax(np.bincount(objects.ravel())[1:])), step


def find_body_box(image: np.ndarray, spacing_mm: Sequence[float], margin_mm: float = 12.0) -> tuple[slice, slice]:
    """In-plane bounding box of the body (`find_body`) with a margin; the whole image where there is none."""
    body, step = find_body(image, spacing_mm)
    if not body.any():
        return slice(0, image.shape[0]), slice(0, image.shape[1])
    box = []
    for axis in (0, 1):
        found = np.flatnonzero(body.any(axis=tuple({0, 1, 2} - {axis}))) * step[axis]
        margin = round(margin_mm / spacing_mm[axis])
        box.append(slice(max(0, found[0] - margin), min(image.shape[axis], found[-1] + step[axis] + margin)))
    return box[0], box[1]


class CropBodyd(MapTransform):
    """Crop (1, X, Y, Z) images to the body's in-plane bounding box in the first key; slices are all kept."""

    def __init__(
        self, keys: Hashable | Sequence[Hashable], margin_mm: float = 12.0, allow_missing: bool = False
    ) -> None:
        super().__init__(keys, allow_missing)
        self.margin_mm = margin_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        box = None
        for key in self.key_iterator(data):
            image = data[key]
            if box is None:
                spacing = np.linalg.norm(_affine(image)[:3, :3], axis=0)
                box = find_body_box(_plain(image)[0].numpy(), spacing, self.margin_mm)
            shift = np.eye(4)
            shift[:2, 3] = [part.start for part in box]
            cropped = _plain(image)[:, box[0], box[1]].contiguous()
            data[key] = _with_affine(cropped, image, _affine(image) @ shift)
        return data


class ResampleInPlaned(MapTransform):
    """Resample (1, X, Y, Z) images in plane to the whole number of pixels that is nearest to ``spacing_mm``.

    Linear, with an antialiasing filter where pixels grow; ``mode="nearest"`` keeps labels. The affine says the exact
    spacing that results. Slices are neither added nor moved.
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        spacing_mm: float = 0.8,
        mode: str = "linear",
        allow_missing: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing)
        self.spacing_mm, self.mode = spacing_mm, mode

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        for key in self.key_iterator(data):
            image = data[key]
            affine = _affine(image)
            before = np.array(image.shape[1:3])
            spacing = np.linalg.norm(affine[:3, :2], axis=0)
            after = np.array(in_plane_size(before, spacing, self.spacing_mm))
            scale = np.eye(4)
            scale[[0, 1], [0, 1]] = before / after
            scale[:2, 3] = (before / after - 1) / 2
            data[key] = _with_affine(
                self._resample(_plain(image)[0], tuple(after.tolist()))[None], image, affine @ scale
            )
        return data

    def _resample(self, volume: Tensor, size: tuple[int, int]) -> Tensor:
        if tuple(volume.shape[:2]) == size:
            return volume
        result = torch.empty((*size, volume.shape[2]), dtype=volume.dtype)
        for index in range(volume.shape[2]):
            result[:, :, index] = resample_plane(volume[:, :, index], size, self.mode).to(volume.dtype)
        return result


def in_plane_size(shape: Sequence[int], spacing_mm: Sequence[float], wanted_mm: float) -> tuple[int, int]:
    """Pixels of the working plane: the whole number along each axis that comes nearest to the wanted spacing."""
    x, y = (max(1, round(size * mm / wanted_mm)) for size, mm in zip(shape, spacing_mm, strict=True))
    return int(x), int(y)


def neighbour_step(slice_mm: float, wanted_mm: float | None) -> int:
    """How many slices away a neighbour lies: as many as come nearest to ``wanted_mm``, at least one; ``None``: one."""
    return max(1, round(wanted_mm / slice_mm)) if wanted_mm else 1


def resample_plane(plane: Tensor, size: Sequence[int], mode: str = "linear") -> Tensor:
    """(X, Y) plane on another number of pixels over the same field: linear with antialiasing, or ``"nearest"``."""
    return resample_planes(plane[None, None], size, mode)[0, 0]


def resample_planes(planes: Tensor, size: Sequence[int], mode: str = "linear") -> Tensor:
    """(B, C, X, Y) planes as `resample_plane` does each."""
    if tuple(planes.shape[2:]) == tuple(size):
        return planes
    if mode == "nearest":
        return interpolate(planes.float(), size, mode="nearest-exact")
    return interpolate(planes.float(), size, mode="bilinear", align_corners=False, antialias=True)


class RestoreLabelMapd(MapTransform):
    """Turn (5, X, Y, Z) probabilities on the working grid into a (1, ...) uint8 label map on the image's own grid.

    Probabilities are interpolated linearly in plane, slice by slice, so no second probability volume is held; where
    no resampling took place the result is the same, voxel for voxel. What a voxel then is, `decide_muscle` says.
    Outside the working grid it is background.

    Parameters
    ----------
    keys : probabilities, replaced by the label map.
    reference : key of the preprocessed image: its affine is the working grid's, and its ``original_affine`` and
        ``spatial_shape`` are those of the image as it was read.
    mask : key of a reference label map on the image's own grid; only its labels 1-3 are then decided anew.

    Raises
    ------
    GeometryError
        When the two grids do not share their directions.
    """

    def __init__(
        self, keys: Hashable | Sequence[Hashable], reference: Hashable = "image", mask: Hashable | None = None
    ) -> None:
        super().__init__(keys)
        self.reference, self.mask = reference, mask

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        image = data[self.reference]
        affine = np.asarray(image.meta["original_affine"], dtype=np.float64).reshape(4, 4)
        shape = tuple(int(size) for size in np.asarray(image.meta["spatial_shape"]).reshape(-1)[-3:])
        for key in self.key_iterator(data):
            order, positions = _positions(np.linalg.inv(_affine(image)) @ affine, shape)
            labels = _restore(_plain(data[key]), positions).permute(*np.argsort(order).tolist()).contiguous()
            if self.mask is not None:
                known = _plain(data[self.mask])[0].to(torch.uint8)
                labels = torch.from_numpy(decide_within(known.numpy(), labels.numpy()))
            data[key] = _with_affine(labels[None], image, affine)
        return data


def _positions(matrix: np.ndarray, shape: Sequence[int]) -> tuple[list[int], list[np.ndarray]]:
    """Image axis behind each working axis, and the working position of each index along it."""
    order, positions = [], []
    for row in matrix[:3]:
        axis = int(np.argmax(np.abs(row[:3])))
        others = [abs(row[other]) for other in range(3) if other != axis]
        if max(others) * max(shape) > 0.05 or axis in order:
            raise GeometryError("the working grid is turned against the image: only flip, crop and scale it before.")
        order.append(axis)
        place = row[axis] * np.arange(shape[axis]) + row[3]
        whole = np.rint(place)
        positions.append(np.where(np.abs(place - whole) < _AXIS_TOLERANCE, whole, place))
    return order, positions


def _restore(probabilities: Tensor, positions: list[np.ndarray]) -> Tensor:
    """(X, Y, Z) uint8 labels at the given working positions along the three working axes."""
    labels = np.zeros([len(place) for place in positions], dtype=np.uint8)
    inside = [
        np.flatnonzero((place > -0.5) & (place < size - 0.5))
        for place, size in zip(positions, probabilities.shape[1:], strict=True)
    ]
    if min(len(part) for part in inside) == 0:
        return torch.from_numpy(labels)
    x, y = (slice(int(part[0]), int(part[-1]) + 1) for part in inside[:2])
    places = (positions[0][inside[0]], positions[1][inside[1]])
    restorer = PlaneRestorer(*places, probabilities.shape[1:3], decide_muscle)
    for index in inside[2]:
        labels[x, y, index] = restorer(probabilities[..., int(np.rint(positions[2][index]))].numpy())
    return torch.from_numpy(labels)


class PlaneRestorer:
    """Decides the labels of an image's pixels from the probabilities on the working grid.

    Where the four working pixels around an image pixel are decided alike, so is every mean of them, and the pixel is
    decided with them. Probabilities are interpolated only where they are not: at the borders of structures.

    Parameters
    ----------
    x, y : working position of each image pixel along the two axes.
    shape : of the working plane.
    decide : label of each pixel of a (C, ...) array. Pixels that are decided alike must have means that are, too.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, shape: Sequence[int], decide: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self._decide = decide
        self._width = int(shape[1])
        (x0, x1, self._x_share), (y0, y1, self._y_share) = find_neighbours(x, shape[0]), find_neighbours(y, shape[1])
        self._rows, self._columns = (x0, x1), (y0, y1)

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        """(X, Y) uint8 labels from (C, h, w) working probabilities."""
        plane = np.asarray(plane, dtype=np.float32)
        working = self._decide(plane)
        (x0, x1), (y0, y1) = self._rows, self._columns
        labels = working.take(y0, axis=1).take(x0, axis=0)
        mixed = _differs_from_next(working).take(y0, axis=1).take(x0, axis=0)
        i, j = np.divmod(np.flatnonzero(mixed), len(y0))
        if len(i):
            plane = plane.reshape(len(plane), -1)
            near, far = x0[i] * self._width, x1[i] * self._width
            x_share, y_share = self._x_share[i], self._y_share[j]
            left = _lerp(plane.take(near + y0[j], axis=1), plane.take(far + y0[j], axis=1), x_share)
            right = _lerp(plane.take(near + y1[j], axis=1), plane.take(far + y1[j], axis=1), x_share)
            labels[i, j] = self._decide(_lerp(left, right, y_share))
        return labels


class BatchRestorer:
    """What `PlaneRestorer` does, for several planes at once on a device, where interpolating everywhere costs nothing.

    Parameters
    ----------
    x, y : working position of each image pixel along the two axes.
    shape : of the working planes.
    decide : label of each pixel of a (C, ...) tensor.
    device : where the planes are.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        shape: Sequence[int],
        decide: Callable[[Tensor], Tensor],
        device: torch.device | str,
    ) -> None:
        self._decide = decide
        self._rows, self._columns = (
            tuple(torch.from_numpy(part).to(device) for part in find_neighbours(place, size))
            for place, size in zip((x, y), shape, strict=True)
        )

    def __call__(self, planes: Tensor) -> Tensor:
        """(B, X, Y) uint8 labels from (B, C, h, w) working probabilities."""
        low, high, share = self._rows
        planes = torch.lerp(planes.index_select(2, low), planes.index_select(2, high), share[:, None])
        low, high, share = self._columns
        planes = torch.lerp(planes.index_select(3, low), planes.index_select(3, high), share)
        return self._decide(planes.movedim(1, 0))


def _differs_from_next(labels: np.ndarray) -> np.ndarray:
    """True where a pixel's label is not also that of its next neighbour along x, along y and along both."""
    differs = np.zeros(labels.shape, dtype=bool)
    differs[:-1] = labels[:-1] != labels[1:]
    along_y = labels[:, :-1] != labels[:, 1:]
    differs[:, :-1] |= along_y
    differs[:-1, :-1] |= along_y[1:]
    return differs


def _lerp(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    return low + (high - low) * share


def find_neighbours(place: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices before and after each position along an axis of ``size``, and the share of the second; ends repeat."""
    place = np.clip(place, 0, size - 1)
    low = np.floor(place).astype(np.int64)
    return low, np.minimum(low + 1, size - 1), (place - low).astype(np.float32)


def decide_muscle(plane: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """Labels as the respiratory cascade decides them, uint8.

    Of (5, ...) probabilities: respiratory muscle where classes 1-3 together exceed one half, and then the likeliest of
    them; other muscle (4) where all muscle exceeds one half. Of (3, ...) class logits: the largest, as label 1-3.
    """
    if len(plane) == 3:
        return decide_largest(plane) + 1
    choose, larger, byte = (
        (torch.where, torch.maximum, torch.uint8) if isinstance(plane, Tensor) else (np.where, np.maximum, np.uint8)
    )
    respiratory = plane[1] + plane[2] + plane[3]
    muscle = respiratory + plane[4] > 0.5
    intercostal = plane[3] > larger(plane[1], plane[2])
    likeliest = choose(intercostal, 3, 2 - (plane[1] >= plane[2]).view(byte))
    return choose(respiratory > 0.5, likeliest, muscle.view(byte) * 4)


def decide_largest(plane: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """The class with the largest value in (C, ...), as uint8; the first of equals."""
    if isinstance(plane, Tensor):
        return plane.argmax(0).to(torch.uint8)
    # NumPy's argmax along the first axis takes six times as long.
    labels, largest = np.zeros(plane.shape[1:], np.uint8), plane[0].copy()
    for label, values in enumerate(plane[1:], start=1):
        labels[values > largest] = label
        np.maximum(largest, values, out=largest)
    return labels


def decide_within(known: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The new labels where a known label map has 1-3, and its own labels elsewhere, as uint8."""
    return np.where((known > 0) & (known < 4), labels, known).astype(np.uint8)


def _plain(image: Tensor) -> Tensor:
    tensor = image.as_tensor() if isinstance(image, MetaTensor) else image
    return tensor.detach().cpu()


def _affine(image: MetaTensor) -> np.ndarray:
    return np.asarray(image.affine.cpu(), dtype=np.float64)


def _with_affine(tensor: Tensor, source: MetaTensor, affine: np.ndarray) -> MetaTensor:
    meta = dict(source.meta)
    meta.pop("affine", None)
    return MetaTensor(tensor, affine=torch.from_numpy(affine), meta=meta)
