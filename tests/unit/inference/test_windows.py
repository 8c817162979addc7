"""Label maps by windows are those of MONAI's sliding window between Spacing and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import AttentionUnet
from monai.transforms import Compose, Invertd, Orientationd, ScaleIntensityRanged, Spacingd
from scipy import ndimage
from torch import nn

from myotome.errors import InputError
from myotome.geometry import reorient
from myotome.inference import WindowInferer
from myotome.inference.engines import ENGINES
from myotome.inference.engines.pytorch import EagerEngine
from tests.unit.inference.resident_engine import ResidentEngine

ROI = (32, 32, 32)
WHOLE = {"crop_body": False, "skip_empty": False}


class Blobs(nn.Module):
    """Three logits from a 7-voxel neighbourhood, so that a window's edges matter; air alone is nearly background."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.look = nn.Conv3d(1, 4, 7, padding=3)
        self.say = nn.Conv3d(4, 3, 1)
        with torch.no_grad():
            self.say.weight.mul_(40)
            self.say.bias.copy_(-self.say.weight.flatten(1) @ self.look.bias.clamp(0))
            self.say.bias[0] += 1

    def forward(self, image):
        return self.say(self.look(image).clamp(0))


class Density(nn.Module):
    """Label 1 where a voxel is denser than 50 HU, with all but certainty; 0 elsewhere."""

    def __init__(self, air: float = 0):
        super().__init__()
        self.air = nn.Parameter(torch.tensor(float(air)))

    def forward(self, image):
        dense = torch.tanh((image - 0.5) * 1000)
        return torch.cat((-9 * dense, 9 * dense, (image <= 0) * self.air), dim=1)


class Everywhere(nn.Module):
    """Label 1, all but certain, whatever it sees."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, image):
        return torch.cat((image * 0 - 9 * self.one, image * 0 + 9 * self.one), dim=1)


def make_image(shape=(50, 44, 40), seed: int = 0) -> np.ndarray:
    """Smooth tissue of about -150 to 250 HU, without an edge to the air that could be decided either way."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3)
    return np.round(100 * noise / noise.std() + 20).astype(np.int16)


def run_monai(array, affine, network, roi_size=ROI, overlap=0.5, blending="constant", spacing_mm=1.5):
    image = MetaTensor(torch.from_numpy(array.astype(np.float32))[None], affine=torch.from_numpy(affine))
    before = Compose(
        [
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(spacing_mm,) * 3, mode="bilinear"),
            ScaleIntensityRanged("image", a_min=-150, a_max=250, b_min=0.0, b_max=1.0, clip=True),
        ]
    )
    data = before({"image": image})
    with torch.no_grad():
        logits = SlidingWindowInferer(roi_size, 1, overlap, mode=blending)(data["image"][None], network)[0]
    data["pred"] = MetaTensor(torch.as_tensor(logits).softmax(dim=0)).copy_meta_from(data["image"])
    back = Invertd("pred", before, orig_keys="image", nearest_interp=False)(data)["pred"]
    return back.argmax(dim=0).numpy().astype(np.uint8)


def make_affine(spacing) -> np.ndarray:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -31.0, 12.5, 107
    return affine


CASES = {
    "on the working grid already": ((50, 44, 40), (1.5, 1.5, 1.5), "RAS"),
    "anisotropic": ((60, 62, 21), (1.1, 0.9, 3.0), "RAS"),
    "coarse": ((22, 25, 30), (3.2, 2.9, 2.0), "RAS"),
    "flipped": ((60, 52, 21), (1.1, 1.3, 3.0), "LPS"),
    "turned": ((60, 52, 21), (1.1, 1.3, 3.0), "SAR"),
    "smaller than a window": ((24, 20, 11), (1.2, 1.5, 2.0), "LPI"),
    "thinner than a window": ((60, 52, 9), (1.1, 1.3, 3.0), "RAS"),
}


