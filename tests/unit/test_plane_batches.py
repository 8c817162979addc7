"""Batches of slices change within what is allowed, by seed, and never so that bright becomes dark."""

import pytest
import torch

from myotome.transforms import RandIntensity, RandTurn, seeded_generator


def test_turns_are_within_their_limits_and_replay():
    plan = RandTurn(rotation_deg=10, zoom=(0.8, 1.25), stretch=0.05, mirror=0.5, shift=0.3)
    turn, shift = plan.draw(2000, seeded_generator(4))
    again, _ = plan.draw(2000, seeded_generator(4))
    assert torch.equal(turn, again)
    size = turn.norm(dim=1)  # of each column
    assert size.min() > 0.8 * 0.95 and size.max() < 1.25 * 1.05
    angle = torch.rad2deg(torch.atan2(turn[:, 0, 1], turn[:, 1, 1])).abs()
    assert 9 < angle.max() <= 10.001
    mirrored = torch.linalg.det(turn) < 0
    assert 0.45 < mirrored.float().mean() < 0.55
    assert 0.29 < shift.abs().max() <= 0.3


def test_without_changes_a_turn_is_none():
    turn, shift = RandTurn(0, (1, 1), 0, 0, 0).draw(3, seeded_generator(1))
    torch.testing.assert_close(turn, torch.eye(2).expand(3, 2, 2))
    assert not shift.any()


def test_intensities_stay_in_range_and_in_order():
    ramp = torch.linspace(0.1, 0.9, 64).expand(40, 1, 64, 64).contiguous()
    plan = RandIntensity(noise=0.0, bias=0.0)
    changed = plan(ramp, seeded_generator(2))
    assert changed.min() >= 0 and changed.max() <= 1
    assert (changed.diff(dim=3)[..., 3:-3] >= -1e-6).all()
    assert changed.std(dim=0).mean() > 0.02
    assert torch.equal(changed, plan(ramp, seeded_generator(2)))


def test_noise_has_the_size_that_is_asked_for():
    flat = torch.full((400, 1, 16, 16), 0.5)
    plan = RandIntensity(gamma=0, gain=0, offset=0, bias=0, noise=0.08, blur=0, sharpen=0)
    spread = plan(flat, seeded_generator(3)).flatten(1).std(dim=1)
    assert spread.max() == pytest.approx(0.08, rel=0.15) and spread.min() < 0.01
