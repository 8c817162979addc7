"""``myotome study fat-fraction``: the fat fraction of one contrast against a known one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from myotome.cli.progress import show_counts
from myotome.cli.study_agreement import print_agreements
from myotome.cli.tables import print_files

if TYPE_CHECKING:
    from myotome.geometry import Volume
    from myotome.structures import LabelMap

__all__ = ["fat_fraction"]


def fat_fraction(
    phantoms: Annotated[
        int | None, typer.Option("--phantoms", min=1, help="Measure so many shoulder phantoms of all grades.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first phantom.")] = 900_000,
    bundle: Annotated[
        str | None, typer.Option("--bundle", "-b", help="Measure phantoms within the contours that a bundle finds.")
    ] = None,
    dixon: Annotated[
        Path | None,
        typer.Option("--dixon", help="Folder with one water, one fat and one labels image (NIfTI) of a person."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for tables, figures and report; must not exist.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Compare the fat fraction that one contrast gives with a known one: of phantoms, or of a Dixon acquisition.

    Phantoms are measured within their true contours, or within those that a bundle finds. Dixon's water and fat are
    added to an in-phase image, and to one with fat less bright, and each muscle in each slice is measured in that image
    alone. Differences are estimate minus truth, or minus Dixon. With -o: fat_fractions.csv, agreement.csv, figures,
    report.html and report.pdf.

    Example: myotome study fat-fraction --phantoms 200 -o phantoms

    Example: myotome study fat-fraction --phantoms 200 --bundle supraspinatus_mri_classification

    Example: myotome study fat-fraction --dixon data/paraspinal_dixon_mr -o dixon
    """
    from myotome.errors import InputError
    from myotome.report.agreement import write_agreement
    from myotome.report.comparisons import compute_agreements
    from myotome.studies import fat_fraction as study

    if (phantoms is None) == (dixon is None):
        raise InputError("say what to compare with: --phantoms COUNT or --dixon FOLDER, one of the two.")
    if bundle is not None and phantoms is None:
        raise InputError("--bundle draws the contours of phantoms: give --phantoms COUNT with it.")
    if dixon is not None:
        table = study.compare_dixon(study.read_dixon_case(dixon))
        comparisons, notes = study.make_dixon_comparisons(table), [study.DIXON_NOTE]
    else:
        with show_counts(quiet) as advance:
            table = study.compare_phantoms(phantoms, seed, advance, _contours_of(bundle))
        comparisons, notes = study.make_phantom_comparisons(table), study.summarise_phantoms(table)
    if output is None:
        agreements = compute_agreements(comparisons)
    else:
        agreements = write_agreement(output, comparisons, "Fat fraction from one MR contrast", notes)
        table.to_csv(output / "fat_fractions.csv", index=False, float_format="%.4f")
    print_agreements(agreements, notes)
    if output is not None:
        print_files(output, ("fat_fractions.csv", "agreement.csv", "report.html", "report.pdf"))


def _contours_of(bundle: str | None) -> Callable[[Volume], LabelMap] | None:
    if bundle is None:
        return None
    from myotome.inference import BundleSegmenter
    from myotome.resources import bundle_root

    return BundleSegmenter(bundle_root(bundle)).segment
