"""Acquisition is random but replayable; the way to the working grid and back is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation
from scipy import ndimage

from myotome import transforms
from myotome.errors import GeometryError
from myotome.transforms import (
    CropBodyd,
    PlaneRestorer,
    RandFieldOfViewd,
    RandIslandsd,
    RandNeighbourLossd,
    RandNoised,
    RandObjectsd,
    RandOpacityd,
    RandTissueContrastd,
    ResampleInPlaned,
    RestoreLabelMapd,
    decide_muscle,
    find_body,
    find_body_box,
    in_plane_size,
    resample_plane,
)

# Those that end in d take one image of a dictionary; RandTurn and RandIntensity take a batch (test_plane_batches.py).
ACQUISITIONS = sorted(name for name in transforms.__all__ if name.startswith("Rand") and name.endswith("d"))


def make_sample(size: int = 64) -> dict[str, torch.Tensor]:
    """A fat disc with a muscle disc in it, in air: the same in three slices."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = ((y - size / 2) ** 2 + (x - size / 2) ** 2).sqrt()
    image = torch.full((3, size, size), -1000.0)
    image[:, distance < size * 0.4] = -100
    image[:, distance < size * 0.2] = 50
    return {"image": image, "label": (distance < size * 0.2)[None].to(torch.uint8)}


def apply(transform, seed: int, sample: dict | None = None) -> dict:
    transform.set_random_state(seed=seed)
    return transform(sample or make_sample())


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_acquisition_replays_from_its_seed_and_leaves_its_input_alone(name):
    make = getattr(transforms, name)
    given = make_sample()
    first, second = (apply(make("image", prob=1.0), 3, given)["image"] for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (3, 64, 64) and first.dtype == torch.float32 and torch.isfinite(first).all()
    assert torch.equal(given["image"], make_sample()["image"])


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_probability_zero_changes_nothing(name):
    result = apply(getattr(transforms, name)("image", prob=0.0), 1)
    assert torch.equal(result["image"], make_sample()["image"])
    assert torch.equal(result["label"], make_sample()["label"])


def test_islands_of_soft_tissue_lie_in_fat_and_clear_of_the_muscle():
    given = make_sample()
    result = apply(RandIslandsd("image", 1.0, density_hu=(40, 40)), 5, given)
    changed = result["image"] != given["image"]
    assert changed.any() and (given["image"][changed] == -100).all()
    assert result["image"].max() == 50 and (result["image"] > 35)[:, given["label"][0] == 0].any()
    beside = torch.nn.functional.max_pool2d(given["label"].float(), 3, 1, 1)[0] > 0
    assert not changed[:, beside].any()
    assert torch.equal(result["label"], given["label"])


def test_an_opacity_fills_lung_and_spares_the_air_around_the_body():
    given = make_sample()
    given["image"][:, 28:36, 28:36] = -850
    given["label"][:, 28:36, 28:36] = 0
    results = [apply(RandOpacityd("image", 1.0, density_hu=(30, 30)), seed, given)["image"] for seed in range(10)]
    assert any((image[:, 30:34, 30:34] == 30).all() for image in results)
    for image in results:
        outside = given["image"] == -1000
        assert torch.equal(image[outside], given["image"][outside])


def test_tissue_contrast_puts_fat_and_muscle_where_it_is_told():
    change = RandTissueContrastd("image", 1.0, fat_hu=(-80, -80), muscle_hu=(90, 90), wiggle_hu=0)
    image = apply(change, 0)["image"]
    assert image[1, 32, 32] == pytest.approx(90, abs=1)
    assert image[1, 32, 10] == pytest.approx(-80, abs=1)
    assert image[1, 0, 0] == -1000


def test_noise_has_the_standard_deviation_it_is_told():
    flat = {"image": torch.zeros(3, 128, 128), "label": torch.zeros(1, 128, 128)}
    noise = apply(RandNoised("image", 1.0, sigma_hu=(20, 20), starvation_prob=0), 5, flat)["image"]
    assert float(noise.std()) == pytest.approx(20, rel=0.25)
    assert abs(float(noise.mean())) < 3


def test_beyond_the_field_of_view_there_is_padding_and_no_label():
    result = apply(RandFieldOfViewd("image", 1.0, radius_px=(20, 20)), 2)
    beyond = result["image"][1] < -1000.5
    beyond |= (result["image"][1] == -1000) & (make_sample()["image"][1] != -1000)
    assert beyond.any()
    assert not result["label"][0][beyond].any()


def test_objects_lie_only_in_air():
    before = make_sample()["image"]
    after = apply(RandObjectsd("image", 1.0), 4)["image"]
    assert (after != before).any()
    assert torch.equal(after[before > -970], before[before > -970])


def test_a_lost_neighbour_is_the_centre_slice():
    sample = make_sample()
    sample["image"] = torch.stack([torch.full((64, 64), float(channel)) for channel in range(3)])
    values = [
        apply(RandNeighbourLossd("image", 1.0), seed, dict(sample))["image"][:, 0, 0].tolist() for seed in range(30)
    ]
    assert {tuple(value) for value in values} == {(1, 1, 2), (0, 1, 1), (1, 1, 1)}


# --- the working grid ---------------------------------------------------------------------------------------------

AFFINES = {
    "RAS": np.diag([0.8, 0.8, 3.0, 1.0]),
    "LPI": np.array([[-0.8, 0, 0, 40], [0, -0.8, 0, 30], [0, 0, -3.0, 20], [0, 0, 0, 1.0]]),
    "ALI": np.array([[0, -0.8, 0, 40], [0.8, 0, 0, -30], [0, 0, -3.0, 20], [0, 0, 0, 1.0]]),
    "SRP": np.array([[0, 0.8, 0, 1], [0, 0, -0.8, 2], [3.0, 0, 0, 3], [0, 0, 0, 1.0]]),
    "oblique": np.array(
        [[0.8 * np.cos(0.2), -0.8 * np.sin(0.2), 0, 4], [0.8 * np.sin(0.2), 0.8 * np.cos(0.2), 0, 5]]
        + [[0, 0, 3.0, 6], [0, 0, 0, 1.0]]
    ),
}


def make_image(labels: np.ndarray, affine: np.ndarray) -> MetaTensor:
    """An image whose every voxel has the HU of tissue; the labels travel as its values."""
    meta = {"original_affine": affine.copy(), "spatial_shape": np.array(labels.shape)}
    return MetaTensor(torch.from_numpy(labels.astype(np.float32))[None], affine=torch.from_numpy(affine), meta=meta)


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels[0].round().long(), 5).permute(3, 0, 1, 2).float()


