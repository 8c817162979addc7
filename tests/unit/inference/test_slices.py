"""A 2.5D network sees each slice with its neighbours, and its label map is that of the reference pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, ScaleIntensityRanged
from torch import nn

from myotome.errors import BundleError
from myotome.geometry import reorient
from myotome.inference import AdjacentSliceInferer, SliceInferer, label_maps
from myotome.inference.engines import ENGINES, EngineError, rank_engines
from myotome.inference.engines.pytorch import EagerEngine
from myotome.transforms import CropBodyd, ResampleInPlaned, RestoreLabelMapd, decide_muscle
from tests.unit.inference.resident_engine import ResidentEngine


class Neighbours(nn.Module):
    """Gives its three input channels back, and remembers the sizes it was given."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))
        self.shapes = []

    def forward(self, image, *others):
        self.shapes.append(tuple(image.shape))
        return torch.cat((image * self.one, *others), dim=1)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 9])
def test_every_slice_comes_with_its_neighbours_and_the_ends_are_repeated(batch_size):
    volume = torch.arange(5.0).expand(1, 1, 3, 4, 5)
    result = AdjacentSliceInferer(batch_size)(volume, Neighbours())
    assert result.shape == (1, 3, 3, 4, 5)
    assert result[0, :, 2, 3].T.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4]]


def test_slices_are_padded_for_the_network_and_cut_back():
    network = Neighbours()
    volume = torch.rand(1, 1, 17, 30, 3)
    result = AdjacentSliceInferer(2, divisible=16)(volume, network)
    assert network.shapes == [(2, 3, 32, 32), (1, 3, 32, 32)]
    assert torch.equal(result[0, 1], volume[0, 0].half())


def test_a_second_volume_goes_along_slice_by_slice():
    volume, mask = torch.rand(1, 1, 16, 16, 4), torch.arange(4.0).expand(1, 1, 16, 16, 4)
    result = AdjacentSliceInferer(3)(volume, Neighbours(), mask)
    assert result[0, 3, 5, 6].tolist() == [0, 1, 2, 3]


def test_progress_ends_at_one():
    told = []
    AdjacentSliceInferer(2, progress=told.append)(torch.rand(1, 1, 16, 16, 5), Neighbours())
    assert told == pytest.approx([0.4, 0.8, 1.0])


# --- label maps ---------------------------------------------------------------------------------------------------


class Thresholds(nn.Module):
    """Labels by HU: 1 from 0, 2 from 50, 4 from 100, and 3 where the slice above, towards the head, has 150 or more."""

    def __init__(self):
        super().__init__()
        self.width_hu = nn.Parameter(torch.tensor(400.0))

    def forward(self, image):
        hu = image * self.width_hu - 150
        here, above = hu[:, 1], hu[:, 2] >= 149.5
        least = torch.stack([here >= -0.5, here >= 49.5, here >= 99.5], dim=1)
        first, second, fourth = least[:, 0] & ~least[:, 1], least[:, 1] & ~least[:, 2], least[:, 2]
        chosen = [~least[:, 0] & ~above, first & ~above, second & ~above, above, fourth & ~above]
        return torch.stack(chosen, dim=1).float()


class ByMask(nn.Module):
    """Class logits for two inputs: label 3 where the mask has any, 1 elsewhere."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, image, mask):
        inside = (mask > 0).float() * self.one
        return torch.cat((1 - inside, image[:, :1] * 0, inside), dim=1)


class Blobs(nn.Module):
    """Five probabilities from a 7-pixel neighbourhood in three slices: smooth, decided, and well conditioned."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.look = nn.Conv2d(3, 8, 7, padding=3)
        self.say = nn.Conv2d(8, 5, 1)

    def forward(self, image):
        return (60 * self.say(torch.tanh(self.look(image - 0.3) * 4))).softmax(dim=1)


RAS = np.array([[0.8, 0, 0, -20.0], [0, 0.8, 0, 11], [0, 0, 5, -7], [0, 0, 0, 1]])
SLICES = [name for name in ("eager", "openvino", "onnxruntime") if ENGINES[name].missing("cpu") is None]


def make_body(shape=(64, 50, 5)) -> np.ndarray:
    """An ellipse of tissue of -100 to 199 HU, another in every voxel, in air."""
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    tissue = np.random.default_rng(0).integers(-100, 200, shape)
    return np.where(x**2 + y**2 < 0.7, tissue, -1000).astype(np.int16)


