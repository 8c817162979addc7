"""The disc detector: its size, its anchors, what it learns nothing from, and how it names and paints what it finds."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.ops import box_iou

from myotome.errors import BundleError, InputError
from myotome.networks import (
    AXIAL_DISC,
    DISC,
    LOSSES,
    LUMBOSACRAL_DISC,
    LumbarDiscSegmenter,
    copy_disc_source,
    make_mask_rcnn,
    paste_masks,
    write_weights,
)
from myotome.networks.mask_rcnn import MaskRcnn


@pytest.fixture(scope="module")
def segmenter() -> LumbarDiscSegmenter:
    torch.manual_seed(3)
    return LumbarDiscSegmenter()


def target(*boxes: tuple[int, int, int, int], size: int = 128, ignored: tuple = ()) -> dict:
    masks = torch.zeros(len(boxes), size, size, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.ones(len(boxes), dtype=torch.int64),
        "masks": masks,
        "ignored": torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
    }


def found(*rows: tuple[tuple[int, int, int, int], int, float]) -> dict:
    """Detections as the network gives them, by falling score; the whole box is mask."""
    boxes, labels, scores = zip(*sorted(rows, key=lambda row: -row[2]), strict=True) if rows else ((), (), ())
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.tensor(scores, dtype=torch.float32),
        "masks": torch.ones(len(rows), 1, 28, 28),
    }


def test_the_small_network_fits_into_the_repository(segmenter, tmp_path):
    write_weights(segmenter.state_dict(), tmp_path / "model.pt")
    assert 12e6 < os.path.getsize(tmp_path / "model.pt") < 25e6
    with pytest.raises(InputError, match="mobile, resnet50"):
        LumbarDiscSegmenter("vgg")
    with pytest.raises(ValueError, match="mobile, resnet50"):
        make_mask_rcnn("vgg", 2)


def test_every_disc_has_an_anchor_that_fits(segmenter):
    """Boxes of sagittal discs, level or tilted, and of axial ones, in the worst place between the anchors' middles."""
    rpn = segmenter.detector.rpn
    cells = torch.cat([torch.as_tensor(cell) for cell in rpn.anchor_generator.cell_anchors])
    strides = torch.repeat_interleave(torch.tensor([4.0, 8.0, 16.0]), 3)
    assert len(cells) == len(strides)
    for width_mm, height_mm in [(26, 8), (34, 10), (34, 22), (40, 14), (36, 30), (46, 32), (56, 38), (64, 46)]:
        size = torch.tensor([width_mm, height_mm]) / 0.75
        offset = strides[:, None] / 2
        places = torch.cat((offset - size / 2, offset + size / 2), dim=1)
        best = torch.stack([box_iou(a[None], b[None])[0, 0] for a, b in zip(cells, places, strict=True)]).max()
        assert best > 0.55, (width_mm, height_mm, float(best))


def test_slices_without_a_disc_can_be_learned_from(segmenter):
    image = torch.rand(2, 1, 128, 128)
    segmenter.train()
    for targets in ([target(), target()], [target(), target((20, 40, 70, 60))]):
        losses = segmenter(image, targets)
        assert losses.shape == (len(LOSSES),) and torch.isfinite(losses).all()
        losses.sum().backward()
    segmenter.zero_grad()


def test_what_is_to_be_ignored_is_no_background(segmenter):
    rpn, heads = segmenter.detector.rpn, segmenter.detector.roi_heads
    anchors = [torch.tensor([[10.0, 10, 50, 30], [10, 60, 50, 80], [12, 90, 52, 110]])]
    plain, ignoring = target((10, 60, 50, 80)), target((10, 60, 50, 80), ignored=((0, 0, 128, 55), (0, 55, 128, 75)))
    assert rpn.assign_targets_to_anchors(anchors, [plain])[0][0].tolist() == [0, 1, 0]
    assert rpn.assign_targets_to_anchors(anchors, [ignoring])[0][0].tolist() == [-1, 1, 0]
    shown, _, labels, _ = heads.select_training_samples([anchors[0].clone()], [ignoring])
    assert not (shown[0] == anchors[0][0]).all(dim=1).any()
    assert labels[0].tolist().count(1) >= 1 and labels[0].tolist().count(0) == 1


