"""What the stages of the supraspinatus grader begin with and train on: weights, batches, and a teacher's answers."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from myotome.errors import BundleError, InputError
from myotome.networks import (
    CROP_SIZE,
    MASKS,
    REGION_GROUPS,
    CropBox,
    SupraspinatusGrader,
    read_imagenet_weights,
    read_weights,
    regions_of,
    sample_squares,
)
from myotome.training.plane_cache import describe_network, keep
from myotome.training.plane_data import UNGRADED, Planes
from myotome.transforms import RandIntensity, RandTurn, keep_largest_pieces, seeded_generator

__all__ = [
    "STARTS",
    "CropBatch",
    "CropSource",
    "RegionBatch",
    "RegionOutput",
    "read_teacher",
    "start_grader",
]

_LOG = logging.getLogger(__name__)
STARTS = ("scratch", "imagenet", "phantom")
_BATCH = 16


def start_grader(
    grader: SupraspinatusGrader,
    stage: str,
    device: torch.device,
    weights: str | Path,
    start: str = "scratch",
    start_path: str | Path | None = None,
) -> nn.Module:
    """One stage of a grader, ready to train on a device.

    The weights are loaded when the file exists. When it does not, ``start`` says where the classifier begins:
    ``scratch``, ``imagenet`` (VGG-19 alone) or ``phantom``. The region network, and with ``phantom`` the
    classifier, take over what fits of ``start_path``.

    Raises
    ------
    BundleError
        When ImageNet's weights are asked for and not to be had, or ``start_path`` is missing.
    InputError
        When there is no such start, or the small classifier is to begin with ImageNet's weights.
    """
    if start not in STARTS:
        raise InputError(f"start '{start}' is not known: choose one of {', '.join(STARTS)}.")
    if start == "phantom" and not start_path:
        raise InputError("start 'phantom' begins with trained weights: set start_path to their model.pt.")
    if Path(weights).is_file():
        read_weights(grader, weights)
    else:
        if start == "imagenet":
            _copy_imagenet(grader)
        if start_path:
            taken = _copy_fitting(grader, Path(start_path), with_classifier=start == "phantom")
            _LOG.info("%s starts from %d tensors of %s", stage, taken, start_path)
        elif stage == "grade":
            _LOG.warning("no weights at %s: the region network that the crops come from is untrained", weights)
    grader.to(device=device, memory_format=torch.channels_last)
    return grader.training_stage(stage)


def _copy_imagenet(grader: SupraspinatusGrader) -> None:
    network = getattr(grader.classifier, "network", None)
    if network is None:
        raise InputError("start 'imagenet' is for classifier 'vgg19': the small classifier starts from 'scratch'.")
    given = {key: value for key, value in read_imagenet_weights().items() if not key.startswith("classifier.6")}
    network.load_state_dict(given, strict=False)


def _copy_fitting(grader: SupraspinatusGrader, path: Path, with_classifier: bool) -> int:
    if not path.is_file():
        raise BundleError(f"no weights at {path}: set start_path to the model.pt to begin with.")
    given, own = torch.load(path, map_location="cpu", weights_only=True), grader.state_dict()
    parts = ("region.", "classifier.") if with_classifier else ("region.",)
    fits = {
        key: value
        for key, value in given.items()
        if key.startswith(parts) and key in own and own[key].shape == value.shape
    }
    grader.load_state_dict(fits, strict=False)
    return len(fits)


def read_teacher(path: str | Path | None, classifier: str = "vgg19") -> SupraspinatusGrader | None:
    """The grader that another learns from; ``None`` without a path."""
    return read_weights(SupraspinatusGrader(classifier), path).eval() if path else None


class CropSource:
    """``prepare`` of a data set for the stage ``grade``: the labels that crops are cut by, and a teacher's answers.

    Parameters
    ----------
    grader : whose region network labels the slices when ``mask`` is ``predicted``; its weights are those at the time
        of the first sample.
    mask : ``reference``: the labels as they are given; ``predicted``; ``none``: no labels, so the crop is the image.
    teacher : whose logits of each slice's own crop are given as ``teacher``, (14,).
    cache_dir : where predicted labels and a teacher's answers are kept for the next run.

    Raises
    ------
    InputError
        When there is no such mask.
    """

    def __init__(
        self,
        grader: SupraspinatusGrader,
        mask: str = "reference",
        teacher: SupraspinatusGrader | None = None,
        cache_dir: str | None = None,
    ) -> None:
        if mask not in MASKS:
            raise InputError(f"mask '{mask}' is not known: choose one of {', '.join(MASKS)}.")
        self.grader, self.mask, self.teacher, self.cache_dir = grader, mask, teacher, cache_dir

    def __call__(self, planes: Planes) -> dict[str, Tensor]:
        """Tensors of one row per slice: ``label``, and ``teacher`` when there is one.

        Raises
        ------
        InputError
            When no slice has a grade, so that there is nothing to learn.
        """
        if not (planes.grade != UNGRADED).any():
            raise InputError(
                "none of the cases has a grade: write 'grade' into the data list, or train the stage 'region' alone."
            )
        shown = hashlib.sha256(planes.image.numpy().tobytes()).hexdigest() if self.cache_dir else ""
        found = {"label": planes.label}
        if self.mask == "none":
            found = {"label": torch.zeros_like(planes.label)}
        elif self.mask == "predicted":
            parts = ["labels", shown, describe_network(self.grader.region) if self.cache_dir else ""]
            found = keep(self.cache_dir, parts, lambda: {"label": self._label(planes.image)})
        if self.teacher is None:
            return found
        crops = [shown, hashlib.sha256(found["label"].numpy().tobytes()).hexdigest()] if self.cache_dir else []
        parts = ["answers", *crops, describe_network(self.teacher) if self.cache_dir else ""]
        return found | keep(self.cache_dir, parts, lambda: {"teacher": self._ask(planes.image, found["label"])})

    @torch.no_grad()
    def _label(self, image: Tensor) -> Tensor:
        region = self.grader.region
        training, device = region.training, next(region.parameters()).device
        region.eval()
        parts = [region(part[:, None].float().to(device)).argmax(1).byte().cpu() for part in image.split(_BATCH)]
        region.train(training)
        cleaned = [keep_largest_pieces(label, REGION_GROUPS) for label in torch.cat(parts).numpy()]
        return torch.from_numpy(np.stack(cleaned))

    @torch.no_grad()
    def _ask(self, image: Tensor, label: Tensor) -> Tensor:
        device = next(self.grader.parameters()).device
        teacher = self.teacher.to(device)
        answers = []
        for part, marked in zip(image.split(_BATCH), label.split(_BATCH), strict=True):
            crop = teacher.crop(part[:, None].float().to(device), regions_of(marked[:, None].to(device)))
            answers.append(teacher.grade_logits(crop).cpu())
        return torch.cat(answers)


class RegionBatch:
    """``prepare_batch`` of the stage ``region``: ``(image, label, (), {})``.

    With ``turn`` and ``intensity``, patches of ``patch`` pixels are sampled and changed; without, whole slices are
    taken as they are. ``focus`` of the patches are centred on the labelled structures, or on those of the ``wanted``
    classes, the others anywhere.
    """

    def __init__(
        self,
        patch: int = 160,
        turn: RandTurn | None = None,
        intensity: RandIntensity | None = None,
        focus: float = 0.75,
        wanted: Sequence[int] = (),
    ) -> None:
        self.patch, self.turn, self.intensity, self.focus = patch, turn, intensity, focus
        self.wanted = tuple(wanted)

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        image, label = (batch[key].to(device, non_blocking=non_blocking) for key in ("image", "label"))
        if self.turn is not None:
            generator = seeded_generator(int(batch["seed"][0]))
            turn, shift = self.turn.draw(len(image), generator)
            box = self._draw_box(label, shift.to(device), generator)
            image = sample_squares(image, box, turn.to(device), self.patch)
            label = sample_squares(label.float(), box, turn.to(device), self.patch, "nearest")
            image = self.intensity(image, generator) if self.intensity else image
        return image.contiguous(memory_format=torch.channels_last), label.long(), (), {}

    def _draw_box(self, label: Tensor, shift: Tensor, generator: torch.Generator) -> CropBox:
        count, size, device = len(label), label.shape[-1], label.device
        inside = label[:, 0] > 0
        if self.wanted:
            inside = torch.isin(label[:, 0], torch.tensor(self.wanted, dtype=label.dtype, device=device))
        inside = inside.float()
        mass = inside.sum((1, 2))
        steps = torch.arange(size, dtype=torch.float32, device=device)
        middle = torch.stack(((inside.sum(1) * steps).sum(1), (inside.sum(2) * steps).sum(1)), dim=1)
        middle = middle / mass.clamp(min=1)[:, None]
        anywhere = (torch.rand(count, 2, generator=generator).to(device) * 0.6 + 0.2) * size
        focused = (torch.rand(count, generator=generator).to(device) < self.focus) & (mass > 0)
        half = torch.full((count,), self.patch / 2, device=device)
        return CropBox(torch.where(focused[:, None], middle, anywhere) + shift * half[:, None], half)


class RegionOutput:
    """``output_transform`` for :class:`PooledDice`: predicted and reference classes."""

    def __call__(self, output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return output["pred"].argmax(1), output["label"][:, 0]


class CropBatch:
    """``prepare_batch`` of the stage ``grade``: ``(crop, target, (), {})``.

    The target is (B, 2), grade and weight of each sample, or (B, 16) with the teacher's logits behind them. With
    ``turn`` and ``intensity`` the square is turned, resized and moved, and its intensities change. ``size`` is that of
    the crop in pixels; a classifier that learns on coarse crops first learns faster.
    """

    def __init__(
        self,
        grader: SupraspinatusGrader,
        turn: RandTurn | None = None,
        intensity: RandIntensity | None = None,
        size: int = CROP_SIZE,
    ) -> None:
        self.grader, self.turn, self.intensity, self.size = grader, turn, intensity, size

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        image, label = (batch[key].to(device, non_blocking=non_blocking) for key in ("image", "label"))
        target = torch.stack((batch["grade"].float(), batch["weight"]), dim=1)
        if "teacher" in batch:
            target = torch.cat((target, batch["teacher"]), dim=1)
        regions = regions_of(label)
        if self.turn is None:
            return self._resize(self.grader.crop(image, regions)), target.to(device), (), {}
        generator = seeded_generator(int(batch["seed"][0]))
        turn, shift = self.turn.draw(len(image), generator)
        box = self.grader.find_box(regions)
        box = CropBox(box.centre + shift.to(device) * box.half_px[:, None], box.half_px)
        crop = self.grader.sample(image, regions, box, turn.to(device))
        if self.intensity:
            crop = torch.cat((self.intensity(crop[:, :1], generator), crop[:, 1:]), dim=1)
        return self._resize(crop), target.to(device), (), {}

    def _resize(self, crop: Tensor) -> Tensor:
        if self.size == crop.shape[-1]:
            return crop
        return interpolate(crop, (self.size, self.size), mode="bilinear", antialias=True)
