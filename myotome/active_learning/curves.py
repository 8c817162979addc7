"""What the records of a simulation say: curves, labels needed, and intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from myotome.active_learning.simulation import FULL_DATA, Plan, RoundRecord
from myotome.errors import InputError

__all__ = [
    "TARGET_SHARE",
    "Comparison",
    "Curves",
    "Estimate",
    "compare",
    "conclude",
    "find_interval_of_mean",
    "labels_to_reach",
    "make_curves",
]

TARGET_SHARE = 0.95
_BASELINE, _PLAIN = "foreground_random", "random"
_RESAMPLES = 10000
_GOAL = 0.5


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, which is the figure itself where there is one seed.

    ``inf`` in labels needed means: not reached by the last round.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Curves:
    """What was measured, as (seeds, rounds) arrays per strategy.

    ``dice`` is the mean over structures, ``volume_error`` (%) and ``density_error_hu`` too. ``corrected_voxels`` is
    what the oracle had changed by then. ``full_data_dice`` is (seeds,): the reference trained on the whole pool.
    """

    labelled: tuple[int, ...]
    dice: dict[str, np.ndarray]
    volume_error: dict[str, np.ndarray]
    density_error_hu: dict[str, np.ndarray]
    corrected_voxels: dict[str, np.ndarray]
    full_data_dice: np.ndarray
    full_data_volume_error: np.ndarray

    @property
    def strategies(self) -> tuple[str, ...]:
        """In the order of the plan."""
        return tuple(self.dice)

    @property
    def seed_count(self) -> int:
        """How often everything was repeated."""
        return len(self.full_data_dice)


@dataclass(frozen=True)
class Comparison:
    """One strategy beside the two kinds of chance.

    ``labels_needed`` to reach 95 % of the full-data Dice, and as a ratio to those of ``random`` and of
    ``foreground_random`` (``None`` where that was not run). ``dice_gain`` and ``volume_error_gain`` (percentage points)
    are the strategy's mean over all rounds after the first, which is common, minus that of ``foreground_random``.
    """

    strategy: str
    labels_needed: Estimate
    voxels_needed: Estimate
    ratio_to_random: Estimate | None
    ratio_to_foreground_random: Estimate | None
    dice_gain: Estimate | None
    volume_error_gain: Estimate | None
    last_dice: Estimate


def make_curves(records: Sequence[RoundRecord], plan: Plan) -> Curves:
    """Arrange the records of a finished study.

    Raises
    ------
    InputError
        When a record is missing.
    """
    known = {record.key: record for record in records}
    seeds, rounds = range(plan.seeds), range(len(plan.labelled))
    try:
        full = [known[FULL_DATA, seed, 0] for seed in seeds]

        def table(read: Callable[[RoundRecord], float]) -> dict[str, np.ndarray]:
            return {
                name: np.array([[read(known[name, seed, turn]) for turn in rounds] for seed in seeds], dtype=float)
                for name in plan.strategies
            }

        return Curves(
            plan.labelled,
            table(lambda record: _mean(record.dice)),
            table(lambda record: 100 * _mean(record.volume_error)),
            table(lambda record: _mean(record.density_error_hu)),
            table(lambda record: record.corrected_voxels),
            np.array([_mean(record.dice) for record in full]),
            np.array([100 * _mean(record.volume_error) for record in full]),
        )
    except KeyError as error:
        raise InputError(f"the study is not finished, record {error} is missing: run it again.") from error


def labels_to_reach(labelled: Sequence[float], scores: np.ndarray, target: float) -> float:
    """Where a curve first reaches a target, by linear interpolation between its points.

    Returns
    -------
    float
        The first number of labels when the curve begins at or above the target; ``inf`` when it never gets there.
    """
    above = np.flatnonzero(scores >= target)
    if not len(above):
        return float("inf")
    place = int(above[0])
    if place == 0:
        return float(labelled[0])
    before, after = scores[place - 1], scores[place]
    share = (target - before) / (after - before)
    return float(labelled[place - 1] + share * (labelled[place] - labelled[place - 1]))


def compare(curves: Curves) -> list[Comparison]:
    """Every strategy beside the two kinds of chance, with bootstrap intervals over seeds.

    Seeds are resampled, the same ones for every strategy, so that ratios and differences are paired; the intervals are
    those of :func:`find_interval_of_mean`. The labels needed are read from the mean curve of the resampled seeds, at
    95 % of their mean full-data Dice. A ratio whose strategy never reaches the target is ``inf``; where only the kind
    of chance does not, the last number of labels stands for it, which makes the strategy look no better than it is.
    """
    seeds = curves.seed_count
    draws = _draw_seeds(seeds)
    needed = {name: _needed(curves, name, draws) for name in curves.strategies}
    comparisons = []
    for name in curves.strategies:
        base = _BASELINE if _BASELINE in needed else None
        comparisons.append(
            Comparison(
                name,
                _estimate(needed[name], seeds),
                _estimate(_voxels_needed(curves, name, draws), seeds),
                _ratio(needed[name], needed.get(_PLAIN), curves),
                _ratio(needed[name], needed.get(_BASELINE), curves),
                _estimate(_gain(curves.dice, name, base, draws), seeds) if base else None,
                _estimate(_gain(curves.volume_error, name, base, draws), seeds) if base else None,
                _estimate(curves.dice[name][draws, -1].mean(axis=1), seeds),
            )
        )
    return comparisons


def find_interval_of_mean(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap interval of the mean over seeds, widened for how few they are.

    Plain percentile intervals of few values are too narrow. The quantiles taken are those of the expanded percentile
    interval, alpha' = Phi(-sqrt(n / (n - 1)) t(0.975, n - 1)) (Hesterberg, What teachers should know about the
    bootstrap, The American Statistician 2015): with five seeds 0.1 % and 99.9 %, which hold a normal mean 92 times in
    a hundred.

    Parameters
    ----------
    scores : (seeds, ...) array.

    Returns
    -------
    low, high : arrays of the other axes; the score itself where there is one seed
    """
    draws = _draw_seeds(len(scores))[1:]
    low, high = np.quantile(scores[draws].mean(axis=1), _quantiles(len(scores)), axis=0)
    return low, high


