"""What every engine is: a network made ready to run in one way, in one decided precision, on one device."""

from __future__ import annotations

import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from myotome.errors import BundleError

__all__ = ["PRECISIONS", "Engine", "EngineError", "artefact_folder", "fingerprint"]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class EngineError(BundleError):
    """An engine cannot be used here: not installed, no such precision on this processor, or its labels differ."""


class Engine(ABC):
    """Runs one network.

    Inputs and outputs are what the network's ``forward`` takes and gives, as float32 tensors on the CPU (integers are
    taken as float32); only the arithmetic in between is in ``precision``. An engine that is `resident` also takes
    inputs on its device, and `compute` leaves the output there.

    Parameters
    ----------
    network : in evaluation mode, its parameters in float32.
    precision : ``"float32"``, or a reduced one that the engine names in ``precisions``.
    device : ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...

    Raises
    ------
    EngineError
        When the engine, the precision or the device is not there.
    """

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    has_own_threads: ClassVar[bool] = False  # beside PyTorch's

    def __init__(self, network: nn.Module, precision: str = "float32", device: str = "cpu") -> None:
        missing = self.missing(torch.device(device).type)
        if missing:
            raise EngineError(f"the engine '{self.name}' cannot run on {device}: {missing}.")
        if precision not in self.precisions:
            raise EngineError(
                f"the engine '{self.name}' does not compute in {precision}: it knows {', '.join(self.precisions)}."
            )
        self.network, self.precision, self.device = network.eval(), precision, device
        self.threads = torch.get_num_threads()

    @classmethod
    def missing(cls, device: str) -> str | None:
        """Why the engine cannot run on a kind of device here, or ``None`` when it can."""
        if device not in cls.devices:
            return f"it runs on {' and '.join(cls.devices)}"
        return "there is no CUDA device" if device == "cuda" and not torch.cuda.is_available() else None

    @classmethod
    def version(cls) -> str:
        """Version of the library that computes."""
        return torch.__version__

    @property
    def resident(self) -> bool:
        """Whether `compute` takes inputs that are on the device, and the device is another than the CPU."""
        return False

    @abstractmethod
    def __call__(self, *inputs: Tensor) -> Tensor:
        """Output of the network for one batch."""

    def compute(self, *inputs: Tensor) -> Tensor:
        """Output of the network for one batch, as float32 on the engine's device; valid until the next call."""
        return self(*inputs)

    def map(self, batches: Iterable[tuple[Tensor, ...]]) -> Iterator[Tensor]:
        """Outputs in the order of the batches; engines that can keep several under way at once."""
        for batch in batches:
            yield self(*batch)


def fingerprint(network: nn.Module) -> str:
    """SHA-256 of a network's architecture and weights: what its compiled artefacts are stored under."""
    digest = hashlib.sha256(repr(network).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def artefact_folder(network_sha256: str) -> Path:
    """Folder for what engines make of a network: in ``$MYOTOME_CACHE`` or ``~/.cache/myotome``, by fingerprint.

    Where that cannot be written, it is a temporary folder of this process.
    """
    root = os.environ.get("MYOTOME_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "myotome")
    folder = Path(root).expanduser() / "engines" / network_sha256[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):
        folder = Path(_scratch().name, network_sha256[:16])
        folder.mkdir(exist_ok=True)
    return folder


@cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="myotome-")
