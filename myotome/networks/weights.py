"""Weights files: state dicts of plain tensors, read strictly and written whole."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import MobileNet_V3_Large_Weights, VGG19_Weights, WeightsEnum
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.segmentation import LRASPP_MobileNet_V3_Large_Weights

from myotome.errors import BundleError

__all__ = [
    "read_coco_weights",
    "read_imagenet_weights",
    "read_mobilenet_weights",
    "read_weights",
    "replace_file",
    "write_weights",
]

_MOBILENETS: dict[str, WeightsEnum] = {
    "imagenet": MobileNet_V3_Large_Weights.IMAGENET1K_V2,
    "segmentation": LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1,
}
_PATIENCE_S = 30.0  # torch waits for a server that does not answer for ever


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


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a name beside a file, to be written to; it becomes the file when all went well, and is removed when not.

    For what may not import `myotome.io`, whose ``atomic_path`` also says why a file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_weights(state: dict[str, Any], path: str | Path) -> str:
    """Write a state dict whole or not at all; returns the file's sha256."""
    path = Path(path)
    with replace_file(path) as unfinished:
        torch.save(state, unfinished)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_imagenet_weights() -> dict[str, Any]:
    """The state dict of torchvision's VGG-19 as ImageNet trained it, downloaded once by torchvision's own means.

    Raises
    ------
    BundleError
        When it is not in the cache and cannot be downloaded.
    """
    advice = "set start to 'scratch', or to 'phantom' with start_path at a model.pt that was trained on phantoms"
    return _download(VGG19_Weights.IMAGENET1K_V1, "the ImageNet weights of VGG-19", advice)


def read_mobilenet_weights(source: str) -> dict[str, Any]:
    """The state dict of torchvision's MobileNetV3-Large, downloaded once by torchvision's own means.

    Parameters
    ----------
    source : ``imagenet``: trained to classify ImageNet (weights V2); ``segmentation``: as the backbone of a Lite R-ASPP
        network, trained to segment the images of COCO that have the labels of Pascal VOC

    Raises
    ------
    BundleError
        When it is not in the cache and cannot be downloaded.
    """
    what = {"imagenet": "ImageNet classification", "segmentation": "COCO segmentation"}[source]
    advice = (
        "set source to 'scratch', or to 'phantom', 'reconstruction' or 'jigsaw' with source_path at trained weights"
    )
    return _download(_MOBILENETS[source], f"the {what} weights of MobileNetV3-Large", advice)


def read_coco_weights() -> dict[str, Any]:
    """The state dict of torchvision's Mask R-CNN on ResNet-50, trained on COCO, downloaded once by its own means.

    Raises
    ------
    BundleError
        When it is not in the cache and cannot be downloaded.
    """
    advice = (
        "set source to 'scratch', or to 'phantom' with source_path at a model.pt of this backbone that was trained on "
        "phantoms"
    )
    return _download(MaskRCNN_ResNet50_FPN_Weights.COCO_V1, "the COCO weights of Mask R-CNN", advice)


def _download(weights: WeightsEnum, what: str, advice: str) -> dict[str, Any]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE_S)
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, or a file that is not what its name says
        raise BundleError(
            f"{what} cannot be downloaded here from {weights.url}: {advice}, or put the file into torch's cache of "
            "checkpoints."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
