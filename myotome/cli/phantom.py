"""``myotome phantom``: synthetic people whose truth is known."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from myotome.cli.progress import show_counts

if TYPE_CHECKING:
    from myotome.phantom_dataset import PhantomRequest

__all__ = [
    "CalibrationPhantom",
    "Grades",
    "ImageFormat",
    "Recipe",
    "ScanRecipe",
    "ViewPlane",
    "abdomen",
    "bone",
    "lumbar",
    "phantom",
    "shoulder",
    "thorax",
]

phantom = typer.Typer(no_args_is_help=True)


class Recipe(StrEnum):
    """How the drawn person is scanned."""

    acquired = "acquired"
    clinical = "clinical"
    training = "training"


class ScanRecipe(StrEnum):
    """How the drawn shoulder, abdomen, chest or lumbar spine is scanned."""

    acquired = "acquired"
    clinical = "clinical"


class Grades(StrEnum):
    """How frequent each Goutallier grade is."""

    paper = "paper"
    even = "even"


class CalibrationPhantom(StrEnum):
    """The rods of known density under the back."""

    none = "none"
    k2hpo4 = "k2hpo4"
    ha = "ha"


class ViewPlane(StrEnum):
    """How the slices of a lumbar spine lie."""

    sagittal = "sagittal"
    axial = "axial"


class ImageFormat(StrEnum):
    """What is written."""

    nifti = "nifti"
    dicom = "dicom"


@phantom.callback()
def _describe() -> None:
    """Make synthetic people whose true label map, volumes and densities are known."""


Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the cases.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, help="How many people.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the first; the next ones follow.")]
Format = Annotated[ImageFormat, typer.Option("--format", help="What is written.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Cases made at the same time.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace phantoms of another recipe.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


@phantom.command()
def thorax(
    output: Output,
    count: Count = 1,
    seed: Seed = 0,
    recipe: Annotated[
        Recipe,
        typer.Option(
            "--recipe",
            help="acquired: scanners of all kinds; clinical: one plain 5 mm scan; training: ideal, before any scanner.",
        ),
    ] = Recipe.acquired,
    image_format: Format = ImageFormat.nifti,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Chest CTs: each case is a folder with the image and its true labels; truth.csv and datalist.json beside them.

    The same seed is the same person. A run that was stopped goes on where it was.

    Example: myotome phantom thorax -n 3 --seed 7 --format dicom -o people
    """
    from myotome.phantom_dataset import PhantomRequest

    _write(PhantomRequest(output, count, seed, recipe.value, image_format.value, overwrite, jobs), quiet)


