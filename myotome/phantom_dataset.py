"""Folders of phantoms: image, label map, truth table and data list, one case at a time, resumable."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from myotome import __version__
from myotome.errors import InputError, OutputError
from myotome.geometry import Grid, Volume
from myotome.io import write_label_map, write_volume
from myotome.io.atomic import atomic_path
from myotome.phantoms.abdomen import AbdomenCase, AbdomenScan, make_abdomen, make_abdomen_scan
from myotome.phantoms.bone import QCT_PHANTOMS, BoneCase, BoneScan, make_bone, make_bone_scan
from myotome.phantoms.lumbar import AXIAL_LEVELS, PLANES, LumbarCase, LumbarScan, make_lumbar, make_lumbar_scan
from myotome.phantoms.shoulder import ShoulderCase, ShoulderScan, make_shoulder, make_shoulder_scan
from myotome.phantoms.thorax import Scan, ThoraxCase, make_ideal_thorax, make_scan, make_thorax
from myotome.structures import LabelMap, read_label_schema

__all__ = ["RECIPES", "PhantomRequest", "write_phantoms"]

# How each anatomy can be scanned.
RECIPES = {
    "thorax": ("acquired", "clinical", "training"),
    "shoulder": ("acquired", "clinical"),
    "abdomen": ("acquired", "clinical"),
    "bone": ("acquired", "clinical"),
    "lumbar": ("acquired", "clinical"),
}
_VALIDATION_SHARE = 0.1
_Case = ThoraxCase | ShoulderCase | AbdomenCase | BoneCase | LumbarCase


@dataclass(frozen=True)
class PhantomRequest:
    """What to make: ``count`` people of seeds ``seed``, ``seed + 1`` ... under ``output``.

    ``acquired`` draws from the whole acquisition range, ``clinical`` is one plain acquisition (a 5 mm CT, a T2-weighted
    MR), ``training`` is an ideal thorax (0.8 x 0.8 x 1.5 mm, uncompressed, every second person beyond the plausible)
    that the training transforms scan.

    ``slices`` of a shoulder is 1 for the Y-view alone; of an abdomen 1 for a slice at L3, 0 for a whole scan; of an
    axial lumbar spine how many go through each disc. ``plane`` of a lumbar spine is ``sagittal``, one case a person, or
    ``axial``, a case for each of the three lowest discs. A bone phantom (a chest CT with vertebrae of known density)
    may lie on a calibration phantom, ``qct_phantom``.
    ``grades`` holds the Goutallier grade of each shoulder, and without it grades are drawn with the paper's
    frequencies.
    """

    output: Path
    count: int = 1
    seed: int = 0
    recipe: str = "acquired"
    image_format: str = "nifti"
    overwrite: bool = False
    jobs: int = 1
    anatomy: str = "thorax"
    slices: int = 1
    grades: tuple[int, ...] | None = None
    plane: str = "sagittal"
    qct_phantom: str | None = None

    def __post_init__(self) -> None:
        if self.anatomy not in RECIPES:
            raise InputError(f"anatomy '{self.anatomy}' is not one of {', '.join(RECIPES)}.")
        if self.recipe not in RECIPES[self.anatomy]:
            known = ", ".join(RECIPES[self.anatomy])
            raise InputError(f"recipe '{self.recipe}' of a {self.anatomy} is not one of {known}.")
        if self.image_format not in ("nifti", "dicom"):
            raise InputError(f"image format '{self.image_format}' is neither nifti nor dicom.")
        if self.recipe == "training" and self.image_format == "dicom":
            raise InputError("the training recipe is written as NIfTI: leave out the DICOM format.")
        if self.count < 1:
            raise InputError(f"{self.count} phantoms cannot be made: ask for at least one.")
        if self.grades is not None and self.anatomy != "shoulder":
            raise InputError(f"grades are a shoulder's: leave them out for a {self.anatomy}.")
        if self.plane != "sagittal" and (self.anatomy != "lumbar" or self.plane not in PLANES):
            raise InputError(f"plane '{self.plane}' is not one of a {self.anatomy}: only a lumbar spine may be axial.")
        if self.qct_phantom is not None and (self.anatomy != "bone" or self.qct_phantom not in QCT_PHANTOMS):
            raise InputError(
                f"calibration phantom '{self.qct_phantom}' is none of {', '.join(QCT_PHANTOMS)}, which lie under bone "
                "phantoms: give one of them, or leave it out."
            )
        self._check_slices()
        if self.grades is not None and (len(self.grades) != self.count or not set(self.grades) <= set(range(5))):
            raise InputError(
                f"{self.count} shoulders need {self.count} grades of 0 to 4: {len(self.grades)} are given."
            )

    def _check_slices(self) -> None:
        whole = self.anatomy in ("thorax", "bone") or (self.anatomy == "lumbar" and self.plane == "sagittal")
        if whole and self.slices != 1:
            raise InputError(f"a {self.anatomy} is scanned whole: leave out the slices.")
        if self.anatomy == "abdomen" and self.slices not in (0, 1):
            raise InputError("an abdomen is one slice at L3 (slices=1) or a whole scan (slices=0): give one of them.")
        if self.anatomy in ("shoulder", "lumbar") and self.slices < 1:
            raise InputError(f"a {self.anatomy} of {self.slices} slices cannot be made: ask for at least one.")

    @property
    def identity(self) -> dict[str, Any]:
        """What a folder of these phantoms says of them; phantoms of another identity are others."""
        identity: dict[str, Any] = {"recipe": self.recipe, "format": self.image_format, "version": __version__}
        if self.anatomy == "shoulder":
            grades = None if self.grades is None else list(self.grades)
            identity |= {"anatomy": self.anatomy, "slices": self.slices, "grades": grades}
        if self.anatomy == "abdomen":
            identity |= {"anatomy": self.anatomy, "slices": self.slices}
        if self.anatomy == "bone":
            identity |= {"anatomy": self.anatomy, "qct_phantom": self.qct_phantom}
        if self.anatomy == "lumbar":
            identity |= {"anatomy": self.anatomy, "plane": self.plane, "slices": self.slices}
        return identity

    @property
    def levels(self) -> tuple[str | None, ...]:
        """What each person has a case of: the discs of an axial lumbar spine, or one whole scan (None)."""
        return AXIAL_LEVELS if self.plane == "axial" else (None,)


@dataclass(frozen=True)
class _Job:
    """One case to be made."""

    seed: int
    level: str | None
    folder: Path

    @property
    def is_complete(self) -> bool:
        return (self.folder / "truth.json").is_file()


def write_phantoms(request: PhantomRequest, progress: Callable[[int, int, str], None] | None = None) -> list[Path]:
    """Make the cases that are missing, then the truth table and the data list.

    Returns
    -------
    list of Path : the folder of each case.

    Raises
    ------
    OutputError
        When the folder holds anything but phantoms, or other phantoms and ``overwrite`` is not set.
    """
    _claim(request)
    jobs = _list_jobs(request)
    missing = [job for job in jobs if not job.is_complete]
    done = len(jobs) - len(missing)
    if progress:
        progress(done, len(jobs), "phantoms")
    if request.jobs > 1 and len(missing) > 1:
        with ProcessPoolExecutor(request.jobs) as pool:
            for running in as_completed([pool.submit(_write_case, request, job) for job in missing]):
                running.result()
                done += 1
                if progress:
                    progress(done, len(jobs), "phantoms")
    else:
        for job in missing:
            _write_case(request, job)
            done += 1
            if progress:
                progress(done, len(jobs), "phantoms")
    folders = [job.folder for job in jobs]
    _write_tables(request, folders)
    return folders


def _list_jobs(request: PhantomRequest) -> list[_Job]:
    """The cases, person by person."""
    jobs = []
    for seed in range(request.seed, request.seed + request.count):
        for level in request.levels:
            ending = f"_{level.lower().replace('-', '_')}" if level else ""
            jobs.append(_Job(seed, level, request.output / f"case_{seed:06d}{ending}"))
    return jobs


def _claim(request: PhantomRequest) -> None:
    marker = request.output / "phantoms.json"
    if request.output.exists() and any(request.output.iterdir()):
        if not marker.is_file():
            raise OutputError(f"{request.output} holds something else than phantoms: choose another folder.")
        if json.loads(marker.read_text()) != request.identity:
            if not request.overwrite:
                raise OutputError(f"{request.output} holds other phantoms: choose another folder, or give --overwrite.")
            shutil.rmtree(request.output)
    try:
        request.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{request.output} cannot be made ({error.strerror}): choose a folder you can write."
        ) from error
    with atomic_path(marker) as temporary:
        temporary.write_text(json.dumps(request.identity, indent=1))


def _write_case(request: PhantomRequest, job: _Job) -> None:
    """One case; ``truth.json`` comes last and marks it complete."""
    seed, folder = job.seed, job.folder
    folder.mkdir(parents=True, exist_ok=True)
    if request.recipe == "training":
        hu, labels, affine = make_ideal_thorax(seed, spread=2.0 if seed % 2 else 1.0)
        grid = Grid(hu.shape, affine)
        write_volume(folder / "image.nii", Volume(hu, grid))
        write_label_map(folder / "labels.nii", LabelMap(labels, grid, read_label_schema()))
        truth: dict[str, Any] = {"seed": seed}
    else:
        case = _make_case(request, job)
        if request.image_format == "dicom":
            from myotome.io.dicom_series import write_dicom_series

            write_dicom_series(folder / "dicom", case.volume)
        else:
            write_volume(folder / "image.nii.gz", case.volume)
        write_label_map(folder / "labels.nii.gz", case.label_map)
        truth = case.truth
    with atomic_path(folder / "truth.json") as temporary:
        temporary.write_text(json.dumps(truth, indent=1))


def _make_case(request: PhantomRequest, job: _Job) -> _Case:
    acquired, seed = request.recipe == "acquired", job.seed
    if request.anatomy == "thorax":
        return make_thorax(seed, make_scan(seed) if acquired else Scan())
    if request.anatomy == "abdomen":
        volume = request.slices == 0
        return make_abdomen(seed, make_abdomen_scan(seed, volume) if acquired else AbdomenScan(volume=volume))
    if request.anatomy == "bone":
        scan = make_bone_scan(seed) if acquired else BoneScan()
        return make_bone(seed, replace(scan, qct_phantom=request.qct_phantom))
    if request.anatomy == "lumbar":
        return make_lumbar(seed, _plan_lumbar(request, job))
    scan = make_shoulder_scan(seed, request.slices) if acquired else ShoulderScan(slices=request.slices)
    return make_shoulder(seed, scan, None if request.grades is None else request.grades[seed - request.seed])


def _plan_lumbar(request: PhantomRequest, job: _Job) -> LumbarScan:
    """How one case of a lumbar spine is scanned."""
    if job.level is None:
        return make_lumbar_scan(job.seed) if request.recipe == "acquired" else LumbarScan()
    if request.recipe == "acquired":
        return make_lumbar_scan(job.seed, "axial", job.level, request.slices)
    return LumbarScan(plane="axial", level=job.level, slices=request.slices, spacing_mm=0.6875, matrix=320)


def _write_tables(request: PhantomRequest, folders: list[Path]) -> None:
    rows = [{"case": folder.name, **json.loads((folder / "truth.json").read_text())} for folder in folders]
    with atomic_path(request.output / "truth.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()} for row in rows
        )
    suffix = ".nii" if request.recipe == "training" else ".nii.gz"
    image = "dicom" if request.image_format == "dicom" else f"image{suffix}"
    entries = [{"image": f"{row['case']}/{image}", "label": f"{row['case']}/labels{suffix}"} for row in rows]
    if request.anatomy == "shoulder":
        entries = [{**entry, "grade": row["grade"]} for entry, row in zip(entries, rows, strict=True)]
    if request.anatomy == "abdomen":
        entries = [{**entry, **_name_levels(request, row)} for entry, row in zip(entries, rows, strict=True)]
    if request.anatomy == "bone":
        entries = [{**entry, **_name_bone(row)} for entry, row in zip(entries, rows, strict=True)]
    if request.anatomy == "lumbar":
        named = ("case", "patient", "level")
        entries = [{**entry, **{name: row[name] for name in named}} for entry, row in zip(entries, rows, strict=True)]
    held_out = int(np.ceil(_VALIDATION_SHARE * request.count)) * len(request.levels) if request.count > 1 else 0
    datalist = {"training": entries[: len(entries) - held_out], "validation": entries[len(entries) - held_out :]}
    with atomic_path(request.output / "datalist.json") as temporary:
        temporary.write_text(json.dumps(datalist, indent=1))


def _name_levels(request: PhantomRequest, row: dict[str, Any]) -> dict[str, Any]:
    """What the data list says of an abdomen beside its files."""
    levels = {"l3_z_mm": row["l3_z_mm"], "levels": row["level_z_mm"]} if request.slices == 0 else {}
    return {"case": row["case"], **levels}


def _name_bone(row: dict[str, Any]) -> dict[str, Any]:
    """What the data list says of a bone phantom beside its files."""
    names = ("case", "bmd_mg_cm3", "osteoporosis", "tube_voltage_kv", "kernel", "scanner", "levels")
    return {name: row[name] for name in names}
