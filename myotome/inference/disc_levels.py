"""Which level each disc of a sagittal spine is: counted upwards from the one between L5 and S1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LEVEL_FLOOR", "NO_LEVEL", "DiscLevels", "name_levels"]

LEVEL_FLOOR = 0.8
"""Least probability that the disc which is taken for L5-S1 is it."""

NO_LEVEL = 6
"""Label of a disc whose level is not known."""

_L5_S1 = 5
_EVIDENCE = (0.02, 0.98)  # what one look is believed at most
_BELOW = 0.1  # how probable it is that something below L5-S1 was taken for a disc
_STEP_MM = (25.0, 45.0)  # from one lumbar disc to the next


@dataclass(frozen=True)
class DiscLevels:
    """Label of each disc, in the order they were given; 0 for one that is none of the five, ``NO_LEVEL`` when unsure.

    ``confidence`` is the probability that the disc which speaks most for it is L5-S1; ``reason`` says what was decided.
    """

    labels: tuple[int, ...]
    confidence: float
    reason: str


def name_levels(places_mm: np.ndarray, lumbosacral: Sequence[float], floor: float = LEVEL_FLOOR) -> DiscLevels:
    """Name the discs of a spine.

    One disc is L5-S1, or none is. Each answer is as probable as what the detector says of every disc, times 0.1 for
    each disc that it leaves below L5-S1. From there the discs are counted upwards; where two are further apart than one
    and a half times the usual step between those that were found, a disc was missed and a level is left out.

    Parameters
    ----------
    places_mm : (N, 3) middle of each disc, RAS+ mm.
    lumbosacral : (N,) how much speaks for L5-S1, 0 to 1.
    floor : least probability of the answer; below it all discs have ``NO_LEVEL``.
    """
    count = len(places_mm)
    if not count:
        return DiscLevels((), 0.0, "no disc is found")
    order = np.argsort(np.asarray(places_mm)[:, 2])
    chances = _weigh(np.clip(np.asarray(lumbosacral, float)[order], *_EVIDENCE))
    lowest = int(chances[:-1].argmax())
    confidence = float(chances[lowest])
    if confidence < floor:
        reason = f"no disc is surely L5-S1 (probability {confidence:.2f}, at least {floor:.2f} is asked for)"
        return DiscLevels((NO_LEVEL,) * count, confidence, f"{reason}: levels are left open")
    steps = np.linalg.norm(np.diff(np.asarray(places_mm)[order[lowest:]], axis=0), axis=1)
    usual = np.clip(np.median(steps), *_STEP_MM) if len(steps) else 1.0
    levels = _L5_S1 - np.concatenate(([0], np.cumsum(np.maximum(1, np.round(steps / usual)))))
    labels = np.zeros(count, int)
    labels[order[lowest:]] = np.where(levels >= 1, levels, 0)
    missed = bool((steps / usual >= 1.5).any())
    reason = f"counted upwards from L5-S1, which has a probability of {confidence:.2f}"
    return DiscLevels(tuple(labels.tolist()), confidence, f"{reason}; a disc between was missed" if missed else reason)


def _weigh(evidence: np.ndarray) -> np.ndarray:
    """(N + 1,) probability that each disc, from the lowest, is L5-S1, and last that none is."""
    others = np.log1p(-evidence).sum()
    scores = others + np.log(evidence) - np.log1p(-evidence) + np.log(_BELOW) * np.arange(len(evidence))
    weights = np.exp(np.append(scores, others) - max(scores.max(), others))
    return weights / weights.sum()