def test_frozen_normalisation_stays_as_it_is():
    network = make_mask_rcnn("mobile", 2)
    network.freeze_norm()
    kept = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    network.train()
    network(torch.rand(1, 1, 128, 128), [target()])
    assert all(torch.equal(network.state_dict()[key], value) for key, value in kept.items())
    free = make_mask_rcnn("mobile", 2).train()
    before = free.backbone.encoder.stages[0].state_dict()["0.1.running_mean"].clone()
    free(torch.rand(1, 1, 128, 128), [target()])
    assert not torch.equal(free.backbone.encoder.stages[0].state_dict()["0.1.running_mean"], before)


def test_doubles_of_two_classes_are_one_disc_with_both_scores(segmenter):
    rows = [
        ((10, 100, 60, 120), LUMBOSACRAL_DISC, 0.6),
        ((11, 100, 60, 121), DISC, 0.3),
        ((10, 60, 60, 80), DISC, 0.8),
        ((10, 10, 60, 50), AXIAL_DISC, 0.7),
    ]
    settled = segmenter.settle(found(*rows), False)
    assert settled["boxes"].tolist() == [[10, 100, 60, 120], [10, 60, 60, 80]]
    assert settled["scores"].tolist() == pytest.approx([0.9, 0.8])
    assert settled["lumbosacral"].tolist() == pytest.approx([2 / 3, 0])
    axial = segmenter.settle(found(*rows), True)
    assert axial["boxes"].tolist() == [[10, 10, 60, 50]] and axial["lumbosacral"].tolist() == [0]
    assert segmenter.settle(found(), False)["masks"].shape == (0, 1, 28, 28)


def paint(segmenter, *rows) -> np.ndarray:
    painted = segmenter._paint(found(*rows), 256, 96)
    assert torch.allclose(painted.sum(0), torch.ones(256, 96)) and painted.min() >= 0
    return painted.argmax(0).numpy()


def test_a_slice_is_painted_with_levels_counted_up(segmenter):
    bars = [((10, top, 60, top + 15), DISC, 0.9) for top in (5, 40, 75, 110, 145, 180)]
    labels = paint(segmenter, *bars[:-1], ((10, 180, 60, 195), LUMBOSACRAL_DISC, 0.9), ((10, 220, 60, 235), DISC, 0.9))
    assert [int(labels[top + 7, 35]) for top in (5, 40, 75, 110, 145, 180, 220)] == [0, 1, 2, 3, 4, 5, 0]
    unnamed = paint(segmenter, *bars[:3], ((10, 180, 60, 195), DISC, 0.4))
    assert [int(unnamed[top + 7, 35]) for top in (5, 40, 75, 180)] == [6, 6, 6, 0]  # 0.4 is not sure enough
    axial = paint(segmenter, ((10, 20, 80, 70), AXIAL_DISC, 0.9), bars[5][:2] + (0.6,))
    assert set(np.unique(axial)) == {0, 6} and axial[187, 35] == 0 and axial[45, 45] == 6
    assert not paint(segmenter).any()