@pytest.mark.parametrize("blending", ["constant", "gaussian"])
@pytest.mark.parametrize("case", CASES)
def test_the_label_map_is_monais(case, blending):
    shape, spacing, codes = CASES[case]
    array, affine = reorient(make_image(shape), make_affine(spacing), codes)
    expected = run_monai(array, affine, Blobs(), blending=blending)
    assert sorted(np.bincount(expected.ravel()))[-2] > 0.1 * expected.size
    inferer = WindowInferer(ROI, blending=blending, engine="eager", **WHOLE)
    labels = inferer.segment(array, affine, Blobs())
    assert labels.dtype == np.uint8 and labels.shape == array.shape
    assert np.mean(labels == expected) >= 0.999


@pytest.mark.parametrize(("roi_size", "overlap"), [((32, 24, 16), 0.5), ((24, 24, 24), 0.25), ((16, 40, 24), 0.7)])
def test_windows_of_any_size_and_overlap_are_monais(roi_size, overlap):
    array, affine = make_image(), make_affine((1.3, 1.4, 1.7))
    expected = run_monai(array, affine, Blobs(), roi_size, overlap)
    labels = WindowInferer(roi_size, overlap, engine="eager", **WHOLE).segment(array, affine, Blobs())
    assert np.mean(labels == expected) >= 0.999


def test_an_oblique_image_is_labelled_as_by_monai():
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    array, affine = make_image(), turn @ make_affine((1.1, 1.2, 2.5))
    expected = run_monai(array, affine, Blobs())
    labels = WindowInferer(ROI, engine="eager", **WHOLE).segment(array, affine, Blobs())
    assert np.mean(labels == expected) >= 0.999


@pytest.mark.parametrize("engine", [name for name in ("openvino", "onnxruntime") if not ENGINES[name].missing("cpu")])
def test_every_engine_gives_eagers_labels_of_an_attention_u_net(engine):
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 3, (4, 8), (2,)).eval()
    with torch.no_grad():
        network.model[-1].conv.weight.mul_(40)
    array, affine = make_image(), make_affine((3.3, 3.4, 5.5))
    settings = {"roi_size": ROI, "overlap": 0.25, "spacing_mm": 4.0, **WHOLE}
    inferer = WindowInferer(engine=engine, **settings)
    assert inferer.open(network).name == engine and inferer.notes == ()
    expected = WindowInferer(engine="eager", **settings).segment(array, affine, network)
    assert len(np.unique(expected)) == 3
    assert np.mean(inferer.segment(array, affine, network) == expected) >= 0.9999


# --- the body -----------------------------------------------------------------------------------------------------


def make_body(shape, centre, radius, hu=100) -> np.ndarray:
    """A ball in voxels, in air."""
    axes = np.meshgrid(*(np.arange(size, dtype=float) for size in shape), indexing="ij")
    distance = sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True))
    return np.where(distance < radius**2, hu, -1000).astype(np.int16)


def test_windows_without_the_body_are_background_and_the_others_what_they_were():
    """The network says 2 of air, so that a window that was left out can be told."""
    array, affine, network = make_body((96, 96, 80), (20, 22, 16), 13), make_affine((1.5, 1.5, 1.5)), Density(air=99)
    every = WindowInferer(ROI, engine="eager", **WHOLE).segment(array, affine, network)
    told = []
    inferer = WindowInferer(ROI, engine="eager", crop_body=False, progress=told.append)
    some = inferer.segment(array, affine, network)
    assert np.array_equal(some[array > 0], every[array > 0]) and (some[array > 0] == 1).all()
    assert (every[array < 0] == 2).all() and (some[70:] == 0).all() and (some[..., 60:] == 0).all()
    assert set(np.unique(some[some != every])) == {0}
    assert told == sorted(told) and told[-1] == 1.0
    assert {"find body", "prepare", "network", "add", "restore"} <= set(inferer.seconds)


def test_outside_the_bodys_box_is_background():
    array, affine = make_body((90, 80, 34), (40, 38, 17), 14), make_affine((1.5, 1.5, 1.5))
    inferer = WindowInferer(ROI, skip_empty=False, margin_mm=6, engine="eager")
    labels = inferer.segment(array, affine, Density(air=99))
    assert (labels[array > 0] == 1).all()
    box = np.zeros(array.shape, bool)
    box[40 - 14 - 8 : 40 + 14 + 8, 38 - 14 - 8 : 38 + 14 + 8] = True  # voxels: the margin, and the body's 4 mm grid
    assert not labels[~box].any()
    assert (labels[30:50, 28:48][array[30:50, 28:48] < 0] == 2).all()


