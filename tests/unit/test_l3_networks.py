"""The L3 segmenter's networks: shapes, what each source gives, and what the level network's answer means."""

import pytest
import torch
from torch.nn.functional import one_hot
from torchvision.models import mobilenet_v3_large
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from myotome.errors import BundleError, InputError
from myotome.networks import (
    L3_STAGES,
    PRETEXT_STAGES,
    SEQUENCE,
    SOURCES,
    L3MuscleSegmenter,
    LevelNetwork,
    SequenceEvidence,
    copy_source,
    decode_sequence,
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
        assert network(torch.rand(2, 5, 64, 48)).shape == (2, len(SEQUENCE), 48)


def make_evidence(*runs: tuple[str, int]) -> SequenceEvidence:
    """A row that is sure: names and their bins, from below upwards."""
    path = torch.cat([torch.full((bins,), SEQUENCE.index(name)) for name, bins in runs])
    return SequenceEvidence(path, one_hot(path, len(SEQUENCE)).T.double())


def test_a_whole_vertebra_is_where_its_name_is():
    found = make_evidence(("below L3", 20), ("L3", 11), ("L2", 11))
    assert locate_level(found, "L3") == (25.0, 1.0, 0.0, 0.0)
    found.shares[:, 20] = torch.eye(len(SEQUENCE), dtype=torch.float64)[[8, 9]].mean(0)  # half of it L4
    assert 25.0 < locate_level(found, "L3").position < 25.4


def test_another_place_is_a_rival_and_the_rest_speaks_for_none():
    found = make_evidence(("below L3", 20), ("L3", 11), ("L2", 11))
    l3 = SEQUENCE.index("L3")
    found.shares[l3, 20:31], found.shares[l3, 31:42] = 0.6, 0.3
    evidence = locate_level(found, "L3")
    assert evidence.position == pytest.approx(25.9, abs=0.5)
    assert evidence[1:] == pytest.approx((0.6, 0.3, 0.1))


@pytest.mark.parametrize(
    ("runs", "position"),
    [
        ((("L3", 8), ("L2", 11), ("L1", 5)), 2.0),  # as high as L2: its middle is 5.5 bins below their boundary
        ((("L3", 8), ("L2", 4)), 2.0),  # L2 is cut, too: 33 mm
        ((("L3", 12), ("L2", 11), ("L1", 5)), 5.5),
        ((("below L3", 9), ("L3", 8)), 14.0),
    ],
)
def test_a_vertebra_that_the_field_cuts_is_half_a_vertebra_from_its_end(runs, position):
    found = locate_level(make_evidence(*runs), "L3")
    assert found.position == pytest.approx(position) and found.absent == 0


@pytest.mark.parametrize("runs", [(("L3", 7), ("L2", 11), ("L1", 5)), (("below L3", 9), ("L3", 3)), (("L2", 20),), ()])
def test_a_vertebra_whose_middle_is_outside_the_field_is_absent(runs):
    found = locate_level(make_evidence(*runs) if runs else decode_sequence(torch.zeros(len(SEQUENCE), 0)), "L3")
    assert found.absent == 1 and found.confidence == 0
