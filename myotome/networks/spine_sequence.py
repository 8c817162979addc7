"""A row of vertebrae is named as a whole: names follow each other from head to foot, and none is left out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SEQUENCE", "SEQUENCE_LEVELS", "UNKNOWN", "SequenceEvidence", "chain_loss", "decode_sequence"]

SEQUENCE_LEVELS = ("T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3")
SEQUENCE = ("above T8", *SEQUENCE_LEVELS, "below L3")
"""Names of a bin, from head to foot. A vertebra's bins reach to the middle of the discs above and below it."""

UNKNOWN = 255
"""Label of a bin whose name is not known."""

_NEVER = -1e4  # as a logarithm; finite, so that gradients stay so


class SequenceEvidence(NamedTuple):
    """What the logits of one field say: the likeliest row of names, and how probable each name is at each bin.

    ``path`` (Z,) int64 holds indices of `SEQUENCE`, lowest bin first; ``shares`` (10, Z) float64 the probability that a
    bin has a name, over all rows that are in order; a bin's shares sum to one.
    """

    path: Tensor
    shares: Tensor


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