@phantom.command()
def shoulder(
    output: Output,
    count: Count = 1,
    seed: Seed = 0,
    recipe: Annotated[
        ScanRecipe,
        typer.Option("--recipe", help="acquired: scanners and sequences of all kinds; clinical: one plain T2 scan."),
    ] = ScanRecipe.acquired,
    slices: Annotated[int, typer.Option("--slices", min=1, help="1: the Y-view alone; about 20: a whole scan.")] = 1,
    grades: Annotated[
        Grades,
        typer.Option("--grades", help="paper: grades as frequent as among the paper's 606; even: all alike."),
    ] = Grades.paper,
    image_format: Format = ImageFormat.nifti,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Oblique-sagittal shoulder MR with fatty infiltration of a known grade: image, labels of the Y-view, and truth.

    The same seed is the same shoulder. A run that was stopped goes on where it was.

    Example: myotome phantom shoulder -n 5 --seed 7 --grades even -o shoulders
    """
    from myotome.phantom_dataset import PhantomRequest

    known = tuple(index % 5 for index in range(count)) if grades == Grades.even else None
    request = PhantomRequest(
        output, count, seed, recipe.value, image_format.value, overwrite, jobs, "shoulder", slices, known
    )
    _write(request, quiet)


@phantom.command()
def abdomen(
    output: Output,
    count: Count = 1,
    seed: Seed = 0,
    recipe: Annotated[
        ScanRecipe,
        typer.Option(
            "--recipe", help="acquired: scanners, doses, phases of all kinds; clinical: one plain venous scan, 0.8 mm."
        ),
    ] = ScanRecipe.acquired,
    volume: Annotated[
        bool,
        typer.Option("--volume", help="Whole scans, T10 to the sacrum or part of it, in place of the slice at L3."),
    ] = False,
    image_format: Format = ImageFormat.nifti,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Abdominal CTs with muscle and fat at L3 of known area and density: image, labels of L3, and truth.

    One axial slice through L3 of 512 x 512 pixels by default. --volume gives whole scans of coarser pixels with the
    height of every vertebra in truth.json; two in five are shorter than the spine, and some do not show L3. The same
    seed is the same person. A run that was stopped goes on where it was.

    Example: myotome phantom abdomen -n 20 --seed 7 -o slices

    Example: myotome phantom abdomen -n 5 --seed 7 --volume --format dicom -o scans
    """
    from myotome.phantom_dataset import PhantomRequest

    request = PhantomRequest(
        output, count, seed, recipe.value, image_format.value, overwrite, jobs, "abdomen", 0 if volume else 1
    )
    _write(request, quiet)


@phantom.command()
def bone(
    output: Output,
    count: Count = 1,
    seed: Seed = 0,
    recipe: Annotated[
        ScanRecipe,
        typer.Option(
            "--recipe", help="acquired: scanners, doses, voltages, kernels of all kinds; clinical: one at 120 kV."
        ),
    ] = ScanRecipe.acquired,
    qct_phantom: Annotated[
        CalibrationPhantom,
        typer.Option("--qct-phantom", help="Rods of known density under the back: of K2HPO4, of HA, or none."),
    ] = CalibrationPhantom.none,
    image_format: Format = ImageFormat.nifti,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Low-dose chest CTs with vertebrae of known bone density: image, labels of T8 to L3 and of the tissues, and truth.

    9 % of the people have osteoporosis by QCT (below 80 mg/cm3 of K2HPO4), and some have fractures. truth.json holds
    the density of every vertebra, and what the scanner does to HU. The same seed is the same person. A run that was
    stopped goes on where it was.

    Example: myotome phantom bone -n 20 --seed 7 -o chests

    Example: myotome phantom bone -n 5 --seed 7 --qct-phantom k2hpo4 --format dicom -o calibrated
    """
    from myotome.phantom_dataset import PhantomRequest

    rods = None if qct_phantom == CalibrationPhantom.none else qct_phantom.value
    request = PhantomRequest(
        output, count, seed, recipe.value, image_format.value, overwrite, jobs, "bone", qct_phantom=rods
    )
    _write(request, quiet)


@phantom.command()
def lumbar(
    output: Output,
    count: Count = 1,
    seed: Seed = 0,
    plane: Annotated[
        ViewPlane,
        typer.Option(
            "--plane", help="sagittal: one whole scan a person; axial: a stack through each of the three lowest discs."
        ),
    ] = ViewPlane.sagittal,
    slices: Annotated[int, typer.Option("--slices", min=1, help="Slices of an axial stack.")] = 3,
    recipe: Annotated[
        ScanRecipe,
        typer.Option("--recipe", help="acquired: scanners and sequences of all kinds; clinical: one plain T2 scan."),
    ] = ScanRecipe.acquired,
    image_format: Format = ImageFormat.nifti,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Lumbar spine MR with discs from healthy to collapsed: image, labels of the discs, and truth of each disc.

    Sagittal cases label the five lumbar discs by level. Axial cases (three a person, one for each of the lowest discs)
    have the label of a disc whose level is not known; datalist.json names the patient of each, and never divides one.
    The same seed is the same person. A run that was stopped goes on where it was.

    Example: myotome phantom lumbar -n 5 --seed 7 -o spines

    Example: myotome phantom lumbar -n 5 --seed 7 --plane axial --slices 1 -o discs
    """
    from myotome.phantom_dataset import PhantomRequest

    count_slices = slices if plane == ViewPlane.axial else 1
    request = PhantomRequest(
        output,
        count,
        seed,
        recipe.value,
        image_format.value,
        overwrite,
        jobs,
        "lumbar",
        count_slices,
        plane=plane.value,
    )
    _write(request, quiet)


def _write(request: PhantomRequest, quiet: bool) -> None:
    """Make the phantoms with a progress bar and print their folders."""
    from myotome.phantom_dataset import write_phantoms

    with show_counts(quiet) as advance:
        folders = write_phantoms(request, advance)
    if not quiet:
        for folder in folders:
            print(folder)
