"""Crops come from where they are asked, keep image and label together, and are drawn by seed."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from myotome.errors import InputError
from myotome.training import CropSampling, DeviceCrops, LabelledVolume

STILL = CropSampling(
    size=(8, 6, 4),
    spacing_mm=1.0,
    window_hu=(0.0, 1000.0),
    foreground_share=1.0,
    rotation_deg=(0.0, 0.0, 0.0),
    zoom=(1.0, 1.0),
    mirror=(0.0, 0.0, 0.0),
    noise_hu=0.0,
    gain=0.0,
    offset=0.0,
)
TURNED = replace(STILL, size=(24, 24, 24), rotation_deg=(30.0, 30.0, 90.0), zoom=(0.7, 1.4), mirror=(0.5, 0.5, 0.5))


def one_voxel(place: tuple[int, int, int], shape: tuple[int, int, int] = (20, 18, 16)) -> LabelledVolume:
    """Each voxel has its own intensity; one is labelled 3."""
    image = np.arange(np.prod(shape), dtype=np.int16).reshape(shape) % 1000
    label = np.zeros(shape, np.uint8)
    label[place] = 3
    return LabelledVolume(image, label, (1.0, 1.0, 1.0))


def smooth_ball(spacing_mm: tuple[float, float, float]) -> LabelledVolume:
    """A ball off the middle whose intensity is above 500 where, and only where, it is labelled."""
    shape = [round(40 / side) for side in spacing_mm]
    axes = [np.arange(size) * side for size, side in zip(shape, spacing_mm, strict=True)]
    radius = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(np.ix_(*axes), (18, 22, 20), strict=True)))
    image = np.clip(500 + 60 * (8 - radius), 0, 1000)
    return LabelledVolume(image.astype(np.int16), (image > 500).astype(np.uint8), spacing_mm)


@pytest.mark.parametrize("size", [(8, 6, 4), (7, 5, 3)], ids=["even", "odd"])
@pytest.mark.parametrize("place", [(10, 9, 8), (0, 0, 0), (19, 17, 15)], ids=["inside", "beginning", "end"])
def test_a_still_crop_is_the_volume_about_a_labelled_voxel(place, size):
    volume = one_voxel(place)
    batch = DeviceCrops([volume], batch=2, sampling=replace(STILL, size=size)).draw(4)
    assert batch["image"].shape == batch["label"].shape == (2, 1, *size)
    assert batch["label"].dtype == torch.uint8
    lows = [min(max(p - n // 2, 0), m - n) for p, n, m in zip(place, size, volume.image.shape, strict=True)]
    box = tuple(slice(low, low + n) for low, n in zip(lows, size, strict=True))
    for image, label in zip(batch["image"], batch["label"], strict=True):
        np.testing.assert_allclose(image[0].numpy() * 1000, volume.image[box], atol=0.01)
        np.testing.assert_array_equal(label[0].numpy(), volume.label[box])


def test_beyond_a_small_volume_there_is_air():
    volume = LabelledVolume(np.full((5, 5, 5), 700, np.int16), np.ones((5, 5, 5), np.uint8), (1.0, 1.0, 1.0))
    batch = DeviceCrops([volume], batch=1, sampling=replace(STILL, size=(9, 9, 9))).draw(0)
    inside = torch.zeros(9, 9, 9, dtype=torch.bool)
    inside[2:7, 2:7, 2:7] = True
    assert torch.equal(batch["label"][0, 0].bool(), inside)
    assert torch.allclose(batch["image"][0, 0], 0.7 * inside)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 1.0, 2.0)], ids=["cubes", "slices"])
def test_the_label_stays_on_the_image_however_it_is_turned(spacing_mm):
    crops = DeviceCrops([smooth_ball(spacing_mm)], batch=4, sampling=TURNED, seed=3)
    for batch in islice(crops, 5):
        bright, labelled = batch["image"] > 0.5, batch["label"] > 0
        both, either = (bright & labelled).sum(), bright.sum() + labelled.sum()
        assert either > 0 and 2 * both / either > 0.93


def test_crops_are_resampled_to_their_own_spacing():
    """A ball of radius 8 mm has 4/3 pi 8^3 / 2^3 voxels of 2 mm."""
    sampling = replace(STILL, size=(15, 15, 15), spacing_mm=2.0)
    label = DeviceCrops([smooth_ball((0.8, 1.0, 2.0))], batch=1, sampling=sampling).draw(0)["label"]
    assert label.sum() == pytest.approx(4 / 3 * np.pi * 8**3 / 2**3, rel=0.1)


def test_a_mirrored_crop_runs_backwards():
    volume, size = one_voxel((10, 9, 8)), (7, 5, 3)
    plain = DeviceCrops([volume], batch=1, sampling=replace(STILL, size=size)).draw(0)
    mirrored = DeviceCrops([volume], batch=1, sampling=replace(STILL, size=size, mirror=(1.0, 0.0, 0.0))).draw(0)
    for key in ("image", "label"):
        assert torch.allclose(mirrored[key].float(), plain[key].flip(2).float(), atol=1e-5)


def test_the_asked_share_of_crops_holds_a_label_and_labels_take_turns():
    label = np.zeros((60, 60, 60), np.uint8)
    label[5:8, 5:8, 5:8], label[50:58, 50:58, 50:58] = 1, 2
    volume = LabelledVolume(np.zeros(label.shape, np.int16), label, (1.0, 1.0, 1.0))
    sampling = replace(STILL, size=(5, 5, 5), foreground_share=0.5)
    batch = DeviceCrops([volume], batch=400, sampling=sampling, seed=1).draw(0)["label"]
    ones, twos = ((batch == value).flatten(1).any(1).sum() for value in (1, 2))
    assert 70 < ones < 130 and 70 < twos < 135


def test_a_batch_depends_on_seed_and_number_alone():
    volumes = [smooth_ball((1.0, 1.0, 1.0)), smooth_ball((0.8, 1.0, 2.0))]
    sampling = replace(TURNED, noise_hu=20.0, gain=0.1, offset=0.1)
    crops = DeviceCrops(volumes, batch=2, sampling=sampling, seed=5)
    first = list(islice(crops, 3))
    crops.start = 2
    again = next(iter(crops))
    assert all(torch.equal(first[2][key], again[key]) for key in again)
    assert not torch.equal(first[0]["image"], first[1]["image"])
    other = DeviceCrops(volumes, batch=2, sampling=sampling, seed=6).draw(0)
    assert not torch.equal(first[0]["image"], other["image"])


def test_intensities_change_by_what_is_asked():
    volume = LabelledVolume(np.full((20, 20, 20), 500, np.int16), np.ones((20, 20, 20), np.uint8), (1.0, 1.0, 1.0))
    noisy = DeviceCrops([volume], batch=40, sampling=replace(STILL, size=(16, 16, 16), noise_hu=50.0)).draw(0)["image"]
    spread = noisy.flatten(1).std(1)
    assert spread.max() < 0.055 and spread.mean() == pytest.approx(0.025, abs=0.006)
    moved = DeviceCrops([volume], batch=40, sampling=replace(STILL, offset=0.2, gain=0.1)).draw(0)["image"]
    middle = moved.flatten(1).mean(1)
    assert moved.flatten(1).std(1).max() < 1e-6
    assert middle.min() > 0.25 and middle.max() < 0.75 and middle.std() > 0.05


def test_nothing_to_crop_is_refused():
    with pytest.raises(InputError, match="no volume"):
        DeviceCrops([])
    image, label = np.zeros((4, 4, 4), np.int16), np.zeros((4, 4, 5), np.uint8)
    with pytest.raises(InputError, match="one grid"):
        DeviceCrops([LabelledVolume(image, label, (1.0, 1.0, 1.0))])
