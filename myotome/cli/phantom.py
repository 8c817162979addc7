"""``myotome phantom``: synthetic people whose truth is known."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ImageFormat", "Recipe", "phantom", "thorax"]

phantom = typer.Typer(no_args_is_help=True)


class Recipe(StrEnum):
    """How the drawn person is scanned."""

    acquired = "acquired"
    clinical = "clinical"
    training = "training"


class ImageFormat(StrEnum):
    """What is written."""

    nifti = "nifti"
    dicom = "dicom"


@phantom.callback()
def _describe() -> None:
    """Make synthetic people whose true label map, volumes and densities are known."""


@phantom.command()
def thorax(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the cases.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many people.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the first; the next ones follow.")] = 0,
    recipe: Annotated[
        Recipe,
        typer.Option(
            "--recipe",
            help="acquired: scanners of all kinds; clinical: one plain 5 mm scan; training: ideal, before any scanner.",
        ),
    ] = Recipe.acquired,
    image_format: Annotated[ImageFormat, typer.Option("--format", help="What is written.")] = ImageFormat.nifti,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Cases made at the same time.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace phantoms of another recipe.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Chest CTs: each case is a folder with the image and its true labels; truth.csv and datalist.json beside them.

    The same seed is the same person. A run that was stopped goes on where it was.

    Example: myotome phantom thorax -n 3 --seed 7 --format dicom -o people
    """
    from rich.console import Console
    from rich.progress import Progress

    from myotome.phantom_dataset import PhantomRequest, write_phantoms

    console = Console(stderr=True)
    request = PhantomRequest(output, count, seed, recipe.value, image_format.value, overwrite, jobs)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("phantoms", total=count)
        folders = write_phantoms(request, lambda done, total, _: bar.update(task, completed=done, total=total))
    if not quiet:
        for folder in folders:
            print(folder)
