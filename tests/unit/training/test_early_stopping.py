"""A training ends when its score stops rising, keeps its best weights, and stays ended when it is started again."""

from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from myotome.training import AveragedWeights, EarlyStopping, StageCheckpoint, StageFiles


def run(scores: list[float], folder, patience: int = 2, epochs: int = 8):
    """A training whose weight after epoch n is n, and whose validation gives the next score."""
    network = nn.Linear(1, 1, bias=False)
    average = AveragedWeights(network)
    evaluator = SimpleNamespace(state=SimpleNamespace(metrics={}))
    early = EarlyStopping(average, evaluator, patience)
    trainer = Engine(lambda engine, batch: None)
    trainer.state.device, trainer.state.rank, trainer.network = "cpu", 0, network
    trainer.data_loader = SimpleNamespace(dataset=SimpleNamespace(start=0), batch_size=1)

    def validate(engine):
        value = float(engine.state.epoch)
        network.weight.data.fill_(value)
        average.average["weight"] = torch.full((1, 1), value)
        evaluator.state.metrics["score"] = scores[engine.state.epoch - 1]

    from ignite.engine import Events

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    early.attach(trainer)
    files = StageFiles(str(folder / "model.pt"), str(folder / "checkpoint.pt"))
    StageCheckpoint(network, average, {"early_stopping": early}, files).attach(trainer)
    trainer.run([0], max_epochs=epochs, epoch_length=1)
    return trainer.state.epoch, float(torch.load(files.weights, weights_only=True)["weight"]), network, early


def test_the_best_weights_are_written_and_the_run_ends(tmp_path):
    epoch, weight, network, early = run([0.1, 0.5, 0.4, 0.5, 0.9, 0.9, 0.9, 0.9], tmp_path)
    assert (epoch, weight, early.best_score) == (4, 2.0, 0.5)
    assert float(network.weight) == 4.0  # training itself is left as it is


def test_without_patience_it_goes_on_to_the_end(tmp_path):
    epoch, weight, _, early = run([0.9, 0.1, 0.1, 0.1, 0.1, 0.95, 0.1, 0.1], tmp_path, patience=0)
    assert (epoch, weight) == (8, 6.0) and not early.exhausted


def test_a_training_that_ended_early_does_nothing_more(tmp_path):
    run([0.1, 0.5, 0.4, 0.5, 0, 0, 0, 0], tmp_path)
    (tmp_path / "model.pt").unlink()
    epoch, weight, _, early = run([0.1, 0.5, 0.4, 0.5, 1, 1, 1, 1], tmp_path)
    assert (epoch, weight) == (4, 2.0) and early.waited == 2


def test_one_without_a_validation_waits_for_nothing(tmp_path):
    early = EarlyStopping(None, SimpleNamespace(state=SimpleNamespace(metrics={})), 1)
    early.judge(SimpleNamespace(state=SimpleNamespace(epoch=1)))
    assert early.best_score is None and not early.exhausted


@pytest.mark.parametrize(("interval", "judged"), [(2, 2), (3, 1)])
def test_only_epochs_with_a_validation_are_judged(interval, judged):
    average = SimpleNamespace(average={})
    early = EarlyStopping(average, SimpleNamespace(state=SimpleNamespace(metrics={"score": 0.5})), 0, interval)
    for epoch in range(1, 6):
        early.judge(SimpleNamespace(state=SimpleNamespace(epoch=epoch)))
    assert early.waited == judged - 1
