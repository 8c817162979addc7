"""Ending a training when its validation score no longer rises, and keeping the weights that were best."""

from __future__ import annotations

import logging
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor

from myotome.training.stages import AveragedWeights

__all__ = ["EarlyStopping"]

_LOG = logging.getLogger(__name__)


class EarlyStopping:
    """Remembers the best validation and its averaged weights, and ends the run; a handler of the trainer.

    It belongs after the validation and before the checkpoint, which has it among its ``parts`` and writes the best
    weights rather than the last.

    Parameters
    ----------
    average : whose weights the validation scores.
    evaluator : whose metric ``score`` is watched; more is better.
    patience : the run ends after so many validations without a better one; 0 never ends it.
    interval : epochs from one validation to the next.
    """

    def __init__(self, average: AveragedWeights, evaluator: Any, patience: int = 0, interval: int = 1) -> None:
        self.average, self.evaluator = average, evaluator
        self.patience, self.interval = int(patience), max(1, int(interval))
        self.best_score: float | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.waited = 0

    @property
    def exhausted(self) -> bool:
        """True when the run is to end, or has ended."""
        return bool(self.patience) and self.waited >= self.patience

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.judge)

    def judge(self, engine: Any) -> None:
        score = self.evaluator.state.metrics.get("score")
        if score is None or engine.state.epoch % self.interval:
            return
        if self.best_score is None or score > self.best_score:
            self.best_score, self.waited = float(score), 0
            self.best_weights = {key: value.clone() for key, value in self.average.average.items()}
            return
        self.waited += 1
        if self.exhausted:
            _LOG.info("ended: %d validations without a better score than %.4f", self.waited, self.best_score)
            engine.terminate()

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.best_score, "weights": self.best_weights, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_score, self.best_weights, self.waited = state["score"], state["weights"], state["waited"]
