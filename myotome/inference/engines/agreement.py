"""How well an engine's label map agrees with that of PyTorch eager, and whether that is enough."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from myotome.phantoms.thorax import Scan, make_thorax

__all__ = [
    "Agreement",
    "compare_label_maps",
    "make_check_image",
    "name_hardware",
    "read_agreement",
    "write_agreement",
]

_LEAST_EQUAL = 0.9999
_LEAST_DICE = 0.999
_CHECK_SEED = 7


@dataclass(frozen=True)
class Agreement:
    """Agreement with the reference's label map on the check image.

    Parameters
    ----------
    equal : share of all voxels with the same label
    dice : Dice of the labelled structures, pooled: 2 x voxels with the same label above 0 / voxels above 0 in both
    seconds_per_slice : an engine's time for the check image, once compiled
    """

    equal: float
    dice: float
    seconds_per_slice: float = 0.0

    def enough_for(self, precision: str) -> bool:
        """In float32 at least 0.9999 of the labels are equal; in a reduced precision Dice is at least 0.999."""
        return self.equal >= _LEAST_EQUAL if precision == "float32" else self.dice >= _LEAST_DICE

    def __str__(self) -> str:
        return f"{self.equal:.6f} of the labels equal, Dice {self.dice:.5f}"


def compare_label_maps(reference: np.ndarray, labels: np.ndarray, seconds_per_slice: float = 0.0) -> Agreement:
    """Agreement of two label maps of one shape; two empty ones have a Dice of 1."""
    same = reference == labels
    labelled = np.count_nonzero(reference) + np.count_nonzero(labels)
    both = np.count_nonzero(same & (reference > 0))
    return Agreement(float(same.mean()), 2 * both / labelled if labelled else 1.0, seconds_per_slice)


def make_check_image() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A phantom of seven 5 mm slices at mid chest: (X, Y, Z) int16 image in HU, its affine, its true labels."""
    scan = Scan(matrix=256, in_plane_mm=1.5, slice_thickness_mm=5.0, bottom=0.5, top=0.63)
    case = make_thorax(_CHECK_SEED, scan)
    return case.volume.array, case.volume.grid.affine, case.label_map.array


def name_hardware(device: str) -> str:
    """What the agreement of an engine may depend on besides software: the name of the GPU, or of the processor."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def read_agreement(path: Path, key: str) -> Agreement | None:
    """What an earlier check under this key found, if there was one."""
    try:
        return Agreement(**json.loads(path.read_text())[key])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_agreement(path: Path, key: str, found: Agreement) -> None:
    """Add a check's outcome to the file, atomically."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    unfinished = path.with_name(f".{path.name}.{np.random.default_rng().integers(2**32):08x}")
    unfinished.write_text(json.dumps(known | {key: asdict(found)}, indent=2))
    unfinished.replace(path)
