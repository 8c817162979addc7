"""From the image as it was made to the grid the networks work on, and back.

The working grid is in RAS order, cropped to the body, with 0.8 mm in-plane spacing and the slices that were made.
Because it shares the image's directions, both ways are separable: every working axis is one image axis, scaled.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate

from myotome.errors import GeometryError

__all__ = ["CropBodyd", "ResampleInPlaned", "RestoreLabelMapd", "find_body_box"]

_AXIS_TOLERANCE = 1e-3


def find_body_box(image: np.ndarray, spacing_mm: Sequence[float], margin_mm: float = 12.0) -> tuple[slice, slice]:
    """In-plane bounding box of the body: the largest object denser than -400 HU that is more than a sheet.

    The search runs on a grid of about 4 mm, where an opening of 8 mm removes tables, blankets and tubes. An image
    without such an object is kept whole.

    Parameters
    ----------
    image : (X, Y, Z) array in HU
    """
    step = [max(1, round(4 / spacing)) for spacing in spacing_mm]
    dense = image[tuple(slice(None, None, stride) for stride in step)] > -400
    dense = ndimage.binary_opening(
        dense, ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 2)[..., None]
    )
    objects, count = ndimage.label(dense)
    if count == 0:
        return slice(0, image.shape[0]), slice(0, image.shape[1])
    body = objects == 1 + int(np.argmax(np.bincount(objects.ravel())[1:]))
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
            after = np.maximum(1, np.rint(before * spacing / self.spacing_mm)).astype(int)
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
            plane = volume[None, None, :, :, index].float()
            if self.mode == "nearest":
                plane = interpolate(plane, size, mode="nearest-exact")
            else:
                plane = interpolate(plane, size, mode="bilinear", align_corners=False, antialias=True)
            result[:, :, index] = plane[0, 0].to(volume.dtype)
        return result


class RestoreLabelMapd(MapTransform):
    """Turn (5, X, Y, Z) probabilities on the working grid into a (1, ...) uint8 label map on the image's own grid.

    Probabilities are interpolated linearly in plane, slice by slice, so no second probability volume is held; where
    no resampling took place the result is the same, voxel for voxel. A voxel is respiratory muscle where classes 1-3
    together exceed one half, and then the likeliest of them; other muscle (4) where all muscle exceeds one half.
    Outside the working grid it is background. Of (3, X, Y, Z) class logits, the largest gives labels 1-3.

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
                labels = torch.where((known > 0) & (known < 4), labels, known)
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
    labels = torch.zeros([len(place) for place in positions], dtype=torch.uint8)
    inside = [
        np.flatnonzero((place > -0.5) & (place < size - 0.5))
        for place, size in zip(positions, probabilities.shape[1:], strict=True)
    ]
    if min(len(part) for part in inside) == 0:
        return labels
    (x0, x1, x_share), (y0, y1, y_share) = (
        _neighbours(place[part], size)
        for place, part, size in zip(positions[:2], inside[:2], probabilities.shape[1:3], strict=True)
    )
    x, y = (slice(int(part[0]), int(part[-1]) + 1) for part in inside[:2])
    for index in inside[2]:
        plane = probabilities[..., int(np.rint(positions[2][index]))].float()
        plane = torch.lerp(plane[:, x0], plane[:, x1], x_share[:, None])
        labels[x, y, int(index)] = _decide(torch.lerp(plane[:, :, y0], plane[:, :, y1], y_share))
    return labels


def _neighbours(place: np.ndarray, size: int) -> tuple[Tensor, Tensor, Tensor]:
    place = np.clip(place, 0, size - 1)
    low = np.minimum(np.floor(place), size - 1).astype(np.int64)
    share = torch.from_numpy((place - low).astype(np.float32))
    return torch.from_numpy(low), torch.from_numpy(np.minimum(low + 1, size - 1)), share


def _decide(plane: Tensor) -> Tensor:
    """(X, Y) labels from (5, X, Y) probabilities, as the cascade decides: muscle, respiratory muscle, its class."""
    if len(plane) == 3:
        return plane.argmax(0).to(torch.uint8) + 1
    respiratory = plane[1] + plane[2] + plane[3]
    label = torch.where(respiratory + plane[4] > 0.5, 4, 0).to(torch.uint8)
    first = torch.where(plane[1] >= plane[2], 1, 2).to(torch.uint8)
    likeliest = torch.where(plane[3] > torch.maximum(plane[1], plane[2]), torch.full_like(first, 3), first)
    return torch.where(respiratory > 0.5, likeliest, label)


def _plain(image: Tensor) -> Tensor:
    tensor = image.as_tensor() if isinstance(image, MetaTensor) else image
    return tensor.detach().cpu()


def _affine(image: MetaTensor) -> np.ndarray:
    return np.asarray(image.affine.cpu(), dtype=np.float64)


def _with_affine(tensor: Tensor, source: MetaTensor, affine: np.ndarray) -> MetaTensor:
    meta = dict(source.meta)
    meta.pop("affine", None)
    return MetaTensor(tensor, affine=torch.from_numpy(affine), meta=meta)