@pytest.mark.parametrize("codes", AFFINES)
def test_labels_come_back_voxel_for_voxel_from_a_flipped_and_cropped_grid(codes):
    shape = (6, 20, 18) if codes == "SRP" else (20, 18, 6)
    labels = np.random.default_rng(0).integers(0, 5, shape)
    image = Orientation("RAS", labels=None)(make_image(labels, AFFINES[codes]))
    cropped = CropBodyd("image", margin_mm=100)({"image": image})["image"]
    same = ResampleInPlaned("image", 0.8)({"image": cropped})["image"]
    restored = RestoreLabelMapd("pred")({"pred": one_hot(same), "image": same})["pred"]
    assert restored.dtype == torch.uint8
    assert np.array_equal(np.asarray(restored)[0], labels)
    assert np.allclose(restored.affine, AFFINES[codes])


def test_outside_the_working_grid_is_background():
    labels = np.ones((20, 18, 2))
    image = make_image(labels, AFFINES["RAS"])
    shift = np.eye(4)
    shift[:2, 3] = 5, 4
    working = MetaTensor(
        image.as_tensor()[:, 5:15, 4:12], affine=torch.from_numpy(AFFINES["RAS"] @ shift), meta=image.meta
    )
    working.affine = torch.from_numpy(AFFINES["RAS"] @ shift)
    restored = np.asarray(RestoreLabelMapd("pred")({"pred": one_hot(working), "image": working})["pred"])[0]
    expected = np.zeros((20, 18, 2))
    expected[5:15, 4:12] = 1
    assert np.array_equal(restored, expected)


