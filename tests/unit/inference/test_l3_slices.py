"""L3 is found where it is, or refused in a sentence; its slice is labelled on the image's own pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.inference.l3_slices import L3Inferer, decide_level, find_level, take_l3_plane
from myotome.inference.slice_batch import SliceSegmenter
from myotome.metrics import compute_dice
from myotome.networks import SEQUENCE, L3MuscleSegmenter, LevelEvidence, write_weights
from myotome.structures import LabelMap, read_label_schema
from myotome.transforms import SpineProjections
from tests.unit.inference.l3_volumes import MIDDLE, SLICES, make_network, make_volume

SCHEMA = read_label_schema("l3_muscle_ct")
NO_L3 = np.full(SLICES, SEQUENCE.index("below L3"))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_slice_is_that_of_the_volumes_own_axis(order):
    volume = make_volume(order=order)
    level = find_level(volume.array, volume.grid.affine, make_network().level)
    assert level.slice_index == MIDDLE and level.z_mm == pytest.approx(-200 + 3 * MIDDLE)
    assert level.confidence == pytest.approx(1, abs=1e-3) and level.name == "L3"
    turned = np.flip(volume.array, volume.grid.axis("IS"))
    affine = volume.grid.affine.copy()
    affine[:, 3] += affine[:, volume.grid.axis("IS")] * (SLICES - 1)
    affine[:, volume.grid.axis("IS")] *= -1
    assert find_level(turned, affine, make_network().level).slice_index == SLICES - 1 - MIDDLE


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ({"row": NO_L3}, "L3 is not in this scan"),
        ({"rival": 1, "share": 0.9998}, "two vertebrae may be L3"),
    ],
)
def test_a_level_that_is_not_sure_is_refused_with_a_way_out(network, sentence):
    volume = make_volume()
    with pytest.raises(InputError, match=rf"{sentence}.*--slice.*--vertebrae"):
        find_level(volume.array, volume.grid.affine, make_network(**network).level)


def test_the_rules_of_refusal_are_exact():
    grid = Grid((4, 4, 100), np.diag([1.0, 1.0, 3.0, 1.0]))
    seen = SpineProjections(np.zeros((5, 64, 100), np.float32), 0.0)

    def decide(confidence: float, rival: float, absent: float):
        return decide_level(LevelEvidence(50.2, confidence, rival, absent), seen, grid, floor=0.5)

    assert decide(0.5, 0.25, 0.25).slice_index == 50
    for refused, sentence in (
        ((0.49, 0.2, 0.2), "not found surely enough"),
        ((0.6, 0.31, 0.05), "two vertebrae may be L3"),
        ((0.45, 0.0, 0.45), "not in this scan"),
    ):
        with pytest.raises(InputError, match=rf"{sentence}.*--slice.*--vertebrae"):
            decide(*refused)


def test_a_slice_that_comes_alone_is_taken_to_be_l3():
    volume = make_volume(slices=1)
    inferer = L3Inferer()
    labels = inferer.segment(volume.array, volume.grid.affine, make_network(row=NO_L3))
    assert labels.any() and inferer.level.slice_index == 0 and inferer.level.confidence is None
    assert "taken to be L3" in inferer.level.reason


def test_slices_that_are_not_axial_are_refused():
    array = np.zeros((60, 8, 60), np.float32)
    with pytest.raises(InputError, match="not axial"):
        L3Inferer().segment(array, np.diag([1.0, 5.0, 1.0, 1.0]), make_network())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_labels_are_those_of_the_slice_and_nothing_else(order):
    volume = make_volume(order=order)
    inferer, network = L3Inferer(), make_network()
    labels = inferer.segment(volume.array, volume.grid.affine, network)
    planes = np.moveaxis(labels, volume.grid.axis("IS"), 0)
    assert [index for index, plane in enumerate(planes) if plane.any()] == [MIDDLE]
    density = np.moveaxis(volume.array, volume.grid.axis("IS"), 0)[MIDDLE]
    assert compute_dice(density > -30, planes[MIDDLE] == 1) > 0.97
    assert compute_dice(np.abs(density + 102) < 5, planes[MIDDLE] == 2) > 0.97
    assert inferer.locate(volume, LabelMap(labels, volume.grid, SCHEMA)).slice_index == MIDDLE
    assert inferer.locate(volume, LabelMap(np.zeros_like(labels), volume.grid, SCHEMA)) is None


@pytest.mark.parametrize(
    ("level_slice", "average", "labelled"),
    [(None, True, [MIDDLE - 1, MIDDLE, MIDDLE + 1]), (7, False, [7]), (0, True, [0, 1]), (39, True, [38, 39])],
)
def test_the_slice_can_be_named_and_its_neighbours_labelled(level_slice, average, labelled):
    volume = make_volume()
    inferer = L3Inferer(level_slice=level_slice, average=average)
    labels = inferer.segment(volume.array, volume.grid.affine, make_network())
    assert np.flatnonzero(labels.any(axis=(0, 1))).tolist() == labelled
    assert inferer.level.slice_index == (MIDDLE if level_slice is None else level_slice)
    if level_slice is not None:
        assert inferer.level.confidence is None and inferer.level.reason == "given by hand"


def test_a_slice_outside_the_image_is_refused():
    volume = make_volume()
    with pytest.raises(InputError, match="slice 40 is outside the image: its slices are 0 to 39"):
        L3Inferer(level_slice=40).segment(volume.array, volume.grid.affine, make_network())


def test_as_a_monai_inferer_it_labels_nothing_where_it_refuses():
    volume, inferer = make_volume(), L3Inferer()
    image = MetaTensor(torch.from_numpy(volume.array)[None, None], affine=torch.from_numpy(volume.grid.affine.copy()))
    labels = inferer(image, make_network(row=NO_L3))
    assert labels.dtype == torch.uint8 and labels.shape == image.shape and not labels.any()
    assert inferer.level is None and "L3 is not in this scan" in inferer.refusal
    assert inferer(image, make_network()).any() and inferer.refusal == ""


def test_probabilities_are_those_of_the_level():
    volume = make_volume()
    found = list(L3Inferer().iter_probabilities(volume.array, volume.grid.affine, make_network(), 3))
    assert len(found) == 3
    for probabilities, hu in found:
        assert probabilities.shape == (5, 448, 448) and hu.shape == (448, 448)
        assert hu.min() == -150 and hu.max() == 250


def test_a_body_wider_than_the_square_is_seen_whole():
    narrow, wide = make_volume(slices=1), make_volume(slices=1)
    affine = np.diag([2.0, 2.0, 1.0, 1.0]) @ wide.grid.affine
    plane = take_l3_plane(narrow.array, narrow.grid.affine)
    assert plane.spacing_mm == 1.0  # 300 mm wide
    plane = take_l3_plane(wide.array, affine)
    assert plane.spacing_mm * 448 == pytest.approx(600, abs=60) and plane.spacing_mm * 448 >= 600
    seen = plane.take_scaled(wide.array, 0)
    assert seen[224].any() and not seen[:, 0].any() and not seen[:, -1].any()


def test_batches_give_what_each_slice_gives_alone(tmp_path):
    torch.manual_seed(0)
    network = L3MuscleSegmenter().eval()
    write_weights(network.state_dict(), tmp_path / "model.pt")
    segmenter = SliceSegmenter(tmp_path / "model.pt", batch_size=2)
    items = [
        SimpleNamespace(volume=make_volume(order=order), index=index)
        for order, index in (((0, 1, 2), 3), ((2, 0, 1), 5), ((0, 1, 2), MIDDLE))
    ]
    for item, label in zip(items, segmenter.label(items), strict=True):
        axis = item.volume.grid.axis("IS")
        alone = L3Inferer(level_slice=item.index).segment(item.volume.array, item.volume.grid.affine, network)
        assert label.shape == np.take(item.volume.array, 0, axis).shape
        assert np.mean(label == np.take(alone, item.index, axis)) > 0.999


def test_slices_go_to_the_working_grid_and_back_without_much_loss():
    """The finest that labels can be: a drawing on 0.8 mm pixels, seen at 1.0 mm."""
    x, y = np.meshgrid(np.arange(480) * 0.8, np.arange(420) * 0.8, indexing="ij")
    angle, radius = np.arctan2(y - 168, x - 192), np.hypot(x - 192, (y - 168) * 1.2)
    outer = 150 + 8 * np.sin(7 * angle)
    label = ((radius < outer) & (radius > outer - 14 - 4 * np.cos(5 * angle))).astype(np.uint8)
    affine = np.diag([-0.8, -0.8, 5.0, 1.0])
    volume = Volume(np.where(label, 50, -100).astype(np.float32)[..., None], Grid((480, 420, 1), affine))
    plane = take_l3_plane(volume.array, affine)
    share = plane.resample(plane.take(label[..., None].astype(np.float32), 0))
    again = np.zeros((480, 420, 1), np.uint8)
    plane.put(again, 0, plane.restore_labels(np.stack([1 - share, share])))
    assert compute_dice(label == 1, again[..., 0] == 1) > 0.99