@pytest.mark.parametrize("settings", [{}, WHOLE])
@pytest.mark.parametrize("shape", [(50, 44, 40), (7, 8, 3)])
def test_an_image_of_air_is_background(shape, settings):
    air = np.full(shape, -1000, np.int16)
    labels = WindowInferer(ROI, engine="eager", **settings).segment(air, make_affine((1, 1, 2)), Density())
    assert labels.shape == shape and not labels.any()


@pytest.mark.parametrize("bottom", [0, 60, 130])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_planes_stay_in_their_place_above_and_below_levels_without_a_window(bottom, overlap):
    """A cylinder of 36 levels anywhere along the body's axis, with a number of its own in every third."""
    array = np.full((40, 40, 180), -1000, np.int16)
    array[8:32, 8:32, bottom : bottom + 36] = 0
    array[12:28, 12:28, bottom : bottom + 36 : 3] = 100
    affine = make_affine((1.5, 1.5, 1.5))
    labels = WindowInferer(ROI, overlap, engine="eager").segment(array, affine, Density())
    assert np.array_equal(labels, (array == 100).astype(np.uint8))


def test_of_two_bodies_far_apart_the_larger_is_labelled_in_its_place():
    array = np.maximum(make_body((40, 40, 200), (20, 20, 20), 10), make_body((40, 40, 200), (20, 20, 170), 14))
    labels = WindowInferer(ROI, engine="eager").segment(array, make_affine((1.5, 1.5, 1.5)), Density())
    assert np.array_equal(labels[..., 100:], (array[..., 100:] == 100).astype(np.uint8))
    assert not labels[..., :60].any()


def test_windows_are_given_the_image_alone():
    mask = np.zeros((9, 9, 9), np.uint8)
    with pytest.raises(InputError, match="it takes no further label map"):
        WindowInferer(ROI, engine="eager").segment(make_image((9, 9, 9)), make_affine((1, 1, 1)), Density(), mask)


def test_levels_between_windows_are_background():
    inferer = WindowInferer((8, 8, 8), engine="eager")
    network = Density()
    working = torch.zeros((8, 8, 60))
    working[4, 4, [3, 45, 58]] = 1
    planes = list(inferer._planes(working, [(0, 0, 52), (0, 0, 0), (0, 0, 40)], inferer.open(network)))
    assert [np.argwhere(plane.argmax(0).numpy()).tolist() for plane in planes] == [
        [[4, 4]] if level in (3, 45, 58) else [] for level in range(60)
    ]


def test_between_a_level_without_a_window_and_one_with_the_nearer_decides():
    """Windows begin at levels 0, 32 and 64 of 96, and three slices make a level; the body begins at level 66."""
    array = np.full((32, 32, 286), -1000, np.int16)
    array[4:28, 4:28, 3 * 66 :] = 100
    inferer = WindowInferer(ROI, overlap=0.0, engine="eager", crop_body=False)
    column = inferer.segment(array, make_affine((1.5, 1.5, 0.5)), Everywhere())[16, 16]
    assert not column[: 3 * 63 + 2].any()  # the last lies a third of the way from level 63 to 64
    assert column[3 * 63 + 2 :].all()  # the first lies two thirds of the way


@pytest.mark.parametrize("blending", ["constant", "gaussian"])
def test_on_a_device_the_labels_are_those_of_the_cpu(blending):
    array, affine, network = make_image((70, 50, 90)), make_affine((0.9, 1.1, 0.7)), Blobs().eval()
    inferer = WindowInferer(ROI, blending=blending, engine="eager", **WHOLE)
    expected = inferer._run(array, affine, EagerEngine(network), ())
    found = inferer._run(array, affine, ResidentEngine(network), ())
    assert len(np.unique(expected)) == 3
    assert np.mean(found == expected) > 0.9999