@pytest.mark.parametrize("spacing", [0.5, 0.67, 1.3])
def test_a_disc_survives_resampling_there_and_back(spacing):
    """The area of a disc of 20 mm radius stays within 1 %, and its centre within a tenth of a voxel."""
    size = round(64 / spacing)
    y, x = np.mgrid[:size, :size] * spacing - 30
    labels = np.repeat((x**2 + y**2 < 400)[..., None], 2, axis=2).astype(float)
    affine = np.diag([spacing, spacing, 3.0, 1.0])
    image = make_image(labels, affine)
    working = ResampleInPlaned("image", 0.8)({"image": image})["image"]
    inside = working.as_tensor()[0].clamp(0, 1)
    probabilities = torch.stack([1 - inside, inside, *[torch.zeros_like(inside)] * 3])
    restored = np.asarray(RestoreLabelMapd("pred")({"pred": probabilities, "image": working})["pred"])[0]
    assert restored.sum() == pytest.approx(labels.sum(), rel=0.01)
    for now, before in zip(np.nonzero(restored), np.nonzero(labels), strict=True):
        assert now.mean() == pytest.approx(before.mean(), abs=0.1)


def test_a_turned_grid_is_refused():
    image = make_image(np.zeros((8, 8, 3)), AFFINES["RAS"])
    image.meta["original_affine"] = AFFINES["oblique"]
    with pytest.raises(GeometryError, match="turned against the image"):
        RestoreLabelMapd("pred")({"pred": torch.zeros(5, 8, 8, 3), "image": image})


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [
        ((0.6, 0.4, 0, 0, 0), 0),  # not muscle by more than half
        ((0.4, 0.2, 0.2, 0.15, 0.05), 1),  # respiratory by more than half, although background is likeliest
        ((0.3, 0.1, 0.45, 0, 0.15), 2),
        ((0.2, 0.1, 0.1, 0.4, 0.2), 3),
        ((0.4, 0.25, 0.2, 0, 0.15), 4),  # muscle by more than half, respiratory not
    ],
)
def test_labels_are_decided_stage_by_stage(probabilities, label):
    image = make_image(np.zeros((1, 1, 1)), AFFINES["RAS"])
    pred = torch.tensor(probabilities)[:, None, None, None]
    assert RestoreLabelMapd("pred")({"pred": pred, "image": image})["pred"].item() == label


def test_only_the_reference_mask_is_decided_anew_from_class_logits():
    image = make_image(np.zeros((2, 2, 1)), AFFINES["RAS"])
    known = torch.tensor([[[0], [4]], [[1], [3]]])[None]
    logits = torch.tensor([0.0, 5.0, 1.0])[:, None, None, None].expand(3, 2, 2, 1)
    data = {"pred": logits, "image": image, "label": known}
    restored = RestoreLabelMapd("pred", mask="label")(data)["pred"]
    assert restored[0, :, :, 0].tolist() == [[0, 4], [2, 2]]


def test_the_body_is_found_beside_a_table():
    image = np.full((200, 150, 5), -1000)
    image[40:160, 50:120] = 0
    image[20:180, 20:24] = 300  # a table top, 4 mm thick
    x, y = find_body_box(image, (1.0, 1.0, 5.0), margin_mm=8)
    assert (x.start, x.stop) == (32, 168)
    assert (y.start, y.stop) == (pytest.approx(42, abs=4), pytest.approx(128, abs=4))


def test_an_image_of_air_is_kept_whole():
    assert find_body_box(np.full((9, 8, 2), -1000), (1, 1, 1)) == (slice(0, 9), slice(0, 8))


# --- labels at the borders ----------------------------------------------------------------------------------------


def make_probabilities(seed: int, shape: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((5, *shape))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3))
    logits = torch.from_numpy(8 * smooth / smooth.std()).float() * 0.4
    return logits.softmax(dim=0).numpy()


