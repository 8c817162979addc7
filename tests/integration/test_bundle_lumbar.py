"""The lumbar disc bundle, run as its users run it: by monai.bundle, by Myotome, and packed."""

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
from myotome.inference import BundleSegmenter, DiscFinder
from myotome.io import read_volume
from myotome.training import BundleTraining, train_bundle
from tests.integration.bundles import ROOT, copy_bundle, pack_and_verify, run_monai, run_program, run_training

NAME = "lumbar_disc_mri_segmentation"
BUNDLE = ROOT / "bundle" / NAME
EVALUATE = "['configs/inference.yaml', 'configs/evaluate.yaml']"
SAGITTAL = np.array([[0, 0, -4.0, 12], [0, -1.0, 0, 40], [-1.0, 0, 0, 100], [0, 0, 0, 1]])
QUICK = {"iterations": 4, "epoch_length": 2, "batch_size": 2, "patch": 96, "val_interval": 1, "slices_per_volume": 2}


monai = partial(run_monai, BUNDLE, "run")
succeed = partial(run_program, BUNDLE)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def write_spine(folder: Path, number: int, width: int = 88) -> dict:
    """A sagittal volume of dark discs between bright vertebrae; the lowest is darker, and the sacrum below it wider."""
    rng = np.random.default_rng(number)
    image, label = np.full((190, width, 6), 30, np.int16), np.zeros((190, width, 6), np.uint8)
    top = 8 + int(rng.integers(6))
    disc = 0
    for level in range(1, 6):
        disc = top + 34 * level - 14
        image[disc - 22 : disc, 26:60, 1:5] = 160
        image[disc : disc + 12, 24:62, 1:5] = 110 if level < 5 else 40
        label[disc : disc + 12, 24:62, 1:5] = level
    image[disc + 12 :, 30:80, 1:5] = 240
    image += rng.integers(0, 10, image.shape).astype(np.int16)
    for name, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, SAGITTAL), folder / f"{name}{number}.nii.gz")
    return {"image": f"image{number}.nii.gz", "label": f"label{number}.nii.gz"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [write_spine(folder, number, 88 + 8 * number) for number in range(4)]
    lists = {"training": rows, "validation": rows[:1], "testing": rows[:2]}
    (folder / "datalist.json").write_text(json.dumps(lists))
    return folder


def train(datalist: Path, folder: Path, stage: str = "discs", overlays: tuple[str, ...] = (), **keys: object) -> dict:
    folder.mkdir(exist_ok=True)
    training = BundleTraining(BUNDLE, datalist, folder / "model.pt", folder, overlays, {**QUICK, **keys}, (stage,))
    return torch.load(train_bundle(training, run=run_training), weights_only=True)


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory) -> Path:
    """Weights of a few iterations: enough to tell dark bars between bright ones."""
    folder = tmp_path_factory.mktemp("weights")
    few = {"iterations": 100, "epoch_length": 100, "patch": 160, "val_interval": 0, "learning_rate": 0.004}
    train(data / "datalist.json", folder, **few)
    return folder / "model.pt"


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def test_the_bundle_and_the_package_give_the_same_labels_and_discs(tmp_path, weights, data):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(data / "image1.nii.gz", images)
    nib.save(nib.Nifti1Image(np.full((64, 64, 1), 7, np.int16), SAGITTAL), images / "nothing.nii.gz")
    where = ["--dataset_dir", images, "--output_dir", tmp_path / "out", "--weights_path", weights]
    succeed("inference", "--config_file", "configs/inference.yaml", *where)
    written = nib.load(tmp_path / "out" / "image1_labels.nii.gz")
    found, reference = (np.asarray(nib.load(path).dataobj) for path in (written.get_filename(), data / "label1.nii.gz"))
    assert dice(found > 0, reference > 0) > 0.8

    segmenter = BundleSegmenter(copy_bundle(NAME, tmp_path, weights))
    assert (segmenter.engine, segmenter.precision, segmenter.notes) == ("eager", "float32", ())
    volume = read_volume(images / "image1.nii.gz", modality="MR", across="LR")
    label_map = segmenter.segment(volume)
    assert np.array_equal(label_map.array, found) and np.allclose(written.affine, label_map.grid.affine)
    instances = segmenter.find_instances(volume, label_map)
    assert 5 <= len(instances) <= 6
    rows = [row for row in read_rows(tmp_path / "out" / "discs.csv") if row["case"] == "images/image1.nii.gz"]
    assert [(row["structure"], float(row["score"])) for row in rows] == [
        (one.structure, one.score) for one in instances
    ]
    for row, one in zip(rows, instances, strict=True):
        assert [int(row[f"first_{axis}"]) for axis in "xyz"] == list(one.box[0])
        assert [int(row[f"end_{axis}"]) for axis in "xyz"] == list(one.box[1])
        assert (label_map.array[one.region] == label_map.schema[one.structure].index).any()
    (empty,) = (row for row in read_rows(tmp_path / "out" / "discs.csv") if row["case"] == "images/nothing.nii.gz")
    assert empty["structure"] == "" and empty["reason"] == "no disc is found"

    finder = DiscFinder(weights)
    assert np.array_equal(finder.segment(volume).array, found)
    unsure = segmenter.detect_slices(volume)
    assert {piece.slice_index for piece in unsure} >= {1, 2, 3, 4} and min(piece.score for piece in unsure) >= 0.05
    other = BundleSegmenter(copy_bundle(NAME, tmp_path / "again", weights), engine="auto", precision="bfloat16")
    assert other.engine == "eager" and "bfloat16 is not used" in other.notes[0]
    with pytest.raises(BundleError, match="takes no engine"):
        other.check_engine("openvino", "float32")


