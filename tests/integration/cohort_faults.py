"""Small cases and a light segmenter that does, for chosen cases, the worst that a case can do to its worker."""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from myotome.cohort.analysis import Fingerprint
from myotome.geometry import Grid, Volume
from myotome.structures import LabelMap, read_label_schema

FINGERPRINT = Fingerprint("light", "1", "0" * 64)
# What the voxel at the corner says is to happen to the case, in HU.
SEGFAULT, HOG, SLEEP, RAISE = -901, -902, -903, -904


def write_small_case(path: Path, seed: int, fault: int = -1000) -> None:
    """A NIfTI of 24 x 20 x 12 voxels: an ellipse of soft tissue in air, whose size is drawn from the seed."""
    from myotome.io import write_volume

    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(np.arange(24), np.arange(20), np.arange(12), indexing="ij")
    radii = rng.uniform(6, 10), rng.uniform(5, 8)
    body = ((x - 11.5) / radii[0]) ** 2 + ((y - 9.5) / radii[1]) ** 2 < 1
    array = np.where(body, 40 + rng.normal(0, 10, x.shape), -1000).astype(np.int16)
    array[0, 0, 0] = fault
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, Volume(array, Grid(array.shape, affine)))


def truncate(path: Path) -> None:
    """Cut a file in half, as a broken copy does."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@dataclass(frozen=True)
class LightOpener:
    """Opens a `LightSegmenter`; a fault happens on every attempt."""

    seconds: float = 0.0

    def __call__(self) -> LightSegmenter:
        return LightSegmenter(self.seconds)


class LightSegmenter:
    """Labels soft tissue by its HU, in quarters; obeys the corner voxel."""

    bundle, bundle_version, weights_sha256 = FINGERPRINT.bundle, FINGERPRINT.bundle_version, FINGERPRINT.weights_sha256
    device, engine, precision, notes = "cpu", "light", "float32", ()

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.schema = seconds, read_label_schema()

    def segment(self, volume: Volume) -> LabelMap:
        fault = int(volume.array[0, 0, 0])
        if fault == SEGFAULT:
            ctypes.string_at(0)
        if fault == HOG:
            self.hoard = []
            while True:
                self.hoard.append(np.ones(4_000_000))
                time.sleep(0.01)
        if fault == SLEEP:
            time.sleep(3600)
        if fault == RAISE:
            raise RuntimeError(f"a fault in {volume.acquisition.subject_id}")
        time.sleep(self.seconds)
        array = np.zeros(volume.array.shape, np.uint8)
        tissue = volume.array > -150
        half = array.shape[1] // 2
        array[:, :half][tissue[:, :half]] = 2
        array[:, half:][tissue[:, half:]] = 1
        return LabelMap(array, volume.grid, read_label_schema())


def fill_disk(folder: Path) -> Path:
    """Leave nothing free on a small file system; remove the file to free it again."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 65536):
            pass
    return path


def is_whole(path: Path) -> bool:
    """True when a gzip file can be read to its end."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
        return True
    except (OSError, EOFError):
        return False


def run_light(sources: Path, output: Path, jobs: int = 2, seconds: float = 0.05, shard: str = "1/1") -> None:
    """Run a cohort with the light segmenter, as `myotome cohort run` does with a bundle."""
    from myotome.cohort.analysis import AnalysisOptions
    from myotome.cohort.clusters import ClusterOptions
    from myotome.cohort.run import RunRequest, Shard, run_cohort

    request = RunRequest(
        (str(sources),),
        output,
        FINGERPRINT,
        LightOpener(seconds),
        analysis=AnalysisOptions(outputs=("labels", "thumbnail")),
        cluster=ClusterOptions(jobs=jobs, threads=1, memory_mb=700),
        shard=Shard.parse(shard),
    )
    summary = run_cohort(request)
    print(summary.counts)


if __name__ == "__main__":
    from myotome.errors import MyotomeError

    try:
        run_light(Path(sys.argv[1]), Path(sys.argv[2]), shard="".join(sys.argv[3:]) or "1/1")
    except MyotomeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped")
