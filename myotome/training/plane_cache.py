"""What was read or computed from many files, kept on disk, so that the next run of the same need not do it again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from myotome.networks import write_weights

__all__ = ["describe_files", "describe_network", "keep"]


def keep(folder: str | Path | None, parts: Sequence[Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by name, made now or taken from ``folder``, where they stand under a name that follows from ``parts``.

    Without a folder they are made every time.
    """
    if folder is None:
        return make()
    name = hashlib.sha256(json.dumps(list(parts), sort_keys=True, default=str).encode()).hexdigest()[:20]
    path = Path(folder) / f"{name}.pt"
    if path.is_file():
        return torch.load(path, weights_only=True)
    made = make()
    write_weights(made, path)
    return made


def describe_files(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Rows of a data list with size and time of each file that they name: other files give another description."""
    described = []
    for row in rows:
        for key, value in sorted(row.items()):
            described.append((key, value))
            if isinstance(value, str) and os.path.isfile(value):
                status = os.stat(value)
                described.append((status.st_size, status.st_mtime_ns))
    return described


def describe_network(network: nn.Module) -> str:
    """Digest of a network's weights."""
    digest = hashlib.sha256()
    for key, value in network.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
