"""A U-Net on the encoder of MobileNetV3-Large, small enough for a processor without a GPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import mobilenet_v3_large

__all__ = ["FEATURE_CHANNELS", "MobileEncoder", "MobileUNet", "fold_torchvision_names"]

FEATURE_CHANNELS = (16, 24, 40, 112, 160)
# First and last layer, from torchvision's numbering, of what is computed at strides 2, 4, 8, 16 and 32.
_LAYERS = ((0, 2), (2, 4), (4, 7), (7, 13), (13, 16))
_MOMENTUM = 0.1  # torchvision's 0.01 would still remember the start after a hundred iterations
# torchvision's own scaling of the colours of ImageNet; a grey image is given as three alike.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MobileEncoder(nn.Module):
    """The convolutions of torchvision's MobileNetV3-Large, whose features at five strides are given.

    Howard et al., Searching for MobileNetV3, ICCV 2019. The last convolution, to 960 channels, is left out: it serves a
    classifier. Layers keep torchvision's numbers, so its weights fit (`fold_torchvision_names`).
    """

    def __init__(self) -> None:
        super().__init__()
        layers = mobilenet_v3_large(weights=None).features
        self.stages = nn.ModuleList(
            nn.Sequential(OrderedDict((str(number), layers[number]) for number in range(*span))) for span in _LAYERS
        )
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = _MOMENTUM
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of images in [0, 1] at strides 2, 4, 8, 16, 32: 16, 24, 40, 112 and 160 channels.

        Parameters
        ----------
        image : (B, 1, H, W), which the encoder sees as a grey picture, or (B, 3, H, W)
        """
        seen = (image - self.mean) / self.deviation
        found: list[Tensor] = []
        for stage in self.stages:
            seen = stage(seen)
            found.append(seen)
        return found


def fold_torchvision_names(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's part of a torchvision state dict, by the names of `MobileEncoder`.

    Parameters
    ----------
    given : of ``mobilenet_v3_large`` (``features.``), or of a segmentation network on it (``backbone.``)
    """
    found = {}
    for key, value in given.items():
        head, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        if head not in ("features", "backbone") or not number.isdigit():
            continue
        stage = next((place for place, (first, end) in enumerate(_LAYERS) if first <= int(number) < end), None)
        if stage is not None:
            found[f"stages.{stage}.{number}.{name}"] = value
    return found


class MobileUNet(nn.Module):
    """Labels an image: features of `MobileEncoder`, brought together from the coarsest to the finest.

    Parameters
    ----------
    class_count : background included.
    widths : channels of the decoder at strides 16, 8, 4, 2 and 1.
    image_channels : 1 for a slice, 3 for a slice between its two neighbours.
    """

    def __init__(self, class_count: int, widths: Sequence[int] = (64, 48, 32, 24, 12), image_channels: int = 1) -> None:
        super().__init__()
        self.encoder = MobileEncoder()
        skips = (*FEATURE_CHANNELS[-2::-1], image_channels)
        before = (FEATURE_CHANNELS[-1], *widths[:-1])
        self.decoder = nn.ModuleList(
            _block(below + skip, width) for below, skip, width in zip(before, skips, widths, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], class_count, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, classes, H, W) logits of (B, image_channels, H, W) images in [0, 1], H and W divisible by 32."""
        features = self.encoder(image)
        seen = features[-1]
        skips = [features[3], features[2], features[1], features[0], image]
        for place, block in enumerate(self.decoder):
            seen = interpolate(seen, scale_factor=2.0, mode="bilinear", align_corners=False)
            seen = block(torch.cat((seen, skips[place]), dim=1))
        return self.head(seen)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