def test_evaluation_scores_labels_and_objects(tmp_path, weights, data):
    where = ["--dataset_dir", data, "--weights_path", weights, "--output_dir", tmp_path]
    succeed("evaluate", "--config_file", EVALUATE, *where)
    scores = {(row["structure"], row["score"]): row for row in read_rows(tmp_path / "summary.csv")}
    assert scores["disc_l5_s1", "dice"]["cases"] == "2" and scores["disc_l1_l2", "nsd"]["unit"] == "1"
    objects = {row["case"]: row for row in read_rows(tmp_path / "disc_scores.csv")}
    assert objects["all"]["reference"] == "10" and len(objects) == 3
    assert int(objects["all"]["found"]) + int(objects["all"]["missed"]) == 10


def test_an_interrupted_training_ends_like_one_that_was_not(tmp_path, data):
    whole = train(data / "datalist.json", tmp_path / "whole")
    train(data / "datalist.json", tmp_path / "parts", **{"train::trainer::max_epochs": 1})
    parts = train(data / "datalist.json", tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    again = train(data / "datalist.json", tmp_path / "parts")  # complete: nothing more is learned
    assert all(torch.equal(again[key], parts[key]) for key in parts)


def test_the_recipe_of_the_paper_runs_its_epochs_and_finetuning_goes_on(tmp_path, data):
    """With the small network: four volumes of two slices are four batches of an epoch."""
    keys = {"backbone": "mobile", "source": "scratch", "max_epochs": 2, "warm_up": 4, "val_interval": 0}
    given = {**{key: QUICK[key] for key in ("batch_size", "patch", "slices_per_volume")}, **keys}
    training = BundleTraining(BUNDLE, data / "datalist.json", tmp_path / "model.pt", tmp_path, (), given, ("paper",))
    said: list[str] = []
    train_bundle(training, lambda words, share: said.append(words), run_training)
    state = torch.load(tmp_path / "checkpoint_paper.pt", weights_only=True)
    assert state["iteration"] == 2 * 4
    groups = state["optimizer"]["param_groups"][0]
    assert (groups["momentum"], groups["weight_decay"], groups["initial_lr"]) == (0.9, 5e-4, 0.005)
    assert groups["lr"] == pytest.approx(0.005)
    learnt = train(data / "datalist.json", tmp_path, overlays=("finetune",), slices_per_volume=4)
    given = torch.load(tmp_path / "checkpoint_paper.pt", weights_only=True)["average"]
    assert any(not torch.equal(learnt[key], given[key]) for key in learnt)


def test_what_cannot_be_run_is_refused_in_one_sentence(tmp_path, data):
    where = ["--weights_path", tmp_path / "model.pt", "--checkpoint_dir", tmp_path, "--dataset_dir", data]
    for sentence, arguments in (
        ("source 'moon' is not known", ["--source", "moon"]),
        ("source 'coco' is for backbone 'resnet50'", ["--source", "coco"]),
        ("no key 'backbon'", ["--backbon", "mobile"]),
    ):
        done = monai("training", "--config_file", "configs/train.yaml", *where, *arguments)
        assert done.returncode != 0
        assert sentence in done.stderr


def test_it_packs_to_the_same_bytes_and_passes_the_zoos_gate(tmp_path, weights):
    names = pack_and_verify(NAME, tmp_path, weights)
    assert f"{NAME}/myotome/networks/mask_rcnn.py" in names
    assert not [name for name in names if "/cli/" in name or "/io/" in name]


shipped = pytest.mark.skipif(not (BUNDLE / "models" / "model.pt").is_file(), reason="the bundle has no weights here")


@shipped
def test_the_shipped_weights_find_and_name_the_discs_of_a_phantom():
    from myotome.metrics import compute_dice
    from myotome.phantoms.lumbar import make_lumbar, make_lumbar_scan

    case = make_lumbar(961_007, make_lumbar_scan(961_007))
    segmenter = BundleSegmenter(BUNDLE)
    label_map = segmenter.segment(case.volume)
    discs = [compute_dice(case.label_map.array == index, label_map.array == index) for index in range(1, 6)]
    assert np.mean(discs) > 0.8 and min(discs) > 0.5  # two of the five are collapsed; a wrong name gives 0
    assert {one.structure for one in segmenter.find_instances(case.volume, label_map)} == {
        one.name for one in label_map.schema.structures if one.index < 6
    }
