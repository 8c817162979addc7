"""The L3 segmenter's networks: shapes, what each source gives, and what the level network's answer means."""

import math

import pytest
import torch
from torchvision.models import mobilenet_v3_large
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from myotome.errors import BundleError, InputError
from myotome.networks import (
    L3_STAGES,
    PRETEXT_STAGES,
    SOURCES,
    L3MuscleSegmenter,
    LevelNetwork,
    copy_source,
    list_transfer,
    locate_level,
    read_mobilenet_weights,
    write_weights,
)
from myotome.networks import weights as weights_module
from myotome.networks.mobile_unet import MobileEncoder, fold_torchvision_names

LARGEST_BYTES = 25e6


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    return L3MuscleSegmenter().eval()


def test_features_come_at_five_strides_and_the_labels_at_the_images_own(segmenter):
    image = torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        features = segmenter.muscle.encoder(image)
        pred = segmenter(image)
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (16, 32, 48),
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (160, 2, 3),
    ]
    assert pred.shape == (1, 5, 64, 96)
    torch.testing.assert_close(pred.sum(1), torch.ones(1, 64, 96))


def test_it_is_small_enough_for_the_repository(segmenter):
    assert sum(value.numel() * value.element_size() for value in segmenter.state_dict().values()) < LARGEST_BYTES


def test_every_stage_is_a_part_or_shares_the_encoder(segmenter):
    for name in (*L3_STAGES, *PRETEXT_STAGES):
        stage = segmenter.training_stage(name)
        if name == "level":
            assert stage is segmenter.level
        else:
            assert stage.encoder is segmenter.muscle.encoder
    with pytest.raises(ValueError, match="muscle, level, reconstruction, jigsaw"):
        segmenter.training_stage("bone")


def test_the_encoder_is_torchvisions_up_to_its_last_convolution():
    theirs, ours = mobilenet_v3_large(weights=None).eval(), MobileEncoder().eval()
    ours.load_state_dict(fold_torchvision_names(theirs.state_dict()))
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        expected = theirs.features[:16]((image - ours.mean) / ours.deviation)
        torch.testing.assert_close(ours(image)[-1], expected)


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_transferred_and_what_is_fresh_are_listed(segmenter, source):
    found = list_transfer(segmenter, source)
    names = {key for key, value in segmenter.state_dict().items() if key.startswith("muscle.") and value.ndim}
    assert set(found.transferred) | set(found.fresh) == names
    assert not set(found.transferred) & set(found.fresh)
    total = sum(segmenter.state_dict()[key].numel() for key in names)
    assert found.transferred_count + found.fresh_count == total
    expected = {
        "scratch": set(),
        "phantom": names,
    }.get(source, {key for key in names if key.startswith("muscle.encoder.")})
    assert set(found.transferred) == expected


@pytest.mark.parametrize(
    ("source", "theirs"), [("imagenet", mobilenet_v3_large), ("segmentation", lraspp_mobilenet_v3_large)]
)
def test_torchvisions_weights_become_the_encoders(monkeypatch, source, theirs):
    given = (
        theirs(weights=None, weights_backbone=None).state_dict()
        if source == "segmentation"
        else theirs(weights=None).state_dict()
    )
    monkeypatch.setattr(weights_module, "_download", lambda *arguments: given)
    segmenter = L3MuscleSegmenter()
    before = {key: value.clone() for key, value in segmenter.state_dict().items()}
    transfer = copy_source(segmenter, source)
    head = "features" if source == "imagenet" else "backbone"
    state = segmenter.state_dict()
    assert torch.equal(state["muscle.encoder.stages.0.0.0.weight"], given[f"{head}.0.0.weight"])
    assert torch.equal(state["muscle.encoder.stages.4.15.block.3.0.weight"], given[f"{head}.15.block.3.0.weight"])
    assert all(torch.equal(state[key], before[key]) for key in transfer.fresh)


def test_trained_sources_give_their_encoder_and_phantoms_the_decoder_too(tmp_path):
    given = L3MuscleSegmenter()
    write_weights(given.state_dict(), tmp_path / "model.pt")
    for source in ("reconstruction", "jigsaw", "phantom"):
        segmenter = L3MuscleSegmenter()
        copy_source(segmenter, source, tmp_path / "model.pt")
        same = {key: torch.equal(value, given.state_dict()[key]) for key, value in segmenter.state_dict().items()}
        assert same["muscle.encoder.stages.2.4.block.0.0.weight"]
        assert same["muscle.head.weight"] == (source == "phantom")
        assert not same["level.head.weight"]


def test_a_source_that_cannot_be_had_is_refused_in_a_sentence(segmenter, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="source 'moon' is not known: choose one of scratch"):
        copy_source(segmenter, "moon")
    with pytest.raises(InputError, match="set source_path"):
        copy_source(segmenter, "jigsaw")
    with pytest.raises(BundleError, match="the reconstruction training left"):
        copy_source(segmenter, "reconstruction", tmp_path / "none.pt")
    write_weights({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(BundleError, match="of another network"):
        copy_source(segmenter, "phantom", tmp_path / "other.pt")

    class Offline:
        url = "https://download.pytorch.org/models/encoder.pth"

        def get_state_dict(self, **options):
            raise OSError("no network")

    monkeypatch.setitem(weights_module._MOBILENETS, "imagenet", Offline())
    with pytest.raises(
        BundleError, match=r"cannot be downloaded here from https://download\S+: set source to 'scratch'"
    ):
        read_mobilenet_weights("imagenet")


def test_the_segmenter_can_be_exported(segmenter):
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.script(segmenter)(image), segmenter(image))


def test_the_level_network_answers_for_each_bin():
    network = LevelNetwork().eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 5, 64, 48)).shape == (2, 2, 48)


def test_probabilities_are_of_the_field_alone():
    logits = torch.zeros(1, 2, 10)
    logits[0, 1] = torch.tensor([0.0] * 5 + [99.0] * 5)
    inside = torch.tensor([[True] * 5 + [False] * 5])
    chances = LevelNetwork.log_probabilities(logits, inside)[0].exp()
    torch.testing.assert_close(chances[:5], torch.full((5,), 1 / 6))
    assert chances[5:-1].max() == 0 and float(chances[-1]) == pytest.approx(1 / 6)


def test_a_place_has_a_mean_a_probability_and_a_rival():
    chances = torch.full((61,), 1e-9)
    chances[20], chances[21], chances[45], chances[-1] = 0.4, 0.2, 0.3, 0.1
    found = locate_level(chances.log())
    assert found.position == pytest.approx(20 + 1 / 3, abs=1e-4)
    assert found.confidence == pytest.approx(0.6, abs=1e-4)
    assert found.rival == pytest.approx(0.3, abs=1e-4)
    assert found.absent == pytest.approx(0.1, abs=1e-4)
    assert math.isclose(sum(chances), 1, abs_tol=1e-6)
