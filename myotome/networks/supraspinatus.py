"""The supraspinatus grader: a U-Net that labels the region, and a network that grades a crop of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate, one_hot, softplus
from torchvision.models import vgg19

__all__ = [
    "CLASSIFIERS",
    "CROP_SIZE",
    "DEFINITION_NAMES",
    "GRADER_STAGES",
    "MASKS",
    "REGION_GROUPS",
    "CropBox",
    "SmallClassifier",
    "SupraspinatusGrader",
    "VggClassifier",
    "regions_of",
    "sample_squares",
]

CLASSIFIERS = ("small", "vgg19")
CROP_SIZE = 96
DEFINITION_NAMES = ("A", "B", "C", "D", "E")
GRADER_STAGES = ("region", "grade")
# Where a crop is cut: around given labels, around the region network's own, or not at all (the whole image).
MASKS = ("reference", "predicted", "none")
# Labels that lie together: muscle and rest of its fossa, the spine, the coracoid process. Each is one piece in a slice.
REGION_GROUPS = ((1, 2), (3,), (4,))

_CLASSES = 5
_LOGITS = 2 * len(DEFINITION_NAMES) + 4


class CropBox(NamedTuple):
    """Squares, one per image: centre (B, 2) as x (along W) and y (along H) and half side (B,), in pixels."""

    centre: Tensor
    half_px: Tensor


class SmallClassifier(nn.Module):
    """Grades a crop by a small network: convolutions, then means over the crop and over the muscle in it.

    Parameters
    ----------
    widths : channels of each level; a level halves the resolution.
    """

    attention_layer = "features"

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for place, width in enumerate(widths):
            if place:
                layers.append(nn.MaxPool2d(2))
            for inputs in (before, width):
                layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * before, _LOGITS)

    def forward(self, crop: Tensor) -> Tensor:
        """(B, 14) logits of a (B, 2, S, S) crop of image and muscle: 5 x 2 of the definitions, 4 cumulative."""
        features = self.features(_with_muscle(crop))
        muscle = interpolate(crop[:, 1:], features.shape[2:], mode="area")
        inside = (features * muscle).sum((2, 3)) / (muscle.sum((2, 3)) + 1e-3)
        return _ordered(self.head(torch.cat((features.mean((2, 3)), inside), dim=1)))


class VggClassifier(nn.Module):
    """Grades a crop by torchvision's VGG-19, its last layer replaced.

    Layers begin with weights that keep the size of what passes forward (He et al., ICCV 2015;1026); torchvision's own
    keep that of the gradients, and a network of 19 layers without normalisation then hardly moves at first.
    """

    attention_layer = "network.features.35"

    def __init__(self) -> None:
        super().__init__()
        self.network = vgg19(weights=None)
        last = self.network.classifier[6]
        self.network.classifier[6] = nn.Linear(last.in_features, _LOGITS)
        for layer in self.network.modules():
            if isinstance(layer, nn.Conv2d) or (isinstance(layer, nn.Linear) and layer.out_features != _LOGITS):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.ReLU):
                layer.inplace = False  # so that attention maps can be taken

    def forward(self, crop: Tensor) -> Tensor:
        """(B, 14) logits of a (B, 2, S, S) crop of image and muscle: 5 x 2 of the definitions, 4 cumulative."""
        return _ordered(self.network((_with_muscle(crop) - 0.45) / 0.225))  # as torchvision scales ImageNet


def _with_muscle(crop: Tensor) -> Tensor:
    """(B, 3, S, S): image, image inside the muscle, muscle."""
    image, muscle = crop[:, :1], crop[:, 1:]
    return torch.cat((image, image * muscle, muscle), dim=1)


def _ordered(logits: Tensor) -> Tensor:
    """The last four made non-increasing: grade >= 1 is at least as probable as grade >= 2, and so on."""
    first, falls = logits[:, -4:-3], softplus(logits[:, -3:])
    return torch.cat((logits[:, :-3], first - falls.cumsum(1)), dim=1)


class SupraspinatusGrader(nn.Module):
    """Labels the supraspinatus and its surroundings on a Y-view, and grades fatty infiltration from a crop of it.

    The input is an oblique-sagittal slice on the working grid: 0.6 mm, anterior on the left, superior on top, scaled
    to [0, 1] by its percentiles (`myotome.transforms.WorkingPlane`). ``region`` gives background, supraspinatus, rest
    of the supraspinous fossa, scapular spine and coracoid process. ``classifier`` answers five binary questions
    about the Goutallier grade, with two logits each, and gives the grade itself by four cumulative logits.
    ``temperature`` divides the logits of each definition and of the grade; one until it is calibrated.

    Parameters
    ----------
    classifier : ``"small"`` or ``"vgg19"``.
    channels, strides : of the levels of the U-Net.
    dropout : dropout probability inside the U-Net.

    Raises
    ------
    ValueError
        When there is no such classifier.
    """

    __constants__ = ("crop_size", "least_px", "reach", "smallest_half_px")  # for TorchScript
    crop_size = CROP_SIZE
    # In standard deviations: a uniform strip reaches 1.7 from its middle, a triangle 2.8.
    reach = 2.6
    smallest_half_px = 16.0
    least_px = 20.0  # fewer pixels of supraspinatus and fossa are none

    def __init__(
        self,
        classifier: str = "small",
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        strides: Sequence[int] = (1, 2, 2, 2),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if classifier not in CLASSIFIERS:
            raise ValueError(f"classifier '{classifier}' is not one of {', '.join(CLASSIFIERS)}")
        self.region = UNet(
            2, 1, _CLASSES, channels, strides, num_res_units=1, norm="batch", act="relu", dropout=dropout
        )
        self.classifier = SmallClassifier() if classifier == "small" else VggClassifier()
        self.register_buffer("temperature", torch.ones(len(DEFINITION_NAMES) + 1))

    def training_stage(self, name: str) -> nn.Module:
        """The module that a stage of ``GRADER_STAGES`` trains: ``region`` or ``classifier``."""
        if name not in GRADER_STAGES:
            raise ValueError(f"stage '{name}' is not one of {', '.join(GRADER_STAGES)}")
        return self.region if name == "region" else self.classifier

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities of the definitions and grades.

        Parameters
        ----------
        image : (B, 1, H, W), H and W divisible by the product of the strides.

        Returns
        -------
        (B, 10) : P(positive) of definitions A to E, then P(grade 0) to P(grade 4), which sum to one.
        """
        regions = self.region_logits(image).softmax(dim=1)
        return self.probabilities(self.grade_logits(self.crop(image, regions)))

    def region_logits(self, image: Tensor) -> Tensor:
        """(B, 5, H, W) logits of background, supraspinatus, rest of the fossa, spine, coracoid process."""
        return self.region(image)

    def grade_logits(self, crop: Tensor) -> Tensor:
        """(B, 14) logits of a (B, 2, S, S) crop, before calibration: 5 x 2 of the definitions, 4 cumulative."""
        return self.classifier(crop)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, 10) calibrated probabilities of (B, 14) logits, ordered as `forward` gives them."""
        definitions = (logits[:, 1:10:2] - logits[:, 0:10:2]) / self.temperature[:5]
        at_least = (logits[:, 10:] / self.temperature[5:]).sigmoid()
        edges = torch.cat((torch.ones_like(at_least[:, :1]), at_least, torch.zeros_like(at_least[:, :1])), dim=1)
        return torch.cat((definitions.sigmoid(), edges[:, :-1] - edges[:, 1:]), dim=1)

    def crop(self, image: Tensor, regions: Tensor) -> Tensor:
        """(B, 2, S, S) image and supraspinatus, yes or no, in the square around the fossa.

        Parameters
        ----------
        image : (B, 1, H, W).
        regions : (B, 5, H, W) probabilities, or the classes of a label map as ones (`regions_of`). Without any
            supraspinatus or fossa the square is the whole image.
        """
        eye = torch.eye(2, dtype=image.dtype, device=image.device).expand(len(image), 2, 2)
        return self.sample(image, regions, self.find_box(regions), eye)

    def find_box(self, regions: Tensor) -> CropBox:
        """The square around supraspinatus and fossa: from the middle of their pixels, 2.6 standard deviations each way.

        Moments, unlike a bounding box, are not moved by single pixels far away.
        """
        height, width = regions.shape[2], regions.shape[3]
        inside = ((regions[:, 1] + regions[:, 2]) > 0.5).to(regions.dtype)
        mass = inside.sum((1, 2))
        x = torch.arange(width, dtype=regions.dtype, device=regions.device)
        y = torch.arange(height, dtype=regions.dtype, device=regions.device)
        per_x, per_y = inside.sum(1) / mass.clamp(min=1.0)[:, None], inside.sum(2) / mass.clamp(min=1.0)[:, None]
        middle_x, middle_y = (per_x * x).sum(1), (per_y * y).sum(1)
        spread_x = (per_x * (x - middle_x[:, None]).square()).sum(1)
        spread_y = (per_y * (y - middle_y[:, None]).square()).sum(1)
        half = (self.reach * torch.maximum(spread_x, spread_y).sqrt()).clamp(min=self.smallest_half_px)
        found = mass >= self.least_px
        centre = torch.stack(
            (
                torch.where(found, middle_x, torch.full_like(middle_x, 0.5 * (width - 1))),
                torch.where(found, middle_y, torch.full_like(middle_y, 0.5 * (height - 1))),
            ),
            dim=1,
        )
        return CropBox(centre, torch.where(found, half, torch.full_like(half, 0.5 * max(height, width))))

    def sample(self, image: Tensor, regions: Tensor, box: CropBox, turn: Tensor) -> Tensor:
        """(B, 2, S, S) image and supraspinatus in squares that (B, 2, 2) matrices turn, stretch or mirror."""
        muscle = (regions[:, 1:2] > 0.5).to(image.dtype)
        twice = sample_squares(torch.cat((image, muscle), dim=1), box, turn, 2 * self.crop_size)
        return avg_pool2d(twice, 2)


def sample_squares(planes: Tensor, box: CropBox, turn: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    """(B, C, size, size) of squares in (B, C, H, W) planes; what is outside a plane is 0.

    Parameters
    ----------
    turn : (B, 2, 2), from the square's own coordinates, x and y from -1 to 1, to such of the upright square.
    """
    extent = torch.tensor([planes.shape[3], planes.shape[2]], dtype=planes.dtype, device=planes.device)
    scale = 2.0 * box.half_px[:, None] / extent
    offset = (2.0 * box.centre + 1.0) / extent - 1.0
    theta = torch.cat((turn * scale[:, :, None], offset[:, :, None]), dim=2)
    grid = affine_grid(theta, [planes.shape[0], 1, size, size], align_corners=False)
    return grid_sample(planes, grid, mode=mode, padding_mode="zeros", align_corners=False)


def regions_of(label: Tensor) -> Tensor:
    """(B, 5, H, W) ones and zeros of a (B, 1, H, W) label map, for `SupraspinatusGrader.crop`."""
    return one_hot(label[:, 0].long(), _CLASSES).movedim(-1, 1).float()
