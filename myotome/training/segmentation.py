"""Learning to label pixels where some are not annotated: the loss, and what is scored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

__all__ = ["UNANNOTATED", "MaskedDiceCrossEntropy", "MergedOutput", "soft_dice_loss"]

UNANNOTATED = 255


def soft_dice_loss(prediction: Tensor, reference: Tensor, smoothing: float = 1.0) -> Tensor:
    """1 - Dice of probabilities, averaged over the classes; 0 where a class is neither predicted nor there.

    Dice is (2 sum(p r) + s) / (sum(p) + sum(r) + s), over all pixels of the batch together. Probabilities are taken as
    they are: a prediction that is rounded first has no gradient, and nothing is learned from it.

    Parameters
    ----------
    prediction, reference : (C, N), probabilities and shares of each class.
    smoothing : s, in pixels.
    """
    both, total = (prediction * reference).sum(1), prediction.sum(1) + reference.sum(1)
    return (1 - (2 * both + smoothing) / (total + smoothing)).mean()


class MaskedDiceCrossEntropy(nn.Module):
    """Cross-entropy plus soft Dice loss of the foreground, over the pixels that are annotated.

    Parameters
    ----------
    dice_share : weight of the Dice loss beside the cross-entropy's 1.
    ignored : label of pixels that count nowhere. A batch of nothing else gives 0.
    """

    def __init__(self, dice_share: float = 1.0, ignored: int = UNANNOTATED) -> None:
        super().__init__()
        self.dice_share, self.ignored = dice_share, ignored

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Loss of (B, C, H, W) logits for (B, 1, H, W) labels."""
        classes = logits.shape[1]
        known = (label[:, 0] != self.ignored).flatten()
        if not known.any():
            return 0.0 * logits.sum()
        rows = logits.movedim(1, -1).reshape(-1, classes)[known]
        target = label[:, 0].flatten()[known].long()
        entropy = cross_entropy(rows, target)
        shares = one_hot(target, classes).to(rows.dtype)
        return entropy + self.dice_share * soft_dice_loss(rows.softmax(1).T[1:], shares.T[1:])


class MergedOutput:
    """``output_transform`` for :class:`PooledDice`: predicted and reference classes of the annotated pixels.

    Parameters
    ----------
    groups : labels that count as one class each, numbered from 1 on; all others are background.
    ignored : label of pixels that count nowhere.
    """

    def __init__(self, groups: Sequence[Sequence[int]], ignored: int = UNANNOTATED) -> None:
        self.groups, self.ignored = [tuple(group) for group in groups], ignored

    def __call__(self, output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        prediction, label = output["pred"].argmax(1), output["label"][:, 0].long()
        known = label != self.ignored
        return self._merge(prediction[known]), self._merge(label[known])

    def _merge(self, labels: Tensor) -> Tensor:
        merged = torch.zeros_like(labels)
        for number, group in enumerate(self.groups, start=1):
            for label in group:
                merged[labels == label] = number
        return merged
