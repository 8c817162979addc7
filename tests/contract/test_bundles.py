"""Every bundle keeps the model zoo's conventions, and is data only."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from jsonschema import Draft202012Validator

from myotome.inference import schema_of
from myotome.pipeline import kind_of
from myotome.resources import image_modality
from myotome.structures import read_label_schema

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "scripts" / "meta_schema_20240725.json").read_text())
BUNDLES = sorted(path.parent.parent for path in (ROOT / "bundle").glob("*/configs/metadata.json"))
YAMLS = sorted(path for bundle in BUNDLES for path in (bundle / "configs").glob("*.yaml"))
EXPECTED = ("train", "evaluate", "inference", "multi_gpu_train", "multi_gpu_evaluate", "inference_trt")
LONGEST_EXPRESSION = 100
LARGEST_BYTES = 25e6
PREFIXES = ("monai.", "torch.", "ignite.")
ROOMS = ("transforms", "networks", "inference", "training", "metrics")

every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
every_yaml = pytest.mark.parametrize("path", YAMLS, ids=lambda path: f"{path.parents[1].name}/{path.name}")


def read_metadata(bundle: Path) -> dict:
    return json.loads((bundle / "configs" / "metadata.json").read_text())


def spatial_shape(pattern: list, n: int = 4) -> tuple[int, ...]:
    """A size that fits a data format's ``spatial_shape``, whose entries are numbers or such as ``8*n``."""
    return tuple(part if isinstance(part, int) else int(part.split("*")[0]) * n for part in pattern)


def walk(item, found: list | None = None) -> list[tuple[str, object]]:
    """Every (key, value) pair of a config, at any depth; items of lists have the key ""."""
    found = [] if found is None else found
    pairs = (
        item.items() if isinstance(item, dict) else (("", value) for value in item) if isinstance(item, list) else ()
    )
    for key, value in pairs:
        found.append((key, value))
        walk(value, found)
    return found


def test_there_is_a_bundle():
    assert BUNDLES


@every_bundle
def test_its_name_can_be_parsed(bundle):
    assert re.fullmatch(r"[a-z0-9_]+_(segmentation|classification|detection)", bundle.name)
    assert "_v" not in bundle.name


@every_bundle
def test_it_has_the_files_that_readers_expect(bundle):
    files = ["LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"]
    files += [f"configs/{name}.yaml" for name in EXPECTED]
    assert [name for name in files if not (bundle / name).is_file()] == []


@every_bundle
def test_it_is_data_only(bundle):
    assert list(bundle.rglob("*.py")) == []
    assert not (bundle / "scripts").exists()


@every_bundle
def test_its_metadata_fits_the_schema(bundle):
    errors = [error.message for error in Draft202012Validator(SCHEMA).iter_errors(read_metadata(bundle))]
    assert errors == []


@every_bundle
def test_its_version_is_in_the_changelog_and_sorts(bundle):
    metadata = read_metadata(bundle)
    assert metadata["version"] in metadata["changelog"]
    assert all(int(part) < 10 for part in metadata["version"].split("."))


@every_bundle
def test_its_versions_are_those_of_the_lock(bundle):
    metadata = read_metadata(bundle)
    lines = (ROOT / "requirements" / "lock.txt").read_text().splitlines()
    lock = dict(re.findall(r"^([\w.-]+)==([\w.]+)", line)[0] for line in lines if re.match(r"^[\w.-]+==", line))
    pins = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
    }
    pins |= metadata["required_packages_version"]
    assert {name: lock.get(name.lower().replace(".", "-").replace("_", "-")) for name in pins} == pins


