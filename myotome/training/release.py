"""Trained weights put into their bundle, and their sums written down where users compare them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from myotome.errors import BundleError
from myotome.networks import replace_file

__all__ = ["WEIGHTS", "copy_weights", "join_stages", "record_large_file", "record_weights"]

WEIGHTS = "models/model.pt"
_LARGE_FILES = """# What is too large for the repository (the model zoo's form), fetched from the bundle's folder by
#   python -m monai.bundle download_large_files --bundle_path .
# The address is that of a mirror on this machine: scripts/mirror_large_files FOLDER serves it.
large_files:
  - path: {path}
    url: http://127.0.0.1:8765/{bundle}/{path}
    hash_val: {sha256}
    hash_type: sha256
"""


def join_stages(stages: Mapping[str, Path]) -> dict[str, Tensor]:
    """One state dict of weights that were trained apart.

    Parameters
    ----------
    stages : for each part of the network, by its name, the ``model.pt`` from which the part is taken

    Raises
    ------
    BundleError
        When two files name the network's tensors differently, or a part is in none of them.
    """
    given = {stage: torch.load(path, map_location="cpu", weights_only=True) for stage, path in stages.items()}
    first = next(iter(given.values()))
    if any(state.keys() != first.keys() for state in given.values()):
        raise BundleError(f"the weights of {', '.join(stages)} are of different networks: train them by one bundle.")
    strange = sorted({key.partition(".")[0] for key in first} - set(stages))
    if strange:
        raise BundleError(f"nothing was trained for the network's part '{strange[0]}': train it, too.")
    return {key: given[key.partition(".")[0]][key] for key in first}


def copy_weights(weights: Path, bundle: Path, name: str = WEIGHTS) -> str:
    """Put a weights file into a bundle and `record_weights`; its sha256."""
    with replace_file(bundle / name) as unfinished:
        shutil.copyfile(weights, unfinished)
    return record_weights(bundle, name)


def record_weights(bundle: Path, name: str = WEIGHTS) -> str:
    """Write the sha256 of one of a bundle's weights files into its metadata, beside those of others; the sha256."""
    metadata = bundle / "configs" / "metadata.json"
    table = json.loads(metadata.read_text(encoding="utf-8"))
    sha256 = _hash(bundle / name)
    table["weights_sha256"] = {**table.get("weights_sha256", {}), name: sha256}
    with replace_file(metadata) as unfinished:
        unfinished.write_text(json.dumps(table, indent=4) + "\n", encoding="utf-8")
    return sha256


def record_large_file(bundle: Path, weights: Path, name: str) -> str:
    """Write ``large_files.yml`` of a bundle for one file that is too large to be in it; the file's sha256."""
    sha256 = _hash(weights)
    with replace_file(bundle / "large_files.yml") as unfinished:
        text = _LARGE_FILES.format(bundle=bundle.name, path=name, sha256=sha256)
        unfinished.write_text(text, encoding="utf-8")
    return sha256


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
