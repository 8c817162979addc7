"""The cascade narrows: what is respiratory is muscle, and the later stages work on a mask."""

import pytest
import torch

from myotome.errors import BundleError
from myotome.networks import STAGES, RespiratoryCascade, read_weights, write_weights
from myotome.networks.cascade import _wear as wear

CHANNELS = (4, 8, 16, 32, 64)


@pytest.fixture
def cascade():
    torch.manual_seed(1)
    return RespiratoryCascade(CHANNELS).eval()


def test_probabilities_sum_to_one_and_the_muscles_share_stage_one(cascade):
    image = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        pred, muscle = cascade(image), cascade.muscle_tissue(image).sigmoid()
    assert pred.shape == (2, 5, 64, 96) and (pred >= 0).all()
    torch.testing.assert_close(pred.sum(1), torch.ones(2, 64, 96))
    torch.testing.assert_close(pred[:, 1:].sum(1, keepdim=True), muscle)


@pytest.mark.parametrize(("stage", "outputs"), zip(STAGES[1:], (2, 3), strict=True))
def test_the_later_stages_need_a_mask_and_work_at_both_resolutions(cascade, stage, outputs):
    image, label = torch.rand(1, 3, 64, 64), torch.randint(5, (1, 1, 64, 64))
    with torch.inference_mode():
        assert cascade.stage(stage)(image, label).shape == (1, outputs, 64, 64)
        assert cascade.stage(stage, coarse=True)(image, label).shape == (1, outputs, 64, 64)
    with pytest.raises(ValueError, match="reference mask"):
        cascade.stage(stage)(image)


def test_a_stage_scored_is_given_the_mask_as_it_is_and_a_stage_trained_is_not(cascade):
    image, label = torch.full((1, 3, 64, 64), 0.5), torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    label[..., 16:48, 16:48] = 1
    stage = cascade.stage("respiratory_muscles", coarse=True).eval()
    with torch.inference_mode():
        assert torch.equal(stage(image, label), stage(image, label))
        stage.train()
        stage.network.eval()  # so that only the mask differs
        torch.manual_seed(2)
        assert not torch.equal(stage(image, label), stage(image, label))


def test_a_worn_mask_gains_nothing_but_soft_tissue():
    image = torch.full((4, 1, 64, 64), 0.5)
    image[..., :32] = 0.05  # fat
    mask = torch.zeros(4, 1, 64, 64, dtype=torch.bool)
    mask[..., 10:14, 10:14] = True
    reach = torch.nn.functional.max_pool2d(mask.float(), 3, 1, 1) > 0
    gained = lost = 0
    for seed in range(30):
        torch.manual_seed(seed)
        worn = wear(mask, image)
        assert worn.min() >= 0 and worn.max() <= 1
        assert (worn[~reach & (image < 0.25)] == 0).all()
        gained += int((worn[~reach] > 0).sum())
        lost += int((worn[mask] == 0).sum())
    assert gained and lost


def test_an_unknown_stage_is_refused(cascade):
    with pytest.raises(ValueError, match="muscle_tissue, respiratory_muscles, muscle_classes"):
        cascade.stage("bone")


def test_weights_come_back_and_those_of_another_network_are_refused(cascade, tmp_path):
    write_weights(cascade.state_dict(), tmp_path / "model.pt")
    again = read_weights(RespiratoryCascade(CHANNELS), tmp_path / "model.pt")
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in cascade.state_dict().items())
    with pytest.raises(BundleError, match="another network"):
        read_weights(RespiratoryCascade((4, 8, 16, 32)), tmp_path / "model.pt")
    with pytest.raises(BundleError, match="no weights"):
        read_weights(cascade, tmp_path / "absent.pt")
    (tmp_path / "broken.pt").write_bytes(b"not weights")
    with pytest.raises(BundleError, match="not a readable weights file"):
        read_weights(cascade, tmp_path / "broken.pt")
