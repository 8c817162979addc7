"""The bundle that a cohort is measured by, opened once per worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import get_worker

from myotome.cohort.analysis import Fingerprint
from myotome.resources import read_metadata, require_matching_weights

if TYPE_CHECKING:
    from myotome.inference import BundleSegmenter

__all__ = ["BundleOpener"]


@dataclass(frozen=True)
class BundleOpener:
    """Opens a bundle in the process that calls it; workers of one machine share its GPUs out among themselves.

    Parameters
    ----------
    root : folder of the bundle
    device, engine, precision : as :class:`myotome.inference.BundleSegmenter` takes them
    """

    root: Path
    device: str = "auto"
    engine: str | None = None
    precision: str | None = None

    def fingerprint(self) -> Fingerprint:
        """What the bundle's results are marked with.

        Raises
        ------
        BundleError
            When the bundle or its weights are missing or do not belong together.
        """
        metadata = read_metadata(self.root)
        weights_sha256 = require_matching_weights(self.root, metadata)
        return Fingerprint(self.root.name, str(metadata["version"]), weights_sha256)

    def __call__(self) -> BundleSegmenter:
        from myotome.inference import BundleSegmenter, spread_device

        device = spread_device(self.device, _worker_number())
        return BundleSegmenter(self.root, device, engine=self.engine, precision=self.precision)


def _worker_number() -> int:
    """Number of the worker that asks, from 0; 0 where workers have no numbers."""
    try:
        name = str(get_worker().name)
    except ValueError:
        return 0
    return int(name) if name.isdigit() else 0
