"""``myotome measure``: from a scan and labels that exist to measurements."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from myotome.cli.options import Average, HeightM, L3Label, SexOption, Slice, Vertebrae, choose_level
from myotome.cli.tables import print_result

if TYPE_CHECKING:
    from myotome.inference import Grader
    from myotome.structures import LabelSchema

__all__ = ["DEFAULT_SCHEMA", "measure"]

DEFAULT_SCHEMA = "respiratory_muscle_ct"


def measure(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The scan: DICOM folder, zip of one, or NIfTI file.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Label map drawn on that image (NIfTI).")],
    schema: Annotated[
        str, typer.Option("--schema", "-s", help="What the labels mean: a schema of configs/structures.yaml.")
    ] = DEFAULT_SCHEMA,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", "-b", help="Bundle whose labels these are, and which grades them if it can."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results; must not exist.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    series_uid: Annotated[
        str | None, typer.Option("--series-uid", help="DICOM series to take when there are several.")
    ] = None,
    height_m: HeightM = None,
    sex: SexOption = None,
    slice_index: Slice = None,
    vertebrae: Vertebrae = None,
    l3_label: L3Label = None,
    average: Average = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON, and nothing else.")] = False,
) -> None:
    """Measure a label map, such as one that a reader has corrected, by the same code as analyze.

    Labels of respiratory_muscle_ct: 1 pectoralis, 2 erector spinae, 3 intercostal, 4 other muscle; of
    supraspinatus_mri, drawn in one slice: 1 supraspinatus, 2 rest of the supraspinous fossa, 3 scapular spine,
    4 coracoid process; of l3_muscle_ct, drawn in one slice or a few: 1 skeletal muscle, 2 subcutaneous fat,
    3 visceral fat, 4 intermuscular fat; of lumbar_disc_mr: 1 to 5 the discs from L1-L2 to L5-S1, 6 a disc of unknown
    level, as in axial slices. With -o the same files are left as analyze leaves.

    Of labels at L3 every labelled slice is measured and the mean given, unless --slice or --vertebrae says which one
    is L3; --average takes its two neighbours as well.

    Example: myotome measure chest_ct/ result/labels.nii.gz -o measured

    Example: myotome measure shoulder_mr/ labels.nii.gz --bundle supraspinatus_mri_classification -o measured

    Example: myotome measure abdomen_ct/ labels.nii.gz --schema l3_muscle_ct --slice 47 --sex F --height-m 1.68

    Example: myotome measure spine_mr/ labels.nii.gz --schema lumbar_disc_mr -o measured
    """
    from myotome.io import read_label_map, read_volume
    from myotome.io.tables import write_measurements_json
    from myotome.pipeline import (
        CaseDetails,
        Subject,
        keep_chosen_level,
        kind_of,
        measure_label_map,
        require_writable,
        write_case,
    )

    choice = choose_level(slice_index, vertebrae, l3_label, average)
    person = Subject(height_m, sex)
    if output is not None:
        require_writable(output, overwrite)
    meaning, grader = _open(schema, bundle)
    kind = kind_of(meaning)
    volume = read_volume(image, series_uid=series_uid, **kind.reading)
    label_map, level = keep_chosen_level(read_label_map(labels, meaning), volume, choice)
    details = CaseDetails(person, level)
    result = measure_label_map(volume, label_map, grader=grader, source=image, details=details)
    if output is not None:
        write_case(output, volume, result, overwrite=overwrite)
    if not as_json:
        print_result(result, output)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "measurements.json")
        write_measurements_json(path, result, volume)
        print(path.read_text(encoding="utf-8"), end="")


def _open(schema: str, bundle: str | None) -> tuple[LabelSchema, Grader | None]:
    """What the labels mean, and what grades them: a bundle is opened only when it has a classifier."""
    from myotome.structures import read_label_schema

    if bundle is None:
        return read_label_schema(schema), None
    from myotome.resources import bundle_root, read_metadata

    root = bundle_root(bundle)
    if not root.name.endswith("_classification"):
        from myotome.inference import schema_of

        return schema_of(read_metadata(root)), None
    from myotome.inference import BundleSegmenter

    grader = BundleSegmenter(root)
    return grader.schema, grader
