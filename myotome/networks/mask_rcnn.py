"""Mask R-CNN of torchvision's parts, for grey images on a working grid: a small one, and the usual one on ResNet-50."""

# TorchScript reads the annotations below, and cannot read those that are postponed: no `from __future__` here.
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork, MultiScaleRoIAlign

from myotome.networks.mobile_unet import FEATURE_CHANNELS, MobileEncoder

__all__ = ["BACKBONES", "LOSSES", "MaskRcnn", "make_mask_rcnn", "paste_masks"]

BACKBONES = ("mobile", "resnet50")
LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")

_FINE = "fine"
_COARSE = ("0", "1", "2")
_WIDTH, _FINE_WIDTH, _MASK_WIDTH, _BOX_WIDTH = 64, 32, 48, 256
# At strides 4, 8 and 16 and 0.75 mm: sagittal cuts of discs lie on their side, 25 to 45 mm long and 7 to 35 mm high as
# they are tilted; axial ones are 45 to 65 mm wide and 30 to 50 mm deep. Sizes are of the square of the same area.
_ANCHOR_PX = ((24,), (40,), (64,))
_ANCHOR_RATIOS = ((0.25, 0.42, 0.75), (0.28, 0.5, 0.85), (0.5, 0.65, 0.8))
# Few of everything: an image shows about six discs. Of the regions that are drawn in training a quarter may be discs.
_MOBILE_COUNTS = {"drawn": 48, "training": 100, "testing": 50}
_RESNET_COUNTS = {"drawn": 128, "training": 500, "testing": 100}
# torchvision's own scaling of the colours of ImageNet; a grey image is given as three alike.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _MobilePyramid(nn.Module):
    """Features of `MobileEncoder` at strides 4, 8 and 16, told of each other and of stride 32; finer ones for masks.

    A disc is ten pixels high: masks are drawn from stride 2, where its edge can be told to a fraction of a millimetre.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MobileEncoder()
        self.pyramid = FeaturePyramidNetwork(list(FEATURE_CHANNELS[1:]), _WIDTH, norm_layer=nn.BatchNorm2d)
        self.squeeze = Conv2dNormActivation(_WIDTH, FEATURE_CHANNELS[0], 1)
        self.fine = Conv2dNormActivation(2 * FEATURE_CHANNELS[0], _FINE_WIDTH, 3)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        found = self.encoder(image)
        named = {"0": found[1], "1": found[2], "2": found[3], "3": found[4]}
        seen = self.pyramid(named)
        above = interpolate(self.squeeze(seen["0"]), size=found[0].shape[-2:], mode="bilinear", align_corners=False)
        fine = self.fine(torch.cat((found[0], above), dim=1))
        # In float32 whatever the network computes in: anchors take over the type, and bfloat16 has no place beyond 256.
        return {"fine": fine.float(), "0": seen["0"].float(), "1": seen["1"].float(), "2": seen["2"].float()}


class _ResNetPyramid(nn.Module):
    """torchvision's ResNet-50 with its feature pyramid; names of parameters are those of its Mask R-CNN."""

    def __init__(self) -> None:
        super().__init__()
        parts = resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, trainable_layers=5, norm_layer=nn.BatchNorm2d
        )
        self.body, self.fpn = parts.body, parts.fpn
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        seen = self.fpn(self.body((image - self.mean) / self.deviation))
        found: dict[str, Tensor] = {}
        for name, value in seen.items():
            found[name] = value.float()
        return found


class _Proposals(RegionProposalNetwork):
    """A region proposal network that learns nothing from anchors in the middle of what is to be ignored."""

    @torch.jit.unused
    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, places, target in zip(labels, anchors, targets, strict=True):
            label[_is_within(places, target["ignored"]) & (label == 0)] = -1.0
        return labels, boxes


