"""Training that stops and resumes anywhere: the state of a stage, and the cascade's weights that others load."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from myotome.errors import BundleError
from myotome.networks import write_weights
from myotome.training.early_stopping import EarlyStopping
from myotome.training.stages import AveragedWeights

__all__ = ["StageCheckpoint", "StageFiles", "TrainingProgress", "copy_fitting_weights"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageFiles:
    """Where a stage reads and writes: the whole cascade's ``weights``, and its own ``checkpoint``."""

    weights: str
    checkpoint: str


@torch.no_grad()
def copy_fitting_weights(target: nn.Module, source: nn.Module) -> int:
    """Start ``target`` from ``source`` wherever names and shapes fit; returns the number of tensors copied.

    A convolution with more input channels takes the source's channels first and keeps its own start, made ten times
    smaller, for the rest.
    """
    given, copied = source.state_dict(), 0
    for key, value in target.state_dict().items():
        start = given.get(key)
        if start is None or start.ndim != value.ndim:
            continue
        if start.shape == value.shape:
            value.copy_(start)
        elif value.ndim == 4 and value.shape[0] == start.shape[0] and value.shape[1] > start.shape[1]:
            value.mul_(0.1)[:, : start.shape[1]] = start
        else:
            continue
        copied += 1
    return copied


class StageCheckpoint:
    """Resumes a stage at the start of a run, saves it every epoch and when time is up; a handler of the trainer.

    The checkpoint holds everything a run needs to go on; the weights file holds the whole cascade's state dict with
    this stage's averaged weights in it, or with those of its best validation. A stage that is already complete, or has
    ended early, does nothing.

    Parameters
    ----------
    stage, cascade : what is trained (see :meth:`RespiratoryCascade.stage`), and the cascade it is part of.
    average : the stage's averaged weights.
    parts : optimiser, scheduler and the like, by name; each has ``state_dict`` and ``load_state_dict``. The best
        weights are those of the part that is an :class:`EarlyStopping`, when there is one.
    files : where to read and write.
    max_minutes : stop after this long, to be resumed later; 0 never stops early.
    """

    def __init__(
        self,
        cascade: nn.Module,
        average: AveragedWeights,
        parts: dict[str, Any],
        files: StageFiles,
        max_minutes: float = 0,
    ) -> None:
        self.cascade, self.average, self.parts, self.files = cascade, average, parts, files
        self.max_minutes = max_minutes
        self._begun = time.monotonic()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.resume)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        if self.max_minutes:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._watch_clock)

    def resume(self, engine: Any) -> None:
        path = Path(self.files.checkpoint)
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=engine.state.device, weights_only=True)
            _unwrap(engine.network).load_state_dict(state["network"])
        except Exception as error:
            raise BundleError(f"cannot resume from {path}: remove it to train this stage anew.") from error
        self.average.average.update(state["average"])
        self.average.updates = state["updates"]
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        iteration = state["iteration"]
        engine.state.iteration, engine.state.epoch = iteration, iteration // engine.state.epoch_length
        loader = engine.data_loader
        loader.dataset.start = iteration * loader.batch_size
        early = self._early_stopping
        ended_early = early is not None and early.exhausted
        if engine.state.epoch >= engine.state.max_epochs or ended_early:
            self.save(engine)  # so that the weights file is there even if it was removed since
        if ended_early:
            engine.terminate()
        _LOG.info("resumed at iteration %d of %d", iteration, engine.state.epoch_length * engine.state.max_epochs)

    def save(self, engine: Any) -> None:
        if engine.state.rank:
            return
        state = {
            "network": _unwrap(engine.network).state_dict(),
            "average": self.average.average,
            "updates": self.average.updates,
            "iteration": engine.state.iteration,
            **{name: part.state_dict() for name, part in self.parts.items()},
        }
        write_weights(state, self.files.checkpoint)
        early = self._early_stopping
        with self.average.shown(early.best_weights if early else None):
            state = self.cascade.state_dict()
            weights = {key: value.clone(memory_format=torch.contiguous_format).cpu() for key, value in state.items()}
        write_weights(weights, self.files.weights)

    @property
    def _early_stopping(self) -> EarlyStopping | None:
        return next((part for part in self.parts.values() if isinstance(part, EarlyStopping)), None)

    def _watch_clock(self, engine: Any) -> None:
        if time.monotonic() - self._begun > 60 * self.max_minutes:
            self.save(engine)
            _LOG.info("stopped at iteration %d: time is up; run again to go on", engine.state.iteration)
            engine.terminate()


class TrainingProgress:
    """One line every ``interval`` iterations: loss, megavoxels per second, minutes left; a handler of the trainer."""

    def __init__(self, stage: str, interval: int = 20) -> None:
        self.stage, self.interval = stage, interval
        self._losses: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)

    def _start(self, engine: Any) -> None:
        self._since = time.monotonic()

    def _count(self, engine: Any) -> None:
        state = engine.state
        self._losses.append(state.output["loss"])
        if state.iteration % self.interval or state.rank:
            return
        now, count = time.monotonic(), len(self._losses)
        seconds = (now - self._since) / count
        left = (state.epoch_length * state.max_epochs - state.iteration) * seconds / 60
        speed = state.batch["label"].numel() / seconds / 1e6
        loss = float(torch.stack(self._losses).mean())
        _LOG.info(
            "%s %d/%d loss %.4f %.2f Mvoxel/s %.0f min left",
            self.stage,
            state.iteration,
            state.epoch_length * state.max_epochs,
            loss,
            speed,
            left,
        )
        self._losses.clear()
        self._since = now


def _unwrap(network: nn.Module) -> nn.Module:
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
