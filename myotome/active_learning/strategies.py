"""Which cases to label next: the strategies, from plain chance to the case whose measurements are least certain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from myotome.inference.uncertainty import CaseScores

__all__ = [
    "STRATEGIES",
    "Candidate",
    "ClassStratifiedEntropy",
    "Diverse",
    "ForegroundRandom",
    "MeasurementSpread",
    "PredictiveEntropy",
    "Random",
    "Strategy",
]

_STRATIFIED_SHARE = 0.5
# Power noise: score ** power times exp(Gumbel); the power grows from the first to the second figure over the labels.
_FIRST_POWER, _LAST_POWER, _LABELS_TO_LAST_POWER = 1.0, 100.0, 32


@dataclass(frozen=True)
class Candidate:
    """A case that may be labelled, or is; ``scores`` is ``None`` until the model has seen it."""

    image_id: str
    scores: CaseScores | None = None
    patient: str = ""


class Strategy(ABC):
    """Chooses cases. The same candidates, labelled cases and state of ``rng`` give the same choice.

    Attributes
    ----------
    name, description : for people and records.
    needs_scores : bool
        It looks at the model's scores, and chooses among the scored candidates. Where fewer are scored than are asked
        for, or none at all, chance fills up.
    """

    name: str
    description: str
    needs_scores: bool = True

    def choose(
        self, candidates: Sequence[Candidate], labelled: Sequence[Candidate], rng: np.random.Generator, count: int = 1
    ) -> list[str]:
        """The ids of up to ``count`` different candidates, the one to label first in front.

        Parameters
        ----------
        candidates : not labelled yet, in any fixed order.
        labelled : labelled already.
        """
        count = min(count, len(candidates))
        usable = [case for case in candidates if case.scores is not None] if self.needs_scores else list(candidates)
        chosen = self._pick(usable, labelled, rng, min(count, len(usable))) if usable and count else []
        left = sorted({case.image_id for case in candidates} - set(chosen))
        return chosen + self._fill_up(left, rng, count - len(chosen))

    def _fill_up(self, image_ids: list[str], rng: np.random.Generator, count: int) -> list[str]:
        """``count`` of the ids of which nothing is known, by chance."""
        return [image_ids[place] for place in rng.permutation(len(image_ids))[:count]]

    @abstractmethod
    def _pick(
        self, candidates: list[Candidate], labelled: Sequence[Candidate], rng: np.random.Generator, count: int
    ) -> list[str]:
        """``count`` ids of ``candidates``, which are at least as many, and scored where scores are needed."""


class Random(Strategy):
    """Every candidate alike."""

    name = "random"
    description = "Every case has the same chance."
    needs_scores = False

    def _pick(self, candidates, labelled, rng, count):
        return [candidates[i].image_id for i in rng.permutation(len(candidates))[:count]]


class ForegroundRandom(Strategy):
    """Chance that knows where the structures are: the honest baseline.

    Draws a structure uniformly among those predicted somewhere, then a case with probability proportional to the
    predicted share of that structure. A model that predicts nothing anywhere leaves plain chance.
    """

    name = "foreground_random"
    description = "A structure is drawn, then a case by its predicted share of it."

    def _pick(self, candidates, labelled, rng, count):
        _, shares = _table(candidates, "class_share")
        left = np.ones(len(candidates), dtype=bool)
        chosen = []
        for _ in range(count):
            weights = shares * left[:, None]
            present = np.flatnonzero(weights.sum(axis=0) > 0)
            weight = weights[:, rng.choice(present)] if len(present) else left.astype(float)
            index = int(rng.choice(len(candidates), p=weight / weight.sum()))
            left[index] = False
            chosen.append(candidates[index].image_id)
        return chosen


class Diverse(Strategy):
    """Cases unlike those already labelled: k-centre, farthest point first, over the standardised embeddings.

    Sener and Savarese, Active learning for convolutional neural networks: a core-set approach, ICLR 2018. Where no
    candidate is scored (a cold start) the cases are strided: evenly spread over the order of their ids, from a random
    start.
    """

    name = "diverse"
    description = "The case farthest from all labelled ones; evenly spread over the list when nothing is known."

    def _pick(self, candidates, labelled, rng, count):
        base = [case for case in labelled if case.scores is not None]
        points = np.array([case.scores.embedding for case in (*candidates, *base)])
        points = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-9)
        pool, centres = points[: len(candidates)], points[len(candidates) :]
        chosen = [] if len(centres) else [int(rng.integers(len(pool)))]
        distance = _nearest(pool, centres if len(centres) else pool[chosen])
        while len(chosen) < count:
            distance[chosen] = -1.0
            chosen.append(int(np.argmax(distance)))
            distance = np.minimum(distance, _nearest(pool, pool[chosen[-1:]]))
        return [candidates[index].image_id for index in chosen]

    def _fill_up(self, image_ids, rng, count):
        start = int(rng.integers(len(image_ids))) if count else 0
        return [image_ids[(start + place * len(image_ids) // count) % len(image_ids)] for place in range(count)]


class PredictiveEntropy(Strategy):
    """The cases with the highest mean predictive entropy."""

    name = "entropy"
    description = "The case with the highest mean predictive entropy in the body."

    def _pick(self, candidates, labelled, rng, count):
        scores = np.array([case.scores.entropy for case in candidates])
        return [candidates[i].image_id for i in np.argsort(-scores, kind="stable")[:count]]


class ClassStratifiedEntropy(Strategy):
    """Class-stratified power-noised predictive entropy, after ClaSP PE, for whole cases.

    The idea is of Lüth, Traub et al., Finally outshining the random baseline, TMLR 2026 (arXiv 2601.13677): part of
    the queries are made class by class, so that rare structures are asked for, and the entropy is power-noised with a
    schedule, so that early rounds explore and late ones exploit. They query 3D patches and set their own parameters;
    what is done here is:

    - half of the queries (a coin each, so that asking one case at a time follows the same law) are for one structure:
      the structures take turns in a random order, and the score is the mean entropy of the voxels that are plausibly
      that structure; the other half score the mean entropy over the body;
    - the case with the largest ``power * log(score) + Gumbel(0, 1)`` is taken, without replacement: the same as drawing
      in proportion to ``score ** power`` (Kirsch et al., Stochastic batch acquisition, TMLR 2023). The power grows from
      1 to 100 over the first 32 labels, evenly in its logarithm.
    """

    name = "claspe"
    description = "Predictive entropy, half of the queries per structure, with noise that decays."

    def _pick(self, candidates, labelled, rng, count):
        names, by_class = _table(candidates, "class_entropy")
        overall = np.array([case.scores.entropy for case in candidates])
        turns = rng.permutation(len(names))
        left = np.ones(len(candidates), dtype=bool)
        chosen, stratified = [], 0
        for number in range(count):
            scores = overall
            if len(names) and rng.random() < _STRATIFIED_SHARE:
                scores = by_class[:, turns[stratified % len(turns)]]
                stratified += 1
            index = _take_noised(scores, left, len(labelled) + number, rng)
            chosen.append(candidates[index].image_id)
        return chosen


class MeasurementSpread(Strategy):
    """The cases whose biomarkers are least certain: ours.

    A case's score is the mean, over the structures, of the rank of its measurement spread among the candidates (0 to
    1, ties share a rank), so that no structure drowns the others; a structure the case does not hold counts 0. Cases
    are taken with the power noise of :class:`ClassStratifiedEntropy`.
    """

    name = "measurement"
    description = "The case whose volumes and densities move most between a cautious and a generous reading."

    def _pick(self, candidates, labelled, rng, count):
        names, spreads = _table(candidates, "measurement_spread")
        ranks = np.column_stack([_ranks(column) for column in spreads.T]) if names else np.zeros((len(candidates), 1))
        scores = ranks.mean(axis=1)
        left = np.ones(len(candidates), dtype=bool)
        picks = [_take_noised(scores, left, len(labelled) + number, rng) for number in range(count)]
        return [candidates[index].image_id for index in picks]


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Random(),
        ForegroundRandom(),
        Diverse(),
        PredictiveEntropy(),
        ClassStratifiedEntropy(),
        MeasurementSpread(),
    )
}


def _table(candidates: Sequence[Candidate], field: str) -> tuple[list[str], np.ndarray]:
    """Structures that any candidate has in a field of its scores, and a (candidates, structures) table of the values.

    A structure that a candidate does not have is 0.
    """
    rows = [getattr(case.scores, field) for case in candidates]
    names = sorted({name for row in rows for name in row})
    return names, np.array([[row.get(name, 0.0) for name in names] for row in rows]).reshape(len(rows), len(names))


def _power(labels: int) -> float:
    share = min(labels / _LABELS_TO_LAST_POWER, 1.0)
    return _FIRST_POWER * (_LAST_POWER / _FIRST_POWER) ** share


def _take_noised(scores: np.ndarray, left: np.ndarray, labels: int, rng: np.random.Generator) -> int:
    """Draw among the cases ``left`` in proportion to ``score ** power``, and take the drawn one out of ``left``."""
    keys = _power(labels) * np.log(np.maximum(scores, 1e-12)) + rng.gumbel(size=len(scores))
    index = int(np.argmax(np.where(left, keys, -np.inf)))
    left[index] = False
    return index


def _ranks(values: np.ndarray) -> np.ndarray:
    """Share of the present (positive) values that are no larger; ties share their mean rank, and 0 stays 0."""
    ordered = np.sort(values[values > 0])
    if not len(ordered):
        return np.zeros(len(values))
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.where(values > 0, (low + high + 1) / (2 * len(ordered)), 0.0)


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Euclidean distance of each point to the nearest centre."""
    return np.sqrt(((points[:, None] - centres[None]) ** 2).sum(axis=2)).min(axis=1)
