"""What the disc detector begins with and learns from: instances of a slice, none of them empty, and its losses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from myotome.networks import (
    AXIAL_DISC,
    DISC,
    LOSSES,
    LUMBOSACRAL_DISC,
    LumbarDiscSegmenter,
    copy_disc_source,
    read_weights,
)
from myotome.training.grading import RegionBatch
from myotome.transforms import RandIntensity, RandTurn

__all__ = ["DetectionLoss", "DiscBatch", "make_disc_targets", "start_discs"]

_LOG = logging.getLogger(__name__)
_L5_S1, _NO_LEVEL = 5, 6
_LEAST_PX = 12  # of a disc that is learned from: what is less is a sliver at its edge


def start_discs(
    segmenter: LumbarDiscSegmenter,
    device: torch.device,
    weights: str | Path,
    source: str = "scratch",
    source_path: str | Path | None = None,
    freeze_norm: bool = False,
) -> LumbarDiscSegmenter:
    """The segmenter, ready to train on a device.

    The weights are loaded when the file exists; when it does not, ``source`` says what it begins with (see
    :func:`myotome.networks.copy_disc_source`).

    Parameters
    ----------
    freeze_norm : keep batch normalisation as it is, for batches of an image or two.

    Raises
    ------
    BundleError
        When the source's weights cannot be had.
    InputError
        When there is no such source, it is for the other backbone, or it needs a path and there is none.
    """
    if Path(weights).is_file():
        read_weights(segmenter, weights)
    else:
        count = copy_disc_source(segmenter, source, source_path)
        _LOG.info("source %s: %d of %d tensors taken over", source, count, len(segmenter.state_dict()))
    segmenter.to(device=device, memory_format=torch.channels_last)
    if freeze_norm:
        segmenter.detector.freeze_norm()
    return segmenter


def make_disc_targets(label: Tensor, axial: Tensor) -> list[dict[str, Tensor]]:
    """Each disc of each slice as the detector is told of it.

    A sagittal slice has a disc for each of labels 1 to 5, of which 5 is the lumbosacral one. Above the highest of them
    other discs may be seen that nobody has labelled, and label 6 there is a disc of unknown level: nothing is taken for
    background in either place. In an axial slice every label is a disc. Less than 12 pixels are no disc to learn from,
    and no background.

    Parameters
    ----------
    label : (B, 1, H, W) in the numbering of ``lumbar_disc_mr``.
    axial : (B,) true for an axial slice.

    Returns
    -------
    list of dict
        ``boxes`` (N, 4), ``labels`` (N,), ``masks`` (N, H, W) uint8 and ``ignored`` (M, 4), see
        :meth:`myotome.networks.MaskRcnn.forward`. Boxes end behind their last pixel, so that none is empty; a slice
        without a disc has N = 0.
    """
    shown = label == torch.arange(1, _NO_LEVEL + 1, device=label.device)[:, None, None]
    measured = _measure(shown).tolist()  # in one go: each question to a GPU waits for all that it has still to do
    return [_list_discs(*given) for given in zip(shown, measured, axial.tolist(), strict=True)]


def _measure(shown: Tensor) -> Tensor:
    """(B, C, 5) area, and first column, first row, and those behind the last, of (B, C, H, W) masks."""
    measures = [shown.sum((2, 3))]
    for occupied in (shown.any(2), shown.any(3)):
        length = occupied.shape[-1]
        steps = torch.arange(length, device=shown.device)
        measures += [torch.where(occupied, steps, length).amin(2), torch.where(occupied, steps + 1, 0).amax(2)]
    area, left, right, top, bottom = measures
    return torch.stack((area, left, top, right, bottom), dim=2)


def _list_discs(shown: Tensor, measured: list[list[int]], axial: bool) -> dict[str, Tensor]:
    """Targets of a slice from (6, H, W) masks of its labels and what `_measure` says of each."""
    boxes, classes, kept, ignored = [], [], [], []
    for place, (area, *box) in enumerate(measured):
        number = place + 1
        if not area:
            continue
        if area < _LEAST_PX or (number == _NO_LEVEL and not axial):
            ignored.append(box)
            continue
        boxes.append(box)
        kept.append(place)
        classes.append(AXIAL_DISC if axial else LUMBOSACRAL_DISC if number == _L5_S1 else DISC)
    if boxes and not axial:
        ignored.append([0, 0, shown.shape[2], min(top for _, top, _, _ in boxes)])
    device = shown.device
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32, device=device).reshape(-1, 4),
        "labels": torch.tensor(classes, dtype=torch.int64, device=device),
        "masks": shown[kept].byte(),
        "ignored": torch.tensor(ignored, dtype=torch.float32, device=device).reshape(-1, 4),
    }


class DiscBatch(RegionBatch):
    """``prepare_batch`` of the disc detector: ``(image, label, (targets,), {})``; without ``turn`` no targets.

    Patches are sampled and changed as in :class:`RegionBatch`. Which anchors and regions torchvision's losses look at
    is drawn from the global generator: it is seeded by the batch, so that a run that was interrupted goes on alike.
    """

    def __init__(
        self,
        patch: int = 256,
        turn: RandTurn | None = None,
        intensity: RandIntensity | None = None,
        focus: float = 0.75,
    ) -> None:
        super().__init__(patch, turn, intensity, focus)

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        image, label, _, _ = super().__call__(batch, device, non_blocking)
        if self.turn is None:
            return image, label, (), {}
        torch.manual_seed(int(batch["seed"][0]))
        return image, label, (make_disc_targets(label, batch["axial"]),), {}


class DetectionLoss(nn.Module):
    """Weighted sum of the losses that the network gives in training: ``LOSSES``, each a mean.

    Parameters
    ----------
    weights : of objectness and boxes of the proposals, of class, box and mask of the regions.
    """

    def __init__(self, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0)) -> None:
        super().__init__()
        if len(weights) != len(LOSSES):
            raise ValueError(f"{len(weights)} weights for {len(LOSSES)} losses: {', '.join(LOSSES)}")
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """One number of (5,) losses; the target was given to the network."""
        return (prediction * self.weights.to(prediction.device)).sum()