def threshold(image: np.ndarray) -> np.ndarray:
    """What `Thresholds` says of an image in RAS order."""
    labels = np.select([image >= 100, image >= 50, image >= 0], [4, 2, 1], 0)
    above = np.concatenate((image[..., 1:], image[..., -1:]), axis=2)
    return np.where(above >= 150, 3, labels)


def make_smooth(shape=(70, 64, 4)) -> np.ndarray:
    """A body of -100 to 100 HU that changes over several voxels."""
    x, y, z = np.meshgrid(*(np.arange(size, dtype=float) for size in shape), indexing="ij")
    inside = ((x - 36) / 28) ** 2 + ((y - 30) / 24) ** 2 < 1
    return np.where(inside, 100 * np.sin(x / 4 + z) * np.cos(y / 5), -1000).astype(np.int16)


def run_reference(array, affine, network, spacing_mm=0.8):
    """The pipeline of configs/inference_reference.yaml."""
    meta = {"original_affine": affine.copy(), "spatial_shape": np.array(array.shape)}
    image = MetaTensor(torch.from_numpy(array.astype(np.float32))[None], affine=torch.from_numpy(affine), meta=meta)
    before = Compose(
        [
            Orientationd("image", axcodes="RAS", labels=None),
            CropBodyd("image", margin_mm=12),
            ResampleInPlaned("image", spacing_mm=spacing_mm),
            ScaleIntensityRanged("image", a_min=-150, a_max=250, b_min=0.0, b_max=1.0, clip=True),
        ]
    )
    data = before({"image": image})
    data["pred"] = AdjacentSliceInferer()(data["image"][None], network)[0]
    return np.asarray(RestoreLabelMapd("pred", reference="image")(data)["pred"])[0]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIL", "SAR", "IRP"])
@pytest.mark.parametrize("engine", SLICES)
def test_where_nothing_is_resampled_the_labels_are_those_of_each_voxel_in_any_axis_order(engine, codes):
    array, affine = reorient(make_body(), RAS, codes)
    labels = SliceInferer(engine=engine).segment(array, affine, Thresholds())
    assert labels.dtype == np.uint8 and labels.shape == array.shape
    assert np.array_equal(reorient(labels, affine)[0], threshold(make_body()))


@pytest.mark.parametrize("batch_size", [2, 3, 9])
def test_batches_change_nothing_and_neither_does_a_single_slice(batch_size):
    image = make_body()
    labels = SliceInferer(batch_size=batch_size, engine="eager").segment(image, RAS, Thresholds())
    assert np.array_equal(labels, threshold(image))
    one = SliceInferer(batch_size=batch_size, engine="eager").segment(image[..., :1], RAS, Thresholds())
    assert np.array_equal(one, threshold(image[..., :1]))


@pytest.mark.parametrize("spacing", [(0.55, 0.62, 2), (1.4, 0.9, 3)])
@pytest.mark.parametrize("codes", ["RAS", "LAI"])
def test_the_label_map_is_that_of_the_reference_pipeline(cascade, spacing, codes):
    array, affine = reorient(make_smooth(), np.diag([*spacing, 1.0]), codes)
    expected = run_reference(array, affine, cascade)
    assert len(np.unique(expected)) == 5
    labels = SliceInferer(engine="eager").segment(array, affine, cascade)
    assert np.mean(labels == expected) >= 0.9995  # the reference holds its probabilities in float16


@pytest.mark.parametrize("engine", SLICES)
def test_every_engine_gives_the_label_map_of_the_reference_pipeline(engine):
    array, affine = make_smooth(), np.diag([0.62, 0.55, 2.0, 1.0])
    expected = run_reference(array, affine, Blobs())
    assert np.sum(np.bincount(expected.ravel()) > 0.02 * expected.size) >= 3
    inferer = SliceInferer(engine=engine)
    labels = inferer.segment(array, affine, Blobs())
    assert np.mean(labels == expected) >= 0.9999
    assert inferer.open(Blobs()).name == engine and inferer.notes == ()


def test_an_image_of_air_is_labelled_whole():
    air = np.full((20, 24, 3), -1000, np.int16)
    assert not SliceInferer(engine="eager").segment(air, RAS, Thresholds()).any()


def test_progress_ends_at_one_and_the_seconds_name_their_steps():
    told = []
    inferer = SliceInferer(engine="eager", batch_size=2, progress=told.append)
    inferer.segment(make_body(), RAS, Thresholds())
    assert told == pytest.approx([0.4, 0.8, 1.0])
    assert set(inferer.seconds) == {"find body", "prepare", "network", "restore"}
    assert min(inferer.seconds.values()) >= 0


