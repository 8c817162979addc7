"""Training samples replay, targets are what the stages learn, and a run that stops goes on as if it had not."""

from __future__ import annotations

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from myotome.errors import BundleError, InputError
from myotome.networks import RespiratoryCascade, read_weights, write_weights
from myotome.training import (
    AveragedWeights,
    PooledDice,
    SlabDataset,
    SlabSampling,
    StageBatch,
    StageCheckpoint,
    StageFiles,
    StageOutput,
    copy_fitting_weights,
    list_images,
    read_datalist,
    require_known_overrides,
    start_stage,
)
from myotome.transforms import RandNoised

CHANNELS = (4, 8, 16, 32)
PLAIN = SlabSampling(
    patch=(40, 40), spacing_mm=1.0, thickness_mm=(2.0, 2.0), overlap=(1.0, 1.0), zoom=(1.0, 1.0),
    rotation_deg=0, any_rotation=0, elastic_px=0, muscle_share=1.0,
)  # fmt: skip


@pytest.fixture
def case(tmp_path):
    """One volume of 1 mm voxels: label 2 (50 HU) fills the lower four slices of eight, fat the rest."""
    label = np.zeros((60, 60, 8), np.uint8)
    label[:, :, :4] = 2
    image = np.where(label == 2, 50, -100).astype(np.int16)
    for name, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii")
    return [{"image": str(tmp_path / "image.nii"), "label": str(tmp_path / "label.nii")}]


def test_a_sample_depends_on_its_number_alone(case):
    data = SlabDataset(case, [RandNoised("image", 1.0)], length=10, seed=3)
    first = [data[4]["image"], data[5]["image"], data[4]["image"]]
    assert torch.equal(first[0], first[2]) and not torch.equal(first[0], first[1])
    data.start = 4
    assert len(data) == 6
    assert torch.equal(data[0]["image"], first[0])


def test_two_processes_draw_different_samples(case):
    one, two = (SlabDataset(case, length=4, shard=(rank, 2)) for rank in (0, 1))
    assert not any(torch.equal(one[i]["image"], two[j]["image"]) for i in range(4) for j in range(4))


def test_a_slab_is_the_mean_of_its_slices_and_its_label_their_majority(case):
    data = SlabDataset(case, length=40, sampling=PLAIN)
    seen = set()
    for number in range(40):
        sample = data[number]
        for value, label in ((50, 2), (-25, 0), (-100, 0)):  # a tie is background
            here = sample["image"][1].round() == value
            assert (sample["label"][0][here] == label).all()
            seen |= {value} if here.any() else set()
    assert seen == {50, -25, -100}


def test_an_empty_list_and_unequal_shapes_are_refused(case, tmp_path):
    with pytest.raises(InputError, match="data list is empty"):
        SlabDataset([])
    nib.save(nib.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4)), tmp_path / "small.nii")
    with pytest.raises(InputError, match="differ in shape"):
        SlabDataset([{**case[0], "label": str(tmp_path / "small.nii")}])[0]


def test_targets_of_the_three_stages():
    label = torch.tensor([0, 1, 2, 3, 4], dtype=torch.uint8).reshape(1, 1, 1, 5)
    assert StageBatch("muscle_tissue").target(label).flatten().tolist() == [0, 1, 1, 1, 1]
    beside = torch.nn.functional.pad(label, (3, 0))  # background within two voxels of muscle is ignored
    assert StageBatch("respiratory_muscles").target(beside).flatten().tolist() == [0, 0, -100, -100, 1, 1, 1, 0]
    assert StageBatch("muscle_classes").target(label).flatten().tolist() == [-100, 0, 1, 2, -100]


def test_pooled_dice_counts_voxels_of_all_batches():
    dice = PooledDice(2)
    dice.update((torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 0])))
    dice.update((torch.tensor([1, 0]), torch.tensor([1, 1])))
    assert dice.compute() == pytest.approx(2 * 2 / (3 + 3))


def test_class_scores_ignore_what_is_outside_the_mask():
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]]).reshape(1, 3, 1, 3)
    target = torch.tensor([0, 2, -100]).reshape(1, 1, 3)
    prediction, reference = StageOutput("muscle_classes")({"pred": logits, "label": target})
    assert prediction.flatten().tolist() == [1, 2, 0]
    assert reference.flatten().tolist() == [1, 3, 0]


def test_the_average_follows_slowly_and_swaps_back():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = AveragedWeights(network, decay=0.5)
    network.weight.data.fill_(1.0)
    average.update()  # decay min(0.5, 2/11)
    assert average.average["weight"].item() == pytest.approx(9 / 11)
    average.swap()
    assert network.weight.item() == pytest.approx(9 / 11)
    average.swap()
    assert network.weight.item() == 1.0


