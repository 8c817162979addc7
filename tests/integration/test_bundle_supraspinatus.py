"""The supraspinatus bundle, run as its users run it: by monai.bundle, by Myotome, and packed."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from scipy.io import loadmat

from myotome.geometry import Grid, Volume
from myotome.inference import BundleSegmenter
from myotome.io import read_volume
from tests.integration.bundles import ROOT, copy_bundle, pack_and_verify, run_monai, run_program

NAME = "supraspinatus_mri_classification"
BUNDLE = ROOT / "bundle" / NAME
INFERENCE = ["--config_file", "configs/inference.yaml"]
EVALUATE = "['configs/inference.yaml', 'configs/evaluate.yaml']"
GRADE = "['configs/train.yaml', 'configs/train_grade.yaml']"
DISTIL = "['configs/train.yaml', 'configs/train_grade.yaml', 'configs/train_distil.yaml']"
QUICK = ["--iterations", "4", "--epoch_length", "2", "--batch_size", "2", "--logging_file", "configs/logging.conf"]
UNSURE = ["--least_score", "0"]  # weights of a few iterations are
SAGITTAL = np.array([[0, 0, 4.0, 0], [-1.2, 0, 0, 0], [0, -1.2, 0, 0], [0, 0, 0, 1]])


monai = partial(run_monai, BUNDLE)
succeed = partial(run_program, BUNDLE)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Four slices of bright squares, one of each label, and their data list; their grades are 0, 1, 3, 4."""
    folder = tmp_path_factory.mktemp("data")
    rng, rows = np.random.default_rng(1), []
    for number, grade in enumerate((0, 1, 3, 4)):
        image, label = np.full((96, 80, 1), 20, np.int16), np.zeros((96, 80, 1), np.uint8)
        for index, (x, y) in enumerate([(40, 40), (40, 28), (62, 36), (22, 34)], start=1):
            square = slice(x - 8, x + 8), slice(y - 6, y + 6)
            image[square], label[square] = 100 + 40 * index, index
        image += rng.integers(0, 10, image.shape).astype(np.int16)
        for name, array in (("image", image), ("label", label)):
            nib.save(nib.Nifti1Image(array, SAGITTAL), folder / f"{name}{number}.nii.gz")
        rows.append({"image": f"image{number}.nii.gz", "label": f"label{number}.nii.gz", "grade": grade})
    lists = {"training": rows, "validation": rows[1:3], "testing": rows}
    (folder / "datalist.json").write_text(json.dumps(lists))
    return folder


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory) -> Path:
    """Weights of a few iterations: enough to tell the squares, which differ in intensity, from the rest."""
    folder = tmp_path_factory.mktemp("weights")
    where = ["--dataset_dir", data, "--weights_path", folder / "model.pt", "--checkpoint_dir", folder]
    few = ["--iterations", "90", "--epoch_length", "90", "--batch_size", "4", "--patch", "80", "--val_interval", "0"]
    succeed("training", "--config_file", "configs/train.yaml", *where, *few, "--learning_rate", "0.01")
    return folder / "model.pt"


def as_bundle(weights: Path, folder: Path) -> Path:
    bundle = copy_bundle(NAME, folder, weights)
    config = bundle / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("least_score: 0.3", "least_score: 0"))
    return bundle


