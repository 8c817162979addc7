"""The grader crops where the fossa is, orders its grades, and is the same network in TorchScript."""

import pytest
import torch
from torchvision.models import VGG19_Weights

from myotome.errors import BundleError
from myotome.networks import (
    CropBox,
    SupraspinatusGrader,
    read_imagenet_weights,
    read_weights,
    regions_of,
    sample_squares,
    write_weights,
)

SMALL = {"channels": (4, 8, 16, 32)}


@pytest.fixture
def grader():
    torch.manual_seed(1)
    return SupraspinatusGrader(**SMALL, strides=(1, 2, 2)).eval()


def box_label(columns: slice, rows: slice) -> torch.Tensor:
    label = torch.zeros(1, 1, 128, 160, dtype=torch.uint8)
    label[..., rows, columns] = 1
    return label


def test_definitions_are_probabilities_and_the_grades_sum_to_one(grader):
    with torch.inference_mode():
        pred = grader(torch.rand(3, 1, 128, 160))
    assert pred.shape == (3, 10) and (pred >= 0).all() and (pred <= 1).all()
    torch.testing.assert_close(pred[:, 5:].sum(1), torch.ones(3))


@pytest.mark.parametrize("classifier", ["small", "vgg19"])
def test_both_classifiers_take_a_crop_and_give_ordered_grades(classifier):
    torch.manual_seed(2)
    with torch.inference_mode():
        logits = (
            SupraspinatusGrader(classifier, **SMALL, strides=(1, 2, 2)).eval().grade_logits(torch.rand(2, 2, 96, 96))
        )
    assert logits.shape == (2, 14)
    assert (logits[:, 10:].diff(dim=1) <= 0).all()


def test_an_unknown_classifier_and_stage_are_refused(grader):
    with pytest.raises(ValueError, match="small, vgg19"):
        SupraspinatusGrader("resnet")
    with pytest.raises(ValueError, match="region, grade"):
        grader.training_stage("bone")


def test_the_square_has_the_fossas_middle_and_more_than_its_size(grader):
    label = box_label(slice(40, 80), slice(60, 80))
    label[..., 50:60, 40:80] = 2  # the fossa's roof moves the middle up
    label[..., 100:110, 10:20] = 3  # bone does not
    box = grader.find_box(regions_of(label))
    assert box.centre.tolist() == [[59.5, 64.5]]
    assert box.half_px.item() == pytest.approx(2.6 * (40**2 / 12) ** 0.5, rel=1e-3)


def test_a_single_pixel_far_away_hardly_moves_the_square(grader):
    label = box_label(slice(40, 80), slice(60, 80))
    near = grader.find_box(regions_of(label))
    label[..., 5, 150] = 1
    far = grader.find_box(regions_of(label))
    assert (far.centre - near.centre).abs().max() < 0.2
    assert far.half_px.item() < 1.05 * near.half_px.item()


def test_the_crop_shows_image_and_mask_in_place(grader):
    label = box_label(slice(40, 80), slice(60, 100))
    image = torch.where(label > 0, 0.8, 0.1)
    crop = grader.crop(image, regions_of(label))
    assert crop.shape == (1, 2, 96, 96)
    torch.testing.assert_close(crop[:, 0], 0.1 + 0.7 * crop[:, 1], atol=1e-5, rtol=0)
    side = 2 * 2.6 * (40**2 / 12) ** 0.5
    assert crop[0, 1].mean().item() == pytest.approx(40**2 / side**2, rel=0.02)
    columns = crop[0, 1].sum(0)
    torch.testing.assert_close(columns, columns.flip(0), atol=1e-2, rtol=0)  # in the middle


def test_probabilities_and_labels_give_the_same_crop(grader):
    label = box_label(slice(40, 80), slice(60, 100))
    image = torch.rand(1, 1, 128, 160)
    soft = 0.9 * regions_of(label) + 0.02
    assert torch.equal(grader.crop(image, soft), grader.crop(image, regions_of(label)))


def test_without_labels_the_crop_is_the_whole_image(grader):
    image = torch.zeros(1, 1, 160, 160)
    image[..., :80, :80] = 1  # upper left
    crop = grader.crop(image, torch.zeros(1, 5, 160, 160))
    assert crop[0, 0, 1:47, 1:47].min() > 0.99 and crop[0, 0, 49:].max() < 0.01 and crop[0, 1].abs().max() == 0


def test_a_turned_square_shows_the_image_turned():
    image = torch.zeros(1, 1, 64, 64)
    image[..., :32, :] = 1  # above
    box = CropBox(torch.tensor([[31.5, 31.5]]), torch.tensor([16.0]))
    quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    turned = sample_squares(image, box, quarter, 32)
    assert turned[0, 0, :, :15].min() == 1 and turned[0, 0, :, 17:].max() == 0


def test_a_temperature_divides_the_logits(grader):
    logits = torch.zeros(1, 14)
    logits[0, 1], logits[0, 10:] = 2.0, torch.tensor([3.0, 1.0, -1.0, -4.0])
    plain = grader.probabilities(logits)
    grader.temperature.fill_(2.0)
    scaled = grader.probabilities(logits)
    assert plain[0, 0].item() == pytest.approx(torch.tensor(2.0).sigmoid().item())
    assert scaled[0, 0].item() == pytest.approx(torch.tensor(1.0).sigmoid().item())
    assert scaled[0, 5:].sum().item() == pytest.approx(1.0)
    torch.testing.assert_close(scaled[0, 5:].cumsum(0)[:4], 1 - (logits[0, 10:] / 2).sigmoid())


@pytest.mark.filterwarnings("ignore")
def test_torchscript_gives_the_same_probabilities(grader):
    image = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.script(grader)(image), grader(image))


def test_weights_come_back_and_those_of_the_other_classifier_are_refused(grader, tmp_path):
    write_weights(grader.state_dict(), tmp_path / "model.pt")
    again = read_weights(SupraspinatusGrader(**SMALL, strides=(1, 2, 2)), tmp_path / "model.pt")
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in grader.state_dict().items())
    with pytest.raises(BundleError, match="another network"):
        read_weights(SupraspinatusGrader("vgg19", **SMALL, strides=(1, 2, 2)), tmp_path / "model.pt")


def test_imagenet_weights_that_cannot_be_had_are_one_sentence(monkeypatch, tmp_path):
    """The address is one that nobody answers at; torch's cache is an empty folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(VGG19_Weights.IMAGENET1K_V1.value, "url", "http://127.0.0.1:9/vgg19-dcbb9e9d.pth")
    with pytest.raises(BundleError, match="start to 'scratch', or to 'phantom'"):
        read_imagenet_weights()
