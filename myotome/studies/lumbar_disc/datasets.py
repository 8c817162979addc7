"""Public data sets of lumbar discs, brought to the labels of the schema ``lumbar_disc_mr``.

Each ``convert_`` reads a folder as it is published, writes ``<case>/image.nii.gz`` and ``<case>/labels.nii.gz``, and
gives the rows of a data list: ``image``, ``label``, ``case``, ``patient`` and ``level`` (None where a case shows all).

- Sudirman et al. 2019 (scans: Mendeley k57fr854j2; label images, with the slices they belong to: zbf6b4pttk; CC BY
  4.0): 515 patients with one axial slice through each of the three lowest discs. A label image has the greys 50 disc,
  100 posterior element, 150 thecal sac, 200 what lies between, and 250 everything else.
- ``lumbar_disc_mr``: ``.mat`` files with an image ``I`` and labels ``GT``, 1 (L5-S1) to 5 (L1-L2), without affine.
- SPIDER (van der Graaf et al., Sci Data 2024;11:264; CC BY 4.0): sagittal ``images/1_t2.mha`` with ``masks/1_t2.mha``.
  1 to 25 are vertebrae, 101 to 125 those that are cut off, 100 is the canal, 201 to 225 are discs from L5-S1 upwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.io import loadmat

from myotome.errors import InputError
from myotome.geometry import Acquisition, Grid, Volume
from myotome.io import write_label_map, write_volume
from myotome.io.metaimage import read_metaimage
from myotome.structures import LabelMap, read_label_schema

__all__ = [
    "DISC_LEVELS",
    "SUDIRMAN_GREYS",
    "SUDIRMAN_IMAGES",
    "convert_mat",
    "convert_spider",
    "convert_sudirman",
    "read_mat",
    "read_spider",
    "read_sudirman",
]

SCHEMA = "lumbar_disc_mr"
_ANY_DISC, _LUMBOSACRAL = 6, 5

SUDIRMAN_GREYS = {0: "nothing", 50: "disc", 100: "posterior element", 150: "thecal sac", 200: "between", 250: "other"}
SUDIRMAN_IMAGES = ("composite", "T1", "T2")
DISC_LEVELS = {"D3": "L3-L4", "D4": "L4-L5", "D5": "L5-S1"}
_DISC_GREY = 50
_SUDIRMAN_MM = (0.6875, 0.6875, 4.4)
_SUDIRMAN_NAME = re.compile(r"_(\d{1,5})_(D[345])\.png$", re.IGNORECASE)
_LABEL_FOLDERS = ("Label_Images", "Resized_Label_Images")
_IMAGE_FOLDERS = {
    "composite": ("Composite_Images", "Resized_Composite_Images"),
    "T1": ("T1_Output",),
    "T2": ("T2_Output",),
}

_MAT_LABELS = {1: 5, 2: 4, 3: 3, 4: 2, 5: 1}
_SPIDER_NAME = re.compile(r"^(\d+)_(t1|t2|t2_SPACE)\.mha$", re.IGNORECASE)
_SPIDER_KNOWN = {0, 100, *range(1, 26), *range(101, 126), *range(201, 226)}


def read_sudirman(image: Path, label: Path) -> tuple[Volume, LabelMap]:
    """One axial slice (L, P, S) of 0.6875 mm pixels; of a composite image the channels' mean is taken.

    Raises
    ------
    InputError
        When a file is no picture, the two differ in size, or the label has a grey that is not in `SUDIRMAN_GREYS`.
    """
    picture, greys = _read_picture(image), _read_picture(label)
    if greys.ndim != 2:
        raise InputError(f"'{label.name}' has colours: a label image has one grey for each region.")
    strange = sorted(set(np.unique(greys).tolist()) - set(SUDIRMAN_GREYS))
    if strange:
        known = ", ".join(f"{grey} {name}" for grey, name in SUDIRMAN_GREYS.items())
        raise InputError(f"'{label.name}' has the unknown grey {strange[0]} (known: {known}): give the original file.")
    if picture.ndim == 3:
        picture = np.rint(picture[:, :, :3].mean(axis=2))
    if picture.shape != greys.shape:
        sizes = " and ".join(f"{array.shape[1]} x {array.shape[0]}" for array in (picture, greys))
        raise InputError(f"'{image.name}' and its label '{label.name}' have {sizes} pixels: give files of one size.")
    affine = np.diag([-_SUDIRMAN_MM[0], -_SUDIRMAN_MM[1], _SUDIRMAN_MM[2], 1.0])
    grid = Grid((*picture.T.shape, 1), affine)
    discs = np.where(greys.T == _DISC_GREY, _ANY_DISC, 0).astype(np.uint8)[:, :, None]
    volume = Volume(picture.T.astype(np.uint16)[:, :, None], grid, "MR", Acquisition(body_part="LSPINE"))
    return volume, LabelMap(discs, grid, read_label_schema(SCHEMA))


def convert_sudirman(source: Path, folder: Path, image: str = "composite") -> list[dict[str, Any]]:
    """Convert the axial set of the paper.

    Parameters
    ----------
    source : the unpacked archive of the labels, or a folder that holds it
    folder : where the cases are written
    image : ``composite`` (T1 and T2 in one picture, as the paper used), ``T1`` or ``T2``

    Raises
    ------
    InputError
        When the folders are not there, or a label has no image; and as `read_sudirman`.
    """
    if image not in SUDIRMAN_IMAGES:
        raise InputError(f"image '{image}' is not one of {', '.join(SUDIRMAN_IMAGES)}.")
    labels, images = _find_pictures(source, _LABEL_FOLDERS), _find_pictures(source, _IMAGE_FOLDERS[image])
    rows = []
    for (patient, disc), label in sorted(labels.items()):
        if (patient, disc) not in images:
            raise InputError(
                f"'{label.name}' has no {image} image of patient {patient}, {disc}: unpack the whole archive."
            )
        case = folder / f"{patient}_{disc}"
        volume, label_map = read_sudirman(images[patient, disc], label)
        rows.append(_write(case, volume, label_map, patient, DISC_LEVELS[disc]))
    return rows


def _find_pictures(source: Path, names: tuple[str, ...]) -> dict[tuple[str, str], Path]:
    """The pictures in the first folder of these names anywhere below, by patient and disc."""
    for name in names:
        for folder in sorted(path for path in (source, *source.rglob(name)) if path.name == name and path.is_dir()):
            found = {}
            for path in sorted(folder.iterdir()):
                if match := _SUDIRMAN_NAME.search(path.name):
                    found[match[1].zfill(4), match[2].upper()] = path
            if found:
                return found
    raise InputError(
        f"'{source}' has no folder {' or '.join(names)} with pictures such as L1_0001_D3.png: check the path."
    )


def _read_picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"'{path.name}' is not a picture that can be read: copy it again from its source.") from error


def read_mat(path: Path) -> tuple[Volume, LabelMap]:
    """One sagittal volume of 1 mm voxels: rows to the feet, columns to the back.

    The file does not say on which side its first slice lies; it is taken to be the right one.

    Raises
    ------
    InputError
        When it is not such a file, it has no ``I`` or no ``GT``, they differ in size, or a label is not 0 to 5.
    """
    try:
        content = loadmat(path)
    except (OSError, ValueError, NotImplementedError, TypeError) as error:
        raise InputError(
            f"'{path.name}' is not a .mat file that can be read: copy it again from its source."
        ) from error
    for name, word in (("I", "image"), ("GT", "labels")):
        if name not in content:
            raise InputError(f"'{path.name}' has no {word} '{name}': give a file with both I and GT.")
    image, labels = content["I"], content["GT"]
    if image.ndim != 3 or labels.ndim != 3:
        raise InputError(f"'{path.name}' holds no volumes: I and GT must have three axes.")
    if image.shape[2] != labels.shape[2]:
        raise InputError(
            f"'{path.name}' has {image.shape[2]} slices in I and {labels.shape[2]} in GT: give a file where they agree."
        )
    if image.shape != labels.shape:
        raise InputError(f"'{path.name}' has slices of another size in I than in GT: give a file in which they agree.")
    grid = Grid(image.shape, np.array([(0, 0, -1, 0), (0, -1, 0, 0), (-1, 0, 0, 0), (0, 0, 0, 1)], dtype=float))
    if not np.isin(labels, (0, *_MAT_LABELS)).all():
        raise InputError(f"'{path.name}' has labels that are not 0 to 5: GT numbers the discs from L5-S1 up to L1-L2.")
    table = np.array([0, *(_MAT_LABELS[label] for label in range(1, 6))], dtype=np.uint8)
    acquisition = Acquisition(subject_id=path.stem, body_part="LSPINE", weighting="T2")
    label_map = LabelMap(table[labels.astype(int)], grid, read_label_schema(SCHEMA))
    return Volume(_plain(image), grid, "MR", acquisition), label_map


def convert_mat(source: Path, folder: Path) -> list[dict[str, Any]]:
    """Convert every ``.mat`` file of a folder; each is a patient.

    Raises
    ------
    InputError
        When there is none; and as `read_mat`.
    """
    paths = sorted(source.glob("*.mat"))
    if not paths:
        raise InputError(f"'{source}' has no .mat file: check the path.")
    return [_write(folder / path.stem, *read_mat(path), path.stem, None) for path in paths]


def read_spider(image: Path, mask: Path) -> tuple[Volume, LabelMap]:
    """One sagittal series with its five lowest discs; vertebrae, canal and higher discs are left out.

    Raises
    ------
    InputError
        When a file cannot be read, the two are not on one grid, or the mask has a number that the data set does not.
    """
    array, grid = read_metaimage(image)
    numbers, other = read_metaimage(mask)
    if not grid.same_as(other, tolerance_mm=0.1):
        raise InputError(f"'{mask.name}' is not on the grid of its image: give the files of one series.")
    strange = sorted(set(np.unique(numbers).tolist()) - _SPIDER_KNOWN)
    if strange:
        raise InputError(
            f"'{mask.name}' has the unknown number {strange[0]}: discs are 201 to 225, from L5-S1 upwards."
        )
    labels = np.zeros(grid.shape, np.uint8)
    for place in range(_LUMBOSACRAL):
        labels[numbers == 201 + place] = _LUMBOSACRAL - place
    words = _SPIDER_NAME.match(image.name)
    weighting = words[2][:2].upper() if words else None
    acquisition = Acquisition(subject_id=words[1] if words else None, body_part="LSPINE", weighting=weighting)
    return Volume(_plain(array), grid, "MR", acquisition), LabelMap(labels, grid, read_label_schema(SCHEMA))


def convert_spider(source: Path, folder: Path, series: tuple[str, ...] = ("t1", "t2")) -> list[dict[str, Any]]:
    """Convert the folders ``images`` and ``masks`` of SPIDER; series of one patient have one ``patient``.

    Parameters
    ----------
    source : the folder that holds both
    folder : where the cases are written
    series : which of ``t1``, ``t2`` and ``t2_SPACE`` are taken

    Raises
    ------
    InputError
        When there is no such series, or an image has no mask; and as `read_spider`.
    """
    rows = []
    for patient, path in _list_spider(source, series):
        mask = source / "masks" / path.name
        if not mask.is_file():
            raise InputError(
                f"'{path.name}' has no mask of that name in '{source / 'masks'}': unpack the whole archive."
            )
        rows.append(_write(folder / path.stem, *read_spider(path, mask), patient, None))
    if not rows:
        raise InputError(f"'{source}' has no images/1_t2.mha or its like of {', '.join(series)}: check the path.")
    return rows


def _list_spider(source: Path, series: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    wanted = {name.lower() for name in series}
    found = [(_SPIDER_NAME.match(path.name), path) for path in (source / "images").glob("*.mha")]
    known = [(int(match[1]), match[2].lower(), path) for match, path in found if match]
    for number, name, path in sorted(known):
        if name in wanted:
            yield str(number), path


def _plain(array: np.ndarray) -> np.ndarray:
    """Voxels in a type that NIfTI and the networks take: 16 bits where they are enough, else float32."""
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        if low >= 0 and high <= np.iinfo(np.uint16).max:
            return array.astype(np.uint16)
        if low >= np.iinfo(np.int16).min and high <= np.iinfo(np.int16).max:
            return array.astype(np.int16)
    return array.astype(np.float32)


def _write(case: Path, volume: Volume, label_map: LabelMap, patient: str, level: str | None) -> dict[str, Any]:
    case.mkdir(parents=True, exist_ok=True)
    image, label = case / "image.nii.gz", case / "labels.nii.gz"
    write_volume(image, volume)
    write_label_map(label, label_map)
    return {"image": str(image), "label": str(label), "case": case.name, "patient": patient, "level": level}
