"""The L3 bundle, run as its users run it: by monai.bundle, by Myotome, and packed."""

from __future__ import annotations

import csv
import json
import shutil
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from myotome.errors import BundleError
from myotome.inference import BundleSegmenter
from myotome.io import read_volume
from myotome.training import BundleTraining, train_bundle
from myotome.training.warm import WarmTrainer
from tests.integration.bundles import ROOT, copy_bundle, pack_and_verify, run_monai, run_program, run_training

NAME = "l3_muscle_ct_segmentation"
BUNDLE = ROOT / "bundle" / NAME
EVALUATE = "['configs/inference.yaml', 'configs/evaluate.yaml']"
AXIAL = np.diag([-2.4, -2.4, 5.0, 1.0])
QUICK = {"iterations": 2, "epoch_length": 1, "batch_size": 2, "patch": 96, "val_interval": 1}


monai = partial(run_monai, BUNDLE, "run")
succeed = partial(run_program, BUNDLE)


def read_rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def write_slice(folder: Path, number: int) -> dict:
    """A ring of muscle between two kinds of fat, with a streak of fat in it; a corner is not annotated."""
    x, y = np.meshgrid(np.arange(112), np.arange(96), indexing="ij")
    radius = np.hypot((x - 54 - number) / 46, (y - 48) / 38)
    label = np.select([radius < 0.6, radius < 0.8, radius < 1], [3, 1, 2], 0).astype(np.uint8)
    streak = (label == 1) & (np.abs(y - 46) < 3)
    label[streak] = 4
    density = np.choose(label, [-1000, 55, -105, -100, -90]).astype(np.int16)
    label[:10, :10] = 255
    for name, array in (("image", density), ("label", label)):
        nib.save(nib.Nifti1Image(array[..., None], AXIAL), folder / f"{name}{number}.nii.gz")
    return {"image": f"image{number}.nii.gz", "label": f"label{number}.nii.gz"}


def write_spine(folder: Path, number: int) -> dict:
    """A volume of soft tissue with a column of bone, whose brightest slab is L3; L2 lies above it."""
    image = np.full((64, 64, 24), 30, np.int16)
    image[28:36, 36:44] = 200
    image[28:36, 36:44, 8 + number] = 600
    nib.save(nib.Nifti1Image(image, np.diag([-5.0, -5.0, 5.0, 1.0])), folder / f"spine{number}.nii.gz")
    return {"image": f"spine{number}.nii.gz", "levels": {"L2": 5.0 * (15 + number), "L3": 5.0 * (8 + number)}}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    slices = [write_slice(folder, number) for number in range(3)]
    lists = {"training": slices, "validation": slices[:1], "testing": slices[:2]}
    (folder / "datalist.json").write_text(json.dumps(lists))
    spines = [write_spine(folder, number) for number in range(3)]
    (folder / "spines.json").write_text(json.dumps({"training": spines, "validation": spines}))
    unlabelled = [{"image": row["image"]} for row in slices]
    (folder / "unlabelled.json").write_text(json.dumps({"training": unlabelled, "validation": unlabelled[:1]}))
    return folder


def train(stage: str, datalist: Path, folder: Path, overlays: tuple[str, ...] = (), **keys: object) -> dict:
    folder.mkdir(exist_ok=True)
    training = BundleTraining(BUNDLE, datalist, folder / "model.pt", folder, overlays, {**QUICK, **keys}, (stage,))
    return torch.load(train_bundle(training, run=run_training), weights_only=True)


def changed(first: dict, second: dict) -> set[str]:
    """Parts of the network whose weights differ."""
    return {key.rsplit(".", 1)[0].split(".stages")[0] for key in first if not torch.equal(first[key], second[key])}


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory) -> Path:
    """Weights of a few iterations: enough to tell muscle and fat, which differ in density."""
    folder = tmp_path_factory.mktemp("weights")
    few = {"iterations": 60, "epoch_length": 60, "patch": 128, "val_interval": 0, "learning_rate": 0.01}
    train("muscle", data / "datalist.json", folder, **few)
    return folder / "model.pt"


def test_the_bundle_and_the_package_give_the_same_labels(tmp_path, weights, data):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(data / "image1.nii.gz", images)
    shutil.copy(data / "spine1.nii.gz", images)
    keys = ["--dataset_dir", images, "--output_dir", tmp_path / "out", "--weights_path", weights]
    succeed("inference", "--config_file", "configs/inference.yaml", *keys, "--confidence", "1.1")
    written = nib.load(tmp_path / "out" / "image1_labels.nii.gz")
    found, reference = np.asarray(written.dataobj), np.asarray(nib.load(data / "label1.nii.gz").dataobj)
    muscle = np.isin(found, (1, 4)), np.isin(reference, (1, 4))
    assert 2 * np.count_nonzero(muscle[0] & muscle[1]) > 0.8 * (muscle[0].sum() + muscle[1].sum())
    levels = read_rows(tmp_path / "out" / "levels.csv")
    assert levels["images/image1.nii.gz"]["slice"] == "0"
    assert "taken to be L3" in levels["images/image1.nii.gz"]["reason"]
    refused = levels["images/spine1.nii.gz"]  # an untrained level network is not believed
    assert refused["slice"] == "" and "--slice" in refused["reason"]
    assert not np.asarray(nib.load(tmp_path / "out" / "spine1_labels.nii.gz").dataobj).any()

    segmenter = BundleSegmenter(copy_bundle(NAME, tmp_path, weights))
    volume = read_volume(images / "image1.nii.gz")
    label_map = segmenter.segment(volume)
    assert np.array_equal(label_map.array, found) and np.allclose(written.affine, label_map.grid.affine)
    assert segmenter.finds_level and segmenter.locate(volume, label_map).slice_index == 0
    spine = read_volume(images / "spine1.nii.gz")
    label_map = segmenter.segment_level(spine, level_slice=5, average=True)
    drawn = np.flatnonzero(label_map.array.any(axis=(0, 1)))
    assert drawn.tolist() == [4, 5, 6]
    assert segmenter.locate(spine, label_map).reason == "given by hand"


