"""The Y-view is the slice that shows muscle and both bones; what is graded is what is labelled; nothing is invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from myotome.errors import InputError
from myotome.geometry import Grid, Volume, reorient
from myotome.inference import YViewInferer
from myotome.networks import SupraspinatusGrader
from myotome.structures import LabelMap
from tests.unit.phantoms.shoulders import BOXES, SCHEMA, SPACING_MM, make_affine, make_shoulder_case

LEVELS = {1: 200, 2: 400, 3: 600, 4: 800}
TOP = 1000  # a corner of it, so that 0..1 is 0..1000


class Reading(SupraspinatusGrader):
    """Labels by intensity, exactly; the classifier is untrained."""

    def __init__(self) -> None:
        torch.manual_seed(2)
        super().__init__()
        self.asked: list[int] = []

    def region_logits(self, image: Tensor) -> Tensor:
        self.asked.append(len(image))
        level = (image * TOP / 200).round().clamp(0, 5)[:, 0]
        return (
            50.0 * torch.stack([(level == place % 5) | ((place == 0) & (level == 5)) for place in range(5)], 1).float()
        )


@pytest.fixture
def network():
    return Reading().eval()


def paint(label_map, shown=(1, 2, 3, 4)):
    """An image whose intensities say the labels."""
    array = np.full(label_map.array.shape, 1, np.float32)
    for label in shown:
        array[label_map.array == label] = LEVELS[label]
    array[:30, :30] = TOP
    return array


def test_a_slice_alone_is_the_y_view(network):
    volume, truth = make_shoulder_case()
    labels = YViewInferer().segment(paint(truth), volume.grid.affine, network)
    assert np.mean(labels[truth.array > 0] == truth.array[truth.array > 0]) > 0.9
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4}


def test_in_a_volume_one_slice_is_labelled_that_shows_all_three(network):
    _, truth = make_shoulder_case(slices=6, y_view=3)
    array = paint(truth)
    array[BOXES[1][0], BOXES[1][1], 1] = LEVELS[1]  # a larger muscle elsewhere, with one bone only
    array[10:60, 76:120, 1] = LEVELS[1]
    array[BOXES[3][0], BOXES[3][1], 1] = LEVELS[3]
    told = []
    inferer = YViewInferer(progress=told.append)
    labels = inferer.segment(array, make_affine(), network)
    assert np.flatnonzero(labels.any(axis=(0, 1))).tolist() == [3]
    assert sum(network.asked) == 6 and told[-1] == 1.0


def test_of_two_complete_slices_the_one_that_shows_more_is_taken(network):
    _, truth = make_shoulder_case(slices=5, y_view=1)
    array = paint(truth)
    array[..., 4] = array[..., 1]
    array[72:76, 40:80, 1] = 1  # half of the spine is gone here
    labels = YViewInferer().segment(array, make_affine(), network)
    assert np.flatnonzero(labels.any(axis=(0, 1))).tolist() == [4]


@pytest.mark.parametrize(
    ("slices", "shown"), [(1, (2, 3, 4)), (1, (1, 2)), (1, (1, 3)), (1, (1, 4)), (4, (1, 2, 3)), (4, ())]
)
def test_without_the_structures_of_a_y_view_nothing_is_labelled_or_graded(network, slices, shown):
    volume, truth = make_shoulder_case(slices=slices)
    labels = YViewInferer().segment(paint(truth, shown), volume.grid.affine, network)
    assert not labels.any()
    assert YViewInferer().grade(volume, LabelMap(labels, volume.grid, SCHEMA), network) is None


def test_what_the_network_is_unsure_of_is_no_y_view(network):
    volume, truth = make_shoulder_case()
    decided = network.region_logits
    network.region_logits = lambda image: 0.02 * decided(image)  # certainties of 0.4
    assert not YViewInferer().segment(paint(truth), volume.grid.affine, network).any()


def test_of_each_structure_the_largest_piece_is_kept(network):
    volume, truth = make_shoulder_case()
    array = paint(truth)
    expected = YViewInferer().segment(array, volume.grid.affine, network)
    array[2:12, 76:90] = LEVELS[1]  # an island far from the fossa
    array[40:44, 2:6] = LEVELS[3]
    assert np.array_equal(YViewInferer().segment(array, volume.grid.affine, network), expected)


def test_a_muscle_as_large_as_a_thigh_is_no_supraspinatus(network):
    volume, truth = make_shoulder_case()
    array = paint(truth)
    array[10:100, 76:120] = LEVELS[1]
    assert not YViewInferer().segment(array, volume.grid.affine, network).any()


@pytest.mark.parametrize("codes", ["RAS", "PIR", "LPS", "ASL"])
def test_the_label_map_does_not_depend_on_the_order_of_axes(network, codes):
    volume, truth = make_shoulder_case(slices=3, y_view=1)
    inferer = YViewInferer()
    expected = inferer.segment(paint(truth), volume.grid.affine, network)
    array, affine = reorient(paint(truth), volume.grid.affine, codes)
    turned = inferer.segment(np.ascontiguousarray(array), affine, network)
    back, _ = reorient(turned, affine, "".join(volume.grid.axis_codes))
    np.testing.assert_array_equal(back, expected)


def test_as_an_inferer_it_gives_the_same_label_map(network):
    volume, truth = make_shoulder_case(slices=3, y_view=1)
    array, affine = paint(truth), torch.from_numpy(np.array(volume.grid.affine))
    called = YViewInferer()(MetaTensor(torch.from_numpy(array)[None, None], affine=affine), network)
    np.testing.assert_array_equal(called[0, 0], YViewInferer().segment(array, volume.grid.affine, network))
    assert torch.equal(called.affine, affine)


def test_a_grading_holds_what_the_classifier_saw(network):
    volume, truth = make_shoulder_case(slices=4, y_view=2)
    grading = YViewInferer(attention="B").grade(volume, truth, network)
    assert grading.slice_index == 2
    assert grading.reason.startswith("slice 2 (from 0) of 4 shows supraspinatus (4.8 cm²)")
    assert list(grading.probabilities) == list("ABCDE") and len(grading.grade_probabilities) == 5
    assert grading.crop.shape == grading.mask.shape == grading.attention.shape == (96, 96)
    assert grading.attention.min() >= 0 and grading.attention.max() in (0, pytest.approx(1))
    assert grading.attention_of == "definition B, positive"
    left, top, width, height = grading.box_mm
    assert width == height
    # The square lies about the middle of muscle and fossa, columns 40-70 and rows 42-75, and holds both.
    assert left + width / 2 == pytest.approx(55 * SPACING_MM, abs=0.5)
    assert top + height / 2 == pytest.approx(58.5 * SPACING_MM, abs=0.5)
    assert width > 33 * SPACING_MM
    # The muscle's share of the crop is its share of the square.
    assert grading.mask.mean() == pytest.approx(30 * 25 * SPACING_MM**2 / width**2, rel=0.03)


def test_the_crop_follows_the_labels_of_a_reader(network):
    volume, truth = make_shoulder_case()
    smaller = truth.array.copy()
    smaller[40:55, 50:75] = 0
    inferer = YViewInferer()
    whole, half = (
        inferer.grade(volume, LabelMap(array, volume.grid, SCHEMA), network) for array in (truth.array, smaller)
    )
    assert half.mask.sum() < whole.mask.sum() and half.box_mm != whole.box_mm
    assert half.probabilities != whole.probabilities


def test_the_grade_does_not_depend_on_the_order_of_axes(network):
    volume, truth = make_shoulder_case(slices=3, y_view=1)
    array, affine = reorient(volume.array, volume.grid.affine, "RAS")
    labels, _ = reorient(truth.array, volume.grid.affine, "RAS")
    grid = Grid(array.shape, affine)
    turned = Volume(np.ascontiguousarray(array), grid, "MR", volume.acquisition)
    gradings = [
        YViewInferer().grade(image, label_map, network)
        for image, label_map in ((volume, truth), (turned, LabelMap(np.ascontiguousarray(labels), grid, SCHEMA)))
    ]
    assert gradings[0].grade_probabilities == pytest.approx(gradings[1].grade_probabilities, abs=1e-6)
    assert gradings[0].box_mm == pytest.approx(gradings[1].box_mm, abs=1e-3)


def test_a_network_in_training_mode_grades_alike_and_stays_in_it(network):
    volume, truth = make_shoulder_case()
    expected = YViewInferer().grade(volume, truth, network)
    found = YViewInferer().grade(volume, truth, network.train())
    assert found.grade_probabilities == expected.grade_probabilities
    np.testing.assert_array_equal(found.attention, expected.attention)
    assert network.training and network.classifier.training


def test_flags_say_what_makes_the_grade_less_sure(network):
    volume, truth = make_shoulder_case(turn_degrees=50, noise=60)
    suppressed = replace(volume, acquisition=replace(volume.acquisition, fat_suppressed=True))
    assert YViewInferer().grade(suppressed, truth, network).flags == (
        "not_oblique_sagittal",
        "wrong_sequence",
        "poor_signal",
    )
    assert YViewInferer().grade(*make_shoulder_case(), network).flags == ()


def test_slices_are_scored_one_at_a_time(network):
    volume, truth = make_shoulder_case(slices=7, y_view=0)
    planes = list(YViewInferer().iter_probabilities(paint(truth), volume.grid.affine, network, 3))
    assert len(planes) == 3
    probabilities, shown = planes[0]
    assert probabilities.shape == (5, 256, 256) and shown.max() == pytest.approx(100)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-5)


def test_an_unknown_definition_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="no binary definition 'F': choose one of A: grades 3-4 against 0-1"):
        YViewInferer(attention="F")