def test_a_wider_network_starts_from_a_narrower_one():
    cascade = RespiratoryCascade(CHANNELS)
    first, second = cascade.muscle_tissue.state_dict(), cascade.respiratory_muscles.state_dict()
    key = next(name for name, value in second.items() if value.ndim == 4 and value.shape[1] == 4 and "conv" in name)
    copied = copy_fitting_weights(cascade.respiratory_muscles, cascade.muscle_tissue)
    assert copied == len(second) - 2  # all but the output layer, which has two channels where the first has one
    now = cascade.respiratory_muscles.state_dict()[key]
    assert torch.equal(now[:, :3], first[key])


def make_engine(network, epoch_length=4):
    loader = SimpleNamespace(dataset=SimpleNamespace(start=0), batch_size=3)
    state = SimpleNamespace(iteration=6, epoch=1, epoch_length=epoch_length, max_epochs=9, device="cpu", rank=0)
    return SimpleNamespace(network=network, state=state, data_loader=loader)


def test_a_checkpoint_brings_everything_back_and_the_weights_are_the_average(tmp_path):
    files = StageFiles(str(tmp_path / "model.pt"), str(tmp_path / "checkpoint.pt"))
    cascade = RespiratoryCascade(CHANNELS)
    stage = cascade.stage("muscle_tissue")
    average = AveragedWeights(stage)
    for parameter in stage.parameters():
        parameter.data.add_(1.0)
    optimizer = torch.optim.AdamW(stage.parameters(), lr=0.5)
    StageCheckpoint(cascade, average, {"optimizer": optimizer}, files).save(make_engine(stage))

    again = RespiratoryCascade(CHANNELS)
    other = again.stage("muscle_tissue")
    engine, resumed = make_engine(other), AveragedWeights(other)
    engine.state.iteration = 0
    slow = torch.optim.AdamW(other.parameters(), lr=0.1)
    StageCheckpoint(again, resumed, {"optimizer": slow}, files).resume(engine)
    assert (engine.state.iteration, engine.state.epoch, engine.data_loader.dataset.start) == (6, 1, 18)
    assert slow.param_groups[0]["lr"] == 0.5
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), stage.parameters(), strict=True))

    shipped = read_weights(RespiratoryCascade(CHANNELS), files.weights).stage("muscle_tissue").state_dict()
    assert all(torch.equal(shipped[key], value) for key, value in average.average.items())


def test_a_checkpoint_of_another_stage_is_refused(tmp_path):
    files = StageFiles(str(tmp_path / "model.pt"), str(tmp_path / "checkpoint.pt"))
    write_weights({"network": {"weight": torch.zeros(1)}}, files.checkpoint)
    stage = RespiratoryCascade(CHANNELS).stage("muscle_tissue")
    with pytest.raises(BundleError, match="cannot resume"):
        StageCheckpoint(None, AveragedWeights(stage), {}, files).resume(make_engine(stage))


def test_stage_two_starts_from_the_trained_stage_one(tmp_path):
    trained = RespiratoryCascade(CHANNELS)
    write_weights(trained.state_dict(), tmp_path / "model.pt")
    cascade = RespiratoryCascade(CHANNELS)
    start_stage(cascade, "respiratory_muscles", torch.device("cpu"), tmp_path / "model.pt", "muscle_tissue")
    for key, value in trained.muscle_tissue.state_dict().items():
        assert torch.equal(cascade.muscle_tissue.state_dict()[key], value)


def test_a_datalist_resolves_its_paths_and_refuses_what_is_empty(tmp_path):
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({"training": [{"image": "a/i.nii", "label": "a/l.nii"}], "validation": []}))
    rows = read_datalist(path, "training")
    assert rows == [{"image": str(tmp_path / "a/i.nii"), "label": str(tmp_path / "a/l.nii")}]
    for key in ("validation", "testing"):
        with pytest.raises(InputError, match=f"no '{key}' cases"):
            read_datalist(path, key)
    with pytest.raises(InputError, match="no readable data list"):
        read_datalist(tmp_path / "none.json", "training")


def test_images_are_listed_by_name_and_none_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no \.nii"):
        list_images(tmp_path)
    for name in ("b.nii", "a.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    assert [row["image"] for row in list_images(tmp_path)] == [str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii")]


@pytest.mark.parametrize("key", ["dataset_dir", "train::trainer::max_epochs", "sampling#zoom", "loader::num_workers"])
def test_known_overrides_pass(tmp_path, key):
    require_known_overrides(
        ["run", "training", "--config_file", write_config(tmp_path), f"--{key}", "1", "--tracking=x"]
    )


@pytest.mark.parametrize("key", ["datset_dir", "train::trainr::max_epochs"])
def test_a_mistyped_override_is_refused(tmp_path, key):
    with pytest.raises(InputError, match=f"no key '{key}'"):
        require_known_overrides(["run", "--config_file", f"['{write_config(tmp_path)}']", f"--{key}=1"])


def write_config(folder) -> str:
    config = {"dataset_dir": "x", "sampling": {"_target_": "a.B"}, "loader": {"_target_": "a.C"}}
    config["train"] = {"trainer": {"_target_": "a.D", "max_epochs": 1}}
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return str(path)