@pytest.mark.parametrize("move", [(0, 0, 0, 0), (-3, -2, 4, 1.5), (-0.3, -0.2, 0.6, 0.4)])
def test_masks_come_back_as_training_cut_them_out(move):
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    discs = torch.stack(
        [((columns - x) / 22) ** 2 + ((rows - y) / 5.5) ** 2 < 1 for x, y in ((40.0, 30.0), (80.5, 60.5))]
    )
    edges = [(disc.any(0).nonzero(), disc.any(1).nonzero()) for disc in discs]
    boxes = torch.tensor([[x[0], y[0], x[-1] + 1, y[-1] + 1] for x, y in edges], dtype=torch.float32) + torch.tensor(
        move
    )
    cut = project_masks_on_boxes(discs.float(), boxes, torch.arange(2), 28)
    drawn = paste_masks(cut[:, None], boxes, 96, 128)[:, 0] >= 0.5
    for disc, again in zip(discs, drawn, strict=True):
        assert (disc & again).sum() / (disc | again).sum() > 0.95
        assert int(again.sum()) == pytest.approx(int(disc.sum()), rel=0.03)
    assert paste_masks(cut[:0, None], boxes[:0], 96, 128).shape == (0, 1, 96, 128)


def test_torchscript_paints_the_same(segmenter):
    image = torch.rand(1, 1, 128, 128)
    segmenter.eval()
    segmenter.least_score = 0.05
    with torch.no_grad():
        expected = segmenter(image)
        assert torch.equal(torch.jit.script(segmenter)(image), expected)
    assert expected.shape == (1, 7, 128, 128)
    segmenter.least_score = 0.5


def test_the_large_network_takes_over_what_coco_taught(monkeypatch, tmp_path):
    """From names as torchvision's file has them, which are older than its code."""
    given = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    old = {}
    for key, value in given.items():
        for block in range(4):
            key = key.replace(f"mask_head.{block}.0.", f"mask_head.mask_fcn{block + 1}.")
            key = key.replace(f"_blocks.{block}.0.", f"_blocks.{block}.")
        old[key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")] = value
    assert len(old) == len(given) and "roi_heads.mask_head.mask_fcn1.weight" in old
    monkeypatch.setattr("myotome.networks.lumbar_disc.read_coco_weights", lambda: old)
    segmenter = LumbarDiscSegmenter("resnet50")
    assert isinstance(segmenter.detector, MaskRcnn)
    count = copy_disc_source(segmenter, "coco")
    own = segmenter.state_dict()
    missing = {key for key in own if key.removeprefix("detector.") not in given}
    assert not missing
    fresh = [key for key in own if own[key].shape != given[key.removeprefix("detector.")].shape]
    assert {key.split(".")[2] for key in fresh} == {"box_predictor", "mask_predictor"}
    assert count == len(own) - len(fresh)
    assert torch.equal(own["detector.rpn.head.conv.0.0.weight"], given["rpn.head.conv.0.0.weight"])


def test_where_it_begins_has_to_fit(segmenter, tmp_path, monkeypatch):
    assert copy_disc_source(segmenter, "scratch") == 0
    write_weights(segmenter.state_dict(), tmp_path / "model.pt")
    other = LumbarDiscSegmenter()
    assert copy_disc_source(other, "phantom", tmp_path / "model.pt") == len(other.state_dict())
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in segmenter.state_dict().items())
    write_weights({"a": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for error, sentence, source, path in (
        (InputError, "scratch, imagenet, coco, phantom", "moon", None),
        (InputError, "source 'coco' is for backbone 'resnet50'", "coco", None),
        (InputError, "set source_path", "phantom", None),
        (BundleError, "no weights at", "phantom", tmp_path / "none.pt"),
        (BundleError, "not a readable weights file", "phantom", tmp_path / "text.pt"),
        (BundleError, "weights of another network", "phantom", tmp_path / "other.pt"),
    ):
        with pytest.raises(error, match=sentence):
            copy_disc_source(other, source, path)


def test_offline_it_says_where_coco_is_and_what_to_do_instead(monkeypatch, tmp_path):
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    from myotome.networks import read_coco_weights

    def unreachable(self, *args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(MaskRCNN_ResNet50_FPN_Weights, "get_state_dict", unreachable)
    with pytest.raises(
        BundleError, match=r"COCO weights of Mask R-CNN cannot be downloaded here from https://\S+: set source to"
    ):
        read_coco_weights()
