"""The quick learner learns what can be learnt in a second, and the same again from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from myotome.errors import InputError
from myotome.training.quick import QuickLearner, QuickTraining, make_quick_learner


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_cases(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Bright squares (structure 1) and brighter bars (structure 2) in grey, in slices of different sizes."""
    images, labels = [], []
    for number in range(count):
        hu = np.full((3, 37 + number, 45), 0, np.int16)
        truth = np.zeros(hu.shape, np.uint8)
        truth[:, 5 + number : 21 + number, 6:22] = 1
        truth[:, 8:30, 30:38] = 2
        hu[truth == 1], hu[truth == 2] = 90, 200
        images.append(hu)
        labels.append(truth)
    return images, labels


def test_it_learns_and_gives_probabilities_on_the_slices_own_grid():
    images, labels = make_cases(4)
    plan = QuickTraining(iterations=40, channels=(8, 16, 16), batch_size=4, patch=48, learning_rate=0.02)
    model = QuickLearner(3, plan).fit(images[:3], labels[:3], seed=0)
    probabilities = model.probabilities(images[3])
    assert probabilities.shape == (3, 3, 40, 45) and probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    prediction = probabilities.argmax(axis=1)
    for index in (1, 2):
        found, truth = prediction == index, labels[3] == index
        assert 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum()) > 0.85


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    images, labels = make_cases(2)
    learner = QuickLearner(3, QuickTraining(iterations=3, channels=(4, 8), batch_size=2, patch=32))
    one, same, other = (learner.fit(images, labels, seed).probabilities(images[0]) for seed in (5, 5, 6))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other, atol=1e-3)


def test_the_budget_multiplies_the_iterations(monkeypatch):
    drawn = []
    monkeypatch.setattr("myotome.training.quick._draw_batch", lambda *_, make=_draw_grey: drawn.append(1) or make())
    images, labels = make_cases(1)
    learner = QuickLearner(3, QuickTraining(iterations=4, channels=(4, 8), batch_size=2, patch=32))
    for budget, total in ((1.0, 4), (1.5, 10), (0.01, 11)):
        learner.fit(images, labels, 0, budget)
        assert len(drawn) == total


def _draw_grey():
    return torch.zeros(2, 1, 32, 32), torch.zeros(2, 1, 32, 32, dtype=torch.long)


def test_a_learner_from_a_configuration():
    learner = make_quick_learner("respiratory_muscle_ct", {"iterations": 7, "channels": (4, 8)})
    assert learner.class_count == 5
    assert learner.training == QuickTraining(iterations=7, channels=(4, 8))
    with pytest.raises(InputError, match="no setting 'epochs'"):
        make_quick_learner("respiratory_muscle_ct", {"epochs": 1})
    with pytest.raises(InputError, match="no label schema"):
        make_quick_learner("nothing", {})
