"""The loss has a gradient, and what is not annotated counts nowhere."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from myotome.training import MaskedDiceCrossEntropy, MergedOutput, soft_dice_loss


def test_the_dice_loss_is_one_minus_dice():
    prediction = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.0, 0.5, 1.0, 1.0]])
    reference = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    expected = 1 - ((2 * 1.5) / (1.5 + 2) + (2 * 2) / (2.5 + 2)) / 2
    assert float(soft_dice_loss(prediction, reference, smoothing=0)) == pytest.approx(expected)
    nothing = torch.zeros(1, 4)
    assert float(soft_dice_loss(nothing, nothing)) == 0


def test_the_dice_loss_has_a_gradient_and_a_rounded_one_has_none():
    torch.manual_seed(0)
    reference = one_hot(torch.tensor([0, 1, 1, 0, 1]), 2).float().T
    logits = torch.randn(2, 5, requires_grad=True)
    soft_dice_loss(logits.softmax(0)[1:], reference[1:]).backward()
    assert (logits.grad.abs() > 1e-3).all()
    wanted = torch.where(reference > 0, -1, 1)  # downhill: the right class up, the other down
    assert torch.equal(logits.grad.sign(), wanted.sign())
    logits.grad = None
    soft_dice_loss(logits.softmax(0)[1:].round(), reference[1:]).backward()
    assert not logits.grad.any()


def test_the_stages_loss_is_cross_entropy_plus_dice_and_its_dice_moves_the_logits():
    torch.manual_seed(1)
    logits, label = torch.randn(2, 5, 4, 4, requires_grad=True), torch.randint(5, (2, 1, 4, 4))
    entropy = cross_entropy(logits, label[:, 0])
    assert float(MaskedDiceCrossEntropy(0.0)(logits, label)) == pytest.approx(float(entropy))
    (MaskedDiceCrossEntropy(1.0)(logits, label) - entropy).backward()
    assert (logits.grad.abs().amax((0, 2, 3)) > 1e-4).all()


def test_what_is_not_annotated_has_neither_loss_nor_gradient():
    torch.manual_seed(2)
    logits, label = torch.randn(1, 5, 4, 4, requires_grad=True), torch.randint(5, (1, 1, 4, 4))
    label[..., :2] = 255
    loss = MaskedDiceCrossEntropy()(logits, label)
    loss.backward()
    assert not logits.grad[..., :2].any() and logits.grad[..., 2:].all()
    other = logits.detach().clone()
    other[..., :2] += 7
    assert float(MaskedDiceCrossEntropy()(other, label)) == pytest.approx(float(loss.detach()))
    assert float(MaskedDiceCrossEntropy()(logits, torch.full_like(label, 255))) == 0


def test_labels_are_merged_and_unannotated_pixels_left_out():
    label = torch.tensor([[[[0, 1, 4], [2, 3, 255]]]])
    pred = one_hot(torch.tensor([[[0, 4, 0], [2, 1, 1]]]), 5).movedim(-1, 1).float()
    found, reference = MergedOutput([[1, 4], [2]])({"pred": pred, "label": label})
    assert reference.tolist() == [0, 1, 1, 2, 0]
    assert found.tolist() == [0, 1, 0, 2, 1]
