"""The bone bundle, run as its users run it: by monai.bundle, by Myotome, and packed; and its weights."""

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

from myotome.errors import InputError
from myotome.inference import BundleSegmenter
from myotome.io import read_volume
from myotome.networks import SEQUENCE, write_weights
from myotome.training import BundleTraining, train_bundle
from tests.integration.bundles import ROOT, copy_bundle, pack_and_verify, run_monai, run_program, run_training

NAME = "bone_density_ct_segmentation"
BUNDLE = ROOT / "bundle" / NAME
SHIPPED = BUNDLE / "models" / "model.pt"
EVALUATE = "['configs/inference.yaml', 'configs/evaluate.yaml']"
AFFINE = np.array([[-4.0, 0, 0, 130], [0, -4.0, 0, 100], [0, 0, 4.0, -50], [0, 0, 0, 1]])
QUICK = {"iterations": 2, "epoch_length": 1, "batch_size": 2, "patch": 96, "val_interval": 1, "slices_per_image": 4}
HU = [-1000, *[300] * 8, 340, -100, 55, 150, -1000]

monai = partial(run_monai, BUNDLE, "run")
succeed = partial(run_program, BUNDLE)


def write_case(folder: Path, number: int) -> dict:
    """Two bodies, L1 below T12, and an aorta before them, in muscle in fat in air; each of its own density."""
    x, y = np.meshgrid(np.arange(64), np.arange(52), indexing="ij")
    radius = np.hypot((x - 32) / 28, (y - 26 + number) / 22)
    plane = np.select([radius < 0.7, radius < 1], [11, 10], 13).astype(np.uint8)
    plane[34:40, 12:18] = 12
    label = np.repeat(plane[..., None], 16, axis=2)
    for first, name in ((0, 6), (8, 5)):
        label[24:40, 22:34, first + 1 : first + 7] = name
    density = np.asarray(HU, np.int16)[label]
    density[(label == 11) & (radius < 0.3)[..., None]] = 0  # what is between the bodies is no muscle
    label[(density == 0)] = 0
    for name, array in (("image", density), ("label", label)):
        nib.save(nib.Nifti1Image(array, AFFINE), folder / f"{name}{number}.nii.gz")
    return {"image": f"image{number}.nii.gz", "label": f"label{number}.nii.gz"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [write_case(folder, number) for number in range(2)]
    lists = {"training": rows, "validation": rows[:1], "testing": rows[:1]}
    (folder / "datalist.json").write_text(json.dumps(lists))
    return folder


def train(stage: str, data: Path, folder: Path, overlays: tuple[str, ...] = (), **keys: object) -> dict:
    folder.mkdir(exist_ok=True)
    given = {**QUICK, **keys}
    training = BundleTraining(BUNDLE, data / "datalist.json", folder / "model.pt", folder, overlays, given, (stage,))
    return torch.load(train_bundle(training, run=run_training), weights_only=True)


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory) -> Path:
    """Tissues learned in a few iterations, which differ in density, and a row of vertebrae that is L1 everywhere."""
    folder = tmp_path_factory.mktemp("weights")
    few = {"iterations": 60, "epoch_length": 60, "patch": 128, "val_interval": 0, "learning_rate": 0.01}
    state = train("tissue", data, folder, **few)
    state["level.head.weight"].zero_()
    state["level.head.bias"].copy_(50.0 * torch.eye(len(SEQUENCE))[SEQUENCE.index("L1")])
    write_weights(state, folder / "model.pt")
    return folder / "model.pt"


