"""Networks and their weights: the respiratory-muscle cascade of three Attention U-Nets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import AttentionUnet
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from myotome.errors import BundleError

__all__ = ["STAGES", "CascadeStage", "RespiratoryCascade", "read_weights", "write_weights"]

STAGES = ("muscle_tissue", "respiratory_muscles", "muscle_classes")


class RespiratoryCascade(nn.Module):
    """Muscle tissue, then respiratory muscles, then their class, each by its own Attention U-Net.

    The input is 2.5D: a slice with its two neighbours as channels, in-plane spacing 0.8 mm, window 400/50 HU scaled
    to [0, 1]. The second network also sees the first one's probability; the third sees the slice and the second
    one's mask, at half the resolution, because it only has to tell *which* muscle a voxel belongs to.

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
        self.respiratory_muscles = network(4, 1, channels)
        self.muscle_classes = network(2, 3, channels[:-1])

    def stage(self, name: str) -> CascadeStage:
        """One stage as a module of its own, for training and for scoring it alone."""
        return CascadeStage(self, name)

    def respiratory_logits(self, image: Tensor, tissue_logits: Tensor) -> Tensor:
        """(B, 1, H, W) logits of the respiratory muscles, given the image and the first stage's logits."""
        return self.respiratory_muscles(torch.cat((image, tissue_logits.sigmoid()), dim=1))

    def class_logits(self, image: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) logits of pectoralis, erector spinae, intercostal for the voxels of a (B, 1, H, W) mask."""
        half = avg_pool2d(torch.cat((image[:, 1:2], mask.to(image.dtype)), dim=1), 2)
        return interpolate(self.muscle_classes(half), scale_factor=2.0, mode="bilinear", align_corners=False)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities of the final label map.

        Parameters
        ----------
        image : (B, 3, H, W), H and W divisible by 16.

        Returns
        -------
        (B, 5, H, W) : background, pectoralis, erector spinae, intercostal, other muscle; they sum to one.
        """
        tissue_logits = self.muscle_tissue(image)
        respiratory = self.respiratory_logits(image, tissue_logits).sigmoid()
        muscle = torch.maximum(tissue_logits.sigmoid(), respiratory)
        classes = self.class_logits(image, respiratory > 0.5).softmax(dim=1)
        return torch.cat((1 - muscle, respiratory * classes, muscle - respiratory), dim=1)


class CascadeStage(nn.Module):
    """One stage of a cascade: trainable by itself, the earlier stages frozen in evaluation mode.

    ``forward(image, label)`` returns the stage's logits. The third stage works on the reference mask (labels 1-3 of
    ``label``), as the paper scores it, and in training on worn copies of it; the first two ignore ``label``.
    """

    def __init__(self, cascade: RespiratoryCascade, name: str) -> None:
        super().__init__()
        if name not in STAGES:
            raise ValueError(f"stage '{name}' is not one of {', '.join(STAGES)}")
        self.name = name
        self.network = getattr(cascade, name)
        self._cascade = [cascade]  # in a list, so that its parameters are not registered here

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        (cascade,) = self._cascade
        if self.name == "muscle_tissue":
            return cascade.muscle_tissue(image)
        if self.name == "respiratory_muscles":
            with torch.no_grad():
                cascade.muscle_tissue.eval()
                tissue_logits = cascade.muscle_tissue(image)
            return cascade.respiratory_logits(image, tissue_logits)
        if label is None:
            raise ValueError("the third stage classifies a reference mask: give forward() the label map")
        mask = (label > 0) & (label < 4)
        return cascade.class_logits(image, _wear(mask) if self.training else mask)


def _wear(mask: Tensor) -> Tensor:
    """Make a reference mask a little wrong, as the second stage's would be: a voxel wider or thinner, with holes."""
    worn = mask.float()
    change = int(torch.randint(4, ()))
    if change == 1:
        worn = max_pool2d(worn, 3, 1, 1)
    elif change == 2:
        worn = 1 - max_pool2d(1 - worn, 3, 1, 1)
    coarse = torch.rand((len(mask), 1, mask.shape[2] // 16, mask.shape[3] // 16), device=mask.device)
    return worn * interpolate((coarse > 0.05).float(), scale_factor=16.0, mode="nearest")


def read_weights(module: nn.Module, path: str | Path, device: torch.device | str = "cpu") -> nn.Module:
    """Load a state dict into a module, strictly.

    Raises
    ------
    BundleError
        When the file is missing, is not a state dict of plain tensors, or belongs to another network.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"no weights at {path}: train the bundle, or download its model.pt to that place.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise BundleError(f"{path} is not a readable weights file: download it again.") from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} holds weights of another network: use the model.pt of this bundle.") from error
    return module


def write_weights(state: dict[str, Any], path: str | Path) -> str:
    """Write a state dict whole or not at all; returns the file's sha256."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(state, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()
