"""The images of the study: phantoms, or the rows of a data list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from myotome.errors import InputError
from myotome.io import read_label_map, read_volume
from myotome.metrics import ObjectSet
from myotome.phantom_dataset import PhantomRequest, write_phantoms
from myotome.structures import read_label_schema
from myotome.studies.lumbar_disc.scoring import Finder, score_case, score_levels
from myotome.studies.lumbar_disc.settings import People, StudySettings

__all__ = ["COLUMNS", "list_images", "make_people", "read_datalist", "score_images"]

Progress = Callable[[int, int, str], None]

COLUMNS = ("case", "patient", "image", "label")
_SCHEMA = "lumbar_disc_mr"


def list_images(settings: StudySettings, folder: Path, jobs: int = 1, progress: Progress | None = None) -> pd.DataFrame:
    """One row per image: ``case``, ``patient``, ``image`` and ``label`` (paths).

    Parameters
    ----------
    folder : where phantoms are kept, when the settings name no data list

    Raises
    ------
    InputError
        When the data list cannot be read or a row lacks something.
    """
    if settings.datalist is not None:
        return read_datalist(Path(settings.datalist))
    return make_people(settings.phantoms, folder, "axial", jobs, progress)


def make_people(
    people: People, folder: Path, plane: str, jobs: int = 1, progress: Progress | None = None
) -> pd.DataFrame:
    """Make the phantoms that are missing; rows as `list_images` gives them.

    Parameters
    ----------
    plane : ``"axial"``, an image for each of the three lowest discs, or ``"sagittal"``, a volume a person
    """
    request = PhantomRequest(
        folder, people.count, people.seed, jobs=jobs, anatomy="lumbar", slices=people.slices, plane=plane
    )
    rows = []
    for case in write_phantoms(request, progress):
        truth = json.loads((case / "truth.json").read_text(encoding="utf-8"))
        rows.append((case.name, truth["patient"], str(case / "image.nii.gz"), str(case / "labels.nii.gz")))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_datalist(path: Path) -> pd.DataFrame:
    """Rows of a data list's every part; its paths may be relative to its folder.

    Raises
    ------
    InputError
        When it is not such a file, a row lacks ``image``, ``label`` or ``patient``, or two rows are of one image.
    """
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        entries = [row for part in parts.values() for row in part]
        rows = [_make_row(path.parent, row) for row in entries]
    except KeyError as error:
        raise InputError(f"a row of {path} has no {error}: each needs image, label and patient.") from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is not a data list ({error}): give a JSON file with lists of rows.") from error
    images = pd.DataFrame(rows, columns=list(COLUMNS))
    if images.empty or images["image"].duplicated().any():
        raise InputError(f"{path} has no rows, or two of one image: list each image once.")
    return images


def _make_row(folder: Path, row: dict[str, Any]) -> tuple[str, str, str, str]:
    image, label = (str(folder / str(row[name])) for name in ("image", "label"))
    return str(row.get("case") or Path(image).parent.name), str(row["patient"]), image, label


def score_images(
    images: pd.DataFrame, finder: Finder, settings: StudySettings, progress: Progress | None = None
) -> tuple[pd.DataFrame, list[tuple[ObjectSet, ObjectSet]], pd.DataFrame]:
    """Segment and score images.

    Returns
    -------
    rows : a row per slice (see `score_case`), with ``case`` and ``patient``
    pairs : objects of each row
    levels : a row per image: ``case``, ``patient`` and the columns of `score_levels`
    """
    schema, rows, pairs, levels = read_label_schema(_SCHEMA), [], [], []
    for place, item in enumerate(images.to_dict("records"), start=1):
        volume = read_volume(item["image"], modality="MR")
        reference = read_label_map(item["label"], schema)
        prediction = finder.segment(volume)
        scores = score_case(
            reference,
            prediction,
            finder.detect_slices(volume),
            least_score=settings.least_score,
            tolerance_mm=settings.nsd_tolerance_mm,
        )
        whose = {"case": item["case"], "patient": item["patient"]}
        rows += [{**whose, **row} for row in scores.rows]
        pairs += scores.pairs
        levels.append({**whose, **score_levels(reference, prediction)})
        if progress:
            progress(place, len(images), "scoring")
    return pd.DataFrame(rows), pairs, pd.DataFrame(levels)
