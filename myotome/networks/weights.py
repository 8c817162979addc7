"""Weights files: state dicts of plain tensors, read strictly and written whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import VGG19_Weights

from myotome.errors import BundleError

__all__ = ["read_imagenet_weights", "read_weights", "write_weights"]


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


def read_imagenet_weights() -> dict[str, Any]:
    """The state dict of torchvision's VGG-19 as ImageNet trained it, downloaded once by torchvision's own means.

    Raises
    ------
    BundleError
        When it is not in the cache and cannot be downloaded.
    """
    try:
        return VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, or a file that is not what its name says
        raise BundleError(
            "the ImageNet weights of VGG-19 cannot be downloaded here: set start to 'scratch', or to 'phantom' with "
            "start_path at a model.pt that was trained on phantoms, or put the file into torch's cache of checkpoints."
        ) from error
