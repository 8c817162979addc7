"""Real slices: three drawn by hand, and thirty with another model's masks, of which ten may be trained on.

The other model's muscle mask is muscle without the fat between the muscles, which is in none of its masks; thin streaks
stay inside, so that 4 to 7 % of its pixels are below -29 HU. It is compared with label 1 alone. For trainings, what the
muscles enclose (a closing by 6 mm) and is fat by its HU becomes label 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import binary_closing, distance_transform_edt

from myotome.biomarkers.tally import IMAT_HU
from myotome.errors import InputError
from myotome.geometry import Grid, Volume, reorient
from myotome.inference.slice_batch import SliceSegmenter
from myotome.io import read_volume, write_label_map, write_volume
from myotome.io.atomic import atomic_path
from myotome.io.nifti import read_nifti_labels
from myotome.resources import bundle_root
from myotome.structures import LabelMap, read_label_schema
from myotome.studies.l3_transfer.cases import SCHEMA, L3Slice, cut_slice, make_people
from myotome.studies.l3_transfer.jobs import Train
from myotome.studies.l3_transfer.scoring import score_slice
from myotome.studies.l3_transfer.settings import StudySettings
from myotome.training import BundleTraining, train_bundle

__all__ = ["RealSlices", "fine_tune", "read_real_slices", "score_real_slices", "tabulate_real"]

_CLOSING_MM = 6.0
_MUSCLE, _SUBCUTANEOUS, _VISCERAL, _INTERMUSCULAR = 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class RealSlices:
    """The hand-drawn slices, the crop's slices that may be trained on, and those that are only tested."""

    reference: tuple[L3Slice, ...]
    training: tuple[L3Slice, ...]
    test: tuple[L3Slice, ...]


def read_real_slices(data: Path, real: Mapping[str, Any]) -> RealSlices:
    """Read both sets of slices from a folder of real scans, as the part ``real`` of the configuration places them.

    Raises
    ------
    InputError
        When a file is absent, a mask is not on its image's grid, or a training slice is not in the crop.
    """
    crop = _read_crop(data, real["crop"])
    chosen, gap = set(real["training_slices"]), int(real["gap"])
    strange = sorted(chosen - {item.index for item in crop})
    if strange:
        raise InputError(f"training_slices has slice {strange[0]}, and the crop has slices 0 to {len(crop) - 1}.")
    near = {index + step for index in chosen for step in range(-gap, gap + 1)}
    return RealSlices(
        _read_reference(data, real["reference"]),
        tuple(item for item in crop if item.index in chosen),
        tuple(item for item in crop if item.index not in near),
    )


def _read_reference(data: Path, where: Mapping[str, Any]) -> tuple[L3Slice, ...]:
    volume = read_volume(data / where["image"])
    labels = _read_on_grid(data / where["labels"], volume)
    ignored = labels == where["ignore"]
    numbers = [int(index) for index in json.loads((data / where["slices"]).read_text(encoding="utf-8"))["slices"]]
    drawn = np.where(ignored, 0, labels).astype(np.uint8)
    axis = volume.grid.axis("IS")
    return tuple(
        replace(
            cut_slice(f"reference_{index:02d}", volume, drawn, index),
            ignore=np.take(ignored, index, axis=axis),
        )
        for index in numbers
    )


def _read_crop(data: Path, where: Mapping[str, Any]) -> tuple[L3Slice, ...]:
    volume = read_volume(data / where["image"])
    muscle, below, torso = (
        _read_on_grid(data / where[name], volume) > 0 for name in ("skeletal_muscle", "subcutaneous_fat", "torso_fat")
    )
    axis = volume.grid.axis("IS")
    labels = np.zeros(volume.grid.shape, np.uint8)
    labels[torso], labels[below], labels[muscle] = _VISCERAL, _SUBCUTANEOUS, _MUSCLE
    slices = []
    for index in range(volume.grid.shape[axis]):
        item = cut_slice(f"crop_{index:02d}", volume, labels, index)
        fat = (item.density_hu >= IMAT_HU[0]) & (item.density_hu <= IMAT_HU[1])
        enclosed = _close(item.label == _MUSCLE, item.spacing_mm) & (item.label == 0) & fat
        slices.append(replace(item, label=np.where(enclosed, _INTERMUSCULAR, item.label).astype(np.uint8)))
    return tuple(slices)


