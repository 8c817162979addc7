"""The study's cases: phantoms, or somebody's own slices, and what is measured in each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myotome.biomarkers.height import require_height_m
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.io import read_label_map, read_volume
from myotome.phantom_dataset import PhantomRequest, write_phantoms
from myotome.structures import LabelMap, read_label_schema
from myotome.studies.case_lists import read_case_rows
from myotome.studies.protocol import People

__all__ = ["SCHEMA", "L3Slice", "cut_slice", "make_people", "read_case_list", "read_slices", "take_slice"]

Progress = Callable[[int, int, str], None]

SCHEMA = "l3_muscle_ct"
_COLUMNS = ["case", "patient", "image", "label", "height_m"]


@dataclass(frozen=True, eq=False)
class L3Slice:
    """One annotated slice: ``density_hu`` and ``label`` (rows, columns) on the image's own pixels.

    ``volume`` and ``index`` are the image it was cut from and its place in it; ``ignore`` (rows, columns) is true where
    nobody has annotated, or ``None``.
    """

    case: str
    density_hu: np.ndarray
    label: np.ndarray
    spacing_mm: tuple[float, float]
    volume: Volume
    index: int
    height_m: float | None = None
    ignore: np.ndarray | None = None

    @property
    def pixel_cm2(self) -> float:
        """Area of a pixel."""
        return self.spacing_mm[0] * self.spacing_mm[1] / 100


def make_people(people: People, folder: Path, jobs: int = 1, progress: Progress | None = None) -> pd.DataFrame:
    """Make the phantoms that are missing, one axial slice at L3 each.

    Returns
    -------
    DataFrame : one row per phantom: ``case``, ``patient``, ``image`` and ``label`` (paths), ``height_m``.

    Raises
    ------
    OutputError
        When the folder holds something else.
    """
    request = PhantomRequest(folder, people.count, people.seed, anatomy="abdomen", slices=1, jobs=jobs)
    rows = []
    for case in write_phantoms(request, progress):
        truth = json.loads((case / "truth.json").read_text(encoding="utf-8"))
        paths = {"image": str(case / "image.nii.gz"), "label": str(case / "labels.nii.gz")}
        rows.append({"case": case.name, "patient": case.name, **paths, "height_m": truth.get("height_m")})
    return pd.DataFrame(rows, columns=_COLUMNS)


def read_case_list(path: Path) -> pd.DataFrame:
    """Somebody's own slices: a JSON list, or a data list with ``training`` and ``validation``, of rows.

    A row has ``image`` and ``label`` (paths, relative to the list), and may have ``case``, ``patient`` (the case is a
    patient of its own without it) and ``height_m``.

    Raises
    ------
    InputError
        When it is not such a list, a file is absent, a case stands twice, or a height is not in metres.
    """
    try:
        rows = [{**row, "height_m": _number(row.get("height_m"))} for row in read_case_rows(path, "slices")]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"'{path}' is not a list of slices with heights ({error}): give height_m in metres."
        ) from error
    table = pd.DataFrame(rows, columns=_COLUMNS)
    for row in table.to_dict("records"):
        try:
            require_height_m(None if pd.isna(row["height_m"]) else row["height_m"])
        except InputError as error:
            raise InputError(f"case '{row['case']}': {error}") from error
    return table


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def read_slices(cases: pd.DataFrame, progress: Progress | None = None) -> list[L3Slice]:
    """The annotated slice of each row.

    Raises
    ------
    InputError
        When a file cannot be read, or a case has no annotated slice, or more than one.
    """
    schema, slices = read_label_schema(SCHEMA), []
    for row in cases.to_dict("records"):
        volume, label_map = read_volume(row["image"]), read_label_map(row["label"], schema)
        height = None if pd.isna(row["height_m"]) else float(row["height_m"])
        slices.append(take_slice(row["case"], volume, label_map, height))
        if progress:
            progress(len(slices), len(cases), "reading")
    return slices


def take_slice(case: str, volume: Volume, label_map: LabelMap, height_m: float | None = None) -> L3Slice:
    """The one slice in which a label map is drawn.

    Raises
    ------
    InputError
        When none or several are, or the label map is not on the image's grid.
    """
    if not volume.grid.same_as(label_map.grid):
        raise InputError(
            f"case '{case}': the label map is not on the image's grid: bring it there by nearest neighbour."
        )
    axis = volume.grid.axis("IS")
    others = tuple(other for other in range(3) if other != axis)
    drawn = np.flatnonzero(label_map.array.any(axis=others))
    if len(drawn) != 1:
        raise InputError(f"case '{case}' has {len(drawn)} annotated slices: annotate one, at L3.")
    return cut_slice(case, volume, label_map.array, int(drawn[0]), height_m)


def cut_slice(case: str, volume: Volume, labels: np.ndarray, index: int, height_m: float | None = None) -> L3Slice:
    """One slice of an image and of labels on its grid."""
    axis = volume.grid.axis("IS")
    spacing: Sequence[float] = [step for place, step in enumerate(volume.grid.spacing_mm) if place != axis]
    density = np.take(volume.array, index, axis=axis)
    label = np.ascontiguousarray(np.take(labels, index, axis=axis)).astype(np.uint8)
    return L3Slice(case, density, label, (float(spacing[0]), float(spacing[1])), volume, index, height_m)
