"""The bone segmenter's networks: what they give, and how a row of vertebrae is named."""

from __future__ import annotations

import itertools

import pytest
import torch

from myotome.networks import (
    BONE_STAGES,
    SEQUENCE,
    SEQUENCE_LEVELS,
    TISSUE_OF_LABEL,
    TISSUES,
    UNKNOWN,
    BoneDensitySegmenter,
    chain_loss,
    decode_sequence,
)
from myotome.structures import read_label_schema

LARGEST_BYTES = 25e6


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    return BoneDensitySegmenter().eval()


def rows_in_order(names: int, bins: int) -> list[tuple[int, ...]]:
    """Every row of names, lowest bin first, in which a name stays or becomes the one above it."""
    steps = itertools.product((0, 1), repeat=bins - 1)
    rows = ((first, *itertools.accumulate(moves, lambda name, move: name - move, initial=first))[1:]
            for first, moves in itertools.product(range(names), steps))  # fmt: skip
    return [row for row in rows if min(row) >= 0]


def weigh(logits: torch.Tensor, rows: list[tuple[int, ...]]) -> torch.Tensor:
    """Probability of each row by its definition."""
    scores = [sum(logits[name, place] for place, name in enumerate(row)) for row in rows]
    return torch.stack(scores).softmax(0)


def test_the_labels_are_those_of_the_schema_and_each_has_its_tissue():
    schema = read_label_schema("bone_density_ct")
    assert len(TISSUE_OF_LABEL) == schema.class_count
    names = [f"vertebral_body_{level.lower()}" for level in SEQUENCE_LEVELS] + list(TISSUES[2:])
    assert [structure.name for structure in schema.structures] == names
    assert [TISSUES[TISSUE_OF_LABEL[label]] for label in (0, 1, 8, 9, 13)] == [
        *("background", "vertebral_body", "vertebral_body", "cortical_bone", "air"),
    ]


def test_a_slice_alone_does_not_tell_the_vertebra(segmenter):
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        pred = segmenter(image)
        tissue = segmenter.tissue(image.transpose(2, 3).flip(2, 3)).softmax(1)
    assert pred.shape == (1, 14, 64, 96)
    torch.testing.assert_close(pred.sum(1), torch.ones(1, 64, 96))
    torch.testing.assert_close(pred[:, 1:9], pred[:, 1:2].expand(-1, 8, -1, -1))
    # What the tissue network says of its first pixel, front right, is about the last one here.
    torch.testing.assert_close(pred[0, 1:9, -1, -1].sum(), tissue[0, 1, 0, 0])
    torch.testing.assert_close(pred[0, 13, -1, 0], tissue[0, 6, -1, 0])


def test_it_is_small_enough_for_the_repository_and_can_be_exported(segmenter):
    assert sum(value.numel() * value.element_size() for value in segmenter.state_dict().values()) < LARGEST_BYTES
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.script(segmenter)(image), segmenter(image))


def test_every_stage_is_a_part(segmenter):
    assert {name: segmenter.training_stage(name) for name in BONE_STAGES} == {
        "tissue": segmenter.tissue,
        "level": segmenter.level,
    }
    with pytest.raises(ValueError, match="tissue, level"):
        segmenter.training_stage("muscle")
    with torch.inference_mode():
        assert segmenter.level(torch.rand(2, 5, 64, 48)).shape == (2, len(SEQUENCE), 48)


def test_the_likeliest_row_and_the_shares_are_those_of_all_rows_in_order():
    torch.manual_seed(4)
    logits = torch.randn(4, 5, dtype=torch.float64)
    rows = rows_in_order(4, 5)
    chances = weigh(logits, rows)
    found = decode_sequence(logits)
    assert tuple(found.path.tolist()) == rows[int(chances.argmax())]
    for name, place in itertools.product(range(4), range(5)):
        expected = sum(chance for row, chance in zip(rows, chances, strict=True) if row[place] == name)
        assert float(found.shares[name, place]) == pytest.approx(float(expected), abs=1e-9)


def test_the_loss_is_the_log_probability_of_the_rows_that_fit():
    torch.manual_seed(5)
    logits = torch.randn(1, 4, 7)
    inside = torch.tensor([[False, True, True, True, True, True, False]])
    label = torch.tensor([[0, 3, UNKNOWN, UNKNOWN, 2, 1, 0]])  # outside the field the label counts nowhere
    rows = rows_in_order(4, 5)
    chances = weigh(logits[0, :, 1:6], rows)
    true = sum(chance for row, chance in zip(rows, chances, strict=True) if row[0] == 3 and row[3:] == (2, 1))
    assert float(chain_loss(logits, label, inside)) == pytest.approx(float(-true.log()), abs=1e-4)
    nothing_known = torch.full((1, 7), UNKNOWN)
    assert float(chain_loss(logits, nothing_known, inside)) == pytest.approx(0, abs=1e-5)


def test_the_loss_can_be_learned_from():
    logits = torch.zeros(1, len(SEQUENCE), 30, requires_grad=True)
    label = torch.tensor([[9] * 8 + [8] * 12 + [7] * 10])
    for _ in range(60):
        loss = chain_loss(logits, label, torch.ones(1, 30, dtype=torch.bool))
        (slope,) = torch.autograd.grad(loss, logits)
        assert slope.isfinite().all()
        logits = (logits - slope).detach().requires_grad_()
    assert loss.item() < 0.3
    assert decode_sequence(logits[0]).path.tolist() == label[0].tolist()


def test_an_empty_field_has_an_empty_row():
    assert decode_sequence(torch.zeros(len(SEQUENCE), 0)).path.tolist() == []
