"""The study's shoulders: phantoms of a given number of each grade, and their table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from myotome.inference.grading_batch import YView, take_y_view
from myotome.io import read_label_map, read_volume
from myotome.phantom_dataset import PhantomRequest, write_phantoms
from myotome.structures import read_label_schema
from myotome.studies.goutallier.settings import Shoulders

__all__ = ["list_grades", "make_shoulders", "read_views"]

Progress = Callable[[int, int, str], None]

_SCHEMA = "supraspinatus_mri"
_COLUMNS = ("case", "grade", "rated_grade", "fat_percent")


def list_grades(shoulders: Shoulders) -> tuple[int, ...]:
    """Grade of each phantom, in the order of the seeds: as many as asked for, shuffled by the first seed."""
    grades = np.repeat(np.arange(5), shoulders.grades)
    return tuple(int(grade) for grade in np.random.default_rng(shoulders.seed).permutation(grades))


def make_shoulders(shoulders: Shoulders, folder: Path, jobs: int = 1, progress: Progress | None = None) -> pd.DataFrame:
    """Make the phantoms that are missing.

    Returns
    -------
    DataFrame : one row per shoulder: ``case``, ``grade``, ``rated_grade``, ``fat_percent``, ``image`` and ``label``
        (paths).

    Raises
    ------
    OutputError
        When the folder holds something else.
    """
    grades = list_grades(shoulders)
    request = PhantomRequest(folder, len(grades), shoulders.seed, anatomy="shoulder", grades=grades, jobs=jobs)
    rows = []
    for case in write_phantoms(request, progress):
        truth = {"case": case.name, **json.loads((case / "truth.json").read_text())}
        paths = {"image": str(case / "image.nii.gz"), "label": str(case / "labels.nii.gz")}
        rows.append({**{name: truth[name] for name in _COLUMNS}, **paths})
    return pd.DataFrame(rows)


def read_views(shoulders: pd.DataFrame, progress: Progress | None = None) -> list[YView]:
    """The Y-view of each row, on the network's grid."""
    schema, views = read_label_schema(_SCHEMA), []
    for image, label in zip(shoulders["image"], shoulders["label"], strict=True):
        views.append(take_y_view(read_volume(image, modality="MR"), read_label_map(label, schema)))
        if progress:
            progress(len(views), len(shoulders), "reading")
    return views
