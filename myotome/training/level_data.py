"""Learning where L3 is: projections of whole volumes, fields of view cut from them, loss and score."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.data import NibabelReader
from torch import Tensor, nn
from torch.nn.functional import grid_sample, pad
from torch.utils.data import Dataset

from myotome.errors import InputError
from myotome.networks import LevelNetwork, locate_level
from myotome.training.plane_cache import describe_files, keep
from myotome.transforms import PROJECTION_MM, SpineProjections, project_spine

__all__ = ["Field", "LevelBatch", "LevelDataset", "LevelLoss", "LevelOutput", "LevelSampling", "LevelScore"]

_LOG = logging.getLogger(__name__)
_ABSENT = -1.0
_CLOSE_MM = 5.0
_EVEN = 16


@dataclass(frozen=True)
class LevelSampling:
    """How fields of view are cut from the projections of a volume, and changed.

    A sample has ``bins`` bins of 3 mm. ``cut_share`` of the samples show a field of at least ``least_mm``, the others
    the whole volume. Each is stretched along z and across by up to ``zoom``, moved across by up to ``shift`` bins and
    mirrored half of the time; bone is ``gain`` times as bright and noise of up to ``noise`` is added. The level's place
    is a bell of standard deviation ``width_mm``. What was read is kept in ``cache_dir``.
    """

    bins: int = 160
    cut_share: float = 0.8
    least_mm: float = 100.0
    zoom: tuple[float, float] = (0.85, 1.2)
    shift: float = 6.0
    gain: tuple[float, float] = (0.6, 1.5)
    noise: float = 0.05
    width_mm: float = 4.0
    cache_dir: str | None = None


class LevelDataset(Dataset):
    """Samples ``{"image": (5, 64, bins) float32, "label": (2, bins + 1) float32}``.

    The first row of ``label`` is the probability that the level is at each bin, and last that it is not in the field;
    the second is 1 where a bin is in the field. Sample ``index`` depends on ``seed`` and ``index`` alone.

    Parameters
    ----------
    data : rows with the path ``image`` of a CT volume and ``l3_z_mm``, the patient's z of the middle of L3 (RAS+), or
        ``None`` where it is not in the field.
    length : number of samples; ``None``: every volume once, whole and unchanged.
    shard : (rank, processes): which of several processes this one is; each draws ``length`` samples of its own.

    ``start``, the number of the first sample, is set when a run resumes.

    Raises
    ------
    InputError
        When ``data`` is empty, or a row does not say where L3 is.
    """

    kept_as = "level"  # in the cache

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
            field = _show_whole(found["projections"][index].float(), int(found["size"][index]), self.sampling)
            return {"image": field.image, "label": self._label(found, index, field)}
        rng = np.random.default_rng((self.seed, (self.start + index) * self.processes + self.rank))
        row = int(rng.integers(len(self.data)))
        size = int(found["size"][row])
        field = _cut_field(found["projections"][row, ..., :size].float(), self.sampling, rng)
        return {"image": field.image, "label": self._label(found, row, field)}

    def _load(self) -> dict[str, Tensor]:
        if self._loaded is None:
            begun = time.monotonic()
            parts = [self.kept_as, PROJECTION_MM, describe_files(self.data)]
            self._loaded = keep(self.sampling.cache_dir, parts, self._read_all)
            _LOG.info("%d volumes projected in %.0f s", len(self.data), time.monotonic() - begun)
        return self._loaded

    def _read_all(self) -> dict[str, Tensor]:
        """Projections (N, 5, S, Z), the Z of each, and by further names what `_describe` says of each."""
        arrays, described = [], []
        for row in self.data:
            opened = NibabelReader().read(row["image"])
            seen = project_spine(np.asanyarray(opened.dataobj), opened.affine)
            arrays.append(torch.from_numpy(seen.array.astype(np.float16)))
            described.append(self._describe(row, seen))
        longest = max(array.shape[-1] for array in arrays)
        return {
            "projections": torch.stack([pad(array, (0, longest - array.shape[-1])) for array in arrays]),
            "size": torch.tensor([array.shape[-1] for array in arrays]),
            **_gather(described),
        }

    def _require(self, data: Sequence[Mapping[str, Any]]) -> None:
        """Refuse rows that do not say what is learned."""
        if any("l3_z_mm" not in row for row in data):
            raise InputError(
                "the data list does not say where L3 is: make volumes (myotome phantom abdomen), or write 'l3_z_mm' "
                "beside each image, null where L3 is not in the field."
            )

    def _describe(self, row: Mapping[str, Any], seen: SpineProjections) -> dict[str, Tensor]:
        """What is learned of a volume, in bins."""
        place = None if row["l3_z_mm"] is None else (float(row["l3_z_mm"]) - seen.first_mm) / PROJECTION_MM
        inside = place is not None and -0.5 <= place <= seen.array.shape[-1] - 0.5
        return {"position": torch.tensor([place if inside else _ABSENT])}

    def _label(self, found: dict[str, Tensor], row: int, field: Field) -> Tensor:
        """What is learned of a field cut from a volume."""
        position = float(found["position"][row])
        place = field.first + position * field.stretch if position >= -0.5 and position != _ABSENT else _ABSENT
        return _label(field.inside, place, self.sampling.width_mm)


def _gather(described: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """By name, the one-dimensional tensors of all volumes; shorter ones end with -1."""
    gathered = {}
    for name in described[0]:
        longest = max(len(one[name]) for one in described)
        gathered[name] = torch.stack([pad(one[name], (0, longest - len(one[name])), value=-1) for one in described])
    return gathered


@dataclass(frozen=True, eq=False)
class Field:
    """A field of view cut from a volume: ``image`` (5, S, bins), ``inside`` (bins,) where it has bins of the volume.

    ``source`` (bins,) is the place in the volume of each bin; bin 0 of the volume lies at ``first`` in the field, and a
    bin of the volume is ``stretch`` bins wide there.
    """

    image: Tensor
    inside: Tensor
    source: Tensor
    first: float
    stretch: float


def _show_whole(projections: Tensor, size: int, sampling: LevelSampling) -> Field:
    """The (5, S, Z) projections of a volume of ``size`` bins as they are."""
    bins = max(sampling.bins, -(-projections.shape[-1] // _EVEN) * _EVEN)
    image = pad(projections, (0, bins - projections.shape[-1]))
    steps = torch.arange(bins, dtype=torch.float32)
    return Field(image, steps < size, steps, 0.0, 1.0)


def _cut_field(projections: Tensor, sampling: LevelSampling, rng: np.random.Generator) -> Field:
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
    return Field(image, inside, source, before - first * stretch, stretch)


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


def _label(inside: Tensor, position: float, width_mm: float) -> Tensor:
    """(2, Z + 1): probability of each bin and of absence, and which bins are in the field."""
    label = torch.zeros(2, len(inside) + 1)
    label[1, :-1], label[1, -1] = inside.float(), 1
    nearest = min(max(round(position), 0), len(inside) - 1)
    if position == _ABSENT or not (-0.5 <= position <= len(inside) - 0.5) or not inside[nearest]:
        label[0, -1] = 1
        return label
    distance = (torch.arange(len(inside), dtype=torch.float32) - position) * PROJECTION_MM / width_mm
    bell = torch.exp(-0.5 * distance.square()) * inside
    label[0, :-1] = bell / bell.sum()
    return label


class LevelBatch:
    """``prepare_batch`` of the stage ``level``: ``(projections, label, (), {})``."""

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        image, label = (batch[key].to(device, non_blocking=non_blocking) for key in ("image", "label"))
        return image, label, (), {}


class LevelLoss(nn.Module):
    """Cross-entropy between where the level is and where the network says that it is, or that it is not there."""

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Loss of (B, 2, Z) logits for (B, 2, Z + 1) labels."""
        found = LevelNetwork.log_probabilities(logits, label[:, 1, :-1] > 0)
        return -(label[:, 0] * found).sum(1).mean()


class LevelOutput:
    """``output_transform`` of :class:`LevelScore`: (B, 2) place in bins and probability of absence; found and true."""

    def __call__(self, output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logits, label = output["pred"].float(), output["label"]
        chances = LevelNetwork.log_probabilities(logits, label[:, 1, :-1] > 0)
        found = [locate_level(row) for row in chances]
        steps = torch.arange(label.shape[-1] - 1, device=label.device)
        places = (label[:, 0, :-1] * steps).sum(1)
        return (
            torch.tensor([[one.position, one.absent] for one in found]),
            torch.stack((places, label[:, 0, -1]), dim=1).cpu(),
        )


class LevelScore(Metric):
    """Share of the images in which the level is found within 5 mm, or rightly said not to be in the field."""

    def reset(self) -> None:
        self._right = self._count = 0

    def update(self, output: tuple[Tensor, Tensor]) -> None:
        found, true = output
        absent, said = true[:, 1] > 0.5, found[:, 1] > 0.5
        close = (found[:, 0] - true[:, 0]).abs() * PROJECTION_MM <= _CLOSE_MM
        self._right += int(torch.where(absent, said, ~said & close).sum())
        self._count += len(true)

    def compute(self) -> float:
        return self._right / self._count if self._count else 0.0
