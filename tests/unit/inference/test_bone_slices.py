"""Vertebral bodies are told apart, named in order, and left out or refused where their names are not sure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from myotome.errors import InputError
from myotome.inference import BoneInferer
from myotome.inference.bone_levels import Body, SpineRow, decide_names, split_bodies
from myotome.inference.bone_slices import decide_tissue
from myotome.networks import SEQUENCE
from tests.unit.inference.bone_volumes import HEIGHT, NAMES, PITCH, ROW, SLICES, make_network, make_spine


def segment(volume, network, **settings):
    inferer = BoneInferer(spacing_mm=4.0, engine="eager", **settings)
    return inferer, inferer.segment(volume.array, volume.grid.affine, network)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_every_body_has_its_own_name(order):
    volume = make_spine(order)
    inferer, labels = segment(volume, make_network())
    planes = np.moveaxis(labels, volume.grid.axis("IS"), 0)
    density = np.moveaxis(volume.array, volume.grid.axis("IS"), 0)
    for place, name in enumerate(NAMES):
        first = 1 + PITCH * place
        inside = density[first : first + HEIGHT] == 250
        assert (planes[first : first + HEIGHT][inside] == name).mean() > 0.97
        assert np.count_nonzero(planes == name) == pytest.approx(inside.sum(), rel=0.03)
    assert (planes[density == 180] == 12).mean() > 0.8 and (planes[density == -105] == 10).mean() > 0.9
    assert planes[0, 0, 0] == 13 and not (planes == 9).any()
    assert [level.name for level in inferer.levels] == [SEQUENCE[name] for name in NAMES]
    assert [level.slice_index for level in inferer.levels] == pytest.approx([4 + PITCH * n for n in range(6)], abs=1)
    assert inferer.levels[0].z_mm == pytest.approx(-300 + 3 * 4, abs=3.1)
    assert all(level.confidence > 0.99 for level in inferer.levels) and inferer.left_out == ()


def test_slices_stored_from_above_downwards_give_the_same_bodies():
    volume = make_spine()
    turned, affine = np.flip(volume.array, 2), volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (SLICES - 1)
    affine[:3, 2] *= -1
    inferer = BoneInferer(spacing_mm=4.0, engine="eager")
    labels = inferer.segment(turned, affine, make_network())
    _, upright = segment(volume, make_network())
    assert np.array_equal(np.flip(labels, 2), upright)
    assert [level.slice_index for level in inferer.levels] == pytest.approx([55 - PITCH * n for n in range(6)], abs=1)


def test_only_the_slices_of_the_named_levels_are_labelled():
    network = make_network(row=np.concatenate((np.full(20, 9), np.repeat([8, 7, 6, 5], 10))))
    _, labels = segment(make_spine(), network)
    assert np.flatnonzero(labels.any(axis=(0, 1))).tolist() == list(range(18, 60))  # 20 slices of L4, less 6 mm
    _, labels = segment(make_spine(), network, every_slice=True)
    assert labels.any(axis=(0, 1)).all()
    assert not ((labels[..., :18] > 0) & (labels[..., :18] < 9)).any()  # L4 and L5 have no label
    assert set(np.unique(labels[..., 20:])) == {5, 6, 7, 8, 10, 11, 12, 13}


def test_a_row_that_is_not_sure_is_refused():
    volume, network = make_spine(), make_network(sure=1.0, rival=1, share=0.995)
    with pytest.raises(InputError, match=r"cannot be named surely enough \(one may be .* with probability"):
        segment(volume, network)
    image = MetaTensor(torch.from_numpy(volume.array.copy())[None, None], affine=torch.tensor(volume.grid.affine))
    inferer = BoneInferer(spacing_mm=4.0, engine="eager")
    assert not inferer(image, network).any() and "myotome measure" in inferer.refusal
    assert inferer(image, make_network()).any() and inferer.refusal == ""


@pytest.mark.parametrize(("name", "sentence"), [(0, "what is above T8"), (9, "what is below L3")])
def test_a_scan_of_other_vertebrae_is_refused(name, sentence):
    with pytest.raises(InputError, match=sentence):
        segment(make_spine(), make_network(row=np.full(SLICES, name)))


def test_a_scan_without_bone_and_slices_that_are_not_axial_are_refused():
    volume = make_spine()
    soft = np.where(volume.array == 250, 50, volume.array)
    with pytest.raises(InputError, match="no vertebral body is found"):
        BoneInferer(spacing_mm=4.0, engine="eager").segment(soft, volume.grid.affine, make_network())
    with pytest.raises(InputError, match="not axial"):
        BoneInferer().segment(np.zeros((60, 8, 60), np.float32), np.diag([1.0, 5.0, 1.0, 1.0]), make_network())


def test_joined_bodies_are_split_where_the_nearer_middle_changes():
    mask = np.zeros((20, 20, 20), bool)
    mask[5:15, 5:15, 1:9] = mask[5:15, 5:15, 11:19] = True
    mask[5:7, 5:15, 9:11] = True  # a bridge of bone over the disc
    row = SpineRow(np.repeat([6, 5], 10), np.eye(10)[np.repeat([6, 5], 10)].T)
    pieces, bodies = split_bodies(mask, row, (2.0, 2.0, 3.0))
    assert [body.name for body in bodies] == [6, 5]
    assert set(np.unique(pieces[..., 1:10])) - {0} == {bodies[0].number}
    assert set(np.unique(pieces[..., 10:19])) - {0} == {bodies[1].number}
    assert [body.slice_index for body in bodies] == pytest.approx([4.5, 14.5], abs=1)
    assert sum(body.volume_mm3 for body in bodies) == pytest.approx(mask.sum() * 12)


def test_a_tilted_body_is_one_piece_though_its_slices_have_two_names():
    x, _, z = np.mgrid[:30, :20, :30]
    height = z - 0.1 * (x - 15)  # 17 degrees
    mask = ((height > 2) & (height < 10)) | ((height > 13) & (height < 21))
    row = SpineRow(np.repeat([6, 5, 4], [12, 11, 7]), np.eye(10)[np.repeat([6, 5, 4], [12, 11, 7])].T)
    pieces, bodies = split_bodies(mask, row, (1.0, 1.0, 3.0))
    assert [body.name for body in bodies] == [6, 5]
    assert np.all(pieces[mask & (height < 11)] == bodies[0].number)


def body(number: int, name: int, chance: float, rival: int, volume_mm3: float = 20e3) -> Body:
    chances = np.zeros(10)
    chances[name], chances[rival] = chance, 1 - chance
    return Body(number, 10 * number, volume_mm3, chances)


def test_a_single_body_that_is_not_sure_is_left_out_and_a_scrap_goes_with_it():
    bodies = [body(1, 7, 0.99, 8), body(2, 6, 0.98, 5), body(3, 5, 0.7, 4), body(4, 6, 1.0, 5, 1e3), body(5, 0, 1.0, 1)]
    names, left_out = decide_names(bodies, floor=0.8)
    assert names == {1: 7, 2: 6}  # the scrap is less than a tenth of the vertebra, and above T8 there is no label
    assert [one.number for one in left_out] == [3]
    assert left_out[0].describe() == "T12 with probability 0.70, T11 with 0.30"
    with pytest.raises(InputError, match=r"one may be T12 .* at least 0.80"):
        decide_names([bodies[0], bodies[2]], floor=0.8)
    with pytest.raises(InputError, match=r"one of T8 to L3 \(the lowest is above T8"):
        decide_names(bodies[4:], floor=0.8)


def test_the_names_that_are_left_out_are_said():
    network = make_network()
    row = torch.from_numpy(ROW)

    def forward(projections):
        inside = torch.nonzero(projections[0, 4, 0] > 0)[:, 0]
        logits = torch.full((1, 10, projections.shape[-1]), -20.0)
        logits[0, row, inside] = 20.0
        logits[0, :, inside[50:]] = 0.0
        return logits

    network.level.forward = forward
    inferer, labels = segment(make_spine(), network, floor=0.9)
    assert len(inferer.levels) == 5
    assert len(inferer.left_out) == 1 and "is not labelled: it is T" in inferer.left_out[0]
    assert not np.isin(labels[..., 51:58], range(1, 9)).any()


def test_probabilities_share_a_body_out_among_the_vertebrae():
    volume, network = make_spine(), make_network()
    inferer = BoneInferer(spacing_mm=4.0, engine="eager")
    planes = list(inferer.iter_probabilities(volume.array, volume.grid.affine, network, 6))
    assert len(planes) == 6
    for (probabilities, hu), name in zip(planes, NAMES, strict=True):
        np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-4)
        bone = hu > 245
        assert bone.any() and probabilities[name][bone].min() > 0.99
        assert np.delete(probabilities[1:9], name - 1, axis=0).max() < 0.01


def test_bodies_count_together_when_a_pixel_is_decided():
    plane = np.zeros((14, 1, 2), np.float32)
    plane[1:9, 0, 0], plane[9, 0, 0] = 0.06, 0.4
    plane[0, 0, 1], plane[13, 0, 1] = 0.3, 0.7
    assert decide_tissue(plane).tolist() == [[1, 6]]
