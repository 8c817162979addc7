"""``myotome measure``: from a CT and labels that exist to measurements."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from myotome.cli.tables import print_result

__all__ = ["measure"]


def measure(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The CT: DICOM folder, zip of one, or NIfTI file.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Label map drawn on that image (NIfTI).")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results; must not exist.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    series_uid: Annotated[
        str | None, typer.Option("--series-uid", help="DICOM series to take when there are several.")
    ] = None,
    height_m: Annotated[
        float | None, typer.Option("--height-m", min=0.4, max=2.6, help="Height in metres, for indices.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON, and nothing else.")] = False,
) -> None:
    """Measure a label map, such as one that a reader has corrected, by the same code as analyze.

    Labels: 1 pectoralis, 2 erector spinae, 3 intercostal, 4 other muscle. With -o the same files are left as analyze
    leaves.

    Example: myotome measure chest_ct/ result/labels.nii.gz -o measured
    """
    from myotome.io import read_label_map, read_volume
    from myotome.io.tables import write_measurements_json
    from myotome.pipeline import measure_label_map, require_writable, write_case
    from myotome.structures import read_label_schema

    if output is not None:
        require_writable(output, overwrite)
    volume = read_volume(image, series_uid=series_uid)
    label_map = read_label_map(labels, read_label_schema())
    result = measure_label_map(volume, label_map, source=image, height_m=height_m)
    if output is not None:
        write_case(output, volume, result, overwrite=overwrite)
    if not as_json:
        print_result(result, output)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "measurements.json")
        write_measurements_json(path, result, volume)
        print(path.read_text(encoding="utf-8"), end="")
