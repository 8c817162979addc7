"""Training samples cut from noise-free reference volumes: a random slab of random thickness, in a random pose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data import NibabelReader
from monai.transforms import Compose
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate
from torch.utils.data import Dataset

from myotome.errors import InputError

__all__ = ["SlabDataset", "SlabSampling"]

_AIR_HU = -1000.0
_CLASSES = 5


@dataclass(frozen=True)
class SlabSampling:
    """How slabs are drawn; pairs are (low, high), uniform.

    ``thickness_mm`` is the slice thickness; neighbours lie ``overlap`` times the thickness away. ``zoom`` magnifies
    each in-plane axis. Rotation is up to ``rotation_deg`` either way, or any angle with probability ``any_rotation``.
    ``elastic_px`` is the size of the smooth deformation. ``muscle_share`` of the patches are centred on a labelled
    voxel, the others within the ``centre`` part of the slice; then the centre moves by up to ``offset`` of the patch.
    """

    patch: tuple[int, int] = (256, 256)
    spacing_mm: float = 0.8
    thickness_mm: tuple[float, float] = (1.0, 8.0)
    overlap: tuple[float, float] = (0.5, 1.0)
    zoom: tuple[float, float] = (0.8, 1.3)
    rotation_deg: float = 15.0
    any_rotation: float = 0.08
    elastic_px: float = 4.0
    muscle_share: float = 0.8
    centre: tuple[float, float] = (0.1, 0.9)
    offset: float = 0.35


class SlabDataset(Dataset):
    """Samples ``{"image": (3, H, W) float HU, "label": (1, H, W) uint8}`` drawn from volumes on disk.

    Sample ``index`` depends on ``seed`` and ``index`` alone, so a run resumed at any sample sees what it would have
    seen; a dataset never repeats within its ``length``. Volumes are memory-mapped: store them as uncompressed NIfTI.

    Parameters
    ----------
    data : rows with the paths ``image`` (HU) and ``label``, both (X, Y, Z) in RAS order on one grid.
    transform : applied to each sample; its random transforms are seeded per sample.
    length : number of samples.
    shard : (rank, processes): which of several processes this one is; each draws ``length`` samples of its own.

    ``start``, the number of the first sample, is set when a run resumes.

    Raises
    ------
    InputError
        When ``data`` is empty or an image and its label differ in shape.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, str]],
        transform: Callable | None = None,
        length: int = 1000,
        seed: int = 0,
        sampling: SlabSampling | None = None,
        shard: Sequence[int] = (0, 1),
    ) -> None:
        if not data:
            raise InputError("the data list is empty: point dataset_dir at a folder whose datalist.json lists cases.")
        self.data, self.length, self.seed, self.start = list(data), int(length), seed, 0
        self.transform = Compose(transform) if isinstance(transform, (list, tuple)) else transform
        self.sampling = sampling or SlabSampling()
        self.rank, self.processes = shard
        self._opened: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return max(0, self.length - self.start)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, (self.start + index) * self.processes + self.rank))
        image, label, spacing = self._case(int(rng.integers(len(self.data))))
        sample = _draw_slab(image, label, spacing, self.sampling, rng)
        if self.transform is None:  # not "if self.transform": len() of a Compose reseeds its transforms
            return sample
        if isinstance(self.transform, Compose):
            self.transform.set_random_state(seed=int(rng.integers(2**31)))
        return self.transform(sample)

    def _case(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if number not in self._opened:
            row = self.data[number]
            opened = NibabelReader().read([row["image"], row["label"]])
            image, label = (np.asanyarray(item.dataobj) for item in opened)
            if image.shape != label.shape:
                raise InputError(f"{row['image']} and {row['label']} differ in shape: make both on one grid.")
            self._opened[number] = image, label, np.array(opened[0].header.get_zooms()[:3])
        return self._opened[number]


def _draw_slab(
    image: np.ndarray, label: np.ndarray, spacing_mm: np.ndarray, sampling: SlabSampling, rng: np.random.Generator
) -> dict[str, Tensor]:
    thickness = rng.uniform(*sampling.thickness_mm)
    count = max(1, round(thickness / spacing_mm[2]))
    step = max(1, round(thickness * rng.uniform(*sampling.overlap) / spacing_mm[2]))
    depth = image.shape[2]
    middle = int(rng.integers(depth))
    first = np.clip(middle - count // 2, 0, max(0, depth - count))
    points = _sampling_points(_patch_centre(label[:, :, middle], sampling, rng), spacing_mm[:2], sampling, rng)
    low = np.clip(np.floor(points.min((0, 1))).astype(int), 0, np.array(image.shape[:2]) - 2)
    high = np.clip(np.ceil(points.max((0, 1))).astype(int) + 1, low + 2, image.shape[:2])
    box = (slice(low[0], high[0]), slice(low[1], high[1]))

    channels = np.empty((3 + _CLASSES, high[1] - low[1], high[0] - low[0]), np.float32)
    for channel, shift in enumerate((-step, 0, step)):
        begin = int(np.clip(first + shift, 0, max(0, depth - count)))
        slab = image[(*box, slice(begin, begin + count))].T
        channels[channel] = slab.mean(axis=0, dtype=np.float32) - _AIR_HU
    labels = label[(*box, slice(first, first + count))].T
    for structure in range(_CLASSES):
        channels[3 + structure] = (labels == structure).sum(axis=0, dtype=np.uint8)
    channels[3:] /= labels.shape[0]

    size = np.array([high[0] - low[0], high[1] - low[1]], dtype=np.float32)
    grid = torch.from_numpy((2 * (points - low) + 1) / size - 1)
    moved = grid_sample(torch.from_numpy(channels)[None], grid[None].float(), mode="bilinear", align_corners=False)[0]
    return {"image": moved[:3] + _AIR_HU, "label": _largest_share(moved[3:])[None]}


def _largest_share(shares: Tensor) -> Tensor:
    """(H, W) class of the largest share, background where none has any (six times faster than ``argmax(0)``)."""
    best, label = shares[0].clone(), torch.zeros(shares.shape[1:], dtype=torch.uint8)
    for structure in range(1, len(shares)):
        larger = shares[structure] > best
        label.masked_fill_(larger, structure)
        torch.maximum(best, shares[structure], out=best)
    return label


def _patch_centre(label: np.ndarray, sampling: SlabSampling, rng: np.random.Generator) -> np.ndarray:
    labelled = np.argwhere(label[::4, ::4]) if rng.random() < sampling.muscle_share else ()
    if len(labelled):
        return 4.0 * labelled[rng.integers(len(labelled))]
    return rng.uniform(*sampling.centre, 2) * label.shape


def _sampling_points(
    centre: np.ndarray, spacing_mm: np.ndarray, sampling: SlabSampling, rng: np.random.Generator
) -> np.ndarray:
    """(H, W, 2) positions in voxels of the source slice, for each pixel of the patch."""
    height, width = sampling.patch
    full_turn = rng.random() < sampling.any_rotation
    angle = np.deg2rad(rng.uniform(-180, 180) if full_turn else sampling.rotation_deg * rng.uniform(-1, 1))
    zoom = rng.uniform(*sampling.zoom) * rng.uniform(0.95, 1.05, 2)
    if rng.random() < 0.5:
        zoom[0] *= -1  # mirrored, right to left
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = (turn / zoom * sampling.spacing_mm / spacing_mm[:, None]).astype(np.float32)
    offset = (rng.uniform(-sampling.offset, sampling.offset, 2) * sampling.patch).astype(np.float32)
    y = np.arange(height, dtype=np.float32)[:, None] - height / 2 - offset[0]
    x = np.arange(width, dtype=np.float32)[None] - width / 2 - offset[1]
    points = np.stack([matrix[i, 0] * y + matrix[i, 1] * x + np.float32(centre[i]) for i in (0, 1)], axis=-1)
    size = rng.uniform(0, sampling.elastic_px)
    coarse = torch.from_numpy(rng.normal(0, size / 2, (1, 2, 6, 6)).astype(np.float32))
    bend = interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0]
    return points + bend.permute(1, 2, 0).numpy()
