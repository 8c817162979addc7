"""Weights put into a bundle: taken part by part, named with their sums, beside those of others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml

from myotome.errors import BundleError
from myotome.training.release import copy_weights, join_stages, record_large_file, record_weights


@pytest.fixture
def bundle(tmp_path) -> Path:
    root = tmp_path / "bundle"
    (root / "configs").mkdir(parents=True)
    given = {"version": "0.1.0", "weights_sha256": {"models/other.pt": "0" * 64}}
    (root / "configs" / "metadata.json").write_text(json.dumps(given))
    return root


def read_sums(bundle: Path) -> dict[str, str]:
    return json.loads((bundle / "configs" / "metadata.json").read_text())["weights_sha256"]


def write_state(path: Path, value: float, names: tuple[str, ...] = ("level.a", "muscle.b")) -> Path:
    torch.save({name: torch.full((2,), value) for name in names}, path)
    return path


def test_each_part_is_taken_from_its_own_training(tmp_path):
    stages = {"level": write_state(tmp_path / "one.pt", 1.0), "muscle": write_state(tmp_path / "two.pt", 2.0)}
    joined = join_stages(stages)
    assert {key: value.tolist() for key, value in joined.items()} == {"level.a": [1, 1], "muscle.b": [2, 2]}


def test_a_part_that_nobody_trained_is_refused(tmp_path):
    with pytest.raises(BundleError, match="nothing was trained for the network's part 'level'"):
        join_stages({"muscle": write_state(tmp_path / "one.pt", 1.0)})


def test_weights_of_different_networks_are_refused(tmp_path):
    other = write_state(tmp_path / "two.pt", 2.0, ("level.a", "muscle.c"))
    with pytest.raises(BundleError, match="of different networks"):
        join_stages({"level": write_state(tmp_path / "one.pt", 1.0), "muscle": other})


def test_weights_are_copied_and_named_beside_others(tmp_path, bundle):
    weights = tmp_path / "trained.pt"
    weights.write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert copy_weights(weights, bundle, "models/model_real.pt") == expected
    assert read_sums(bundle) == {"models/other.pt": "0" * 64, "models/model_real.pt": expected}
    assert [path.name for path in (bundle / "models").iterdir()] == ["model_real.pt"]
    assert (bundle / "models" / "model_real.pt").read_bytes() == b"weights"


def test_a_new_sum_takes_the_place_of_the_old_one(bundle):
    (bundle / "models").mkdir()
    for content in (b"first", b"second"):
        (bundle / "models" / "model.pt").write_bytes(content)
        assert record_weights(bundle) == hashlib.sha256(content).hexdigest()
    assert read_sums(bundle)["models/model.pt"] == hashlib.sha256(b"second").hexdigest()


def test_a_large_file_is_listed_for_the_download(tmp_path, bundle):
    weights = tmp_path / "vgg.pt"
    weights.write_bytes(b"large")
    sha256 = record_large_file(bundle, weights, "models/vgg19.pt")
    (row,) = yaml.safe_load((bundle / "large_files.yml").read_text())["large_files"]
    assert row["path"] == "models/vgg19.pt" and row["url"].endswith("/bundle/models/vgg19.pt")
    assert row["hash_val"] == sha256 == hashlib.sha256(b"large").hexdigest() and row["hash_type"] == "sha256"