def test_the_bundle_and_the_package_give_the_same_labels_and_grades(tmp_path, weights, data):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(data / "image2.nii.gz", images)
    nib.save(nib.Nifti1Image(np.full((40, 40, 1), 7, np.int16), SAGITTAL), images / "nothing.nii.gz")
    where = ["--dataset_dir", images, "--output_dir", tmp_path / "out", "--weights_path", weights]
    succeed("inference", *INFERENCE, *where, *UNSURE)
    written = nib.load(tmp_path / "out" / "image2_labels.nii.gz")
    reference = np.asarray(nib.load(data / "label2.nii.gz").dataobj)
    found = np.asarray(written.dataobj)
    assert 2 * np.count_nonzero((found == 1) & (reference == 1)) > 0.8 * (np.sum(found == 1) + np.sum(reference == 1))

    segmenter = BundleSegmenter(as_bundle(weights, tmp_path))
    volume = read_volume(images / "image2.nii.gz", modality="MR")
    label_map = segmenter.segment(volume)
    assert np.array_equal(label_map.array, found) and np.allclose(written.affine, label_map.grid.affine)
    grading = segmenter.grade(volume, label_map)
    rows = {row["case"]: row for row in json.loads((tmp_path / "out" / "gradings.json").read_text())}
    assert rows["images/image2.nii.gz"]["probabilities"] == pytest.approx(grading.probabilities, abs=1e-5)
    assert rows["images/image2.nii.gz"]["grade"] == grading.grade
    assert rows["images/nothing.nii.gz"]["grade"] is None  # none is invented
    cells = {row["case"]: row for row in read_rows(tmp_path / "out" / "gradings.csv")}
    assert cells["images/nothing.nii.gz"]["A"] == "" and float(cells["images/image2.nii.gz"]["A"]) >= 0


def test_what_cannot_be_run_is_refused_in_one_sentence(tmp_path, weights, data):
    images = ["--dataset_dir", data, "--weights_path", weights, "--output_dir", tmp_path / "out"]
    for sentence, arguments in (
        ("no .nii or .nii.gz image in", ["--dataset_dir", tmp_path, "--weights_path", weights]),
        ("folder of MR images", ["--dataset_dir", tmp_path, "--weights_path", weights]),
        ("no key 'datset_dir'", ["--datset_dir", tmp_path]),
        ("no weights at", ["--dataset_dir", data, "--weights_path", tmp_path / "none.pt"]),
        ("holds weights of another network", [*images, "--classifier", "vgg19"]),
        ("'F'", [*images, "--definitions", "['A','F']"]),
    ):
        done = monai("run", "inference", *INFERENCE, *arguments)
        assert done.returncode != 0
        assert sentence in done.stderr


def test_evaluation_scores_labels_and_grades(tmp_path, weights, data):
    where = ["--dataset_dir", data, "--weights_path", weights, "--output_dir", tmp_path]
    succeed("evaluate", "--config_file", EVALUATE, *where, *UNSURE, "--definitions", "['A','B']")
    scores = {(row["structure"], row["score"]): row for row in read_rows(tmp_path / "summary.csv")}
    assert float(scores["supraspinatus", "dice"]["mean"]) > 0.8 and scores["supraspinatus", "dice"]["cases"] == "4"
    assert {structure for structure, _ in scores} >= {"muscle_and_fossa", "scapular_spine", "coracoid_process"}
    graded = {(row["definition"], row["score"]): row for row in read_rows(tmp_path / "grading_scores.csv")}
    assert {definition for definition, _ in graded} == {"A", "B", "grade"}
    assert graded["A", "auroc"]["cases"] == "4" and graded["A", "auroc"]["positives"] == "2"


def test_both_stages_train_resume_and_leave_each_other_alone(tmp_path, data):
    common = ["--dataset_dir", data, "--weights_path", tmp_path / "model.pt", "--checkpoint_dir", tmp_path, *QUICK]
    succeed("training", "--config_file", "configs/train.yaml", "--patch", "64", *common)
    region = torch.load(tmp_path / "model.pt", weights_only=True)
    succeed("training", "--config_file", GRADE, "--mask", "reference", "--definitions", "['A','B']", *common)
    first = torch.load(tmp_path / "model.pt", weights_only=True)
    for key, value in first.items():
        if key.startswith("region."):
            assert torch.equal(value, region[key])
    assert not torch.equal(first["classifier.head.weight"], region["classifier.head.weight"])
    printed = succeed("training", "--config_file", GRADE, "--mask", "reference", "--definitions", "['A','B']", *common)
    assert "resumed at iteration 4 of 4" in printed
    second = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_small_classifier_learns_from_a_teacher(tmp_path, data, weights):
    common = ["--dataset_dir", data, "--weights_path", tmp_path / "model.pt", "--checkpoint_dir", tmp_path, *QUICK]
    teacher = ["--teacher_path", weights, "--teacher::classifier", "small", "--start_path", weights]
    succeed("training", "--config_file", DISTIL, *teacher, *common)
    given, learnt = (torch.load(path, weights_only=True) for path in (weights, tmp_path / "model.pt"))
    assert all(torch.equal(given[key], learnt[key]) for key in given if key.startswith("region."))