def argmax(plane: np.ndarray) -> np.ndarray:
    return plane.argmax(0).astype(np.uint8)


@pytest.mark.parametrize("decide", [decide_muscle, argmax])
@pytest.mark.parametrize("full", [(60, 55), (40, 36), (97, 131), (17, 23)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_restored_labels_are_those_of_probabilities_interpolated_everywhere(seed, full, decide):
    """Interpolated by torch; pixels that a thousandth of a percent would decide otherwise are left out."""
    plane = make_probabilities(seed, (40, 36))
    places = [(np.arange(size) + 0.5) * part / size - 0.5 for size, part in zip(full, (40, 36), strict=True)]
    labels = PlaneRestorer(*places, (40, 36), decide)(plane)
    blended = torch.nn.functional.interpolate(torch.from_numpy(plane)[None].double(), full, mode="bilinear")[0].numpy()
    expected = decide(blended)
    nudges = np.random.default_rng(9).uniform(-1e-5, 1e-5, (20, 5, 1, 1))
    clear = np.all([decide(blended + nudge) == expected for nudge in nudges], axis=0)
    assert labels.dtype == np.uint8 and labels.shape == full
    assert clear.mean() > 0.999 and len(np.unique(expected)) == 5
    assert np.array_equal(labels[clear], expected[clear])


def test_a_pixel_on_a_working_pixel_or_beyond_the_last_has_its_label():
    plane = np.eye(5, dtype=np.float32)[np.array([[0, 1, 2], [3, 4, 0]])].transpose(2, 0, 1)
    restore = PlaneRestorer(np.array([-0.4, 0, 1, 1.3]), np.array([2.0, 0.0]), (2, 3), decide_muscle)
    assert restore(plane).tolist() == [[2, 0], [2, 0], [0, 3], [0, 3]]


def test_a_pixel_between_takes_the_mean_that_neither_neighbour_has():
    """Half pectoralis and half intercostal in other muscle: neither is half of the mean, all muscle is."""
    plane = np.array([[0.2, 0.2], [0.6, 0.0], [0, 0], [0.0, 0.2], [0.2, 0.6]], np.float32)[:, :, None]
    restore = PlaneRestorer(np.array([0, 0.5, 1]), np.array([0.0]), (2, 1), decide_muscle)
    assert restore(plane)[:, 0].tolist() == [1, 4, 4]


def test_the_mask_of_the_body_covers_it_and_leaves_the_air():
    x, y, _ = np.meshgrid(np.arange(200), np.arange(150), np.arange(6), indexing="ij")
    distance = np.hypot((x - 90) / 60, (y - 80) / 40)
    image = np.where(distance < 1, 30, -1000)
    body, step = find_body(image, (1.0, 2.0, 5.0))
    assert step == [4, 2, 1] and body.shape == (50, 75, 6)
    sampled = distance[::4, ::2]
    assert body[sampled < 0.9].all() and not body[sampled >= 1].any()


def test_air_has_no_body_and_neither_has_a_sheet():
    image = np.full((60, 50, 4), -1000)
    assert not find_body(image, (2.0, 2.0, 5.0))[0].any()
    image[:, 20:22] = 300
    assert not find_body(image, (2.0, 2.0, 5.0))[0].any()


def test_the_working_plane_has_the_nearest_whole_number_of_pixels():
    assert in_plane_size((512, 512), (0.7, 0.8), 0.8) == (448, 512)
    assert in_plane_size((1, 3), (0.2, 1.0), 0.8) == (1, 4)


def test_labels_are_resampled_without_new_ones():
    labels = torch.from_numpy(np.random.default_rng(0).choice([0, 4], (20, 30)))
    assert set(resample_plane(labels, (33, 17), "nearest").unique().tolist()) == {0, 4}
    assert torch.equal(resample_plane(labels, (20, 30)), labels)
    assert torch.allclose(resample_plane(torch.full((20, 30), 7.0), (33, 17)), torch.tensor(7.0))
