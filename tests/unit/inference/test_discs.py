"""The inferer finds discs where the network does, on the image's own grid in any orientation, and says which."""

import numpy as np
import pytest
import torch
from scipy.ndimage import find_objects
from scipy.ndimage import label as label_components
from torch import nn

from myotome.errors import BundleError, GeometryError
from myotome.geometry import Grid, Volume
from myotome.inference import DiscFinder, DiscInferer
from myotome.networks import AXIAL_DISC, DISC, LUMBOSACRAL_DISC, LumbarDiscSegmenter, write_weights
from myotome.structures import LabelMap, read_label_schema

SCHEMA = read_label_schema("lumbar_disc_mr")
# Array axes down, back and left, or right, back and up; 1 mm pixels, slices 4 mm apart.
SAGITTAL = np.array([[0, 0, -4.0, 20], [0, -1.0, 0, 50], [-1.0, 0, 0, 100], [0, 0, 0, 1]])
AXIAL = np.array([[1.0, 0, 0, -60], [0, -1.0, 0, 50], [0, 0, 4.0, 0], [0, 0, 0, 1]])


class BrightDetector(nn.Module):
    """Stands for the detector: what is bright is a disc, the lowest of a slice is L5-S1 where ``sacral`` says so."""

    def __init__(self, axial: bool = False, sacral: float = 0.9) -> None:
        super().__init__()
        self.axial, self.sacral = axial, sacral
        self.nothing = nn.Parameter(torch.zeros(1))  # it lies on a device

    def forward(self, image):
        return {}, [self._find(plane[0].numpy()) for plane in image]

    def _find(self, plane):
        pieces = [
            (rows, columns)
            for rows, columns in find_objects(label_components(plane > 0.75)[0])
            if (rows.stop - rows.start) * (columns.stop - columns.start) > 20
        ]
        rows = [(c.start, r.start, c.stop, r.stop) for r, c in pieces]
        lowest = max((box[3] for box in rows), default=0)
        boxes, labels, scores = [], [], []
        for number, box in enumerate(rows):
            score = 0.95 - 0.05 * number
            kind = AXIAL_DISC if self.axial else LUMBOSACRAL_DISC if box[3] == lowest else DISC
            share = self.sacral if kind == LUMBOSACRAL_DISC else 1.0
            for other, part in ((kind, share), (DISC, 1 - share)):
                if part > 0:
                    boxes, labels, scores = [*boxes, box], [*labels, other], [*scores, score * part]
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores),
            "masks": torch.ones(len(boxes), 1, 28, 28),
        }


@pytest.fixture(scope="module")
def segmenter():
    return LumbarDiscSegmenter().eval()


def look(segmenter, **settings):
    """The segmenter with the stand-in for its detector."""
    segmenter.detector = BrightDetector(**settings)
    return segmenter


def spine(rows: list[int], slices: range = range(3, 9)) -> tuple[np.ndarray, np.ndarray]:
    """Bright bars 40 pixels long and 10 high at these rows of a sagittal volume, and the bars' numbers from below."""
    array, truth = np.full((200, 100, 12), 20, np.int16), np.zeros((200, 100, 12), np.uint8)
    for number, row in enumerate(sorted(rows, reverse=True)):
        for index in slices:
            array[row : row + 10, 30:70, index] = 200
            truth[row : row + 10, 30:70, index] = number + 1
    return array, truth


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def test_the_five_lumbar_discs_are_labelled_and_the_sixth_is_not(segmenter):
    array, truth = spine([5, 40, 75, 110, 145, 180])
    inferer = DiscInferer()
    labels = inferer.segment(array, SAGITTAL, look(segmenter))
    for number in range(1, 6):
        assert dice(labels == 6 - number, truth == number) > 0.9
    assert not labels[truth == 6].any() and not labels[:, :, :3].any()
    assert [one.structure for one in sorted(inferer.instances, key=lambda one: one.box[0][0])] == [
        "disc_l1_l2",
        "disc_l2_l3",
        "disc_l3_l4",
        "disc_l4_l5",
        "disc_l5_s1",
    ]
    assert "counted upwards" in inferer.reason


def test_an_instance_has_a_box_around_its_voxels_and_a_score_for_each_slice(segmenter):
    array, _ = spine([40, 75])
    inferer = DiscInferer()
    labels = inferer.segment(array, SAGITTAL, look(segmenter))
    for one in inferer.instances:
        where = np.argwhere(labels == SCHEMA[one.structure].index)
        assert tuple(where.min(0)) == one.box[0] and tuple(where.max(0) + 1) == one.box[1]
        assert [index for index, _ in one.slice_scores] == list(range(3, 9))
        assert one.score == pytest.approx(np.mean([score for _, score in one.slice_scores]), abs=1e-3)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2)])
