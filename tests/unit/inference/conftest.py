"""What the tests of inference share: a cache of their own, the check image drawn once, a bundle of a tiny cascade."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from myotome.inference import label_maps
from myotome.networks import RespiratoryCascade, write_weights

BUNDLE = Path(__file__).parents[3] / "bundle" / "respiratory_muscle_ct_segmentation"
CHANNELS = (4, 8, 16)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Path:
    """Where engines keep what they make: not the home folder. Of the check image three slices are drawn once."""

    @functools.cache
    def make_slices(make=label_maps.make_check_image):
        image, affine, labels = make()
        return image[..., :3], affine, labels[..., :3]

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYOTOME_CACHE", str(folder))
        patch.setattr(label_maps, "make_check_image", make_slices)
        yield folder


@pytest.fixture(scope="session")
def cascade() -> RespiratoryCascade:
    """A tiny cascade, untrained; its last layers are made steep, so that it has every label."""
    torch.manual_seed(3)
    cascade = RespiratoryCascade(CHANNELS).eval()
    with torch.no_grad():
        for network in (cascade.muscle_tissue, cascade.respiratory_muscles, cascade.muscle_classes):
            network.model[-1].conv.weight.mul_(5)
    return cascade


@pytest.fixture(scope="session")
def small_weights(cascade, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    write_weights(cascade.state_dict(), path)
    return path


@pytest.fixture
def bundle(tmp_path, small_weights) -> Path:
    """The respiratory bundle with the tiny cascade in place of its own."""
    root = tmp_path / BUNDLE.name
    shutil.copytree(BUNDLE, root, ignore=shutil.ignore_patterns("*.pt"))
    shutil.copy(small_weights, root / "models" / "model.pt")
    config = root / "configs" / "inference.yaml"
    name = "_target_: myotome.networks.RespiratoryCascade\n"
    assert name in config.read_text()
    config.write_text(config.read_text().replace(name, f"{name}  channels: {list(CHANNELS)}\n"))
    path = root / "configs" / "metadata.json"
    sha256 = {"models/model.pt": hashlib.sha256(small_weights.read_bytes()).hexdigest()}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": sha256}))
    return root