def test_finetuning_goes_on_with_the_region_network_alone(tmp_path, data, weights):
    shutil.copy(weights, tmp_path / "model.pt")
    common = ["--dataset_dir", data, "--weights_path", tmp_path / "model.pt", "--checkpoint_dir", tmp_path, *QUICK]
    succeed("training", "--config_file", "['configs/train.yaml', 'configs/finetune.yaml']", *common)
    given, learnt = (torch.load(path, weights_only=True) for path in (weights, tmp_path / "model.pt"))
    changed = {key.split(".")[0] for key in given if not torch.equal(given[key], learnt[key])}
    assert changed == {"region"}


def test_it_packs_to_the_same_bytes_and_passes_the_zoos_gate(tmp_path, weights):
    names = pack_and_verify(NAME, tmp_path, weights)
    assert f"{NAME}/myotome/networks/supraspinatus.py" in names
    assert not [name for name in names if "/cli/" in name or "/io/" in name or "vgg19.pt" in name]


@pytest.fixture
def mirror(tmp_path):
    """A folder served on this machine, as scripts/mirror_large_files serves it, and the bundle's address in it."""
    folder = tmp_path / "mirror"
    (folder / NAME / "models").mkdir(parents=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder / NAME / "models" / "vgg19.pt", f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_large_file_comes_from_a_mirror_and_one_that_was_changed_does_not(tmp_path, mirror):
    served, address = mirror
    content = b"weights of VGG-19, or so it says"
    served.write_bytes(content)
    bundle = tmp_path / NAME
    shutil.copytree(BUNDLE, bundle, ignore=shutil.ignore_patterns("*.pt"))
    row = {"path": "models/vgg19.pt", "url": f"{address}/{NAME}/models/vgg19.pt", "hash_type": "sha256"}
    row["hash_val"] = hashlib.sha256(content).hexdigest()
    (bundle / "large_files.yml").write_text(yaml.safe_dump({"large_files": [row]}))
    done = monai("download_large_files", "--bundle_path", bundle)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (bundle / "models" / "vgg19.pt").read_bytes() == content

    (bundle / "models" / "vgg19.pt").unlink()
    served.write_bytes(content + b"!")
    done = monai("download_large_files", "--bundle_path", bundle)
    assert done.returncode != 0 and "hash check" in done.stderr
    assert not (bundle / "models" / "vgg19.pt").exists()


def test_the_mirror_takes_no_file_that_the_bundle_does_not_name(tmp_path):
    other = tmp_path / "other.pt"
    other.write_bytes(b"something else")
    run = [sys.executable, str(ROOT / "scripts" / "mirror_large_files"), str(tmp_path / "mirror"), "--no-serve"]
    done = subprocess.run([*run, "--add", NAME, str(other)], capture_output=True, text=True)
    assert done.returncode != 0 and "is none of the files" in done.stderr
    assert not (tmp_path / "mirror").exists()


@pytest.mark.parametrize("name", ["ivd_11.mat", "ivd_20.mat"])
def test_in_a_lumbar_spine_no_supraspinatus_is_found(shared_data, name):
    """Sagittal MR of people, without a header that says what it shows; the weights are the shipped ones."""
    array = loadmat(shared_data / "lumbar_disc_mr" / name)["I"].astype(np.float32)
    affine = np.array([[0, 0, 1.0, 0], [0, -1.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1]])
    labels = BundleSegmenter(BUNDLE).segment(Volume(array, Grid(array.shape, affine), "MR"))
    assert not labels.array.any()
