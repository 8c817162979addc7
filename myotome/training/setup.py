"""What a bundle's run starts from: known keys, the list of cases, and a stage with the weights it builds on."""

from __future__ import annotations

import ast
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from myotome.errors import InputError
from myotome.networks import read_weights
from myotome.training.checkpoint import copy_fitting_weights

__all__ = ["list_images", "read_datalist", "require_known_overrides", "start_stage"]

_LOG = logging.getLogger(__name__)
_RUN_OPTIONS = {
    *("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"),
    "workflow_name",
}


def read_datalist(path: str | Path, key: str, drop_null: bool = False) -> list[dict[str, Any]]:
    """Rows of one list of a ``datalist.json``, their relative paths resolved against its folder.

    What is no text, such as a grade, is no path and stays as it is. With ``drop_null`` what is null is left out, since
    a batch cannot hold it.

    Raises
    ------
    InputError
        When the file is missing or unreadable, or the list is absent or empty.
    """
    path = Path(path)
    try:
        table = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"no readable data list at {path}: make the data first, or set dataset_dir.") from error
    rows = table.get(key) if isinstance(table, dict) else None
    if not rows:
        raise InputError(f"{path} lists no '{key}' cases: make the data again, or set dataset_dir.")
    return [
        {name: _resolve(path.parent, value) for name, value in row.items() if not (drop_null and value is None)}
        for row in rows
    ]


def _resolve(folder: Path, value: Any) -> Any:
    return str(folder / value) if isinstance(value, str) else value


def list_images(folder: str | Path, kind: str = "CT") -> list[dict[str, str]]:
    """One row ``{"image": path}`` for each NIfTI file of a folder, in the order of their names.

    ``kind`` is what the bundle reads, for the sentence that refuses an empty folder.

    Raises
    ------
    InputError
        When there is none.
    """
    files = sorted(path for path in Path(folder).glob("*") if path.name.endswith((".nii", ".nii.gz")))
    if not files:
        raise InputError(f"no .nii or .nii.gz image in {folder}: set dataset_dir to a folder of {kind} images.")
    return [{"image": str(path)} for path in files]


def require_known_overrides(arguments: Sequence[str] | None = None) -> None:
    """Refuse a command-line override of a key that the config files do not have: MONAI would ignore it silently.

    Parameters
    ----------
    arguments : those of ``python -m monai.bundle run``; the process's own by default, and none under other programs.

    Raises
    ------
    InputError
        When a ``--key`` names nothing in the configs.
    """
    if arguments is None:
        arguments = sys.argv[1:] if Path(sys.argv[0]).parent.name == "bundle" else ()
    given = dict(_split_option(arguments, place) for place, word in enumerate(arguments) if word.startswith("--"))
    files = given.get("config_file")
    if not files:
        return
    config = ConfigParser.load_config_files(ast.literal_eval(files) if files.startswith("[") else files)
    for key in given.keys() - _RUN_OPTIONS:
        if not _has_key(config, key):
            raise InputError(f"the configuration has no key '{key}': it has {', '.join(sorted(config))}.")


def _split_option(arguments: Sequence[str], place: int) -> tuple[str, str]:
    name, equals, value = arguments[place][2:].partition("=")
    following = arguments[place + 1] if place + 1 < len(arguments) else ""
    return name, value if equals else following


def _has_key(config: Any, key: str) -> bool:
    for part in key.lstrip("+").replace("#", "::").split("::"):
        if isinstance(config, dict) and part not in config:
            return "_target_" in config  # an argument that the config leaves at its default
        config = config[int(part)] if isinstance(config, list) and part.isdigit() else config
        config = config[part] if isinstance(config, dict) else config
    return True


def start_stage(
    cascade: nn.Module, stage: str, device: torch.device, weights: str | Path, warm_start: str | None = None
) -> nn.Module:
    """One stage of a cascade, ready to train on a device.

    The cascade's weights are loaded when the file exists, so earlier stages are there to build on. A stage with
    ``warm_start`` begins from the weights of that other stage wherever they fit. The later stages train on samples
    at the half resolution they work at.
    """
    if Path(weights).is_file():
        read_weights(cascade, weights)
    elif warm_start:
        _LOG.warning("no weights at %s: %s starts from random weights", weights, stage)
    if warm_start:
        count = copy_fitting_weights(getattr(cascade, stage), getattr(cascade, warm_start))
        _LOG.info("%s starts from %d tensors of %s", stage, count, warm_start)
    cascade.to(device=device, memory_format=torch.channels_last)
    return cascade.training_stage(stage)
