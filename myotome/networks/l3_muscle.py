"""The L3 segmenter: a network that finds the level, one that labels the slice, and what the latter begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from myotome.errors import BundleError, InputError
from myotome.networks.level_network import LevelNetwork
from myotome.networks.mobile_unet import MobileUNet, fold_torchvision_names
from myotome.networks.pretext import Autoencoder, JigsawNetwork
from myotome.networks.weights import read_mobilenet_weights

__all__ = [
    "L3_STAGES",
    "PRETEXT_STAGES",
    "SOURCES",
    "L3MuscleSegmenter",
    "Transfer",
    "copy_source",
    "list_transfer",
]

L3_STAGES = ("muscle", "level")
PRETEXT_STAGES = ("reconstruction", "jigsaw")
SOURCES = ("scratch", "imagenet", "segmentation", "reconstruction", "jigsaw", "phantom")

_CLASSES = 5
_ENCODER = "muscle.encoder."


class L3MuscleSegmenter(nn.Module):
    """Finds the third lumbar vertebra on an axial CT, and labels muscle and fat on a slice through it.

    ``level`` takes projections of the spine and tells which vertebra lies where along z; ``muscle`` takes axial slices
    on the working grid: 1.0 mm, the patient's right on the left, anterior on top, -150 to 250 HU scaled to [0, 1]. The
    encoder of ``muscle`` is the one that the pretext stages train.
    """

    def __init__(self) -> None:
        super().__init__()
        self.level = LevelNetwork()
        self.muscle = MobileUNet(_CLASSES)

    def training_stage(self, name: str) -> nn.Module:
        """The module that a stage of ``L3_STAGES`` or ``PRETEXT_STAGES`` trains; it shares its parameters with this."""
        if name in L3_STAGES:
            return self.level if name == "level" else self.muscle
        if name not in PRETEXT_STAGES:
            raise ValueError(f"stage '{name}' is not one of {', '.join((*L3_STAGES, *PRETEXT_STAGES))}")
        encoder = self.muscle.encoder
        return Autoencoder(encoder) if name == "reconstruction" else JigsawNetwork(encoder)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities of the labels.

        Parameters
        ----------
        image : (B, 1, H, W), H and W divisible by 32.

        Returns
        -------
        (B, 5, H, W) : background, skeletal muscle, subcutaneous, visceral and intermuscular fat; they sum to one.
        """
        return self.muscle(image).softmax(dim=1)


@dataclass(frozen=True)
class Transfer:
    """What a source gives to the stage ``muscle``: names and shapes of the transferred and of the fresh tensors."""

    source: str
    transferred: Mapping[str, tuple[int, ...]]
    fresh: Mapping[str, tuple[int, ...]]

    @property
    def transferred_count(self) -> int:
        """Numbers, such as weights, in the tensors that are transferred."""
        return sum(_size(shape) for shape in self.transferred.values())

    @property
    def fresh_count(self) -> int:
        """Numbers, such as weights, that begin at random."""
        return sum(_size(shape) for shape in self.fresh.values())


def list_transfer(segmenter: L3MuscleSegmenter, source: str) -> Transfer:
    """Which tensors of the stage ``muscle`` a source gives, and which begin at random.

    Every source but ``scratch`` gives the whole encoder and nothing else, and ``phantom`` the decoder, too: it was
    trained for the same labels.

    Raises
    ------
    InputError
        When there is no such source.
    """
    _require(source)
    given, fresh = {}, {}
    for key, value in segmenter.state_dict().items():
        if key.startswith("muscle.") and value.is_floating_point():
            taken = source == "phantom" or (source != "scratch" and key.startswith(_ENCODER))
            (given if taken else fresh)[key] = tuple(value.shape)
    return Transfer(source, given, fresh)


def copy_source(segmenter: L3MuscleSegmenter, source: str, path: str | Path | None = None) -> Transfer:
    """Begin the stage ``muscle`` with a source's weights.

    Parameters
    ----------
    source : one of ``SOURCES``.
    path : for ``reconstruction``, ``jigsaw`` and ``phantom``: the ``model.pt`` that their training left.

    Returns
    -------
    Transfer
        What was transferred, as `list_transfer` says it.

    Raises
    ------
    BundleError
        When the weights cannot be had, or are of another network.
    InputError
        When there is no such source, or it needs a path and there is none.
    """
    transfer = list_transfer(segmenter, source)
    if source == "scratch":
        return transfer
    if source in ("imagenet", "segmentation"):
        folded = fold_torchvision_names(read_mobilenet_weights(source))
        given = {f"{_ENCODER}{key}": value for key, value in folded.items()}
    else:
        given = _read_trained(source, path)
    own = segmenter.state_dict()
    missing = [key for key, shape in transfer.transferred.items() if key not in given or given[key].shape != shape]
    if missing:
        raise BundleError(f"the weights of source '{source}' are of another network: they do not fit {missing[0]}.")
    segmenter.load_state_dict({**own, **{key: given[key] for key in transfer.transferred}})
    return transfer


def _read_trained(source: str, path: str | Path | None) -> dict[str, Any]:
    if not path:
        raise InputError(f"source '{source}' begins with trained weights: set source_path to their model.pt.")
    if not Path(path).is_file():
        raise BundleError(f"no weights at {path}: set source_path to the model.pt that the {source} training left.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleError(f"{path} is not a readable weights file: train the source again.") from error


def _require(source: str) -> None:
    if source not in SOURCES:
        raise InputError(f"source '{source}' is not known: choose one of {', '.join(SOURCES)}.")


def _size(shape: tuple[int, ...]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
