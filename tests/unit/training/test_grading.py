"""What the grader's stages learn from: the right targets, crops that move alike, and answers calibrated at the end."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from myotome.errors import BundleError, InputError
from myotome.networks import REGION_GROUPS, SupraspinatusGrader, regions_of, write_weights
from myotome.training import (
    AveragedWeights,
    CropBatch,
    CropSource,
    FitTemperature,
    GradeKappa,
    GradeLoss,
    RegionBatch,
    StageCheckpoint,
    StageFiles,
    read_teacher,
    start_grader,
)
from myotome.training.plane_data import Planes
from myotome.transforms import RandIntensity, RandTurn, keep_largest_pieces

CPU = torch.device("cpu")
TINY = {"channels": (4, 8), "strides": (1,)}
BUMP = 6.0


@pytest.fixture
def grader():
    torch.manual_seed(3)
    return SupraspinatusGrader(**TINY)


def make_batch(count: int = 2, size: int = 64) -> dict[str, torch.Tensor]:
    label = torch.zeros(count, 1, size, size, dtype=torch.uint8)
    label[..., 20:40, 24:40] = 1
    return {
        "image": torch.where(label > 0, 0.8, 0.2),
        "label": label,
        "grade": torch.arange(count) % 5,
        "weight": torch.ones(count),
        "seed": torch.arange(count) + 7,
    }


def logits_of(grade: int, sure: float = BUMP) -> torch.Tensor:
    """(1, 14) logits that give a grade and the answers that follow from it."""
    answers = torch.zeros(1, 14)
    positive = {0: "", 1: "", 2: "BC", 3: "ABDE", 4: "ABDE"}[grade]
    for place, name in enumerate("ABCDE"):
        answers[0, 2 * place + (name in positive)] = sure
    answers[0, 10:] = torch.tensor([sure if grade > k else -sure for k in range(4)])
    return answers


@pytest.mark.parametrize("grade", range(5))
def test_the_right_answer_costs_least(grade):
    loss, target = GradeLoss(), torch.tensor([[float(grade), 1.0]])
    costs = [float(loss(logits_of(given), target)) for given in range(5)]
    assert int(np.argmin(costs)) == grade and costs[grade] < 0.02


def test_the_loss_of_no_knowledge_is_log_2_for_each_question():
    target = torch.tensor([[4.0, 1.0]])
    assert GradeLoss()(torch.zeros(1, 14), target).item() == pytest.approx(2 * math.log(2) * 0.9, rel=1e-5)
    # of the five definitions, C does not ask about grade 4


def test_a_dropped_grade_and_a_missing_one_teach_nothing():
    loss = GradeLoss(definitions=["A"])
    prediction = torch.zeros(1, 14, requires_grad=True)
    loss(prediction, torch.tensor([[2.0, 1.0]])).backward()
    assert prediction.grad[0, :10].abs().max() == 0 and prediction.grad[0, 10:].abs().min() > 0
    prediction.grad = None
    loss(prediction, torch.tensor([[-1.0, 1.0]])).backward()
    assert prediction.grad.abs().max() == 0


def test_a_definition_that_is_not_asked_for_is_not_trained_and_an_unknown_one_is_refused():
    prediction = torch.zeros(1, 14, requires_grad=True)
    GradeLoss(definitions=["B"])(prediction, torch.tensor([[0.0, 1.0]])).backward()
    assert prediction.grad[0, [0, 1, 4, 5, 6, 7, 8, 9]].abs().max() == 0 and prediction.grad[0, 2:4].abs().min() > 0
    with pytest.raises(InputError, match="'F'"):
        GradeLoss(definitions=["F"])


def test_a_teacher_is_copied_where_there_is_no_grade():
    loss = GradeLoss(teacher_share=0.5)
    teacher = logits_of(3)
    target = torch.cat((torch.tensor([[-1.0, 1.0]]), teacher), dim=1)
    prediction = teacher.clone().requires_grad_()
    loss(prediction, target).backward()
    assert prediction.grad.abs().max() < 1e-6
    assert loss(logits_of(0), target) > loss(teacher, target)


def test_the_same_seed_gives_the_same_crop_and_image_and_mask_move_together(grader):
    turn = RandTurn(rotation_deg=20)
    batch = make_batch()
    crop, target, _, _ = CropBatch(grader, turn)(batch, CPU)
    again, _, _, _ = CropBatch(grader, turn)(batch, CPU)
    assert torch.equal(crop, again) and crop.shape == (2, 2, 96, 96)
    inside = crop[:, 0] > 0  # the rest lies outside the image
    torch.testing.assert_close(crop[:, 0][inside], (0.2 + 0.6 * crop[:, 1])[inside], atol=1e-4, rtol=0)
    assert target.tolist() == [[0, 1], [1, 1]]
    plain, _, _, _ = CropBatch(grader)(batch, CPU)
    assert torch.equal(plain, grader.crop(batch["image"], regions_of(batch["label"])))
    assert not torch.equal(plain, crop)
    coarse, _, _, _ = CropBatch(grader, size=48)(batch, CPU)
    assert coarse.shape == (2, 2, 48, 48)
    assert coarse.mean().item() == pytest.approx(plain.mean().item(), abs=1e-3)


def test_intensities_change_and_masks_do_not(grader):
    crop, _, _, _ = CropBatch(grader, RandTurn(0, (1, 1), 0, 0, 0), RandIntensity())(make_batch(), CPU)
    plain, _, _, _ = CropBatch(grader)(make_batch(), CPU)
    torch.testing.assert_close(crop[:, 1], plain[:, 1])
    assert (crop[:, 0] - plain[:, 0]).abs().mean() > 0.01
    assert crop.min() >= 0 and crop.max() <= 1


def test_patches_of_a_region_keep_image_and_label_together(grader):
    batch = make_batch(8)
    image, label, _, _ = RegionBatch(32, RandTurn(), focus=1.0)(batch, CPU)
    assert image.shape == (8, 1, 32, 32) and label.shape == (8, 1, 32, 32)
    assert (label.flatten(1).sum(1) > 0).all()
    assert image[label == 1].mean() > 0.75 and image[(label == 0) & (image > 0)].mean() < 0.25
    whole, same, _, _ = RegionBatch()(batch, CPU)
    assert torch.equal(whole, batch["image"]) and torch.equal(same, batch["label"].long())


def test_patches_are_centred_on_the_classes_that_are_wanted():
    label = torch.zeros(4, 1, 96, 96, dtype=torch.uint8)
    label[:, :, 10:20, 10:20], label[:, :, 70:80, 60:70] = 1, 2
    batch = {"image": label.float().expand(-1, 3, -1, -1), "label": label, "seed": torch.tensor([7])}
    still = RandTurn(0, (1, 1), 0, 0, 0)
    for wanted in (1, 2):
        image, found, _, _ = RegionBatch(24, still, focus=1.0, wanted=(wanted,))(batch, CPU)
        assert image.shape == (4, 3, 24, 24) and sorted(found.unique().tolist()) == [0, wanted]
        assert (found == wanted).sum() == 400


def test_crops_are_cut_by_the_mask_that_is_asked_for(grader):
    batch = make_batch(3)
    no = torch.zeros(3, dtype=torch.bool)
    planes = Planes(batch["image"][:, 0].half(), batch["label"][:, 0], batch["grade"], empty=no, axial=no)
    assert torch.equal(CropSource(grader, "reference")(planes)["label"], planes.label)
    assert not CropSource(grader, "none")(planes)["label"].any()
    predicted = CropSource(grader, "predicted")(planes)["label"]
    with torch.no_grad():
        decided = grader.eval().region_logits(planes.image[:, None].float()).argmax(1).byte().numpy()
    expected = np.stack([keep_largest_pieces(label, REGION_GROUPS) for label in decided])
    assert np.array_equal(predicted.numpy(), expected)
    with pytest.raises(InputError, match="reference, predicted, none"):
        CropSource(grader, "mine")
    planes.grade.fill_(-1)
    with pytest.raises(InputError, match="none of the cases has a grade"):
        CropSource(grader, "reference")(planes)


def test_a_teacher_answers_once_for_each_slice(grader):
    batch = make_batch(3)
    no = torch.zeros(3, dtype=torch.bool)
    planes = Planes(batch["image"][:, 0].half(), batch["label"][:, 0], batch["grade"], empty=no, axial=no)
    teacher = grader.eval()
    given = CropSource(grader, "reference", teacher)(planes)["teacher"]
    with torch.no_grad():
        crop = teacher.crop(planes.image[:, None].float(), regions_of(batch["label"]))
        torch.testing.assert_close(given, teacher.grade_logits(crop))
    assert read_teacher(None) is None
    with pytest.raises(BundleError, match="no weights"):
        read_teacher("/nowhere/vgg19.pt")


def test_kappa_counts_all_batches_together(grader):
    kappa = GradeKappa(grader)
    for grades in ([0, 1, 2], [3, 4, -1]):
        shown = torch.cat([logits_of(max(grade, 0)) for grade in grades])
        kappa.update((shown, torch.tensor([[float(grade), 1.0] for grade in grades])))
    assert kappa.compute() == pytest.approx(1.0)


def test_where_a_grader_starts(grader, tmp_path):
    write_weights(grader.state_dict(), tmp_path / "model.pt")
    other = SupraspinatusGrader(**TINY)
    start_grader(other, "grade", CPU, tmp_path / "none.pt", start_path=tmp_path / "model.pt")
    for key, value in other.state_dict().items():
        same = torch.equal(value, grader.state_dict()[key])
        assert same or key.startswith("classifier.")
    head = "classifier.head.weight"
    assert not torch.equal(other.state_dict()[head], grader.state_dict()[head])
    start_grader(other, "grade", CPU, tmp_path / "none.pt", "phantom", tmp_path / "model.pt")
    assert torch.equal(other.state_dict()[head], grader.state_dict()[head])
    with pytest.raises(InputError, match="for classifier 'vgg19'"):
        start_grader(other, "grade", CPU, tmp_path / "none.pt", "imagenet")
    with pytest.raises(InputError, match="scratch, imagenet, phantom"):
        start_grader(other, "grade", CPU, tmp_path / "none.pt", "guess")
    with pytest.raises(InputError, match="set start_path"):
        start_grader(other, "grade", CPU, tmp_path / "none.pt", "phantom")
    with pytest.raises(BundleError, match="no weights at"):
        start_grader(other, "grade", CPU, tmp_path / "none.pt", "phantom", tmp_path / "absent.pt")


def test_temperatures_undo_what_is_too_sure(grader, tmp_path, monkeypatch):
    """Answers are right in 3 of 4 cases: the best probability is 0.75, whatever the logits say."""
    cases = [0, 0, 0, 4, 4, 4, 4, 0]
    said = torch.cat([logits_of(grade, 8.0) for grade in [0, 0, 0, 0, 4, 4, 4, 4]])
    network = grader.classifier
    files = StageFiles(str(tmp_path / "model.pt"), str(tmp_path / "checkpoint.pt"))
    checkpoint = StageCheckpoint(grader, AveragedWeights(network), {}, files)
    fit = FitTemperature(grader, None, None, checkpoint)
    monkeypatch.setattr(fit, "_collect", lambda device: (said.repeat(25, 1), torch.tensor(cases).repeat(25)))
    grader.temperature.fill_(3.0)
    fit.fit(SimpleNamespace(state=SimpleNamespace(rank=0, device="cpu", iteration=1), network=network))
    wanted = 8.0 / math.log(3)
    for place in (0, 1, 3, 5):  # A, B, D and the grade
        assert grader.temperature[place].item() == pytest.approx(wanted, rel=0.05)
    assert grader.temperature[2] == 3.0  # C has no positive case
    written = torch.load(tmp_path / "model.pt", weights_only=True)
    assert torch.equal(written["temperature"], grader.temperature)
