"""A bundle segments a volume on its own grid, and says in one sentence what is wrong with it when it cannot."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from myotome.errors import BundleError, InputError
from myotome.geometry import Grid, Volume
from myotome.inference import AdjacentSliceInferer, BundleSegmenter, PhantomSegmenter, SliceInferer
from myotome.inference.engines import rank_engines
from myotome.networks import RespiratoryCascade, write_weights
from myotome.structures import LabelMap, read_label_schema

BUNDLE = Path(__file__).parents[3] / "bundle" / "respiratory_muscle_ct_segmentation"


def change_metadata(root, **changes):
    path = root / "configs" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def make_volume() -> Volume:
    array = np.full((40, 30, 3), -1000, np.int16)
    x, y, z = np.meshgrid(np.arange(24), np.arange(18), np.arange(3), indexing="ij")
    array[8:32, 6:24] = 100 * np.sin(x / 2 + z) * np.cos(y / 3)
    return Volume(array, Grid(array.shape, np.diag([-2.0, -2.0, 5.0, 1.0])))


def test_segments_on_the_volumes_own_grid_twice_alike(bundle):
    told = []
    segmenter = BundleSegmenter(bundle, progress=told.append)
    first, second = (segmenter.segment(make_volume()) for _ in range(2))
    assert first.grid.same_as(make_volume().grid)
    assert np.array_equal(first.array, second.array)
    assert told[-1] == 1.0
    assert segmenter.bundle == BUNDLE.name
    assert segmenter.bundle_version == json.loads((BUNDLE / "configs" / "metadata.json").read_text())["version"]
    assert segmenter.weights_sha256 == hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
    assert segmenter.device == "cpu"


def test_eager_is_the_reference_way_and_gives_the_same_labels(bundle):
    ways = {"eager": BundleSegmenter(bundle, engine="eager"), "default": BundleSegmenter(bundle)}
    assert ways["eager"].engine == "eager"
    assert isinstance(ways["eager"]._inferer, AdjacentSliceInferer)
    assert isinstance(ways["default"]._inferer, SliceInferer)
    assert (ways["eager"].precision, ways["eager"].notes) == ("float32", ())
    refused = [note.split()[2] for note in ways["default"].notes]
    assert [*refused, ways["default"].engine.split()[0]] == rank_engines()[: len(refused) + 1]
    assert ways["default"].precision == "float32"
    reference, labels = (ways[name].segment(make_volume()).array for name in ("eager", "default"))
    assert len(np.unique(reference)) > 2
    assert np.mean(reference == labels) >= 0.999  # an untrained network is undecided in some voxels


def test_an_engine_is_used_in_the_precision_that_was_asked_for(bundle):
    segmenter = BundleSegmenter(bundle, engine="eager", precision="bfloat16")
    used = segmenter.engine.split()[0], segmenter.precision
    assert used == ("eager", "bfloat16") or "eager in bfloat16 is not used" in segmenter.notes[0]
    labels = segmenter.segment(make_volume()).array
    reference = BundleSegmenter(bundle, engine="eager").segment(make_volume()).array
    assert np.mean(reference == labels) > 0.95


def test_an_engine_or_precision_that_is_not_there(bundle):
    with pytest.raises(BundleError, match="there is no engine 'fast': use auto, eager"):
        BundleSegmenter(bundle, engine="fast")
    with pytest.raises(BundleError, match="there is no precision 'int4': use float32"):
        BundleSegmenter(bundle, precision="int4")
    with pytest.raises(BundleError, match="'openvino' does not compute in float16|openvino is not installed"):
        BundleSegmenter(bundle, engine="openvino", precision="float16")


def test_classes_are_decided_anew_inside_the_respiratory_labels_alone(bundle):
    volume = make_volume()
    mask = np.random.default_rng(2).integers(0, 5, volume.grid.shape).astype(np.uint8)
    mask[volume.array == -1000] = 0
    schema = read_label_schema()
    labels = BundleSegmenter(bundle).classify(volume, LabelMap(mask, volume.grid, schema)).array
    respiratory = (mask > 0) & (mask < 4)
    assert not labels[~respiratory].any()
    assert set(np.unique(labels[respiratory])) <= {1, 2, 3}
    other = np.where(respiratory, mask % 3 + 1, mask).astype(np.uint8)
    again = BundleSegmenter(bundle).classify(volume, LabelMap(other, volume.grid, schema)).array
    assert np.array_equal(labels, again)


def test_missing_weights(bundle):
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(BundleError, match=r"has no weights at .*model\.pt"):
        BundleSegmenter(bundle)


def test_weights_that_are_not_the_released_ones(bundle):
    write_weights(RespiratoryCascade((4, 8, 16, 32)).state_dict(), bundle / "models" / "model.pt")
    with pytest.raises(BundleError, match="not the file the bundle was released with"):
        BundleSegmenter(bundle)


def test_weights_of_another_network(bundle):
    write_weights(RespiratoryCascade((4, 8, 16, 32)).state_dict(), bundle / "models" / "model.pt")
    change_metadata(bundle, weights_sha256={})
    with pytest.raises(BundleError, match="weights of another network"):
        BundleSegmenter(bundle)


def test_corrupt_weights(bundle):
    (bundle / "models" / "model.pt").write_bytes(b"not weights")
    change_metadata(bundle, weights_sha256={})
    with pytest.raises(BundleError, match="not a readable weights file"):
        BundleSegmenter(bundle)


def test_metadata_that_is_none(bundle):
    (bundle / "configs" / "metadata.json").write_text("{}")
    with pytest.raises(BundleError, match="not a bundle's metadata"):
        BundleSegmenter(bundle)


def test_labels_that_are_not_the_schemas(bundle):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "background", "1": "disc"}
    change_metadata(bundle, **metadata)
    with pytest.raises(BundleError, match="not those of the schema"):
        BundleSegmenter(bundle)


def test_a_config_that_is_missing_or_broken(bundle):
    path = bundle / "configs" / "inference.yaml"
    path.write_text("inferer: {_target_: no.such.Thing}\n")
    with pytest.raises(BundleError, match="cannot be used"):
        BundleSegmenter(bundle)
    path.unlink()
    with pytest.raises(BundleError, match=r"no configs/inference\.yaml"):
        BundleSegmenter(bundle)


def test_a_device_that_is_not_there(bundle):
    with pytest.raises(BundleError, match="no device 'cuda:99'"):
        BundleSegmenter(bundle, device="cuda:99")


def test_the_phantom_segmenter_gives_the_truth_of_its_own_image_only():
    volume = make_volume()
    truth = LabelMap(np.ones(volume.grid.shape, np.uint8), volume.grid, read_label_schema())
    assert PhantomSegmenter(truth).segment(volume) is truth
    other = Volume(np.zeros((2, 2, 2), np.int16), Grid((2, 2, 2), np.eye(4)))
    with pytest.raises(InputError, match="not the one"):
        PhantomSegmenter(truth).segment(other)


def test_probabilities_of_evenly_spread_slices(bundle):
    """Two of three slices, in-plane 2 mm to 0.8 mm over the body and its margin."""
    found = list(BundleSegmenter(bundle).iter_probabilities(make_volume(), slices=2))
    assert len(found) == 2
    for probabilities, hu in found:
        assert probabilities.shape == (5, *hu.shape)
        assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-4)
    assert -1000 <= found[0][1].min() < found[0][1].max() <= 100


def test_a_bundle_that_is_not_run_slice_by_slice_gives_no_probabilities(bundle):
    with pytest.raises(BundleError, match=r"no probabilities slice by slice.*AdjacentSliceInferer"):
        BundleSegmenter(bundle, engine="eager").iter_probabilities(make_volume(), slices=2)