def test_the_labels_follow_the_image_however_it_is_stored(segmenter, order):
    array, _ = spine([40, 75, 110])
    expected = DiscInferer().segment(array, SAGITTAL, look(segmenter))
    turned, affine = np.flip(array.transpose(order), 0), SAGITTAL[:, [*order, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * (turned.shape[0] - 1)
    affine[:3, 0] *= -1
    inferer = DiscInferer()
    found = inferer.segment(turned, affine, look(segmenter))
    assert np.array_equal(found, np.flip(expected.transpose(order), 0))
    lowest = next(one for one in inferer.instances if one.structure == "disc_l5_s1")
    assert (found[lowest.region] == 5).sum() == (expected == 5).sum()


def test_without_a_sure_lumbosacral_disc_the_levels_are_left_open(segmenter):
    array, truth = spine([40, 75, 110])
    inferer = DiscInferer()
    labels = inferer.segment(array, SAGITTAL, look(segmenter, sacral=0.4))
    assert set(np.unique(labels)) == {0, 6} and dice(labels > 0, truth > 0) > 0.9
    assert {one.structure for one in inferer.instances} == {"intervertebral_disc"} and len(inferer.instances) == 3
    assert "levels are left open" in inferer.reason


def test_of_an_axial_slice_the_surest_disc_is_taken(segmenter):
    array = np.full((120, 100, 3), 20, np.int16)
    array[30:80, 30:65, :2] = 200
    array[90:110, 80:90, 0] = 200  # found second, so less sure
    inferer = DiscInferer()
    labels = inferer.segment(array, AXIAL, look(segmenter, axial=True))
    found = [(one.structure, one.box[0][2], one.box[1][2]) for one in inferer.instances]
    assert found == [("intervertebral_disc", 0, 1), ("intervertebral_disc", 1, 2)]
    assert dice(labels[..., 1] == 6, array[..., 1] > 100) > 0.9 and not labels[..., 2].any()
    assert np.count_nonzero(labels[..., 0]) < 2200


def test_detections_are_those_of_each_slice_unsure_ones_too(segmenter):
    array, truth = spine([40, 75], range(3, 5))
    finder = DiscInferer(least_score=0.9)
    found = finder.detect(array, SAGITTAL, look(segmenter))
    assert [(piece.slice_index, round(piece.score, 3)) for piece in found] == [
        (3, 0.95),
        (3, 0.9),
        (4, 0.95),
        (4, 0.9),
    ]
    assert [piece.lumbosacral for piece in found] == pytest.approx([0, 0.9, 0, 0.9], abs=1e-6)
    assert dice(found[1].draw((200, 100)), truth[..., 3] == 1) > 0.9
    assert len(finder.detect(array, SAGITTAL, segmenter, least_score=0.92)) == 2


def test_a_small_field_is_put_on_a_small_square():
    seen = []

    class Watch(BrightDetector):
        def forward(self, image):
            seen.append(tuple(image.shape[2:]))
            return super().forward(image)

    network = LumbarDiscSegmenter().eval()
    network.detector.forward = Watch().forward
    array, _ = spine([40])
    DiscInferer().detect(array, SAGITTAL, network)
    DiscInferer(fit=False).detect(array, SAGITTAL, network)
    DiscInferer(size=256).detect(array, SAGITTAL, network)
    assert list(dict.fromkeys(seen)) == [(288, 288), (384, 384), (256, 256)]  # 200 mm are 267 pixels


def test_coronal_slices_are_refused_and_in_monai_left_unlabelled(segmenter):
    coronal = np.array([[1.0, 0, 0, 0], [0, 0, 4.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    inferer = DiscInferer()
    with pytest.raises(GeometryError, match="coronal"):
        inferer.segment(np.zeros((64, 64, 5)), coronal, look(segmenter))
    from monai.data import MetaTensor

    image = MetaTensor(torch.zeros(1, 1, 64, 64, 5), affine=torch.from_numpy(coronal))
    assert not inferer(image, segmenter).any() and "coronal" in inferer.reason


def test_instances_are_those_of_the_last_volume_that_are_still_labelled(segmenter):
    array, _ = spine([40, 75])
    inferer = DiscInferer()
    volume = Volume(array, Grid(array.shape, SAGITTAL), "MR")
    label_map = LabelMap(inferer.segment(array, SAGITTAL, look(segmenter)), volume.grid, SCHEMA)
    assert len(inferer.find_instances(volume, label_map)) == 2
    corrected = LabelMap(np.where(label_map.array == 4, 0, label_map.array).astype(np.uint8), volume.grid, SCHEMA)
    assert [one.structure for one in inferer.find_instances(volume, corrected)] == ["disc_l5_s1"]
    other = Volume(array[:, :, :6], Grid((200, 100, 6), SAGITTAL), "MR")
    assert inferer.find_instances(other, LabelMap(label_map.array[:, :, :6], other.grid, SCHEMA)) == ()


def test_probabilities_of_spread_slices_sum_to_one():
    array, _ = spine([40, 75])
    given = list(DiscInferer(size=128).iter_probabilities(array, SAGITTAL, LumbarDiscSegmenter().eval(), 2))
    assert len(given) == 2
    for probabilities, shown in given:
        assert probabilities.shape == (7, 128, 128) and shown.shape == (128, 128)
        assert np.allclose(probabilities.sum(0), 1, atol=1e-5) and 0 <= shown.min() <= shown.max() <= 100


def test_an_empty_image_has_no_disc(segmenter):
    inferer = DiscInferer()
    assert not inferer.segment(np.zeros((64, 64, 2)), SAGITTAL, look(segmenter)).any()
    assert inferer.instances == () and inferer.reason == "no disc is found"


def test_a_finder_runs_weights_of_its_own_backbone(tmp_path):
    write_weights(LumbarDiscSegmenter().state_dict(), tmp_path / "model.pt")
    finder = DiscFinder(tmp_path / "model.pt", confidence=0.9, size=128)
    array = np.zeros((64, 64, 1))
    label_map = finder.segment(Volume(array, Grid(array.shape, SAGITTAL), "MR"))
    assert label_map.schema.name == "lumbar_disc_mr" and finder.reason
    with pytest.raises(BundleError, match="another network"):
        DiscFinder(tmp_path / "model.pt", "resnet50")
