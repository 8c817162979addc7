"""A row of vertebrae is named as a whole: names follow each other from head to foot, and none is left out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "SEQUENCE",
    "SEQUENCE_LEVELS",
    "UNKNOWN",
    "LevelEvidence",
    "SequenceEvidence",
    "chain_loss",
    "decode_sequence",
    "locate_level",
]

SEQUENCE_LEVELS = ("T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3")
SEQUENCE = ("above T8", *SEQUENCE_LEVELS, "below L3")
"""Names of a bin, from head to foot. A vertebra's bins reach to the middle of the discs above and below it."""

UNKNOWN = 255
"""Label of a bin whose name is not known."""

_NEVER = -1e4  # as a logarithm; finite, so that gradients stay so
# In bins of 3 mm: a vertebra with half a disc on either side, how far its edge may be smeared, from where on it is
# another vertebra, and how near to the end of the field the middle of one that is cut can be told.
_HEIGHT, _SMEARED, _APART, _MARGIN = 11.0, 3, 8, 2.0


class SequenceEvidence(NamedTuple):
    """What the logits of one field say: the likeliest row of names, and how probable each name is at each bin.

    ``path`` (Z,) int64 holds indices of `SEQUENCE`, lowest bin first; ``shares`` (10, Z) float64 the probability that a
    bin has a name, over all rows that are in order; a bin's shares sum to one.
    """

    path: Tensor
    shares: Tensor


class LevelEvidence(NamedTuple):
    """Where the middle of a vertebra seems to be, in bins from the lowest, and how sure that is.

    ``confidence`` is the probability that the bin there has its name, ``rival`` that of the likeliest other place at
    least 8 bins away, and ``absent`` what is left: that its middle is not in the field.
    """

    position: float
    confidence: float
    rival: float
    absent: float


def chain_loss(logits: Tensor, label: Tensor, inside: Tensor) -> Tensor:
    """Mean negative log probability of the true rows of names among all rows that are in order.

    The probability of a row is proportional to exp(sum of its logits); from a bin to the next one above it the name
    stays or becomes the one above. Where the label is not known every name counts as true.

    Parameters
    ----------
    logits : (B, 10, Z), lowest bin first.
    label : (B, Z) indices of `SEQUENCE`, or `UNKNOWN`.
    inside : (B, Z) bool, one run of bins that are in the field; the others count nowhere.
    """
    names = torch.arange(logits.shape[1], device=logits.device)[None, :, None]
    possible = (label[:, None] == names) | (label[:, None] == UNKNOWN)
    every = _accumulate(logits, inside)[..., -1].logsumexp(1)
    true = _accumulate(logits.masked_fill(~possible, _NEVER), inside)[..., -1].logsumexp(1)
    return (every - true).mean()


@torch.no_grad()
def decode_sequence(logits: Tensor) -> SequenceEvidence:
    """The likeliest row of names (Viterbi), and the probability of each name at each bin, of (10, Z) logits.

    A field without bins gives an empty row.
    """
    scores = logits.detach().double().cpu()
    count = scores.shape[1]
    if not count:
        return SequenceEvidence(torch.zeros(0, dtype=torch.int64), scores)
    inside = torch.ones(1, count, dtype=torch.bool)
    below = _accumulate(scores[None], inside)[0]
    # Upside down the rules are the same, so what lies above a bin is summed up by the same function.
    above = _accumulate(scores[None].flip(1, 2), inside)[0].flip(0, 1)
    return SequenceEvidence(_find_path(scores), (below + above - scores).softmax(0))


def locate_level(found: SequenceEvidence, name: str) -> LevelEvidence:
    """Where the middle of a vertebra of `SEQUENCE_LEVELS` is, in the likeliest row.

    It is the mean of its bins, weighted by the probability of the name. Where the field cuts it off, it lies half a
    vertebra from the end that is seen: of the one above where that is whole, else of 33 mm. Within 6 mm of the end of
    the field such a middle counts as absent.
    """
    index = SEQUENCE.index(name)
    chances, size = found.shares[index], found.shares.shape[1]
    run = torch.nonzero(found.path == index)[:, 0].tolist()
    if not run:
        return LevelEvidence(0.0, 0.0, 0.0, 1.0 - (float(chances.max()) if size else 0.0))
    first, end = run[0], run[-1] + 1
    steps = torch.arange(size, dtype=torch.float64)
    if first > 0 and end < size:
        near = slice(max(0, first - _SMEARED), end + _SMEARED)
        position = float((chances * steps)[near].sum() / chances[near].sum())
    else:
        above = torch.nonzero(found.path == index - 1)[:, 0]
        whole = len(above) > 0 and int(above[-1]) + 1 < size
        half = max(len(above) if whole else _HEIGHT, end - first) / 2
        position = (end - half if first == 0 else first + half) - 0.5
        if not _MARGIN <= position + 0.5 <= size - _MARGIN:
            return LevelEvidence(position, 0.0, 0.0, 1.0)
    confidence = float(chances[round(position)])
    elsewhere = chances[(steps - position).abs() >= _APART]
    rival = float(elsewhere.max()) if len(elsewhere) else 0.0
    return LevelEvidence(position, confidence, rival, max(0.0, 1.0 - confidence - rival))


def _accumulate(scores: Tensor, inside: Tensor) -> Tensor:
    """(B, K, Z) log of the summed weights of all rows that end at a bin with a name; kept where a bin is outside."""
    total = torch.zeros_like(scores[:, :, 0])
    begun = torch.zeros_like(inside[:, :1])
    never = torch.full_like(total[:, :1], _NEVER)
    totals = []
    for place in range(scores.shape[2]):
        moved = torch.logaddexp(total, torch.cat((total[:, 1:], never), dim=1))
        here = inside[:, place, None]
        total = torch.where(here, torch.where(begun, moved, 0.0) + scores[:, :, place], total)
        begun = begun | here
        totals.append(total)
    return torch.stack(totals, dim=2)


def _find_path(scores: Tensor) -> Tensor:
    """(Z,) the row of names with the largest sum of (K, Z) scores."""
    total, never = scores[:, 0], scores.new_full((1,), -torch.inf)
    moves = []
    for place in range(1, scores.shape[1]):
        from_below = torch.cat((total[1:], never))
        moves.append(from_below > total)
        total = torch.maximum(total, from_below) + scores[:, place]
    path = [int(total.argmax())]
    for moved in reversed(moves):
        path.append(path[-1] + int(moved[path[-1]]))
    return torch.tensor(path[::-1])