@every_bundle
def test_every_network_takes_and_gives_what_its_data_format_says(bundle):
    metadata = read_metadata(bundle)
    config = yaml.safe_load((bundle / "configs" / "inference.yaml").read_text())["network_def"]
    module, _, name = config["_target_"].rpartition(".")
    whole = getattr(__import__(module, fromlist=[name]), name)().eval()
    for key in (key for key in metadata if key.endswith("_data_format")):
        network = whole if key == "network_data_format" else getattr(whole, key.removesuffix("_data_format"))
        image, pred = metadata[key]["inputs"]["image"], metadata[key]["outputs"]["pred"]
        assert len(image["channel_def"]) == image["num_channels"]
        assert len(pred["channel_def"]) == pred["num_channels"]
        with torch.no_grad():
            output = network(torch.rand(1, image["num_channels"], *spatial_shape(image["spatial_shape"])))
        assert tuple(output.shape) == (1, pred["num_channels"], *spatial_shape(pred["spatial_shape"]))
        if pred["value_range"]:
            assert pred["value_range"][0] <= output.min() and output.max() <= pred["value_range"][1]


@every_bundle
def test_one_of_its_networks_gives_the_labels_of_its_schema(bundle):
    metadata = read_metadata(bundle)
    found = [value["outputs"]["pred"]["channel_def"] for key, value in metadata.items() if key.endswith("_data_format")]
    assert read_label_schema(metadata["label_schema"]).channel_def() in found


@every_bundle
def test_its_weights_are_those_of_its_metadata_and_no_others(bundle):
    named = read_metadata(bundle).get("weights_sha256", {})
    kept = [path for path in sorted((bundle / "models").glob("*.pt")) if not path.name.startswith("checkpoint_")]
    large = yaml.safe_load((bundle / "large_files.yml").read_text()) if (bundle / "large_files.yml").is_file() else {}
    downloaded = {row["path"] for row in large.get("large_files", ())}
    found = {f"models/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
    assert {name: sha256 for name, sha256 in found.items() if name not in downloaded} == named
    assert all((bundle / name).stat().st_size < LARGEST_BYTES for name in named)


@every_bundle
def test_its_large_files_are_named_with_their_sums(bundle):
    path = bundle / "large_files.yml"
    for row in yaml.safe_load(path.read_text())["large_files"] if path.is_file() else ():
        assert set(row) == {"path", "url", "hash_val", "hash_type"}
        assert row["url"].endswith(f"{bundle.name}/{row['path']}")
        assert row["hash_type"] == "sha256" and re.fullmatch("[0-9a-f]{64}", row["hash_val"])


@every_bundle
def test_its_cases_are_of_a_kind_that_is_measured(bundle):
    metadata = read_metadata(bundle)
    kind = kind_of(schema_of(metadata))
    assert image_modality(metadata) == kind.modality


@every_bundle
def test_its_configs_have_the_keys_that_tools_look_for(bundle):
    inference = yaml.safe_load((bundle / "configs" / "inference.yaml").read_text())
    keys = (
        "bundle_root device network_def inferer output_dir preprocessing postprocessing displayable_configs inference"
    )
    assert [key for key in keys.split() if key not in inference] == []
    for key in ("output_ext", "output_dtype", "output_postfix", "separate_folder"):
        assert key in inference
    train = yaml.safe_load((bundle / "configs" / "train.yaml").read_text())
    for key in ("bundle_root", "device", "dataset_dir", "network_def", "val_interval", "training"):
        assert key in train
    assert {"trainer", "dataset", "handlers"} <= set(train["train"])
    assert {"evaluator", "dataset", "handlers"} <= set(train["validate"])


@every_yaml
def test_expressions_are_short_and_are_expressions(path):
    for _, value in walk(yaml.safe_load(path.read_text())):
        if isinstance(value, str) and value.startswith("$"):
            assert len(value) <= LONGEST_EXPRESSION, value
            code = value[1:].replace("@", "").replace("::", "_")
            if not code.startswith(("import ", "from ")):
                assert not [
                    node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Lambda | ast.comprehension)
                ]


@every_yaml
def test_targets_come_from_the_allowed_libraries(path):
    for key, value in walk(yaml.safe_load(path.read_text())):
        if key == "_target_" and "." in value:
            allowed = value.startswith(PREFIXES) or value.split(".")[:2] in [["myotome", room] for room in ROOMS]
            assert allowed, value


@every_yaml
def test_nothing_is_disabled_by_a_word(path):
    for key, value in walk(yaml.safe_load(path.read_text())):
        if key == "_disabled_":
            assert isinstance(value, bool) or value.startswith("$")
