"""The segmenter for bone density: tissues on axial slices, and the names of the vertebrae along the spine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from myotome.networks.level_network import LevelNetwork
from myotome.networks.mobile_unet import MobileUNet
from myotome.networks.spine_sequence import SEQUENCE_LEVELS

__all__ = ["BONE_STAGES", "TISSUES", "TISSUE_OF_LABEL", "BoneDensitySegmenter"]

BONE_STAGES = ("tissue", "level")
TISSUES = ("background", "vertebral_body", "cortical_bone", "subcutaneous_fat", "erector_spinae", "aorta", "air")
TISSUE_OF_LABEL = (0, *(1,) * len(SEQUENCE_LEVELS), *range(2, len(TISSUES)))
"""Index in `TISSUES` of each label of the schema ``bone_density_ct``: its first eight are vertebral bodies."""


class BoneDensitySegmenter(nn.Module):
    """Labels vertebral bodies and the tissues beside them on a CT, and tells which vertebra lies where.

    ``tissue`` takes an axial slice between its two neighbours: 1.5 mm, the patient's right on the left, anterior on
    top, the neighbour below first, -150 to 350 HU scaled to [0, 1]. It does not tell one vertebra from another; that
    is what ``level`` does, from projections of the spine (`myotome.transforms.project_spine`).

    Parameters
    ----------
    widths : channels of the decoder of ``tissue``, from the coarsest to the finest.
    """

    bodies = len(SEQUENCE_LEVELS)
    __constants__ = ("bodies",)  # for TorchScript

    def __init__(self, widths: Sequence[int] = (64, 48, 32, 24, 12)) -> None:
        super().__init__()
        self.tissue = MobileUNet(len(TISSUES), widths, image_channels=3)
        self.level = LevelNetwork()

    def training_stage(self, name: str) -> nn.Module:
        """The module that a stage of ``BONE_STAGES`` trains; it shares its parameters with this."""
        if name not in BONE_STAGES:
            raise ValueError(f"stage '{name}' is not one of {', '.join(BONE_STAGES)}")
        return self.level if name == "level" else self.tissue

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities of the labels on slices alone, in which every vertebra is equally probable.

        Parameters
        ----------
        image : (B, 3, X, Y), X to the patient's right and Y to the front, both divisible by 32.

        Returns
        -------
        (B, 14, X, Y) : background, the bodies of T8 to L3 with an eighth of a body's probability each, cortical bone,
            subcutaneous fat, erector spinae, aorta, air; they sum to one.
        """
        seen = image.transpose(2, 3).flip(2, 3)
        chances = self.tissue(seen).softmax(dim=1).flip(2, 3).transpose(2, 3)
        bodies = (chances[:, 1:2] / self.bodies).repeat(1, self.bodies, 1, 1)
        return torch.cat((chances[:, :1], bodies, chances[:, 2:]), dim=1)
