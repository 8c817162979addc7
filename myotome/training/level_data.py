"""Projections of whole volumes, fields of view cut from them, and the name of the vertebra at each height."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import NibabelReader
from torch import Tensor
from torch.nn.functional import grid_sample, pad
from torch.utils.data import Dataset

from myotome.errors import InputError
from myotome.networks import UNKNOWN
from myotome.training.plane_cache import describe_files, keep
from myotome.training.vertebra_names import name_bins_by_middles
from myotome.transforms import PROJECTION_MM, SpineProjections, project_spine

__all__ = ["LevelBatch", "LevelDataset", "LevelSampling"]

_LOG = logging.getLogger(__name__)
_EVEN = 16


@dataclass(frozen=True)
class LevelSampling:
    """How fields of view are cut from the projections of a volume, and changed.

    A sample has ``bins`` bins of 3 mm. ``cut_share`` of the samples show a field of at least ``least_mm``, the others
    the whole volume. Each is stretched along z and across by up to ``zoom``, moved across by up to ``shift`` bins and
    mirrored half of the time; bone is ``gain`` times as bright and noise of up to ``noise`` is added. What was read is
    kept in ``cache_dir``.
    """

    bins: int = 160
    cut_share: float = 0.8
    least_mm: float = 100.0
    zoom: tuple[float, float] = (0.85, 1.2)
    shift: float = 6.0
    gain: tuple[float, float] = (0.6, 1.5)
    noise: float = 0.05
    cache_dir: str | None = None


class LevelDataset(Dataset):
    """Samples ``{"image": (5, 64, bins) float32, "label": (2, bins) int64}``.

    The first row of ``label`` is the index in `myotome.networks.SEQUENCE` of each bin, or `UNKNOWN`; the second is 1
    where a bin is in the field. Sample ``index`` depends on ``seed`` and ``index`` alone.

    Parameters
    ----------
    data : rows with the path ``image`` of a CT volume and ``levels``, the patient's z (RAS+, mm) of the middle of each
        vertebra that it shows and somebody named: ``{"L2": 31.5, "L3": -2.0}``.
    length : number of samples; ``None``: every volume once, whole and unchanged.
    shard : (rank, processes): which of several processes this one is; each draws ``length`` samples of its own.

    ``start``, the number of the first sample, is set when a run resumes.

    Raises
    ------
    InputError
        When ``data`` is empty, or a row does not say where its vertebrae are.
    """

    kept_as = "levels"  # in the cache

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        length: int | None = None,
        seed: int = 0,
        sampling: LevelSampling | None = None,
        shard: Sequence[int] = (0, 1),
    ) -> None:
        if not data:
            raise InputError("the data list is empty: point dataset_dir at a folder whose datalist.json lists cases.")
        self._require(data)
        self.data, self.length, self.seed, self.start = list(data), length, seed, 0
        self.sampling = sampling or LevelSampling()
        self.rank, self.processes = shard
        self._loaded: dict[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.data) if self.length is None else max(0, self.length - self.start)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        found = self._load()
        if self.length is None:
            row, size = index, int(found["size"][index])
            field = _show_whole(found["projections"][row].float(), size, self.sampling)
        else:
            rng = np.random.default_rng((self.seed, (self.start + index) * self.processes + self.rank))
            row = int(rng.integers(len(self.data)))
            size = int(found["size"][row])
            field = _cut_field(found["projections"][row, ..., :size].float(), self.sampling, rng)
        return {"image": field.image, "label": field.label(found["names"][row, :size])}

    def _load(self) -> dict[str, Tensor]:
        if self._loaded is None:
            begun = time.monotonic()
            parts = [self.kept_as, PROJECTION_MM, describe_files(self.data)]
            self._loaded = keep(self.sampling.cache_dir, parts, self._read_all)
            _LOG.info("%d volumes projected in %.0f s", len(self.data), time.monotonic() - begun)
        return self._loaded

    def _read_all(self) -> dict[str, Tensor]:
        """Projections (N, 5, S, Z), the Z of each, and the names (N, Z) of its bins."""
        arrays, names = [], []
        for row in self.data:
            opened = NibabelReader().read(row["image"])
            seen = project_spine(np.asanyarray(opened.dataobj), opened.affine)
            arrays.append(torch.from_numpy(seen.array.astype(np.float16)))
            names.append(torch.from_numpy(self._name(row, seen)))
        sizes = [array.shape[-1] for array in arrays]
        return {
            "projections": torch.stack([pad(array, (0, max(sizes) - array.shape[-1])) for array in arrays]),
            "names": torch.stack([pad(one, (0, max(sizes) - len(one)), value=UNKNOWN) for one in names]),
            "size": torch.tensor(sizes),
        }

    def _require(self, data: Sequence[Mapping[str, Any]]) -> None:
        """Refuse rows that do not say what is learned."""
        if not all(_are_heights(row.get("levels")) for row in data):
            raise InputError(
                "the data list does not say where the vertebrae are: make volumes (myotome phantom abdomen --volume), "
                'or write \'levels\' beside each image, the z of those that it shows: {"L2": 31.5, "L3": -2.0}.'
            )

    def _name(self, row: Mapping[str, Any], seen: SpineProjections) -> np.ndarray:
        """(Z,) name of each bin of a volume."""
        return name_bins_by_middles(row["levels"], seen)


def _are_heights(levels: Any) -> bool:
    """Whether this is a z for each of some vertebrae."""
    heights = levels.values() if isinstance(levels, Mapping) else ()
    return bool(heights) and all(isinstance(z_mm, int | float) and math.isfinite(z_mm) for z_mm in heights)


@dataclass(frozen=True, eq=False)
class _Field:
    """A field of view cut from a volume: ``image`` (5, S, bins), ``inside`` (bins,) where it has bins of the volume.

    ``source`` (bins,) is the place in the volume of each bin.
    """

    image: Tensor
    inside: Tensor
    source: Tensor

    def label(self, names: Tensor) -> Tensor:
        """(2, bins) int64: of the (Z,) names of the volume those of the field, and 1 where that has bins of it."""
        seen = names[self.source.round().long().clamp(0, len(names) - 1)]
        return torch.stack((seen.masked_fill(~self.inside, UNKNOWN), self.inside.long()))


def _show_whole(projections: Tensor, size: int, sampling: LevelSampling) -> _Field:
    """The (5, S, Z) projections of a volume of ``size`` bins as they are."""
    bins = max(sampling.bins, -(-projections.shape[-1] // _EVEN) * _EVEN)
    image = pad(projections, (0, bins - projections.shape[-1]))
    steps = torch.arange(bins, dtype=torch.float32)
    return _Field(image, steps < size, steps)


def _cut_field(projections: Tensor, sampling: LevelSampling, rng: np.random.Generator) -> _Field:
    """A field of view of a (5, S, Z) volume, stretched, moved, mirrored and changed in brightness."""
    size, bins = projections.shape[-1], sampling.bins
    stretch = rng.uniform(*sampling.zoom)
    least = min(float(size), sampling.least_mm / PROJECTION_MM)
    field = rng.uniform(least, size) if rng.random() < sampling.cut_share else float(size)
    field = min(field, bins / stretch)
    first = rng.uniform(0, size - field)
    before = rng.uniform(0, max(0.0, bins - field * stretch))
    # From bins of the sample to bins of the volume.
    source = first + (torch.arange(bins, dtype=torch.float32) - before) / stretch
    inside = (source >= first - 0.5) & (source <= min(first + field, size - 0.5))
    image = _resample_across(projections, source, sampling, rng)
    image[:4] = (image[:4] * rng.uniform(*sampling.gain)).clamp(0, 1)
    noise = torch.from_numpy(rng.normal(0, sampling.noise * rng.random(), image[:4].shape).astype(np.float32))
    image[:4] = (image[:4] + noise.abs()).clamp(0, 1)
    image[4] = 1
    image *= inside
    return _Field(image, inside, source)


def _resample_across(projections: Tensor, source: Tensor, sampling: LevelSampling, rng: np.random.Generator) -> Tensor:
    """(5, S, bins): the coronal views mirrored or not, and each pair of views moved and stretched across."""
    across, size = projections.shape[1:]
    steps = (torch.arange(across, dtype=torch.float32) + 0.5) * 2 / across - 1
    along = (source + 0.5) * 2 / size - 1
    parts = []
    for pair in (slice(0, 2), slice(2, 4)):
        places = steps / rng.uniform(*sampling.zoom) + rng.uniform(-1, 1) * sampling.shift * 2 / across
        if pair.start == 0 and rng.random() < 0.5:
            places = -places
        grid = torch.stack((along.expand(across, -1), places[:, None].expand(-1, len(along))), dim=-1)
        parts.append(grid_sample(projections[None, pair], grid[None], align_corners=False)[0])
    return torch.cat((*parts, torch.ones_like(parts[0][:1])))


class LevelBatch:
    """``prepare_batch`` of the stage ``level``: ``(projections, label, (), {})``."""

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        image, label = (batch[key].to(device, non_blocking=non_blocking) for key in ("image", "label"))
        return image, label, (), {}