def test_evaluation_scores_what_is_annotated(tmp_path, weights, data):
    keys = ["--dataset_dir", data, "--weights_path", weights, "--output_dir", tmp_path]
    succeed("evaluate", "--config_file", EVALUATE, *keys)
    with (tmp_path / "summary.csv").open() as file:
        scores = {(row["structure"], row["score"]): row for row in csv.DictReader(file)}
    assert float(scores["skeletal_muscle", "dice"]["mean"]) > 0.7
    assert scores["skeletal_muscle", "dice"]["cases"] == "2"


def test_stages_and_pretext_tasks_train_their_own_part(tmp_path, data):
    lists = {"level": "spines", "reconstruction": "unlabelled", "jigsaw": "unlabelled"}
    given = train("muscle", data / "datalist.json", tmp_path / "muscle")
    for stage, name in lists.items():
        folder = tmp_path / stage
        folder.mkdir()
        shutil.copy(tmp_path / "muscle" / "model.pt", folder)
        patch = 192 if stage == "jigsaw" else 96
        parts = changed(given, train(stage, data / f"{name}.json", folder, patch=patch))
        assert parts == {"muscle.encoder"} if stage != "level" else all(part.startswith("level") for part in parts)
    encoder = torch.load(tmp_path / "jigsaw" / "model.pt", weights_only=True)
    source = {"source": "jigsaw", "source_path": tmp_path / "jigsaw" / "model.pt", "learning_rate": 0.0}
    begun = train("muscle", data / "datalist.json", tmp_path / "begun", **source)
    key = "muscle.encoder.stages.0.0.0.weight"
    assert torch.allclose(begun[key], encoder[key]) and not torch.equal(begun[key], given[key])


def test_a_training_resumes_and_finetuning_leaves_the_level_alone(tmp_path, data, weights):
    first = train("muscle", data / "datalist.json", tmp_path / "a")
    again = train("muscle", data / "datalist.json", tmp_path / "a")
    assert all(torch.equal(first[key], again[key]) for key in first)
    (tmp_path / "b").mkdir()
    shutil.copy(weights, tmp_path / "b" / "model.pt")
    given = torch.load(weights, weights_only=True)
    learnt = train("muscle", data / "datalist.json", tmp_path / "b", ("finetune",))
    assert {part.split(".")[0] for part in changed(given, learnt)} == {"muscle"}


def test_trainings_in_forks_give_the_weights_and_the_refusals_of_processes_of_their_own(tmp_path, data):
    trainer = WarmTrainer()

    def learn(name: str, run, **keys: object) -> dict:
        folder = tmp_path / name
        folder.mkdir()
        where = (BUNDLE, data / "datalist.json", folder / "model.pt", folder)
        return torch.load(run(BundleTraining(*where, (), {**QUICK, **keys}, ("muscle",))), weights_only=True)

    alone = learn("alone", train_bundle)
    for name in ("first", "second"):
        forked = learn(name, trainer)
        assert all(torch.equal(alone[key], forked[key]) for key in alone)
    with pytest.raises(BundleError, match="failed: source 'moon' is not known"):
        learn("third", trainer, source="moon")
    trainer.close()


def test_what_cannot_be_run_is_refused_in_one_sentence(tmp_path, data):
    where = ["--weights_path", tmp_path / "model.pt", "--checkpoint_dir", tmp_path]
    slices, level = ["--dataset_dir", data], "['configs/train.yaml', 'configs/train_level.yaml']"
    for config, sentence, arguments in (
        ("configs/train.yaml", "source 'moon' is not known", [*slices, "--source", "moon"]),
        ("configs/train.yaml", "set source_path", [*slices, "--source", "jigsaw"]),
        (level, "does not say where the vertebrae are", slices),
        ("configs/train.yaml", "no key 'sourse'", [*slices, "--sourse", "scratch"]),
    ):
        done = monai("training", "--config_file", config, *where, *arguments)
        assert done.returncode != 0
        assert sentence in done.stderr


def test_the_weights_of_real_slices_find_the_level_as_the_others_do():
    """Fine-tuning leaves the level network alone; what is learned of real muscle is in the other one."""
    models = BUNDLE / "models"
    shipped, real = (torch.load(models / name, weights_only=True) for name in ("model.pt", "model_real.pt"))
    assert {part.split(".")[0] for part in changed(shipped, real)} == {"muscle"}


def test_it_packs_to_the_same_bytes_and_passes_the_zoos_gate(tmp_path, weights):
    names = pack_and_verify(NAME, tmp_path, weights)
    assert f"{NAME}/myotome/networks/l3_muscle.py" in names and f"{NAME}/models/model_real.pt" in names
    assert not [name for name in names if "/cli/" in name or "/io/" in name]
