"""The study's run: images, splits, a training of each, and what it says of its test part.

Everything that is finished is kept in the output folder, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from myotome.inference import DiscFinder
from myotome.io.atomic import atomic_path
from myotome.metrics import DetectionTable
from myotome.resources import bundle_root
from myotome.studies.lumbar_disc.analysis import tabulate_objects
from myotome.studies.lumbar_disc.images import list_images, score_images
from myotome.studies.lumbar_disc.scoring import Finder
from myotome.studies.lumbar_disc.settings import StudySettings
from myotome.studies.lumbar_disc.splits import Split, make_split, split_by_patient
from myotome.studies.protocol import claim_folder
from myotome.training import BundleTraining, train_bundle

__all__ = ["SplitResult", "run_splits"]

Progress = Callable[[int, int, str], None]
Train = Callable[..., Path]
OpenFinder = Callable[[Path, str], Finder]

_STUDY = "lumbar_disc"
_PERCENT = 100


@dataclass(frozen=True, eq=False)
class SplitResult:
    """One split's test part: a row per slice, its objects by falling score, and how it was divided."""

    name: str
    rows: pd.DataFrame
    table: DetectionTable
    training_images: int
    test_images: int
    shared: int


def run_splits(
    settings: StudySettings,
    output: Path,
    progress: Progress | None = None,
    train: Train = train_bundle,
    open_finder: OpenFinder = DiscFinder,
) -> list[SplitResult]:
    """Train and score each split, as far as that is not done yet.

    Parameters
    ----------
    progress : called with what is done, out of how much, and its name
    train : `myotome.training.train_bundle`, or what stands for it in a test
    open_finder : takes weights and the name of a backbone; `myotome.inference.DiscFinder`

    Raises
    ------
    InputError
        When there are fewer patients than the test part wants, or the data list cannot be read.
    BundleError
        When a training fails.
    OutputError
        When the folder cannot be claimed or written.
    """
    claim_folder(output, _STUDY, settings.fingerprint)
    images = list_images(settings, output / "phantoms", os.cpu_count() or 1, progress)
    patients = images["patient"].tolist()
    results = []
    for name in settings.splits:
        split = make_split(name, patients, settings.test_patients, settings.seed)
        folder = output / name
        folder.mkdir(exist_ok=True)
        if not (folder / "objects.npz").is_file():
            weights = _train_split(settings, images, split, folder, train, _report(progress, name))
            rows, pairs, _ = score_images(
                images.iloc[split.test], open_finder(weights, settings.backbone), settings, progress
            )
            _keep(folder, rows, tabulate_objects(rows, pairs))
            if not settings.keep_weights:
                weights.unlink()
        rows, table = _read(folder)
        counts = len(split.training), len(split.test), split.count_shared(patients)
        results.append(SplitResult(name, rows, table, *counts))
    return results


def _train_split(
    settings: StudySettings,
    images: pd.DataFrame,
    split: Split,
    folder: Path,
    train: Train,
    report: Callable[[str, float], None],
) -> Path:
    """Train beside the place of the weights, so that a file in that place is a finished one."""
    weights = folder / "model.pt"
    if weights.is_file():
        return weights
    work = folder / "training"
    work.mkdir(exist_ok=True)
    training = BundleTraining(
        bundle=bundle_root(settings.bundle),
        datalist=_write_datalist(settings, images.iloc[split.training], folder),
        weights=work / "model.pt",
        checkpoints=work,
        overlays=settings.overlays,
        overrides={"seed": settings.seed, "backbone": settings.backbone, **settings.training},
    )
    os.replace(train(training, report), weights)
    shutil.rmtree(work)
    return weights


def _write_datalist(settings: StudySettings, images: pd.DataFrame, folder: Path) -> Path:
    """The training part, some of its patients set aside for validation: in both splits by patient."""
    patients = images["patient"].tolist()
    inner = split_by_patient(patients, settings.validation_patients, settings.seed + 1)
    lists = {
        name: images.iloc[rows][["image", "label", "case", "patient"]].to_dict("records")
        for name, rows in (("training", inner.training), ("validation", inner.test))
    }
    path = folder / "datalist.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(lists, indent=1), encoding="utf-8")
    return path


def _keep(folder: Path, rows: pd.DataFrame, table: DetectionTable) -> None:
    """The objects come last and mark the split as scored."""
    with atomic_path(folder / "slices.csv") as temporary:
        rows.to_csv(temporary, index=False, lineterminator="\n")
    with atomic_path(folder / "objects.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{field.name: getattr(table, field.name) for field in fields(DetectionTable)})


def _read(folder: Path) -> tuple[pd.DataFrame, DetectionTable]:
    with np.load(folder / "objects.npz") as kept:
        arrays = {field.name: kept[field.name] for field in fields(DetectionTable)}
    arrays |= {name: tuple(arrays[name].tolist()) for name in ("thresholds", "classes")}
    return pd.read_csv(folder / "slices.csv", dtype={"case": str, "patient": str}), DetectionTable(**arrays)


def _report(progress: Progress | None, name: str) -> Callable[[str, float], None]:
    def report(words: str, share: float) -> None:
        if progress:
            progress(round(share * _PERCENT), _PERCENT, f"split by {name}: training")

    return report
