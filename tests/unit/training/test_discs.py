"""What the disc detector is told: instances of slices, none of them empty, and the same in every run."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from myotome.errors import BundleError, InputError
from myotome.networks import AXIAL_DISC, DISC, LUMBOSACRAL_DISC, LumbarDiscSegmenter, write_weights
from myotome.training import (
    DetectionLoss,
    DiscBatch,
    PlaneDataset,
    PlaneSampling,
    make_disc_targets,
    start_discs,
)
from myotome.transforms import RandIntensity, RandTurn

CPU = torch.device("cpu")
SAGITTAL = np.array([[0, 0, -4.0, 20], [0, -1.0, 0, 50], [-1.0, 0, 0, 100], [0, 0, 0, 1]])
AXIAL = np.diag([1.0, 1.0, 4.0, 1.0])


def draw(*bars: tuple[int, int], size: int = 128) -> torch.Tensor:
    """(1, 1, size, size) labels: a bar 40 long and 10 high for each (label, top row)."""
    label = torch.zeros(1, 1, size, size, dtype=torch.long)
    for number, top in bars:
        label[0, 0, top : top + 10, 30:70] = number
    return label


def targets(label: torch.Tensor, axial: bool = False) -> dict:
    (found,) = make_disc_targets(label, torch.tensor([axial]))
    return found


def test_each_label_of_a_sagittal_slice_is_a_disc_and_the_fifth_is_the_lumbosacral_one():
    found = targets(draw((3, 20), (4, 60), (5, 100)))
    assert found["boxes"].tolist() == [[30, 20, 70, 30], [30, 60, 70, 70], [30, 100, 70, 110]]
    assert found["labels"].tolist() == [DISC, DISC, LUMBOSACRAL_DISC]
    assert found["masks"].shape == (3, 128, 128) and found["masks"].sum((1, 2)).tolist() == [400] * 3
    assert found["ignored"].tolist() == [[0, 0, 128, 20]]  # above the highest there may be others


def test_every_label_of_an_axial_slice_is_a_disc_without_a_level():
    found = targets(draw((6, 20), (4, 60)), axial=True)
    assert found["labels"].tolist() == [AXIAL_DISC] * 2 and found["ignored"].shape == (0, 4)


def test_a_slice_without_a_disc_has_none_and_nothing_to_ignore():
    found = targets(draw())
    assert found["boxes"].shape == found["ignored"].shape == (0, 4)
    assert found["masks"].shape == (0, 128, 128) and found["labels"].shape == (0,)
    assert targets(draw((255, 20)))["boxes"].shape == (0, 4)  # not annotated


def test_slices_of_a_batch_are_told_as_each_by_itself():
    slices, axial = [draw((3, 20), (5, 60)), draw(), draw((6, 40))], [False, False, True]
    together = make_disc_targets(torch.cat(slices), torch.tensor(axial))
    for found, label, across in zip(together, slices, axial, strict=True):
        alone = targets(label, across)
        assert all(torch.equal(found[key], alone[key]) for key in alone)


def test_a_sliver_and_a_disc_of_unknown_level_are_neither_disc_nor_background():
    label = draw((6, 60))
    label[0, 0, 10, 20:26] = 3
    found = targets(label)
    assert found["boxes"].shape == (0, 4) and found["ignored"].tolist() == [[20, 10, 26, 11], [30, 60, 70, 70]]
    label = draw()
    label[0, 0, 10, 20:40] = 3  # one row of pixels: its box is one pixel high
    assert targets(label)["boxes"].tolist() == [[20, 10, 40, 11]]


def write_volume(folder, name: str, affine: np.ndarray, shape: tuple[int, int, int], bars: dict) -> dict:
    """An image whose bars are bright and labelled: ``bars`` is {label: (slice over the first axis, slices)}."""
    image, label = np.full(shape, 20, np.int16), np.zeros(shape, np.uint8)
    for number, (where, slices) in bars.items():
        label[where, 30:70, slices] = number
    image[label > 0] = 200
    row = {}
    for kind, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, affine), folder / f"{name}_{kind}.nii")
        row[kind] = str(folder / f"{name}_{kind}.nii")
    return row


@pytest.fixture
def rows(tmp_path) -> list[dict]:
    five = {5 - number: (slice(150 - 30 * number, 160 - 30 * number), slice(2, 8)) for number in range(5)}
    sagittal = write_volume(tmp_path, "sagittal", SAGITTAL, (180, 100, 12), five)
    axial = write_volume(tmp_path, "axial", AXIAL, (90, 110, 3), {6: (slice(20, 60), slice(0, 2))})
    return [sagittal, axial]


def sampling(**settings) -> PlaneSampling:
    given = {"spacing_mm": 1.0, "size": 192, "view": "own", "merged": tuple(range(7)), "labelled_slices": 3}
    return PlaneSampling(**{**given, **settings})


def test_images_of_different_sizes_and_views_stand_in_one_set(rows):
    data = PlaneDataset(rows, sampling=sampling())
    assert len(data) == 3 + 2
    samples = [data[number] for number in range(len(data))]
    assert {tuple(sample["image"].shape) for sample in samples} == {(1, 192, 192)}
    assert [bool(sample["axial"]) for sample in samples] == [False] * 3 + [True] * 2
    sagittal = targets(samples[0]["label"][None].long())
    assert sorted(sagittal["labels"].tolist()) == [DISC] * 4 + [LUMBOSACRAL_DISC]
    lowest = sagittal["boxes"][sagittal["labels"] == LUMBOSACRAL_DISC][0]
    assert lowest[1] == sagittal["boxes"][:, 1].max()  # superior on top
    axial = targets(samples[3]["label"][None].long(), axial=True)
    assert axial["labels"].tolist() == [AXIAL_DISC] and axial["boxes"][0].tolist() == [81, 81, 121, 121]


def test_slices_without_a_disc_are_drawn_too(rows):
    data = PlaneDataset(rows[:1], length=200, sampling=sampling(empty_share=0.3, empty_mm=4.0))
    empty = [not data[number]["label"].any() for number in range(200)]
    assert 0.2 < np.mean(empty) < 0.4


def batch(rows, seed: int = 4) -> dict:
    data = PlaneDataset(rows, length=4, seed=seed, sampling=sampling(empty_share=0.2, empty_mm=4.0))
    return torch.utils.data.default_collate([data[number] for number in range(4)])


def test_a_batch_is_turned_with_its_targets_and_drawn_alike_again(rows):
    given = batch(rows)
    prepare = DiscBatch(128, RandTurn(mirror=0.0), RandIntensity())
    image, label, (found,), _ = prepare(given, CPU)
    assert image.shape == label.shape == (4, 1, 128, 128) and len(found) == 4
    for plane, one in zip(label, found, strict=True):
        for mask, box in zip(one["masks"], one["boxes"].long(), strict=True):
            left, top, right, bottom = box.tolist()
            assert mask[top:bottom, left:right].sum() == mask.sum() > 0
            assert len(plane[0][mask.bool()].unique()) == 1
    drawn = torch.rand(3)
    torch.rand(7)
    again = prepare(given, CPU)
    assert torch.equal(again[0], image) and torch.equal(torch.rand(3), drawn)  # the generator follows the batch
    whole, same, further, _ = DiscBatch()(given, CPU)
    assert torch.equal(whole, given["image"]) and torch.equal(same, given["label"].long()) and further == ()


def test_losses_are_summed_by_weight():
    losses = torch.tensor([0.5, 0.25, 2.0, 1.0, 0.125])
    assert DetectionLoss()(losses, None) == 3.875
    assert DetectionLoss([0, 0, 0, 0, 8])(losses, None) == 1
    with pytest.raises(ValueError, match="2 weights for 5 losses"):
        DetectionLoss([1, 1])


def test_training_begins_with_what_is_there(tmp_path):
    given = LumbarDiscSegmenter()
    write_weights(given.state_dict(), tmp_path / "given.pt")
    fresh = start_discs(LumbarDiscSegmenter(), CPU, tmp_path / "none.pt", "phantom", tmp_path / "given.pt")
    going_on = start_discs(LumbarDiscSegmenter(), CPU, tmp_path / "given.pt", "moon", freeze_norm=True)
    for begun in (fresh, going_on):
        assert all(torch.equal(value, begun.state_dict()[key]) for key, value in given.state_dict().items())
    assert going_on.detector.norm_frozen and not fresh.detector.norm_frozen
    with pytest.raises(InputError, match="source 'moon'"):
        start_discs(LumbarDiscSegmenter(), CPU, tmp_path / "none.pt", "moon")
    with pytest.raises(BundleError, match="no weights at"):
        start_discs(LumbarDiscSegmenter(), CPU, tmp_path / "none.pt", "phantom", tmp_path / "nowhere.pt")
