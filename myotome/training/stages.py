"""What one stage of the cascade trains on: its target, its loss, its iteration, its averaged weights and its score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

__all__ = [
    "AveragedWeights",
    "MixedPrecisionUpdate",
    "PooledDice",
    "StageBatch",
    "StageOutput",
    "UseAverage",
    "multiplies_bfloat16",
]

_IGNORED = -100


class StageBatch:
    """``prepare_batch`` of a stage: ``(image, target, (label,), {})`` from a batch of windowed slabs.

    The target of ``muscle_tissue`` is labels 1-4, as (B, 1, H, W) floats. The later stages have a class per voxel, as
    (B, H, W), with -100 (ignored by cross-entropy) where it does not matter: ``respiratory_muscles`` has 1 for labels
    1-3 and 0 for all else, so that what is no muscle after all is not respiratory, and ignores the background within
    two voxels of a muscle; ``muscle_classes`` has 0-2 for labels 1-3 and ignores the rest.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __call__(
        self, batch: dict[str, Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor, tuple[Tensor], dict]:
        image = batch["image"].to(device, non_blocking=non_blocking, memory_format=torch.channels_last)
        label = batch["label"].to(device, non_blocking=non_blocking)
        return image, self.target(label), (label,), {}

    def target(self, label: Tensor) -> Tensor:
        if self.stage == "muscle_tissue":
            return (label > 0).float()
        respiratory = (label > 0) & (label < 4)
        if self.stage == "respiratory_muscles":
            rim = (label == 0) & (max_pool2d((label > 0).float(), 5, 1, 2) > 0)
            return respiratory.long().masked_fill(rim, _IGNORED)[:, 0]
        return torch.where(respiratory, label.long() - 1, _IGNORED)[:, 0]


class MixedPrecisionUpdate:
    """Iteration of a :class:`monai.engines.SupervisedTrainer` in bfloat16 where that is fast, with clipped gradients.

    bfloat16 has float32's range, so there is no loss scaling. ``enabled`` False computes in float32 everywhere.
    """

    def __init__(self, clip_norm: float = 1.0, enabled: bool = True) -> None:
        self.clip_norm, self.enabled = clip_norm, enabled

    def __call__(self, engine: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image, target, arguments, _ = engine.prepare_batch(batch, engine.state.device, engine.non_blocking)
        engine.network.train()
        reduced = self.enabled and multiplies_bfloat16(image.device)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=reduced):
            prediction = engine.network(image, *arguments)
        loss = engine.loss_function(prediction.float(), target)
        engine.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(engine.network.parameters(), self.clip_norm)
        engine.optimizer.step()
        return {"loss": loss.detach()}


def multiplies_bfloat16(device: torch.device) -> bool:
    """True where a device multiplies in bfloat16; one that emulates it takes ten times as long as in float32."""
    return device.type != "cpu" or (torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported())


class AveragedWeights:
    """Exponential moving average of a network's parameters and buffers; a handler of the trainer.

    The decay grows with the number of updates n as min(decay, (1 + n) / (10 + n)), so that a short training is not
    held back by its random start.
    """

    def __init__(self, network: nn.Module, decay: float = 0.998) -> None:
        self.network, self.decay, self.updates = network, decay, 0
        self.average = {key: value.detach().clone() for key, value in network.state_dict().items()}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)

    @torch.no_grad()
    def update(self, engine: Engine | None = None) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = self.network.state_dict()
        floats = [key for key, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.average[key] for key in floats], [state[key] for key in floats], 1 - decay)
        for key in state.keys() - set(floats):
            self.average[key].copy_(state[key])

    @torch.no_grad()
    def swap(self, engine: Engine | None = None) -> None:
        """Exchange the average with the network's weights; a second call undoes it."""
        for key, value in self.network.state_dict().items():
            kept = value.clone()
            value.copy_(self.average[key])
            self.average[key].copy_(kept)

    @contextmanager
    def shown(self, weights: Mapping[str, Tensor] | None = None) -> Iterator[None]:
        """Give the network the average for a while, or other weights of the same names, which stay as they are."""
        kept = self.average
        if weights:
            self.average = {key: value.clone() for key, value in weights.items()}
        self.swap()
        try:
            yield
        finally:
            self.swap()
            self.average = kept


class UseAverage:
    """Scores an evaluator's network with the averaged weights; a handler of the evaluator."""

    def __init__(self, average: AveragedWeights) -> None:
        self.average = average

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.average.swap)
        engine.add_event_handler(Events.COMPLETED, self.average.swap)


class StageOutput:
    """``output_transform`` for :class:`PooledDice`: predicted and reference classes, 0 for background."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __call__(self, output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        prediction, target = output["pred"], output["label"]
        if self.stage == "muscle_tissue":
            return (prediction > 0).long(), target.long()
        inside = target != _IGNORED
        return torch.where(inside, prediction.argmax(1) + 1, 0), torch.where(inside, target + 1, 0)


class PooledDice(Metric):
    """Dice over all voxels of all batches together, averaged over the classes above 0 that occur.

    Dice of a class is 2 TP / (2 TP + FP + FN). Pooling keeps slices without a structure from counting as 0 or 1.
    """

    def __init__(self, class_count: int = 2, output_transform: Callable = lambda output: output) -> None:
        self.class_count = class_count
        super().__init__(output_transform)

    def reset(self) -> None:
        self._pairs = torch.zeros(self.class_count**2, dtype=torch.float64)

    def update(self, output: Sequence[Tensor]) -> None:
        prediction, reference = output
        pairs = (reference * self.class_count + prediction).flatten()
        self._pairs += torch.bincount(pairs, minlength=self.class_count**2).double().cpu()

    def compute(self) -> float:
        table = self._pairs.view(self.class_count, self.class_count)
        both, total = table.diagonal(), table.sum(0) + table.sum(1)
        scores = [2 * both[k] / total[k] for k in range(1, self.class_count) if total[k] > 0]
        return float(torch.stack(scores).mean()) if scores else 0.0