def conclude(comparisons: Sequence[Comparison], seeds: int) -> list[str]:
    """What may be said, and no more: sentences that follow from the intervals alone."""
    if seeds < 2:
        return ["One seed cannot tell a strategy from chance, so nothing is said about beating it: run more seeds."]
    rivals = [row for row in comparisons if row.strategy != _BASELINE and row.ratio_to_foreground_random]
    if not rivals:
        return ["Foreground-aware random was not run beside another strategy, so nothing is said about beating it."]
    better = [row for row in rivals if row.ratio_to_foreground_random.high < 1]
    worse = [row for row in rivals if row.ratio_to_foreground_random.low > 1]
    sentences = []
    if better:
        list_ = "; ".join(f"{row.strategy} {_interval(row.ratio_to_foreground_random)}" for row in better)
        sentences.append(
            "Beats foreground-aware random in the labels needed for 95 % of the full-data Dice "
            f"(ratio, 95 % interval): {list_}."
        )
    else:
        sentences.append(
            "No strategy is shown to beat foreground-aware random in the labels needed for 95 % of the full-data Dice: "
            "no interval of the ratio lies wholly below 1."
        )
    if worse:
        sentences.append(f"Needs more labels than foreground-aware random: {_names(worse)}.")
    sentences.append(_judge_goal(comparisons))
    for field, title, sign in (("dice_gain", "mean Dice", 1), ("volume_error_gain", "mean volume error", -1)):
        sentences.append(_judge_gain(rivals, field, title, sign))
    return sentences


def _judge_goal(comparisons: Sequence[Comparison]) -> str:
    rivals = [row for row in comparisons if row.strategy not in (_PLAIN, _BASELINE) and row.ratio_to_random]
    met = [row for row in rivals if row.ratio_to_random.high <= _GOAL]
    near = [row for row in rivals if row.ratio_to_random.value <= _GOAL and row not in met]
    if met:
        return f"The goal, half of random's labels, is met by {_names(met)}."
    if near:
        return f"The goal, half of random's labels, is met by {_names(near)} on average, but not by its whole interval."
    return "The goal, half of random's labels, is not met."


def _judge_gain(rivals: Sequence[Comparison], field: str, title: str, sign: int) -> str:
    """``sign`` is 1 where more is better, -1 where less is."""
    bounds = {row.strategy: sorted((sign * getattr(row, field).low, sign * getattr(row, field).high)) for row in rivals}
    better = [name for name, (low, _) in bounds.items() if low > 0]
    worse = [name for name, (_, high) in bounds.items() if high < 0]
    parts = [f"better: {', '.join(better)}"] if better else []
    parts += [f"worse: {', '.join(worse)}"] if worse else []
    rest = "the others cannot be told from it" if parts else "no strategy can be told from it"
    if len(better) + len(worse) < len(bounds):
        parts.append(rest)
    return f"In {title} over the rounds, beside foreground-aware random: {'; '.join(parts)}."


def _names(rows: Sequence[Comparison]) -> str:
    return ", ".join(row.strategy for row in rows)


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _mean(values: dict[str, float]) -> float:
    return float(np.mean(list(values.values()))) if values else float("nan")


def _draw_seeds(count: int) -> np.ndarray:
    """(1 + resamples, seeds): the seeds as they are, then resampled with replacement."""
    drawn = np.random.default_rng(20264).integers(count, size=(_RESAMPLES, count))
    return np.concatenate((np.arange(count)[None], drawn))


def _quantiles(seeds: int) -> tuple[float, float]:
    if seeds < 2:
        return 0.0, 1.0
    tail = float(ndtr(np.sqrt(seeds / (seeds - 1)) * stdtrit(seeds - 1, 0.025)))
    return tail, 1 - tail


def _estimate(values: np.ndarray, seeds: int) -> Estimate:
    """The first value, with the interval of the others. No interpolation, as some may be infinite."""
    low, high = np.quantile(values[1:], _quantiles(seeds), method="inverted_cdf")
    return Estimate(float(values[0]), float(low), float(high))


def _needed(curves: Curves, name: str, draws: np.ndarray) -> np.ndarray:
    means = curves.dice[name][draws].mean(axis=1)
    targets = TARGET_SHARE * curves.full_data_dice[draws].mean(axis=1)
    return np.array([labels_to_reach(curves.labelled, *pair) for pair in zip(means, targets, strict=True)])


def _voxels_needed(curves: Curves, name: str, draws: np.ndarray) -> np.ndarray:
    voxels = curves.corrected_voxels[name][draws].mean(axis=1)
    means = curves.dice[name][draws].mean(axis=1)
    targets = TARGET_SHARE * curves.full_data_dice[draws].mean(axis=1)
    return np.array([labels_to_reach(*row) for row in zip(voxels, means, targets, strict=True)])


def _ratio(values: np.ndarray, others: np.ndarray | None, curves: Curves) -> Estimate | None:
    return None if others is None else _estimate(values / np.minimum(others, curves.labelled[-1]), curves.seed_count)


def _gain(scores: dict[str, np.ndarray], name: str, base: str, draws: np.ndarray) -> np.ndarray:
    difference = scores[name] - scores[base]
    first = min(1, difference.shape[1] - 1)
    return difference[:, first:].mean(axis=1)[draws].mean(axis=1)