def _close(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """A mask closed by a disc of 6 mm."""
    reach = [int(_CLOSING_MM // step) for step in spacing_mm]
    offsets = np.ones([2 * count + 1 for count in reach], bool)
    offsets[tuple(reach)] = False
    disc = distance_transform_edt(offsets, sampling=spacing_mm) <= _CLOSING_MM
    padded = np.pad(mask, [(count, count) for count in reach])
    closed = binary_closing(padded, disc)
    return closed[tuple(slice(count, count + size) for count, size in zip(reach, mask.shape, strict=True))]


def _read_on_grid(path: Path, volume: Volume) -> np.ndarray:
    """Labels of a file in the image's own order of axes.

    Raises
    ------
    InputError
        When they are not on the image's grid.
    """
    array, grid = read_nifti_labels(path)
    turned, affine = reorient(array, np.array(grid.affine), "".join(volume.grid.axis_codes))
    if turned.shape != volume.grid.shape or not np.allclose(affine, volume.grid.affine, atol=0.1):
        raise InputError(f"{path.name} is not on the grid of its image: bring it there first.")
    return turned


def fine_tune(
    start: Path, slices: Sequence[L3Slice], settings: StudySettings, folder: Path, train: Train = train_bundle
) -> Path:
    """Train the muscle stage further on a few real slices; the weights, which are kept.

    Phantoms are trained on beside them, each kind half of the time, so that what the slices do not show is not
    forgotten. The level network is not trained, and is not that of ``start`` in these weights.

    Parameters
    ----------
    start : ``model.pt`` to begin with
    folder : where the slices, as files, and the weights are kept

    Raises
    ------
    BundleError
        When the training fails.
    """
    weights = folder / "model.pt"
    if weights.is_file():
        return weights
    rows = [_write_slice(item, folder / "slices" / item.case) for item in slices]
    rehearsed = replace(settings.phantom_people, count=settings.real["rehearsed_phantoms"])
    phantoms = make_people(rehearsed, folder / "phantoms")[["image", "label", "case"]].to_dict("records")
    rows = rows * max(1, round(len(phantoms) / len(rows))) + phantoms
    with atomic_path(folder / "datalist.json") as temporary:
        temporary.write_text(json.dumps({"training": rows, "validation": rows[:1]}, indent=1), encoding="utf-8")
    work = folder / "training"
    work.mkdir(exist_ok=True)
    overrides = {"source": "phantom", "source_path": start, "seed": settings.seed, **settings.real["training"]}
    training = BundleTraining(
        bundle_root(settings.bundle), folder / "datalist.json", work / "model.pt", work, (), overrides, ("muscle",)
    )
    return train(training).replace(weights)


def _write_slice(item: L3Slice, folder: Path) -> dict[str, str]:
    """A slice as an image of its own, which is what trainings read."""
    axis = item.volume.grid.axis("IS")
    shape = tuple(1 if place == axis else size for place, size in enumerate(item.volume.grid.shape))
    affine = np.array(item.volume.grid.affine)
    affine[:3, 3] += item.index * affine[:3, axis]
    grid = Grid(shape, affine)
    density = np.expand_dims(np.take(item.volume.array, item.index, axis=axis), axis)
    folder.mkdir(parents=True, exist_ok=True)
    write_volume(folder / "image.nii.gz", Volume(density, grid, "CT", item.volume.acquisition))
    labels = LabelMap(np.expand_dims(item.label, axis), grid, read_label_schema(SCHEMA))
    write_label_map(folder / "labels.nii.gz", labels)
    return {"image": str(folder / "image.nii.gz"), "label": str(folder / "labels.nii.gz"), "case": item.case}


def score_real_slices(weights: Mapping[str, Path], real: RealSlices) -> pd.DataFrame:
    """Scores of each weights file on the hand-drawn slices and on the crop's test slices.

    Returns
    -------
    DataFrame : ``weights`` (the key), ``set`` (``reference`` or ``crop``), ``case`` and the columns of `score_slice`.
    """
    rows = []
    for name, path in weights.items():
        segmenter = SliceSegmenter(path)
        for which, slices in (("reference", real.reference), ("crop", real.test)):
            for item, label in zip(slices, segmenter.label(slices), strict=True):
                rows.append({"weights": name, "set": which, "case": item.case, **score_slice(item, label)})
    return pd.DataFrame(rows)


def tabulate_real(scores: pd.DataFrame, bars: Mapping[str, float]) -> str:
    """Mean scores of each weights file and set, as Markdown; the bars are for the hand-drawn slices' muscle.

    Parameters
    ----------
    bars : least DSC of the weights of each name
    """
    lines = [
        "| weights | slices | count | DSC muscle | RMS-DTA muscle, mm | SMA error, % | bar | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, which), part in scores.groupby(["weights", "set"], sort=False):
        dice = float(part["skeletal_muscle_dice"].mean())
        distances = part["skeletal_muscle_rms_dta_mm"].astype(float)
        away = "-" if distances.isna().all() else f"{distances.mean():.2f}"
        area = 100 * (part["sma_cm2"] / part["reference_sma_cm2"] - 1).mean()
        bar = bars.get(name) if which == "reference" else None
        verdict = "" if bar is None else "met" if dice >= bar else "missed"
        cells = [name, which, str(len(part)), f"{dice:.4f}", away, f"{area:+.2f}", "" if bar is None else f">= {bar}"]
        lines.append(f"| {' | '.join([*cells, verdict])} |")
    return "\n".join(lines)