@pytest.mark.parametrize("engine", SLICES)
def test_the_check_of_an_engine_is_not_told_as_progress(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("MYOTOME_CACHE", str(tmp_path))
    told = []
    SliceInferer(engine=engine, progress=told.append).open(Thresholds())
    assert told == []


def test_as_a_monai_inferer_it_gives_labels_with_the_images_affine():
    array, affine = reorient(make_body(), RAS, "LPS")
    image = MetaTensor(torch.from_numpy(array.astype(np.float32))[None, None], affine=torch.from_numpy(affine))
    labels = SliceInferer(engine="eager")(image, Thresholds())
    assert isinstance(labels, MetaTensor) and labels.dtype == torch.uint8 and labels.shape == image.shape
    assert torch.equal(labels.affine, image.affine)
    assert np.array_equal(reorient(labels[0, 0].numpy(), affine)[0], threshold(make_body()))


@pytest.mark.parametrize("engine", ["eager", "auto"])
def test_a_mask_is_decided_anew_only_where_it_has_respiratory_muscle(engine):
    array, affine = reorient(make_body(), RAS, "LPS")
    mask = np.random.default_rng(1).integers(0, 5, array.shape).astype(np.uint8)
    mask[array == -1000] = 0
    image, known = (torch.from_numpy(value.astype(np.float32))[None, None] for value in (array, mask))
    image = MetaTensor(image, affine=torch.from_numpy(affine))
    labels = SliceInferer(engine=engine)(image, ByMask(), known)[0, 0].numpy()
    assert np.array_equal(labels, np.where((mask > 0) & (mask < 4), 3, mask))


def test_what_there_is_not_is_refused():
    with pytest.raises(EngineError, match="no engine 'fast': use auto, eager"):
        SliceInferer(engine="fast")
    with pytest.raises(BundleError, match="no precision 'int4': use float32, bfloat16, float16"):
        SliceInferer(precision="int4")


# --- engines are checked ------------------------------------------------------------------------------------------


class Wrong(EagerEngine):
    """Says background and the first label the other way round."""

    name = "openvino"
    devices = ("cpu",)

    @classmethod
    def version(cls) -> str:
        return "wrong"

    def __call__(self, *inputs):
        return super().__call__(*inputs)[:, [1, 0, 2, 3, 4]]


class WrongWhenReduced(Wrong):
    """Is right in float32 alone."""

    def __call__(self, *inputs):
        right = self.precision == "float32"
        return EagerEngine.__call__(self, *inputs) if right else super().__call__(*inputs)


@pytest.fixture
def checks(monkeypatch, tmp_path):
    """An empty cache; how often the check image was asked for."""
    monkeypatch.setenv("MYOTOME_CACHE", str(tmp_path))
    calls, make = [], label_maps.make_check_image

    def count():
        calls.append(1)
        return make()

    monkeypatch.setattr(label_maps, "make_check_image", count)
    return calls


@pytest.mark.parametrize("asked", ["openvino", "auto"])
def test_an_engine_that_computes_wrongly_is_refused_once_for_all(asked, monkeypatch, checks):
    monkeypatch.setitem(ENGINES, "openvino", Wrong)
    following = rank_engines()[1]
    inferer = SliceInferer(engine=asked)
    assert inferer.open(Thresholds()).name == following
    (note,) = inferer.notes
    assert note.startswith("the engine openvino in float32 is not used, it differs from PyTorch eager: 0.")
    assert "of the labels equal, Dice 0." in note
    assert np.array_equal(inferer.segment(make_body(), RAS, Thresholds()), threshold(make_body()))
    asked_for = len(checks)
    assert asked_for == (1 if following == "eager" else 2)
    second = SliceInferer(engine=asked)
    assert second.open(Thresholds()).name == following
    assert second.notes == inferer.notes and len(checks) == asked_for


def test_when_every_engine_is_wrong_eager_is_used(monkeypatch, checks):
    for name in ("openvino", "onnxruntime"):
        monkeypatch.setitem(ENGINES, name, type("Wrong", (Wrong,), {"name": name}))
    inferer = SliceInferer()
    assert np.array_equal(inferer.segment(make_body(), RAS, Thresholds()), threshold(make_body()))
    assert inferer.open(Thresholds()).name == "eager"
    assert [note.split()[2] for note in inferer.notes] == ["openvino", "onnxruntime"]


def test_a_precision_that_is_not_enough_falls_back_to_float32(monkeypatch, checks):
    monkeypatch.setitem(ENGINES, "openvino", WrongWhenReduced)
    inferer = SliceInferer(engine="openvino", precision="bfloat16")
    engine = inferer.open(Thresholds())
    assert (engine.name, engine.precision) == ("openvino", "float32")
    assert [note.split(" is not used")[0] for note in inferer.notes] == ["the engine openvino in bfloat16"]


def test_a_precision_that_no_engine_has_is_said_in_a_note(checks):
    """No engine ranked for a CPU computes in float16."""
    inferer = SliceInferer(precision="float16")
    engine = inferer.open(Thresholds())
    assert engine.precision == "float32"
    assert any("float16" in note for note in inferer.notes)


def test_other_settings_are_checked_anew(checks):
    if rank_engines() == ["eager"]:
        pytest.skip("there is no engine but the reference")
    for settings in ({}, {"spacing_mm": 1.6}, {"spacing_mm": 1.6}, {}):
        SliceInferer(**settings).open(Thresholds())
    assert len(checks) == 2


def test_the_image_is_left_as_it_was():
    """A float image whose slices lie whole in memory at the network's own spacing is read without a copy."""
    slices_first = np.ascontiguousarray(np.moveaxis(make_body(), 2, 0), dtype=np.float32)
    image = np.moveaxis(slices_first, 0, 2)
    before = image.copy()
    SliceInferer(engine="eager", margin_mm=1000).segment(image, RAS, Thresholds())
    assert np.array_equal(image, before)


@pytest.mark.parametrize("engine", SLICES)
@pytest.mark.parametrize(("slices", "expected"), [(1, [3]), (3, [1, 3, 5]), (7, range(7)), (50, range(7))])
def test_probabilities_come_for_evenly_spread_slices_with_their_neighbours(engine, slices, expected, checks):
    image = make_body((64, 50, 7))
    affine = RAS.copy()
    found = list(SliceInferer(engine=engine, margin_mm=1000).iter_probabilities(image, affine, Thresholds(), slices))
    truth = threshold(image)
    assert [hu.tolist() for _, hu in found] == [image[..., index].tolist() for index in expected]
    for (probabilities, hu), index in zip(found, expected, strict=True):
        assert probabilities.dtype == hu.dtype == np.float32
        assert np.array_equal(probabilities.argmax(axis=0), truth[..., index])


def test_the_lowest_slice_comes_first_whatever_the_axis_order():
    image, flipped = make_body((64, 50, 4)), RAS @ np.diag([1, 1, -1, 1])
    flipped[2, 3] += 3 * 5
    inferer = SliceInferer(engine="eager", margin_mm=1000)
    one = list(inferer.iter_probabilities(image, RAS, Thresholds(), 4))
    other = list(inferer.iter_probabilities(image[..., ::-1], flipped, Thresholds(), 4))
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_probabilities_lead_to_the_label_map_and_leave_the_image_alone(cascade):
    """Where nothing is resampled, deciding them slice by slice is the label map."""
    image = make_smooth((64, 64, 4)).astype(np.float32)
    before = image.copy()
    inferer = SliceInferer(engine="eager", margin_mm=1000)
    labels = inferer.segment(image, RAS, cascade)
    for index, (probabilities, hu) in enumerate(inferer.iter_probabilities(image, RAS, cascade, 4)):
        assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)
        assert np.array_equal(decide_muscle(probabilities), labels[..., index])
        hu[:] = 0
    assert np.array_equal(image, before)


@pytest.mark.parametrize(("depth", "neighbour_mm"), [(5, None), (37, None), (37, 10.0)])
@pytest.mark.parametrize("affine", [RAS, RAS @ np.diag([-1, 1, -1, 1.0])], ids=["RAS", "LAI"])
def test_on_a_device_the_labels_are_those_of_the_cpu(depth, neighbour_mm, affine):
    array, network = make_body((64, 50, depth)), Blobs().eval()
    inferer = SliceInferer(1.0, engine="eager", neighbour_mm=neighbour_mm)
    expected = inferer._run(array, affine, EagerEngine(network), ())
    told = []
    inferer.progress = told.append
    found = inferer._run(array, affine, ResidentEngine(network), ())
    assert len(np.unique(expected)) == 5
    assert np.mean(found == expected) > 0.9999
    assert told[-1] == 1.0 and told == sorted(told)
