"""The respiratory-muscle cascade of three Attention U-Nets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import AttentionUnet
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

__all__ = ["STAGES", "CascadeStage", "RespiratoryCascade"]

STAGES = ("muscle_tissue", "respiratory_muscles", "muscle_classes")


class RespiratoryCascade(nn.Module):
    """Muscle tissue, then respiratory muscles, then their class, each by its own Attention U-Net.

    The input is 2.5D: a slice with its two neighbours as channels, in-plane spacing 0.8 mm, window 400/50 HU scaled
    to [0, 1]. The first network draws the border of muscle. The second, given the image and that muscle, tells the
    respiratory muscles from the others, and the third, given the slice and the respiratory muscles, tells which of
    them; both only have to say *which* muscle a voxel belongs to, so they work at half the resolution and see twice
    as far.

    Parameters
    ----------
    channels : width of each level of the first two networks; the third uses all but the last.
    dropout : dropout probability inside the networks.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64, 128, 256), dropout: float = 0.0) -> None:
        super().__init__()

        def network(inputs: int, outputs: int, widths: Sequence[int]) -> AttentionUnet:
            return AttentionUnet(2, inputs, outputs, widths, (2,) * (len(widths) - 1), dropout=dropout)

        self.muscle_tissue = network(3, 1, channels)
        self.respiratory_muscles = network(4, 2, channels)
        self.muscle_classes = network(2, 3, channels[:-1])

    def stage(self, name: str, coarse: bool = False) -> CascadeStage:
        """One stage as a module of its own, for training and for scoring it alone."""
        return CascadeStage(self, name, coarse)

    def training_stage(self, name: str) -> CascadeStage:
        """One stage as it is trained: the later ones on samples at the half resolution that they work at."""
        return self.stage(name, coarse=name != STAGES[0])

    def respiratory_logits(self, image: Tensor, tissue: Tensor) -> Tensor:
        """(B, 2, H, W) logits of other and respiratory muscle, given the image and (B, 1, H, W) muscle tissue."""
        half = avg_pool2d(torch.cat((image, tissue.to(image.dtype)), dim=1), 2)
        return interpolate(self.respiratory_muscles(half), scale_factor=2.0, mode="bilinear", align_corners=False)

    def class_logits(self, image: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) logits of pectoralis, erector spinae, intercostal for the voxels of a (B, 1, H, W) mask."""
        half = avg_pool2d(torch.cat((image[:, 1:2], mask.to(image.dtype)), dim=1), 2)
        return interpolate(self.muscle_classes(half), scale_factor=2.0, mode="bilinear", align_corners=False)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities of the final label map.

        Parameters
        ----------
        image : (B, 3, H, W), H and W divisible by 32.

        Returns
        -------
        (B, 5, H, W) : background, pectoralis, erector spinae, intercostal, other muscle; they sum to one.
        """
        muscle = self.muscle_tissue(image).sigmoid()
        respiratory = muscle * self.respiratory_logits(image, muscle).softmax(dim=1)[:, 1:]
        classes = self.class_logits(image, respiratory > 0.5).softmax(dim=1)
        return torch.cat((1 - muscle, respiratory * classes, muscle - respiratory), dim=1)


class CascadeStage(nn.Module):
    """One stage of a cascade as a module: trainable by itself, and scored as the paper scores it.

    ``forward(image, label)`` returns the stage's logits. The second stage is given the reference's muscle (labels 1-4
    of ``label``), the third its respiratory muscles (labels 1-3); in training they see worn copies. The first ignores
    ``label``. With ``coarse`` the image and label are already at the half resolution of the later stages.
    """

    def __init__(self, cascade: RespiratoryCascade, name: str, coarse: bool = False) -> None:
        super().__init__()
        if name not in STAGES:
            raise ValueError(f"stage '{name}' is not one of {', '.join(STAGES)}")
        self.name, self.coarse = name, coarse
        self.network = getattr(cascade, name)
        self._cascade = [cascade]  # in a list, so that its parameters are not registered here

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        if self.name == "muscle_tissue":
            return self.network(image)
        if label is None:
            raise ValueError("the later stages work on a reference mask: give forward() the label map")
        mask = label > 0 if self.name == "respiratory_muscles" else (label > 0) & (label < 4)
        if self.training:
            mask = _wear(mask, image[:, 1:2])
        if self.coarse:
            seen = image if self.name == "respiratory_muscles" else image[:, 1:2]
            return self.network(torch.cat((seen, mask.to(image.dtype)), dim=1))
        (cascade,) = self._cascade
        if self.name == "respiratory_muscles":
            return cascade.respiratory_logits(image, mask)
        return cascade.class_logits(image, mask)


def _wear(mask: Tensor, image: Tensor) -> Tensor:
    """Make a reference mask wrong, as an earlier stage's would be.

    It becomes a voxel wider, thinner or softer, loses squares of 16 voxels, and gains the soft tissue (-50 to 90 HU) in
    others.
    """
    worn = mask.float()
    change = int(torch.randint(5, ()))
    if change == 1:
        worn = max_pool2d(worn, 3, 1, 1)
    elif change == 2:
        worn = 1 - max_pool2d(1 - worn, 3, 1, 1)
    elif change == 3:
        worn = avg_pool2d(worn, 3, 1, 1)
    coarse = torch.rand((len(mask), 1, mask.shape[2] // 16, mask.shape[3] // 16), device=mask.device)
    square = interpolate(coarse, scale_factor=16.0, mode="nearest")
    gained = (square > 0.92) & (image > 0.25) & (image < 0.6)
    return torch.where(gained, torch.ones_like(worn), worn * (square > 0.05))
