"""Every engine gives the network's own output, in the precision it was asked for, or says in a sentence why not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from monai.networks.nets import AttentionUnet
from torch import nn

from myotome.errors import BundleError
from myotome.inference.engines import (
    ENGINES,
    Agreement,
    EngineError,
    artefact_folder,
    compare_label_maps,
    exported,
    fingerprint,
    open_engine,
    rank_engines,
)
from myotome.inference.engines.agreement import name_hardware, read_agreement, write_agreement
from myotome.inference.engines.pytorch import fold_batch_norms

QUICK = sorted(set(ENGINES) - {"inductor"})  # TorchInductor compiles for seconds per shape, and has a test of its own


class Pair(nn.Module):
    """A network of two inputs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, image, mask):
        return self.layer(image) * (mask > 0.5) + mask


def make_unet(dimensions: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    channels = (4, 8, 16) if dimensions == 2 else (4, 8)
    return AttentionUnet(dimensions, 3, 2, channels, (2,) * (len(channels) - 1)).eval()


def make_pair(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Pair().eval()


def open_here(name: str, network: nn.Module, precision: str = "float32"):
    missing = ENGINES[name].missing("cpu")
    if missing:
        pytest.skip(f"{name}: {missing}")
    return open_engine(name, network, precision)


def assert_same(outputs, network, batches):
    with torch.no_grad():
        expected = [network(*batch) for batch in batches]
    assert len(outputs) == len(expected)
    for found, right in zip(outputs, expected, strict=True):
        assert found.dtype == torch.float32 and found.device.type == "cpu"
        assert found.shape == right.shape
        assert float((found - right).abs().max()) < 1e-4 * float(right.abs().max())


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (make_unet(2), [[(2, 3, 32, 48)], [(1, 3, 64, 32)]]),
        (make_unet(3), [[(1, 3, 16, 16, 16)], [(2, 3, 16, 8, 24)]]),
        (make_pair(), [[(1, 3, 16, 16), (1, 1, 16, 16)], [(3, 3, 8, 16), (3, 1, 8, 16)]]),
    ],
    ids=["2D", "3D", "two inputs"],
)
def test_the_output_is_the_networks_own_for_one_shape_after_another(name, network, shapes):
    engine = open_here(name, network)
    batches = [tuple(torch.rand(shape) for shape in batch) for batch in (*shapes, shapes[0])]
    assert_same([engine(*batch) for batch in batches], network, batches)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", QUICK)
