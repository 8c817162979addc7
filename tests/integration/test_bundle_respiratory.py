"""The respiratory bundle, run as its users run it: by monai.bundle, by Myotome, and packed."""

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

from myotome.inference import BundleSegmenter
from myotome.io import read_volume
from myotome.networks import RespiratoryCascade, write_weights
from tests.integration.bundles import ROOT, copy_bundle, pack_and_verify, run_monai, run_program, verify

NAME = "respiratory_muscle_ct_segmentation"
BUNDLE = ROOT / "bundle" / NAME
INFERENCE = ["--config_file", "configs/inference.yaml"]
EVALUATE = "['configs/inference.yaml', 'configs/evaluate.yaml']"
TINY = ["--network_def::channels", "[4,8,16,32]"]


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("tiny") / "model.pt"
    write_weights(RespiratoryCascade((4, 8, 16, 32)).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two cases of a fat disc with muscles in it, stored anterior-left-inferior, and their data list."""
    folder = tmp_path_factory.mktemp("data")
    x, y = np.mgrid[:72, :56]
    rows = []
    for number in (1, 2):
        image, label = np.full((72, 56, 4), -1000, np.int16), np.zeros((72, 56, 4), np.uint8)
        image[((x - 36) / 32) ** 2 + ((y - 28) / 24) ** 2 < 1] = -100
        for index, centre in enumerate([(20, 20), (20, 38), (50, 20), (50, 38)], start=1):
            inside = ((x - centre[0]) / 9) ** 2 + ((y - centre[1]) / (5 + number)) ** 2 < 1
            image[inside], label[inside] = 50, index
        affine = np.array([[0, -1.5, 0, 40], [1.5, 0, 0, -50], [0, 0, -4.0, 10], [0, 0, 0, 1]])
        for name, array in (("image", image), ("label", label)):
            nib.save(nib.Nifti1Image(array, affine), folder / f"{name}{number}.nii")
        rows.append({"image": f"image{number}.nii", "label": f"label{number}.nii"})
    lists = {"training": rows[:1], "validation": rows[1:], "testing": rows}
    (folder / "datalist.json").write_text(json.dumps(lists))
    return folder


monai = partial(run_monai, BUNDLE, "run", timeout_s=300)
succeed = partial(run_program, BUNDLE, timeout_s=300)


def read_scores(path: Path) -> dict[tuple[str, str], str]:
    with path.open() as file:
        return {(row["structure"], row["score"]): row["mean"] for row in csv.DictReader(file)}


def test_the_bundle_and_the_package_give_the_same_label_map(tmp_path, weights, data):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(data / "image1.nii", images)
    where = ["--dataset_dir", images, "--output_dir", tmp_path / "out", "--weights_path", weights]
    succeed("inference", *INFERENCE, *where)
    written = nib.load(tmp_path / "out" / "image1_labels.nii.gz")

    bundle = copy_bundle(NAME, tmp_path, weights)
    label_map = BundleSegmenter(bundle).segment(read_volume(images / "image1.nii"))
    assert np.array_equal(label_map.array, np.asarray(written.dataobj))
    assert len(np.unique(label_map.array)) > 1
    assert np.allclose(written.affine, label_map.grid.affine)


def test_an_empty_folder_a_mistyped_key_and_missing_weights_are_errors(tmp_path, weights):
    for sentence, arguments in (
        ("no .nii or .nii.gz image", ["--dataset_dir", tmp_path, "--weights_path", weights]),
        ("no key 'datset_dir'", ["--datset_dir", tmp_path]),
        ("no weights at", ["--dataset_dir", tmp_path, "--weights_path", tmp_path / "none.pt"]),
    ):
        done = monai("inference", *INFERENCE, *arguments)
        assert done.returncode != 0
        assert sentence in done.stderr


def test_evaluation_scores_on_the_original_grid_and_per_stage(tmp_path, tiny_weights, data):
    where = ["--dataset_dir", data, "--weights_path", tiny_weights, *TINY]
    succeed("evaluate", "--config_file", EVALUATE, *where, "--output_dir", tmp_path / "all")
    scores = read_scores(tmp_path / "all" / "summary.csv")
    assert {structure for structure, _ in scores} >= {"pectoralis", "muscle_tissue", "respiratory_muscles", "all"}
    with (tmp_path / "all" / "scores.csv").open() as file:
        assert len({row["case"] for row in csv.DictReader(file)}) == 2

    stage = EVALUATE.replace("]", ", 'configs/evaluate_muscle_classes.yaml']")
    succeed("evaluate", "--config_file", stage, *where, "--output_dir", tmp_path / "classes")
    scores = read_scores(tmp_path / "classes" / "summary.csv")
    for structure in ("respiratory_muscles", "muscle_tissue", "other_muscle"):  # given, not decided
        assert float(scores[structure, "dice"]) == 1.0


def test_the_three_stages_train_resume_and_learn(tmp_path, data):
    common = ["--dataset_dir", data, "--weights_path", tmp_path / "model.pt", "--checkpoint_dir", tmp_path, *TINY]
    common += ["--iterations", "6", "--epoch_length", "3", "--batch_size", "2", "--num_workers", "0"]
    common += ["--patch", "[64,64]", "--validate::dataset::length", "2", "--logging_file", "configs/logging.conf"]
    stages = ["", "train_respiratory_muscles", "train_muscle_classes"]
    for overlay in stages:
        files = ["configs/train.yaml"] + ([f"configs/{overlay}.yaml"] if overlay else [])
        succeed("training", "--config_file", str(files), *common)
    first = torch.load(tmp_path / "model.pt", weights_only=True)
    again = monai("training", "--config_file", "configs/train.yaml", *common)
    assert "resumed at iteration 6 of 6" in again.stdout
    second = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(first[key], second[key]) for key in first)
    checkpoint = torch.load(tmp_path / "checkpoint_muscle_classes.pt", weights_only=True)
    for key, value in checkpoint["average"].items():
        assert torch.equal(first[key.replace("network.", "muscle_classes.", 1)], value)


def test_it_packs_to_the_same_bytes_and_passes_the_zoos_gate(tmp_path, weights):
    names = pack_and_verify(NAME, tmp_path, weights, verify)
    assert f"{NAME}/configs/inference.json" in names and f"{NAME}/myotome/transforms/grids.py" in names
    assert not [name for name in names if "/cli/" in name or "/io/" in name or "checkpoint_" in name]
