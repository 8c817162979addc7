"""Many Y-views at once are graded as one by one, and labels come back on the image's own pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from myotome.errors import BundleError, InputError
from myotome.geometry import Grid, Volume
from myotome.inference import YViewInferer
from myotome.inference.grading_batch import BatchGrader, take_y_view
from myotome.metrics.overlap import compute_dice
from myotome.networks import SupraspinatusGrader, regions_of, write_weights
from myotome.structures import LabelMap, read_label_schema

SCHEMA = read_label_schema("supraspinatus_mri")


def make_case(seed: int, spacing_mm: float = 0.5, slices: int = 1, shape: tuple[int, int] = (280, 300)):
    """Noise with two bright discs: muscle in fossa."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    distance = np.hypot(x - 130 - 5 * seed, y - 140)
    label = np.where(distance < 25, 1, np.where(distance < 40, 2, 0)).astype(np.uint8)
    image = rng.normal(100, 10, shape) + 200 * label
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = -spacing_mm, -spacing_mm, 4.0, 1.0
    array, labels = np.zeros((*shape, slices), np.float32), np.zeros((*shape, slices), np.uint8)
    array[..., slices // 2], labels[..., slices // 2] = image, label
    grid = Grid(array.shape, affine)
    return Volume(array, grid, "MR"), LabelMap(labels, grid, SCHEMA)


@pytest.fixture
def views():
    return [take_y_view(*make_case(seed, spacing)) for seed, spacing in ((1, 0.5), (2, 0.6), (3, 0.45))]


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = SupraspinatusGrader()
    network.classifier.head.weight.data.mul_(200)  # untrained, it hardly looks
    network.temperature.copy_(torch.tensor([2.0, 0.5, 1.0, 1.0, 3.0, 2.0]))
    write_weights(network.state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_many_at_once_are_graded_as_one_by_one(weights):
    cases = [make_case(seed, spacing) for seed, spacing in ((1, 0.5), (2, 0.6), (3, 0.45))]
    views = [take_y_view(volume, label_map) for volume, label_map in cases]
    grader = BatchGrader(weights, batch_size=2)
    expected = []
    for (volume, label_map), label in zip(cases, grader.label(views), strict=True):
        array = label.T[..., None]  # rows of a slice lie along the second axis
        said = YViewInferer().grade(volume, replace(label_map, array=array), grader._network)
        expected.append([*said.probabilities.values(), *said.grade_probabilities])
    found = grader.grade(views, "predicted", calibrated=True)
    assert found == pytest.approx(np.array(expected), abs=2e-3)  # images of a study are kept in half precision


def test_probabilities_before_calibration_are_those_at_temperature_one(weights, views):
    calibrated, given = (BatchGrader(weights).grade(views, "none", calibrated=choice) for choice in (True, False))
    logit = {name: np.log(table / (1 - table)) for name, table in (("given", given), ("calibrated", calibrated))}
    for place, temperature in enumerate((2.0, 0.5, 1.0, 1.0, 3.0)):
        assert logit["given"][:, place] == pytest.approx(temperature * logit["calibrated"][:, place], abs=1e-4)
    assert given[:, 5:].sum(axis=1) == pytest.approx(1)


def test_masks_decide_what_the_classifier_sees(weights, views):
    grader = BatchGrader(weights)
    found = {masks: grader.grade(views, masks) for masks in ("reference", "none")}
    network = grader._network
    image = torch.from_numpy(np.stack([view.image for view in views]).astype(np.float32))[:, None]
    label = np.stack([view.plane.resample_labels(view.label, 5) for view in views])
    with torch.inference_mode():
        crop = network.crop(image, regions_of(torch.from_numpy(label)[:, None]))
        logits = network.grade_logits(crop)
    network.temperature.fill_(1)
    assert found["reference"] == pytest.approx(network.probabilities(logits).numpy(), abs=1e-4)
    assert np.abs(found["reference"] - found["none"]).max() > 1e-3
    with pytest.raises(InputError, match="masks 'drawn' are not known"):
        grader.grade(views, "drawn")


def test_labels_are_on_the_image_s_own_pixels(weights, views):
    grader = BatchGrader(weights, batch_size=2)
    truth = iter(
        [
            regions_of(torch.from_numpy(np.stack([v.plane.resample_labels(v.label, 5) for v in part]))[:, None])
            for part in (views[:2], views[2:])
        ]
    )
    grader._network.region_logits = lambda image: 20 * next(truth)
    for view, label in zip(views, grader.label(views), strict=True):
        assert label.shape == view.label.shape
        for index in (1, 2):
            assert compute_dice(view.label == index, label == index) > 0.96


def test_the_slice_that_is_labelled_is_taken():
    volume, label_map = make_case(1, slices=5)
    alone = take_y_view(*make_case(1))
    view = take_y_view(volume, label_map)
    assert np.array_equal(view.image, alone.image) and np.array_equal(view.label, alone.label)
    nothing = LabelMap(np.zeros_like(label_map.array), label_map.grid, SCHEMA)
    with pytest.raises(InputError, match="0 slices are labelled"):
        take_y_view(volume, nothing)


def test_no_image_is_no_row(weights):
    assert BatchGrader(weights).grade([]).shape == (0, 10)


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(BundleError, match="another network"):
        BatchGrader(weights, "vgg19")