class _Heads(RoIHeads):
    """Heads for box, class and mask that are not shown regions in the middle of what is to be ignored."""

    @torch.jit.unused
    def select_training_samples(
        self, proposals: list[Tensor], targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        given = targets or []
        shown = [
            places[~_is_within(places, target["ignored"])] for places, target in zip(proposals, given, strict=True)
        ]
        return super().select_training_samples(shown, targets)


def _is_within(places: Tensor, ignored: Tensor) -> Tensor:
    """(N,) true where the middle of one of (N, 4) boxes lies in one of (M, 4) others; x, y, x, y."""
    middle = (places[:, None, :2] + places[:, None, 2:]) / 2
    inside = (middle >= ignored[None, :, :2]) & (middle <= ignored[None, :, 2:])
    return inside.all(dim=2).any(dim=1)


class MaskRcnn(nn.Module):
    """He et al., Mask R-CNN, ICCV 2017, of torchvision's parts, on images that are already on the working grid.

    Attributes
    ----------
    norm_frozen : bool
        Batch normalisation keeps its statistics in training, as is usual where an image or two make a batch.
    """

    def __init__(self, backbone: nn.Module, rpn: _Proposals, roi_heads: _Heads) -> None:
        super().__init__()
        self.backbone, self.rpn, self.roi_heads = backbone, rpn, roi_heads
        self.norm_frozen = False

    @torch.jit.unused
    def freeze_norm(self) -> None:
        """Keep batch normalisation as it is from now on: neither its statistics nor its weights are learned."""
        self.norm_frozen = True
        for layer in self._norms():
            for parameter in layer.parameters():
                parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "MaskRcnn":
        super().train(mode)
        if self.norm_frozen:
            for layer in self._norms():
                layer.eval()
        return self

    def _norms(self) -> list[nn.Module]:
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]

    def forward(
        self, image: Tensor, targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
        """Losses in training, and what is found when not.

        Parameters
        ----------
        image : (B, 1, H, W), H and W divisible by 32.
        targets : in training, of each image: ``boxes`` (N, 4) x, y, x, y in pixels, ``labels`` (N,) from 1 on,
            ``masks`` (N, H, W) of ones and zeros, and ``ignored`` (M, 4): what has its middle in such a box is not
            taken for background. N and M may be 0.

        Returns
        -------
        losses : those of ``LOSSES``; empty when not in training.
        found : of each image ``boxes``, ``labels``, ``scores`` in falling order and ``masks`` (N, 1, M, M),
            probabilities in each box; empty in training.
        """
        sizes = [(image.shape[2], image.shape[3])] * image.shape[0]
        images = ImageList(image, sizes)
        features = self.backbone(image)
        coarse: dict[str, Tensor] = {}
        for name, value in features.items():
            if name != "fine":
                coarse[name] = value
        proposals, losses = self.rpn(images, coarse, targets)
        found, further = self.roi_heads(features, proposals, sizes, targets)
        losses.update(further)
        return losses, found


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks of boxes as masks of the image: undoes how training cut its masks out of boxes.

    Training samples a mask by torchvision's ``roi_align``, in which pixel k lies at coordinate k. torchvision's own
    ``paste_masks_in_image`` rounds boxes to whole pixels and draws each a pixel too wide and too high, which is a tenth
    of a disc's height.

    Parameters
    ----------
    masks : (N, 1, M, M) probabilities.
    boxes : (N, 4) x, y, x, y; a box of whole pixels ends behind its last one.

    Returns
    -------
    Tensor
        (N, 1, height, width); 0 outside the boxes.
    """
    start, span = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2]).clamp(min=1.0)[:, None]
    length = max(height, width)
    pixels = torch.arange(length, dtype=boxes.dtype, device=boxes.device)[None, :, None]
    places = (pixels - start) / span
    inside = (places >= -0.5 / span) & (places < 1 - 0.5 / span)
    places = 2 * places - 1
    across, down = places[:, None, :width, 0], places[:, :height, None, 1]
    grid = torch.stack((across.expand(-1, height, -1), down.expand(-1, -1, width)), dim=3)
    drawn = grid_sample(masks, grid.to(masks.dtype), mode="bilinear", padding_mode="border", align_corners=False)
    return drawn * (inside[:, None, :width, 0] & inside[:, :height, None, 1])[:, None]


def make_mask_rcnn(backbone: str, class_count: int) -> MaskRcnn:
    """An untrained Mask R-CNN.

    Parameters
    ----------
    backbone : ``mobile``: MobileNetV3-Large with narrow heads, 17 MB; ``resnet50``: that of torchvision's
        ``maskrcnn_resnet50_fpn``, with predictors for other classes, 176 MB.
    class_count : background included.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone '{backbone}' is not one of {', '.join(BACKBONES)}")
    return _make_mobile(class_count) if backbone == "mobile" else _make_resnet(class_count)


def _make_mobile(class_count: int) -> MaskRcnn:
    anchors = AnchorGenerator(_ANCHOR_PX, _ANCHOR_RATIOS)
    heads = {
        "box_roi_pool": MultiScaleRoIAlign(list(_COARSE), 7, 2),
        "box_head": TwoMLPHead(_WIDTH * 7**2, _BOX_WIDTH),
        "box_predictor": FastRCNNPredictor(_BOX_WIDTH, class_count),
        "mask_roi_pool": MultiScaleRoIAlign([_FINE], 28, 2),
        "mask_head": MaskRCNNHeads(_FINE_WIDTH, [_MASK_WIDTH] * 3, 1, norm_layer=_group_norm),
        "mask_predictor": MaskRCNNPredictor(_MASK_WIDTH, _FINE_WIDTH, class_count),
    }
    proposals = _make_proposals(anchors, RPNHead(_WIDTH, 3), _MOBILE_COUNTS)
    return MaskRcnn(_MobilePyramid(), proposals, _make_heads(heads, _MOBILE_COUNTS))


def _make_resnet(class_count: int) -> MaskRcnn:
    anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    levels = ["0", "1", "2", "3"]
    heads = {
        "box_roi_pool": MultiScaleRoIAlign(levels, 7, 2),
        "box_head": TwoMLPHead(256 * 7**2, 1024),
        "box_predictor": FastRCNNPredictor(1024, class_count),
        "mask_roi_pool": MultiScaleRoIAlign(levels, 14, 2),
        "mask_head": MaskRCNNHeads(256, [256] * 4, 1),
        "mask_predictor": MaskRCNNPredictor(256, 256, class_count),
    }
    proposals = _make_proposals(anchors, RPNHead(256, 3), _RESNET_COUNTS)
    return MaskRcnn(_ResNetPyramid(), proposals, _make_heads(heads, _RESNET_COUNTS))


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


def _make_proposals(anchors: AnchorGenerator, head: RPNHead, counts: dict[str, int]) -> _Proposals:
    before = {"training": 3 * counts["training"], "testing": 3 * counts["testing"]}
    after = {"training": counts["training"], "testing": counts["testing"]}
    return _Proposals(anchors, head, 0.5, 0.3, 128, 0.5, before, after, nms_thresh=0.7)


def _make_heads(parts: dict[str, nn.Module], counts: dict[str, int]) -> _Heads:
    return _Heads(
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=counts["drawn"],
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=24,
        **parts,
    )
