"""A small 2D network that learns in seconds: what the annotation simulation trains again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn.functional import pad

from myotome.errors import InputError
from myotome.structures import read_label_schema
from myotome.training.stages import multiplies_bfloat16

__all__ = ["QuickLearner", "QuickModel", "QuickTraining", "make_quick_learner"]

_CPU = torch.device("cpu")
_WINDOW_HU = (-150.0, 250.0)
_AIR_HU = -1024
_DIVISIBLE = 8


@dataclass(frozen=True)
class QuickTraining:
    """How the network is built and trained: ``iterations`` batches of ``batch_size`` patches of ``patch`` pixels."""

    iterations: int = 450
    channels: tuple[int, ...] = (16, 32, 64, 128)
    batch_size: int = 8
    patch: int = 96
    learning_rate: float = 1.2e-2


class QuickLearner:
    """A 2D U-Net with a strided first level, trained from nothing each time.

    From nothing and for a fixed number of iterations, so that a round's score depends on its labels alone and not on
    how long the network of earlier rounds has already trained. The same seed and cases give the same network on one
    machine. bfloat16 is used where the processor multiplies matrices in it.

    Parameters
    ----------
    class_count : background included.
    training : size and schedule.
    """

    def __init__(self, class_count: int, training: QuickTraining | None = None) -> None:
        self.class_count, self.training = class_count, training or QuickTraining()

    def fit(
        self, images: Sequence[np.ndarray], labels: Sequence[np.ndarray], seed: int, budget: float = 1.0
    ) -> QuickModel:
        """Train a new network.

        Parameters
        ----------
        images, labels : (S, H, W) slices of each case, HU and structure indices.
        budget : multiple of the usual number of iterations.
        """
        plan = self.training
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        network = UNet(2, 1, self.class_count, plan.channels, (2,) * (len(plan.channels) - 1), norm="batch")
        network = network.to(memory_format=torch.channels_last).train()
        iterations = max(1, round(plan.iterations * budget))
        optimiser = torch.optim.AdamW(network.parameters(), plan.learning_rate, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, plan.learning_rate, total_steps=iterations, pct_start=min(0.2, 1 / iterations + 0.1)
        )
        loss_function = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
        for _ in range(iterations):
            image, label = _draw_batch(images, labels, plan, rng)
            with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16(_CPU)):
                output = network(image)
            loss = loss_function(output.float(), label)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        return QuickModel(network.eval())


class QuickModel:
    """A network that :class:`QuickLearner` has trained."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    @torch.inference_mode()
    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """(S, C, H, W) float32 probabilities of the (S, H, W) slices of one case, in HU."""
        height, width = image.shape[1:]
        planes = pad(_scale(image), (0, -width % _DIVISIBLE, 0, -height % _DIVISIBLE))
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16(_CPU)):
            output = self._network(planes.to(memory_format=torch.channels_last))
        return output[..., :height, :width].float().softmax(dim=1).numpy()


def make_quick_learner(schema: str, training: Mapping[str, Any]) -> QuickLearner:
    """A learner for a label schema, from the fields of :class:`QuickTraining`.

    Raises
    ------
    InputError
        When there is no such schema, or no such field.
    """
    known = {field.name for field in fields(QuickTraining)}
    unknown = sorted(set(training) - known)
    if unknown:
        raise InputError(f"training has no setting '{unknown[0]}': there are {', '.join(sorted(known))}.")
    return QuickLearner(read_label_schema(schema).class_count, QuickTraining(**training))


def _scale(image: np.ndarray) -> Tensor:
    """(S, 1, H, W) slices, the soft-tissue window scaled to 0..1."""
    low, high = _WINDOW_HU
    return torch.from_numpy(image.astype(np.float32)).sub(low).div_(high - low).clamp_(0, 1)[:, None]


def _draw_batch(
    images: Sequence[np.ndarray], labels: Sequence[np.ndarray], plan: QuickTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Patches from random cases and slices, mirrored half of the time, slightly shifted and stretched in HU."""
    size = plan.patch
    image = np.full((plan.batch_size, size, size), _AIR_HU, np.float32)
    label = np.zeros((plan.batch_size, size, size), np.uint8)
    for row in range(plan.batch_size):
        case = int(rng.integers(len(images)))
        plane = int(rng.integers(len(images[case])))
        source = images[case][plane]
        starts = [int(rng.integers(max(0, full - size) + 1)) for full in source.shape]
        part = tuple(slice(start, start + size) for start in starts)
        piece, truth = source[part], labels[case][plane][part]
        if rng.random() < 0.5:
            piece, truth = piece[::-1], truth[::-1]
        height, width = piece.shape
        image[row, :height, :width] = piece * rng.uniform(0.95, 1.05) + rng.uniform(-10, 10)
        label[row, :height, :width] = truth
    batch = _scale(image).to(memory_format=torch.channels_last)
    return batch, torch.from_numpy(label)[:, None].long()
