"""The row of vertebrae is read from a label map, follows the field that is cut, and is scored by name."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from myotome.errors import InputError
from myotome.networks import (
    UNKNOWN,
    BoneDensitySegmenter,
    L3MuscleSegmenter,
    LevelNetwork,
    write_weights,
)
from myotome.training import (
    LevelSampling,
    SequenceDataset,
    SequenceLoss,
    SequenceOutput,
    SequenceScore,
    read_datalist,
    start_bone,
)
from myotome.training.vertebra_names import name_bins
from myotome.transforms import project_spine

AFFINE = np.diag([-3.0, -3.0, 3.0, 1.0])
AFFINE[:3, 3] = 90, 90, -300
PITCH, HEIGHT = 10, 8


def make_labels(names: list[int], first: int = 1, slices: int = 100) -> np.ndarray:
    """Bodies of eight slices, two slices apart, from below upwards."""
    labels = np.zeros((40, 40, slices), np.uint8)
    for place, name in enumerate(names):
        labels[15:25, 15:25, first + PITCH * place : first + PITCH * place + HEIGHT] = name
    return labels


def make_image(labels: np.ndarray) -> np.ndarray:
    image = np.full(labels.shape, 30, np.int16)
    image[15:25, 15:25] = 90
    image[(labels > 0) & (labels < 9)] = 300
    return image


def name(labels: np.ndarray, affine: np.ndarray = AFFINE) -> list[int]:
    return name_bins(labels, affine, project_spine(make_image(labels), affine)).tolist()


def test_boundaries_lie_midway_between_bodies_and_beyond_a_neighbour_nothing_is_known():
    labels = make_labels([6, 5, 3], first=21)
    labels[0, 0, 90] = 3  # a mislabelled voxel
    found = name(labels)
    assert found[21:30] == [6] * 9 and found[30:39] == [5] * 9
    assert found[:20] == [UNKNOWN] * 20 and found[60:] == [UNKNOWN] * 40
    assert found[41:49] == [3] * 8 and found[39] == found[40] == UNKNOWN  # T11 between T12 and T10 is not labelled


def test_above_t8_and_below_l3_the_row_goes_on():
    labels = make_labels([8, 7, 6, 5, 4, 3, 2, 1], first=11)
    for found in (name(labels), name(labels[::-1, :, ::-1], _turn(labels.shape))):
        assert found[:9] == [9] * 9 and found[12:19] == [8] * 7
        assert found[82:88] == [1] * 6 and found[91:] == [0] * 9


def _turn(shape: tuple[int, ...]) -> np.ndarray:
    affine = AFFINE.copy()
    for axis in (0, 2):
        affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
        affine[:3, axis] *= -1
    return affine


def test_a_body_that_the_field_cuts_has_nothing_beyond_it():
    found = name(make_labels([2, 1], first=81))
    assert found[92:] == [1] * 8 and 0 not in found


def write_rows(folder, names: list[list[int]]) -> list[dict]:
    rows = []
    for number, row in enumerate(names):
        labels = make_labels(row)
        for kind, array in (("image", make_image(labels)), ("label", labels)):
            nib.save(nib.Nifti1Image(array, AFFINE), folder / f"{kind}{number}.nii")
        rows.append({"image": f"image{number}.nii", "label": f"label{number}.nii"})
    (folder / "datalist.json").write_text(json.dumps({"training": rows}))
    return read_datalist(folder / "datalist.json", "training")


def test_the_names_move_with_the_field(tmp_path):
    rows = write_rows(tmp_path, [[8, 7, 6, 5, 4, 3, 2, 1]])
    whole = SequenceDataset(rows)
    assert len(whole) == 1
    image, label = whole[0]["image"], whole[0]["label"]
    assert image.shape == (5, 64, 160) and label.shape == (2, 160)
    assert label[1].sum() == 100 and label[0, 100:].eq(UNKNOWN).all() and label[0, 15] == 7
    data = SequenceDataset(rows, length=30, seed=2, sampling=LevelSampling(noise=0.0, gain=(1.0, 1.0), least_mm=90))
    for number in range(30):
        sample = data[number]
        names, inside = sample["label"]
        known = names[(inside > 0) & (names != UNKNOWN)]
        assert (known.diff() <= 0).all() and (known.diff() >= -1).all()
        assert names[inside == 0].eq(UNKNOWN).all()
        assert not sample["image"][..., inside == 0].any()
        # A bin in the middle of a vertebra's run is bright, as a body is.
        for one in known.unique()[1:-1]:
            run = torch.nonzero(names == one)[:, 0]
            assert sample["image"][0, :, run[len(run) // 2]].max() > 0.25


def test_rows_without_labels_are_refused(tmp_path):
    rows = write_rows(tmp_path, [[8, 7]])
    with pytest.raises(InputError, match="has no 'label'"):
        SequenceDataset([{"image": rows[0]["image"]}])


def test_the_loss_and_the_score_know_the_right_row():
    names = torch.cat((torch.full((10,), 6), torch.full((10,), 5), torch.full((10,), UNKNOWN)))
    inside = torch.tensor([0, 0] + [1] * 28)
    label = torch.stack((names, inside))[None]
    right = torch.zeros(1, 10, 30)
    right[0, names.clamp(max=5 + 1), torch.arange(30)] = 20.0
    right[0, :, 20:] = 0
    right[0, 5, 20:] = 20.0
    wrong = right.roll(1, dims=1)
    assert float(SequenceLoss()(right, label)) < 1e-3 < 10 < float(SequenceLoss()(wrong, label))
    score = SequenceScore(output_transform=SequenceOutput())
    score.update(SequenceOutput()({"pred": right, "label": label}))
    assert score.compute() == 1
    score.update(SequenceOutput()({"pred": wrong, "label": label}))
    assert score.compute() == pytest.approx(0.5)


def test_both_stages_begin_with_what_fits_of_the_l3_segmenter(tmp_path):
    torch.manual_seed(0)
    source = L3MuscleSegmenter()
    write_weights(source.state_dict(), tmp_path / "l3.pt")
    segmenter = BoneDensitySegmenter()
    stage = start_bone(segmenter, "tissue", torch.device("cpu"), tmp_path / "none.pt", tmp_path / "l3.pt")
    assert stage is segmenter.tissue
    ours, theirs = segmenter.state_dict(), source.state_dict()
    assert torch.equal(ours["tissue.encoder.stages.4.15.block.3.0.weight"],
                       theirs["muscle.encoder.stages.4.15.block.3.0.weight"])  # fmt: skip
    assert torch.equal(ours["tissue.decoder.4.0.weight"][:, :25], theirs["muscle.decoder.4.0.weight"])
    assert torch.equal(ours["level.entry.weight"], theirs["level.entry.weight"])
    assert torch.equal(segmenter.level.head.weight, source.level.head.weight)
    write_weights(segmenter.state_dict(), tmp_path / "bone.pt")
    again = BoneDensitySegmenter()
    assert isinstance(start_bone(again, "level", torch.device("cpu"), tmp_path / "bone.pt"), LevelNetwork)
    assert torch.equal(again.level.head.weight, source.level.head.weight)
