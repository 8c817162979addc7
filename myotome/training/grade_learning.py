"""What the grade is learnt by: its loss, its score, and the calibration at the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from myotome.biomarkers.goutallier import DEFINITIONS, GRADES, read_definition
from myotome.errors import InputError
from myotome.networks import DEFINITION_NAMES, SupraspinatusGrader
from myotome.statistics.calibration import fit_temperature
from myotome.statistics.kappa import compute_kappa
from myotome.training.checkpoint import StageCheckpoint
from myotome.training.grading import CropBatch
from myotome.training.plane_data import UNGRADED

__all__ = ["FitTemperature", "GradeKappa", "GradeLoss"]

_LOG = logging.getLogger(__name__)
_QUESTIONS = len(DEFINITION_NAMES)


class GradeLoss(nn.Module):
    """Cross-entropy of the binary definitions, each over the grades it asks about, and of the ordered grades.

    ::

        loss = (1 - s) * (mean over definitions + mean over k of BCE(cumulative logit k, grade > k)) + s * T^2 * soft

    ``soft`` is the cross-entropy of the teacher's probabilities at temperature T, its definitions and cumulative grades
    (Hinton et al., arXiv:1503.02531). Samples weigh as the data set says; those without a grade have no label loss.

    Parameters
    ----------
    definitions : names of those that are trained.
    teacher_share : s.
    softness : T.

    Raises
    ------
    InputError
        When there is no such definition.
    """

    def __init__(
        self, definitions: Sequence[str] = DEFINITION_NAMES, teacher_share: float = 0.0, softness: float = 2.0
    ) -> None:
        super().__init__()
        self.teacher_share, self.softness = teacher_share, softness
        trained = {read_definition(name).name for name in definitions}
        answers = [DEFINITIONS[name].target(np.array(GRADES)) for name in DEFINITION_NAMES]
        table = torch.tensor(np.stack(answers, axis=1), dtype=torch.float32)
        table[:, [name not in trained for name in DEFINITION_NAMES]] = -1
        self.register_buffer("answers", table, persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean loss of (B, 14) logits against a target of :class:`CropBatch`."""
        logits = torch.cat((_differences(prediction), prediction[:, 2 * _QUESTIONS :]), dim=1)
        grade, weight = target[:, 0].long(), target[:, 1:2]
        truth = self._truth(grade)
        hard = cross_entropy(logits, truth.clamp(min=0), reduction="none") * (truth >= 0) * weight
        known = (truth >= 0).float().sum(0).clamp(min=1)
        per_output = hard.sum(0) / known
        asked = (self.answers >= 0).any(0)
        loss = per_output[:_QUESTIONS][asked].mean() + per_output[_QUESTIONS:].mean()
        if not self.teacher_share:
            return loss
        given = torch.cat((_differences(target[:, 2:]), target[:, 2 + 2 * _QUESTIONS :]), dim=1) / self.softness
        soft = cross_entropy(logits / self.softness, given.sigmoid(), reduction="none")
        soft = soft[:, :_QUESTIONS].mean() + soft[:, _QUESTIONS:].mean()
        return (1 - self.teacher_share) * loss + self.teacher_share * self.softness**2 * soft

    def _truth(self, grade: Tensor) -> Tensor:
        """(B, 9) targets of the definitions, then of grade > 0 to grade > 3; -1 where there is none."""
        cumulative = (grade[:, None] > torch.arange(4, device=grade.device)).float()
        truth = torch.cat((self.answers.to(grade.device)[grade.clamp(min=0)], cumulative), dim=1)
        return torch.where(grade[:, None] == UNGRADED, -1.0, truth)


def _differences(logits: Tensor) -> Tensor:
    return logits[:, 1 : 2 * _QUESTIONS : 2] - logits[:, 0 : 2 * _QUESTIONS : 2]


class GradeKappa(Metric):
    """Quadratic-weighted kappa of the most probable grade against the reference, over all batches together."""

    def __init__(self, grader: SupraspinatusGrader) -> None:
        self.grader = grader
        super().__init__(lambda output: (output["pred"], output["label"]))

    def reset(self) -> None:
        self._pairs: list[tuple[int, int]] = []

    def update(self, output: Sequence[Tensor]) -> None:
        prediction, target = output
        grades = self.grader.probabilities(prediction)[:, _QUESTIONS:].argmax(1)
        self._pairs += [pair for pair in zip(target[:, 0].int().tolist(), grades.tolist(), strict=True) if pair[0] >= 0]

    def compute(self) -> float:
        """0 where all cases have one grade: nothing is told apart then."""
        reference, prediction = np.array(self._pairs).reshape(-1, 2).T
        try:
            return compute_kappa(reference, prediction, len(GRADES), "quadratic").estimate.value
        except InputError:
            return 0.0


class FitTemperature:
    """Calibrates a grader on the validation cases when its training ends; a handler of the trainer.

    One temperature for each definition and one for the grades (Guo et al., ICML 2017;70:1321), into
    ``grader.temperature``; the weights are written again with them. A definition that the cases have no two answers to
    keeps the temperature it had.
    """

    def __init__(self, grader: SupraspinatusGrader, loader: Any, batch: CropBatch, checkpoint: StageCheckpoint) -> None:
        self.grader, self.loader, self.batch, self.checkpoint = grader, loader, batch, checkpoint

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self.fit)

    def fit(self, engine: Any) -> None:
        if engine.state.rank:
            return
        with self.checkpoint.average.shown():
            logits, grades = self._collect(engine.state.device)
        truth = GradeLoss()._truth(grades).numpy()
        binary = torch.cat((_differences(logits), logits[:, 2 * _QUESTIONS :]), dim=1).numpy().astype(np.float64)
        groups = [[place] for place in range(_QUESTIONS)] + [list(range(_QUESTIONS, binary.shape[1]))]
        before = self.grader.temperature.tolist()
        found = [_fit_group(truth[:, group], binary[:, group], old) for group, old in zip(groups, before, strict=True)]
        self.grader.temperature.copy_(torch.tensor(found))
        _LOG.info("temperatures of %s and the grade: %s", ", ".join(DEFINITION_NAMES), [round(t, 2) for t in found])
        self.checkpoint.save(engine)

    @torch.no_grad()
    def _collect(self, device: torch.device) -> tuple[Tensor, Tensor]:
        classifier = self.grader.classifier.eval()
        logits, grades = [], []
        for sample in self.loader:
            crop, target, _, _ = self.batch(sample, device)
            logits.append(classifier(crop).float().cpu())
            grades.append(target[:, 0].long().cpu())
        return torch.cat(logits), torch.cat(grades)


def _fit_group(truth: np.ndarray, logits: np.ndarray, before: float) -> float:
    asked = truth >= 0
    target, chosen = truth[asked].astype(int), logits[asked]
    if not target.any() or target.all():
        return before
    positive = 1 / (1 + np.exp(-chosen))
    return float(fit_temperature(target, np.stack((1 - positive, positive), axis=1)))
