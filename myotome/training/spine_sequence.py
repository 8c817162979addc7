"""Learning the row of vertebrae: which one lies at each height of a volume; loss and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.data import NibabelReader
from torch import Tensor, nn

from myotome.errors import InputError
from myotome.networks import UNKNOWN, chain_loss, decode_sequence
from myotome.training.level_data import LevelDataset
from myotome.training.vertebra_names import name_bins
from myotome.transforms import SpineProjections

__all__ = ["SequenceDataset", "SequenceLoss", "SequenceOutput", "SequenceScore"]


class SequenceDataset(LevelDataset):
    """Samples as those of `LevelDataset`, with the names from label maps.

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

    def _name(self, row: Mapping[str, Any], seen: SpineProjections) -> np.ndarray:
        opened = NibabelReader().read(row["label"])
        return name_bins(np.asanyarray(opened.dataobj), opened.affine, seen)


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
