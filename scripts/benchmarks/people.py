"""The people of the training comparison: thorax phantoms in a folder, made once, several at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

__all__ = ["People", "make_people"]

_SEED = 500000
_NOISE_HU = (6.0, 22.0)


@dataclass(frozen=True)
class People:
    """How many, and how they are scanned: the whole chest, each with a kernel, dose, contrast and position of its own.

    The field is about that of a clinical chest CT, and the voxels are as coarse as makes a person in a few seconds.
    """

    training: int = 32
    held_out: int = 6
    in_plane_mm: float = 1.75
    thickness_mm: float = 3.0
    matrix: int = 240

    @classmethod
    def few(cls) -> People:
        """Enough to see that everything works."""
        return cls(2, 1, 4.0, 8.0, 96)


def make_people(folder: Path, people: People, jobs: int = 1) -> dict[str, list[dict[str, str]]]:
    """Make those that are missing; rows of ``image`` and ``label`` (uncompressed NIfTI), ``training`` and ``held_out``.

    A folder of other people is left alone and refused. They are made in a process of their own, whose forks are of
    nothing that runs threads.
    """
    told, identity = folder / "people.json", json.dumps({**asdict(people), "seed": _SEED})
    if told.is_file() and told.read_text() != identity:
        raise SystemExit(f"{folder} holds other people: give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    told.write_text(identity)
    seeds = range(_SEED, _SEED + people.training + people.held_out)
    rows = [{kind: str(folder / f"{seed}_{kind}.nii") for kind in ("image", "label")} for seed in seeds]
    missing = [str(seed) for seed, row in zip(seeds, rows, strict=True) if not Path(row["label"]).is_file()]
    if missing:
        words = [sys.executable, "-m", "benchmarks.people", str(folder), str(jobs), *missing]
        subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    return {"training": rows[: people.training], "held_out": rows[people.training :]}


def _make_person(people: People, folder: Path, seed: int) -> None:
    import numpy as np

    from myotome.io import write_label_map, write_volume
    from myotome.phantoms.thorax import Scan, make_scan, make_thorax

    drawn, whole = make_scan(seed), Scan()
    scan = replace(
        drawn,
        slice_thickness_mm=people.thickness_mm,
        in_plane_mm=people.in_plane_mm,
        matrix=people.matrix,
        noise_hu=float(np.random.default_rng((seed, 5)).uniform(*_NOISE_HU)),
        field_mm=None,
        bottom=whole.bottom,
        top=whole.top,
        sub_slice_mm=people.thickness_mm,
    )
    case = make_thorax(seed, scan)
    write_volume(folder / f"{seed}_image.nii", case.volume)
    write_label_map(folder / f"{seed}_label.nii", case.label_map)  # the last: it marks the person complete


if __name__ == "__main__":
    folder, jobs, *seeds = sys.argv[1:]
    told = json.loads((Path(folder) / "people.json").read_text())
    people = People(**{name: value for name, value in told.items() if name != "seed"})
    with ProcessPoolExecutor(int(jobs)) as pool:
        list(pool.map(partial(_make_person, people, Path(folder)), map(int, seeds)))