def test_the_bundle_and_the_package_give_the_same_labels(tmp_path, weights, data):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(data / "image1.nii.gz", images)
    empty = np.full((64, 52, 16), -1000, np.int16)
    nib.save(nib.Nifti1Image(empty, AFFINE), images / "room.nii.gz")
    keys = ["--dataset_dir", images, "--output_dir", tmp_path / "out", "--weights_path", weights, "--engine", "eager"]
    succeed("inference", "--config_file", "configs/inference.yaml", *keys)
    written = nib.load(tmp_path / "out" / "image1_labels.nii.gz")
    found, reference = np.asarray(written.dataobj), np.asarray(nib.load(data / "label1.nii.gz").dataobj)
    body = found == 6, np.isin(reference, (5, 6))  # both are called L1, as the row has it
    assert 2 * np.count_nonzero(body[0] & body[1]) > 0.7 * (body[0].sum() + body[1].sum())
    with (tmp_path / "out" / "levels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["level"] for row in rows if row["case"] == "images/image1.nii.gz"} == {"L1"}
    refused = [row for row in rows if row["case"] == "images/room.nii.gz"]
    assert len(refused) == 1 and "no vertebral body is found" in refused[0]["reason"]
    assert not np.asarray(nib.load(tmp_path / "out" / "room_labels.nii.gz").dataobj).any()

    segmenter = BundleSegmenter(copy_bundle(NAME, tmp_path, weights), engine="eager")
    volume = read_volume(images / "image1.nii.gz")
    label_map = segmenter.segment(volume)
    assert np.array_equal(label_map.array, found) and np.allclose(written.affine, label_map.grid.affine)
    assert not segmenter.finds_level and segmenter.left_out == ()
    probabilities, hu = next(segmenter.iter_probabilities(volume, 3))
    assert probabilities.shape[0] == 14 and probabilities.shape[1:] == hu.shape
    assert probabilities[6].max() > 0.5 and probabilities[5].max() < 0.01
    with pytest.raises(InputError, match="no vertebral body is found"):
        segmenter.segment(read_volume(images / "room.nii.gz"))


def test_evaluation_scores_every_slice(tmp_path, weights, data):
    keys = ["--dataset_dir", data, "--weights_path", weights, "--output_dir", tmp_path, "--engine", "eager"]
    succeed("evaluate", "--config_file", EVALUATE, *keys)
    with (tmp_path / "summary.csv").open() as file:
        scores = {(row["structure"], row["score"]): row for row in csv.DictReader(file)}
    assert float(scores["subcutaneous_fat", "dice"]["mean"]) > 0.7
    assert scores["vertebral_body_t12", "dice"]["cases"] == "1"


def changed(first: dict, second: dict) -> set[str]:
    return {key.partition(".")[0] for key in first if not torch.equal(first[key], second[key])}


def test_stages_train_their_own_part_resume_and_are_fine_tuned(tmp_path, data, weights):
    folder = tmp_path / "a"
    first = train("tissue", data, folder)
    again = train("tissue", data, folder)
    assert changed(first, again) == set()
    assert changed(first, train("level", data, folder)) == {"level"}
    (tmp_path / "b").mkdir()
    shutil.copy(weights, tmp_path / "b" / "model.pt")
    learnt = train("tissue", data, tmp_path / "b", ("finetune",))
    assert changed(torch.load(weights, weights_only=True), learnt) == {"tissue"}


def test_what_cannot_be_run_is_refused_in_one_sentence(tmp_path, data):
    where = ["--weights_path", tmp_path / "model.pt", "--checkpoint_dir", tmp_path, "--dataset_dir", data]
    for sentence, arguments in (
        ("no weights at", ["--source_path", tmp_path / "none.pt"]),
        ("no key 'sourse_path'", ["--sourse_path", "x"]),
    ):
        done = monai("training", "--config_file", "configs/train.yaml", *where, *arguments)
        assert done.returncode != 0 and sentence in done.stderr


def test_it_packs_to_the_same_bytes_and_passes_the_zoos_gate(tmp_path, weights):
    names = pack_and_verify(NAME, tmp_path, weights)
    assert f"{NAME}/myotome/networks/bone_density.py" in names
    assert not [name for name in names if "/cli/" in name or "/io/" in name]


# --- what the weights were trained for ----------------------------------------------------------------------------

needs_weights = pytest.mark.skipif(not SHIPPED.is_file(), reason=f"the weights of {NAME} are not here: no {SHIPPED}")


@needs_weights
def test_the_shipped_weights_name_the_vertebrae_of_a_phantom():
    from myotome.phantoms.bone import make_bone, make_bone_scan
    from myotome.studies.bone_evaluation import score_bones

    seed = 690000  # neither trained on (600000 on) nor in the evaluation (650000 on)
    case = make_bone(seed, make_bone_scan(seed))
    scores = score_bones(case.label_map, BundleSegmenter(NAME).segment(case.volume))
    assert "wrong" not in scores["levels"].values()
    assert list(scores["levels"].values()).count("found") >= len(scores["levels"]) / 2
    assert scores["dice"]["vertebral_body"] > 0.8 and scores["dice"]["subcutaneous_fat"] > 0.7


@needs_weights
def test_the_shipped_weights_are_those_that_the_metadata_name():
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    assert metadata["weights_sha256"]["models/model.pt"] == BundleSegmenter(NAME).weights_sha256
    assert SHIPPED.stat().st_size < 25e6
