"""Mask R-CNN for lumbar discs: instances in a slice, and the slice painted with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from myotome.errors import BundleError, InputError
from myotome.networks.mask_rcnn import BACKBONES, LOSSES, MaskRcnn, make_mask_rcnn, paste_masks
from myotome.networks.mobile_unet import fold_torchvision_names
from myotome.networks.weights import read_coco_weights, read_mobilenet_weights

__all__ = [
    "AXIAL_DISC",
    "DISC",
    "DISC_SOURCES",
    "LUMBOSACRAL_DISC",
    "LumbarDiscSegmenter",
    "copy_disc_source",
]

DISC = 1
"""Class of a disc in a sagittal slice."""

LUMBOSACRAL_DISC = 2
"""Class of the disc between L5 and S1 in a sagittal slice."""

AXIAL_DISC = 3
"""Class of a disc in an axial slice."""

DISC_SOURCES = ("scratch", "imagenet", "coco", "phantom")


class LumbarDiscSegmenter(nn.Module):
    """Finds the discs of a sagittal or axial slice of a lumbar MR, each with box, score and mask.

    Slices are on the working grid: 0.75 mm, anterior left and superior on top, or the patient's right on the left and
    anterior on top; 1st to 99th percentile scaled to [0, 1]. In sagittal slices the disc between L5 and S1 is told from
    the others, so that they can be counted upwards from it; axial ones show a disc and not which.

    Parameters
    ----------
    backbone : one of :data:`myotome.networks.BACKBONES`.
    least_score : of what `forward` paints.

    Raises
    ------
    InputError
        When there is no such backbone.
    """

    def __init__(self, backbone: str = "mobile", least_score: float = 0.5) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise InputError(f"backbone '{backbone}' is not known: choose one of {', '.join(BACKBONES)}.")
        self.backbone_name, self.least_score = backbone, least_score
        self.detector: MaskRcnn = make_mask_rcnn(backbone, 4)
        # TorchScript knows what an object holds, and not the names of a module.
        self.losses, self.label_count, self.lowest_level, self.no_level = list(LOSSES), 7, 5, 6
        self.lumbosacral_disc, self.axial_disc = LUMBOSACRAL_DISC, AXIAL_DISC

    def forward(self, image: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Tensor:
        """The slice painted with the discs that are found in it, or in training the losses.

        Parameters
        ----------
        image : (B, 1, H, W), H and W divisible by 32.
        targets : in training, see :meth:`myotome.networks.MaskRcnn.forward`.

        Returns
        -------
        (B, 7, H, W) : background and the six labels of ``lumbar_disc_mr``; they sum to one. Levels are counted up from
            L5-S1 in the slice; where that is not in it, discs have label 6. In training (5,), the ``LOSSES``.
        """
        losses, found = self.detector(image, targets)
        if self.training:
            return torch.stack([losses[name] for name in self.losses])
        return torch.stack([self._paint(item, image.shape[2], image.shape[3]) for item in found])

    def settle(self, found: dict[str, Tensor], axial: bool) -> dict[str, Tensor]:
        """One detection for each disc of a slice: those of the other view are left out, and doubles become one.

        Parameters
        ----------
        found : of one image, as the detector gives it.
        axial : the slice is axial, else sagittal.

        Returns
        -------
        dict
            ``boxes`` (N, 4), ``scores`` (N,) of a disc at whatever level, in falling order, ``masks`` (N, 1, M, M), and
            ``lumbosacral`` (N,): how much of the score speaks for that between L5 and S1, 0 to 1; 0 in axial slices.
        """
        wanted = torch.where((found["labels"] == self.axial_disc) == axial)[0]
        boxes, scores, masks = found["boxes"][wanted], found["scores"][wanted], found["masks"][wanted]
        sacral = found["labels"][wanted] == self.lumbosacral_disc
        overlap = box_iou(boxes, boxes)
        free = torch.ones_like(sacral)
        share, total = torch.zeros_like(scores), torch.zeros_like(scores)
        for index in range(len(scores)):
            if bool(free[index]):
                same = torch.where(free & (overlap[index] > 0.5), scores, torch.zeros_like(scores))
                lowest, others = torch.where(sacral, same, 0 * same).max(), torch.where(sacral, 0 * same, same).max()
                total[index] = lowest + others
                share[index] = lowest / total[index]
                free = free & (same == 0)
        order = total.argsort(descending=True)[: int((total > 0).sum())]
        found_scores = total[order].clamp(max=1.0)
        return {"boxes": boxes[order], "scores": found_scores, "masks": masks[order], "lumbosacral": share[order]}

    def _paint(self, found: dict[str, Tensor], height: int, width: int) -> Tensor:
        """(7, H, W) probabilities of the labels in one slice."""
        scores, is_axial = found["scores"], found["labels"] == self.axial_disc
        axial = bool(scores[is_axial].sum() > scores[~is_axial].sum())
        discs = self.settle(found, axial)
        sure = discs["scores"] >= self.least_score
        boxes = discs["boxes"][sure]
        masks = paste_masks(discs["masks"][sure], boxes, height, width)[:, 0]
        painted = torch.zeros((self.label_count, height, width), dtype=masks.dtype, device=masks.device)
        labels = self._count_up(boxes[:, 1] + boxes[:, 3], discs["lumbosacral"][sure], axial)
        for index in range(len(labels)):
            label = int(labels[index])
            if label > 0:
                painted[label] = torch.maximum(painted[label], masks[index])
        painted[0] = 1 - painted.amax(dim=0)
        return painted / painted.sum(dim=0)

    def _count_up(self, heights: Tensor, lumbosacral: Tensor, axial: bool) -> Tensor:
        """(N,) label of each disc of a slice by its height, which grows downwards; 0 for one that has none."""
        labels = torch.full((len(heights),), self.no_level, dtype=torch.int64, device=heights.device)
        if axial or len(heights) == 0 or float(lumbosacral.max()) < 0.5:
            return labels
        order = heights.argsort(descending=True)
        lowest = int((order == lumbosacral.argmax()).nonzero()[0, 0])
        for place in range(len(order)):
            label = self.lowest_level - (place - lowest)
            labels[order[place]] = label if 1 <= label <= self.lowest_level else 0
        return labels


def copy_disc_source(segmenter: LumbarDiscSegmenter, source: str, path: str | Path | None = None) -> int:
    """Begin with a source's weights; returns the number of tensors taken over.

    Parameters
    ----------
    source : ``scratch``: nothing; ``imagenet``: torchvision's MobileNetV3-Large (backbone ``mobile``); ``coco``: its
        Mask R-CNN on ResNet-50, all but the predictors of box and mask (backbone ``resnet50``); ``phantom``: all of the
        ``model.pt`` at ``path``.

    Raises
    ------
    BundleError
        When the weights cannot be had, or are of another network.
    InputError
        When there is no such source, it is for the other backbone, or it needs a path and there is none.
    """
    if source not in DISC_SOURCES:
        raise InputError(f"source '{source}' is not known: choose one of {', '.join(DISC_SOURCES)}.")
    if source == "scratch":
        return 0
    mobile = segmenter.backbone_name == "mobile"
    if source == "phantom":
        given = _read_trained(path)
    elif source == "imagenet" and mobile:
        folded = fold_torchvision_names(read_mobilenet_weights("imagenet"))
        given = {f"detector.backbone.encoder.{key}": value for key, value in folded.items()}
    elif source == "coco" and not mobile:
        given = {f"detector.{key}": value for key, value in _modern_names(read_coco_weights()).items()}
    else:
        other = "resnet50" if source == "coco" else "mobile"
        raise InputError(f"source '{source}' is for backbone '{other}': choose it, or source 'scratch'.")
    own = segmenter.state_dict()
    fits = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    if source == "phantom" and len(fits) < len(own):
        raise BundleError(f"{path} holds weights of another network: give a model.pt of this bundle and backbone.")
    segmenter.load_state_dict({**own, **fits})
    return len(fits)


def _read_trained(path: str | Path | None) -> dict[str, Any]:
    if not path:
        raise InputError("source 'phantom' begins with trained weights: set source_path to their model.pt.")
    if not Path(path).is_file():
        raise BundleError(f"no weights at {path}: set source_path to the model.pt that the training on phantoms left.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleError(f"{path} is not a readable weights file: train the source again.") from error


def _modern_names(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of torchvision's Mask R-CNN by the names that its parts have today."""
    renamed = {}
    for key, value in given.items():
        head, _, rest = key.rpartition(".")
        if head == "rpn.head.conv":
            key = f"{head}.0.0.{rest}"
        elif head.startswith("roi_heads.mask_head.mask_fcn"):
            key = f"roi_heads.mask_head.{int(head.removeprefix('roi_heads.mask_head.mask_fcn')) - 1}.0.{rest}"
        elif head.startswith(("backbone.fpn.inner_blocks.", "backbone.fpn.layer_blocks.")) and head.count(".") == 3:
            key = f"{head}.0.{rest}"
        renamed[key] = value
    return renamed