def test_outputs_of_many_batches_come_in_order_and_none_is_overwritten(name, threads):
    network = make_unet(2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        engine = open_here(name, network)
        sizes = (2, 2, 2, 1, 2, 1)
        batches = [(torch.rand(size, 3, 16, 16) + number,) for number, size in enumerate(sizes)]
        outputs = list(engine.map(iter(batches)))
    finally:
        torch.set_num_threads(before)
    assert_same(outputs, network, batches)
    assert list(engine.map([])) == []


@pytest.mark.parametrize("name", QUICK)
def test_an_engine_runs_on_after_a_caller_went_away_half_way(name):
    network = make_unet(2)
    engine = open_here(name, network)
    batches = [(torch.rand(4, 3, 256, 256),) for _ in range(4)]
    next(engine.map(batches))
    again = batches[:1]
    assert_same(list(engine.map(again)), network, again)


@pytest.mark.parametrize("name", QUICK)
def test_integers_are_taken_as_float32(name):
    network, image = make_pair(), torch.rand(1, 3, 16, 16)
    mask = torch.randint(0, 4, (1, 1, 16, 16), dtype=torch.uint8)
    engine = open_here(name, network)
    assert_same([engine((image * 255).byte(), mask)], network, [((image * 255).byte().float(), mask.float())])


def test_inductor_gives_the_networks_own_output():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval()
    engine = open_here("inductor", network)
    batches = [(torch.rand(1, 3, 8, 8) + number,) for number in range(3)]
    assert_same(list(engine.map(batches)), network, batches)


@pytest.mark.parametrize("name", ["eager", "openvino"])
def test_bfloat16_is_close_to_float32_and_is_not_float32(name):
    network, image = make_unet(2), torch.rand(1, 3, 64, 64)
    try:
        reduced = open_here(name, network, "bfloat16")(image)
    except EngineError as error:
        pytest.skip(str(error))
    with torch.no_grad():
        right = network(image)
    error = float((reduced - right).abs().max() / right.abs().max())
    assert reduced.dtype == torch.float32
    assert 3e-4 < error < 0.05
    full = open_here(name, network)(image)
    assert float((full - right).abs().max() / right.abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("name", "precision", "device", "sentence"),
    [
        ("fast", "float32", "cpu", r"there is no engine 'fast': use auto, eager, inductor, openvino"),
        ("eager", "int4", "cpu", r"'eager' does not compute in int4: it knows float32, bfloat16, float16\."),
        ("openvino", "float16", "cpu", r"'openvino' does not compute in float16: it knows float32, bfloat16\."),
        ("openvino", "float32", "cuda", r"'openvino' cannot run on cuda: it runs on cpu\."),
        ("cuda_graphs", "float32", "cpu", r"'cuda_graphs' cannot run on cpu: it runs on cuda\."),
        ("tensorrt", "float16", "cpu", r"'tensorrt' cannot run on cpu: it runs on cuda\."),
    ],
)
def test_what_an_engine_cannot_do_is_refused_in_a_sentence(name, precision, device, sentence):
    if name == "openvino" and device == "cpu" and ENGINES[name].missing("cpu"):
        pytest.skip(ENGINES[name].missing("cpu"))
    with pytest.raises(EngineError, match=sentence) as refusal:
        open_engine(name, make_pair(), precision, device)
    assert isinstance(refusal.value, BundleError) and refusal.value.exit_code == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", [name for name, engine in ENGINES.items() if "cuda" in engine.devices])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(EngineError, match=f"'{name}' cannot run on cuda"):
        open_engine(name, make_pair(), "float32", "cuda")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_an_exported_network_needs_onnx(name, monkeypatch):
    monkeypatch.setattr(
        exported, "_not_installed", lambda module: "onnx is not installed" if module == "onnx" else None
    )
    assert ENGINES[name].missing("cpu") == "onnx is not installed"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_engine_is_ranked_for_a_device_that_is_not_there():
    assert rank_engines("float32", "cuda") == []


def test_the_fingerprint_is_that_of_architecture_and_weights():
    first = fingerprint(make_pair())
    assert first == fingerprint(make_pair()) and len(first) == 64
    changed = make_pair()
    with torch.no_grad():
        changed.layer.weight[0, 0, 0, 0] += 1e-6
    shrunk = make_pair()
    shrunk.layer.padding = (0, 0)  # the same weights in another architecture
    assert len({first, fingerprint(changed), fingerprint(shrunk), fingerprint(make_pair(1))}) == 4


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_network_is_exported_once_for_its_weights(name, monkeypatch, tmp_path):
    monkeypatch.setenv("MYOTOME_CACHE", str(tmp_path))
    image = torch.rand(1, 3, 16, 16)
    first = open_here(name, make_unet(2))(image)
    (folder,) = (tmp_path / "engines").iterdir()
    assert folder == artefact_folder(fingerprint(make_unet(2)))
    assert [path.suffix for path in folder.iterdir()] == [".onnx"]

    def fail(*args):
        raise AssertionError("it was exported again")

    monkeypatch.setattr(exported, "_export", fail)
    assert torch.equal(open_here(name, make_unet(2))(image), first)
    with pytest.raises(EngineError, match="exported again"):
        open_here(name, make_unet(2, seed=1))(image)


def test_convolutions_of_concatenated_channels_are_divided():
    openvino = pytest.importorskip("openvino")
    image = torch.rand(1, 3, 8, 8, 8)
    model = openvino.Core().read_model(open_here("openvino", make_unet(3))._exported((image,)))
    model.reshape({0: tuple(image.shape)})

    def count(kind: str) -> int:
        return sum(node.get_type_name() == kind for node in model.get_ordered_ops())

    concatenations, convolutions = count("Concat"), count("Convolution")
    exported._divide_convolutions(model)
    assert (count("Concat"), count("Convolution")) == (concatenations - 1, convolutions + 1)


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_one(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MYOTOME_CACHE", str(tmp_path / "file"))
    folder = artefact_folder("0" * 64)
    assert folder.is_dir() and tmp_path not in folder.parents
    assert artefact_folder("0" * 64) == folder != artefact_folder("1" * 64)
    image, network = torch.rand(1, 3, 16, 16), make_unet(2)
    assert_same([open_engine(rank_engines()[0], network)(image)], network, [(image,)])


def test_enough_agreement_is_of_labels_in_float32_and_of_dice_in_less():
    assert Agreement(equal=0.9999, dice=0).enough_for("float32")
    assert not Agreement(equal=0.99989, dice=1).enough_for("float32")
    for precision in ("bfloat16", "float16"):
        assert Agreement(equal=0, dice=0.999).enough_for(precision)
        assert not Agreement(equal=1, dice=0.99899).enough_for(precision)


def test_agreement_of_label_maps_is_worked_by_hand():
    found = compare_label_maps(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]), seconds_per_slice=3)
    assert (found.equal, found.dice, found.seconds_per_slice) == (0.75, pytest.approx(2 * 2 / 6), 3)
    assert str(found) == "0.750000 of the labels equal, Dice 0.66667"
    empty = np.zeros(4, np.uint8)
    assert compare_label_maps(empty, empty) == Agreement(1.0, 1.0)
    assert compare_label_maps(empty, np.ones(4, np.uint8)) == Agreement(0.0, 0.0)


