"""Learning the row of vertebrae: which one lies at each height of a volume, by its label map; loss and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.data import NibabelReader
from torch import Tensor, nn

from myotome.errors import InputError
from myotome.geometry import Grid, reorient
from myotome.networks import SEQUENCE, SEQUENCE_LEVELS, UNKNOWN, chain_loss, decode_sequence
from myotome.training.level_data import Field, LevelDataset
from myotome.transforms import SpineProjections

__all__ = ["SequenceDataset", "SequenceLoss", "SequenceOutput", "SequenceScore", "name_bins"]

_ABOVE, _BELOW = 0, len(SEQUENCE) - 1
_HIGHEST, _LOWEST = 1, len(SEQUENCE_LEVELS)
_HALF_DISC_MM = {_HIGHEST: 2.5, _LOWEST: 5.0}  # above T8 and below L3
_SCRAP = 0.05  # of a body's largest section: smaller ones are a mislabelled voxel here and there


class SequenceDataset(LevelDataset):
    """Samples ``{"image": (5, 64, bins) float32, "label": (2, bins) int64}``.

    The first row of ``label`` is the index in `myotome.networks.SEQUENCE` of each bin, or `UNKNOWN`; the second is 1
    where a bin is in the field. Fields are cut and changed as those of `LevelDataset`.

    Parameters
    ----------
    data : rows with the paths ``image`` and ``label``, a label map whose labels 1 to 8 are the bodies of T8 to L3.

    Raises
    ------
    InputError
        When ``data`` is empty, or a row has no label map.
    """

    kept_as = "sequence"

    def _require(self, data: Sequence[Mapping[str, Any]]) -> None:
        if any("label" not in row for row in data):
            raise InputError("a row of the data list has no 'label': the row of vertebrae is learned from label maps.")

    def _describe(self, row: Mapping[str, Any], seen: SpineProjections) -> dict[str, Tensor]:
        opened = NibabelReader().read(row["label"])
        return {"names": torch.from_numpy(name_bins(np.asanyarray(opened.dataobj), opened.affine, seen))}

    def _label(self, found: dict[str, Tensor], row: int, field: Field) -> Tensor:
        size = int(found["size"][row])
        names = found["names"][row, field.source.round().long().clamp(0, size - 1)]
        return torch.stack((names.masked_fill(~field.inside, UNKNOWN), field.inside.long()))


def name_bins(labels: np.ndarray, affine: np.ndarray, seen: SpineProjections) -> np.ndarray:
    """(Z,) int64: the index in `myotome.networks.SEQUENCE` of each bin of a volume's projections, or `UNKNOWN`.

    A boundary lies midway between the end of one body and the beginning of the next. Beyond T8 and L3, where they are
    whole, it is half a disc away. What lies beside or between bodies that are not labelled is not known.

    Parameters
    ----------
    labels : (X, Y, Z) label map, axes in any order; 1 to 8 are the bodies of T8 to L3.
    """
    turned, upright = reorient(labels, affine)
    grid = Grid(turned.shape, upright)
    half_mm = 0.5 * grid.spacing_mm[2]
    heights = np.array([grid.slice_z_mm(index) for index in range(grid.shape[2])])
    ends = {}
    for name in range(_HIGHEST, _LOWEST + 1):
        sections = np.count_nonzero(turned == name, axis=(0, 1))
        shown = np.flatnonzero(sections > _SCRAP * sections.max())
        if shown.size:
            ends[name] = heights[shown[0]] - half_mm, heights[shown[-1]] + half_mm
    bins = seen.z_mm(np.arange(seen.array.shape[-1]))
    names = np.full(len(bins), UNKNOWN, np.int64)
    for name, (low, high) in ends.items():
        low = (low + ends[name + 1][1]) / 2 if name + 1 in ends else low
        high = (high + ends[name - 1][0]) / 2 if name - 1 in ends else high
        names[(bins >= low) & (bins < high)] = name
    field_low, field_high = heights[0] - half_mm, heights[-1] + half_mm
    if _HIGHEST in ends and ends[_HIGHEST][1] < field_high:
        _continue(names, bins, ends[_HIGHEST][1], _HIGHEST, _ABOVE)
    if _LOWEST in ends and ends[_LOWEST][0] > field_low:
        _continue(names, -bins, -ends[_LOWEST][0], _LOWEST, _BELOW)
    return names


def _continue(names: np.ndarray, away_mm: np.ndarray, end_mm: float, last: int, beyond: int) -> None:
    """Name the bins past the end of the last body: half a disc is its own, the rest lies ``beyond``."""
    disc = end_mm + _HALF_DISC_MM[last]
    names[(away_mm >= end_mm) & (away_mm < disc)] = last
    names[away_mm >= disc] = beyond


class SequenceLoss(nn.Module):
    """Negative log probability of the true row of names among all that are in order; see `chain_loss`."""

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Loss of (B, 10, Z) logits for (B, 2, Z) labels."""
        return chain_loss(logits, label[:, 0], label[:, 1] > 0)


class SequenceOutput:
    """``output_transform`` of :class:`SequenceScore`: names of all known bins, as decoded and true."""

    def __call__(self, output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        found, true = [], []
        for logits, (names, inside) in zip(output["pred"].float().cpu(), output["label"].cpu(), strict=True):
            field = inside > 0
            path, names = decode_sequence(logits[:, field]).path, names[field]
            found.append(path[names != UNKNOWN])
            true.append(names[names != UNKNOWN])
        return torch.cat(found), torch.cat(true)


class SequenceScore(Metric):
    """Share of the bins whose vertebra is known that get its name."""

    def reset(self) -> None:
        self._right = self._count = 0

    def update(self, output: tuple[Tensor, Tensor]) -> None:
        found, true = output
        self._right += int((found == true).sum())
        self._count += len(true)

    def compute(self) -> float:
        return self._right / self._count if self._count else 0.0
