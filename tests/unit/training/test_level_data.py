"""Cut, stretched and moved fields keep their level where the label says; the loss and the score know it."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from myotome.errors import InputError
from myotome.training import LevelDataset, LevelLoss, LevelOutput, LevelSampling, LevelScore, read_datalist

AFFINE = np.diag([-3.0, -3.0, 3.0, 1.0])
AFFINE[:3, 3] = 90, 90, -500


def write_volume(folder, name: str, bright: int | None, slices: int = 60) -> dict:
    """A column of bone with one bright slab of three slices about ``bright``, in soft tissue."""
    image = np.full((60, 60, slices), 30, np.int16)
    image[25:35, 20:32] = 200
    if bright is not None:
        image[25:35, 20:32, bright - 1 : bright + 2] = 1000
    nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{name}.nii")
    return {"image": f"{name}.nii", "l3_z_mm": None if bright is None else -500.0 + 3 * bright}


def read(folder, rows: list[dict]) -> list[dict]:
    (folder / "datalist.json").write_text(json.dumps({"training": rows}))
    return read_datalist(folder / "datalist.json", "training")


def place_of(label: torch.Tensor) -> float:
    return float((label[0, :-1] * torch.arange(label.shape[-1] - 1)).sum())


def test_the_whole_field_has_its_level_where_it_is(tmp_path):
    rows = read(tmp_path, [write_volume(tmp_path, "a", 40), write_volume(tmp_path, "b", None, slices=50)])
    data = LevelDataset(rows)
    assert len(data) == 2
    first, second = data[0], data[1]
    assert first["image"].shape == (5, 64, 160) and first["label"].shape == (2, 161)
    assert place_of(first["label"]) == pytest.approx(40, abs=0.05)
    assert int(first["image"][0, 32].argmax()) in (39, 40, 41)
    assert first["label"][1].sum() == 61 and second["label"][1].sum() == 51
    assert second["label"][0, -1] == 1 and second["label"][0, :-1].sum() == 0


def test_the_level_moves_with_the_field(tmp_path):
    rows = read(tmp_path, [write_volume(tmp_path, "a", 40)])
    sampling = LevelSampling(noise=0.0, gain=(1.0, 1.0), least_mm=60)
    data = LevelDataset(rows, length=80, seed=3, sampling=sampling)
    samples = [data[number] for number in range(80)]
    inside = [sample for sample in samples if sample["label"][0, -1] == 0]
    assert 20 < len(inside) < 80  # some fields do not show it
    for sample in samples:
        field = torch.nonzero(sample["label"][1, :-1])
        assert not sample["image"][..., : int(field[0])].any() and not sample["image"][..., int(field[-1]) + 1 :].any()
        bright = torch.nonzero(sample["image"][0].amax(0) > 0.8)[:, 0]
        if sample["label"][0, -1] == 0 and field[0] + 3 < bright[0] and bright[-1] + 3 < field[-1]:
            assert place_of(sample["label"]) == pytest.approx(float(bright.float().mean()), abs=0.8)
        if sample["label"][0, -1] == 1 and len(bright):  # cut within the vertebra: its middle is not in the field
            assert min(bright[0] - field[0], field[-1] - bright[-1]) <= 1


def test_a_sample_depends_on_its_number_alone(tmp_path):
    rows = read(tmp_path, [write_volume(tmp_path, "a", 40)])
    data = LevelDataset(rows, length=10, seed=1)
    third = data[3]["image"]
    data.start = 3
    assert torch.equal(data[0]["image"], third) and len(data) == 7


def test_a_list_that_does_not_say_where_l3_is_is_refused(tmp_path):
    row = write_volume(tmp_path, "a", 40)
    row.pop("l3_z_mm")
    with pytest.raises(InputError, match="does not say where L3 is"):
        LevelDataset(read(tmp_path, [row]))
    with pytest.raises(InputError, match="data list is empty"):
        LevelDataset([])


def make_answer(place: int | None, bins: int = 40, sure: float = 20.0) -> torch.Tensor:
    logits = torch.zeros(1, 2, bins)
    if place is None:
        logits[0, 1] = sure
    else:
        logits[0, 0, place] = sure
    return logits


def make_label(place: float | None, bins: int = 40) -> torch.Tensor:
    label = torch.zeros(1, 2, bins + 1)
    label[0, 1] = 1
    label[0, 0, bins if place is None else int(place)] = 1
    return label


def test_the_loss_is_least_for_the_right_answer():
    loss = LevelLoss()
    assert float(loss(make_answer(12), make_label(12))) < 1e-3
    assert float(loss(make_answer(12), make_label(20))) > 10
    assert float(loss(make_answer(None), make_label(None))) < 1e-3
    assert float(loss(make_answer(None), make_label(12))) > 10


def test_the_score_is_the_share_within_5_mm_or_rightly_absent():
    score = LevelScore(output_transform=LevelOutput())
    for answer, truth in ((12, 12), (13, 12), (14, 12), (None, 12), (None, None), (12, None)):
        score.update(LevelOutput()({"pred": make_answer(answer), "label": make_label(truth)}))
    assert score.compute() == pytest.approx(3 / 6)  # 0 and 3 mm away, and absent; 6 mm is too far