def test_an_agreement_is_of_the_hardware_that_the_engine_computes_on(monkeypatch):
    names = {"cuda": "H200", "cuda:1": "A100"}
    monkeypatch.setattr(torch.cuda, "get_device_name", names.get)
    found = [name_hardware(device) for device in ("cuda", "cuda:1", "cpu")]
    assert found[:2] == ["H200", "A100"] and found[2] and found[2] not in found[:2]


def test_an_agreement_is_kept_beside_others_and_a_broken_file_is_none(tmp_path):
    path = tmp_path / "agreement.json"
    assert read_agreement(path, "a") is None
    path.write_text("{broken")
    assert read_agreement(path, "a") is None
    write_agreement(path, "a", Agreement(0.5, 0.25, 1.0))
    write_agreement(path, "b", Agreement(1.0, 1.0, 2.0))
    assert read_agreement(path, "a") == Agreement(0.5, 0.25, 1.0)
    assert read_agreement(path, "b") == Agreement(1.0, 1.0, 2.0)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_engines_that_can_run_here_are_ranked_and_eager_is_last(precision, monkeypatch):
    names = rank_engines(precision, "cpu")
    assert names[-1] == "eager"
    for name in names:
        assert ENGINES[name].missing("cpu") is None and precision in ENGINES[name].precisions
    monkeypatch.setattr(exported, "_not_installed", lambda module: f"{module} is not installed")
    assert rank_engines(precision, "cpu") == ["eager"]
    with pytest.raises(EngineError, match="'openvino' cannot run on cpu: openvino is not installed"):
        open_engine("openvino", make_pair())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_folded_network_has_no_batch_normalisation_left_and_computes_the_same(dimensions):
    network = make_unet(dimensions)
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            for value in (layer.running_var, layer.weight.data):
                value.uniform_(0.5, 2)
            for value in (layer.running_mean, layer.bias.data):
                value.uniform_(-1, 1)
    image = torch.rand(2, 3, *(16,) * dimensions)
    with torch.no_grad():
        expected = network(image)
        found = fold_batch_norms(copy.deepcopy(network))
        assert float((found(image) - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in found.modules())
