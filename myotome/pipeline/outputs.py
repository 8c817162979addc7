"""The folder of one case: complete or not there at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from myotome.errors import OutputError
from myotome.geometry import Volume
from myotome.io import write_label_map
from myotome.io.atomic import atomic_folder
from myotome.io.dicom_report import write_structured_report
from myotome.io.dicom_segmentation import write_segmentation
from myotome.io.tables import write_measurements_csv, write_measurements_json
from myotome.measurement import CaseResult, Provenance
from myotome.pipeline.kinds import kind_of
from myotome.pipeline.provenance import GIVEN

__all__ = ["OUTPUT_NAMES", "require_writable", "write_case"]

OUTPUT_NAMES = (
    "labels.nii.gz",
    "segmentation.dcm",
    "measurements.dcm",
    "measurements.csv",
    "measurements.json",
    "overview.png",
    "report.html",
)


def write_case(output: Path | str, volume: Volume, result: CaseResult, *, overwrite: bool = False) -> None:
    """Write every output of a case into a folder that appears complete or not at all.

    Raises
    ------
    OutputError
        When the folder exists (and is not an earlier result to be overwritten) or cannot be written.
    """
    kind = kind_of(result.label_map.schema)
    with _complete_folder(Path(output), overwrite) as folder:
        write_label_map(folder / "labels.nii.gz", result.label_map)
        if volume.acquisition.headers and result.label_map.array.any():
            segmentation = folder / "segmentation.dcm"
            write_segmentation(segmentation, result.label_map, volume, _maker(result.provenance))
            write_structured_report(folder / "measurements.dcm", result, volume, segmentation)
        write_measurements_csv(folder / "measurements.csv", result, volume)
        write_measurements_json(folder / "measurements.json", result, volume)
        overview = folder / "overview.png"
        kind.write_overview(overview, volume, result)
        kind.write_report(folder / "report.html", volume, result, overview)


def _maker(provenance: Provenance) -> Provenance:
    """What drew the label map: nothing of ours when it was given, even if a bundle graded it."""
    return replace(provenance, bundle="none") if GIVEN in provenance.notes else provenance


def require_writable(output: Path, overwrite: bool) -> None:
    """Refuse, before any work is done, an output folder that exists or cannot be made.

    Only a folder that holds nothing but an earlier result is ever overwritten.
    """
    if output.exists() and not overwrite:
        raise OutputError(f"'{output}' already exists: choose another folder, or replace the result with --overwrite.")
    if output.exists():
        strange = [output] if not output.is_dir() else [p for p in output.iterdir() if p.name not in OUTPUT_NAMES]
        if strange:
            raise OutputError(
                f"'{output}' holds '{strange[0].name}', which is not part of a result, and is left alone: "
                "choose another folder."
            )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent).cleanup()
    except OSError as error:
        raise _refused_output(output, error) from error


def _refused_output(output: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write the folder '{output}' ({error.strerror or error}): choose another, or free space."
    )


@contextmanager
def _complete_folder(output: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes ``output`` when the block ends and vanishes when it fails."""
    require_writable(output, overwrite)
    if not output.exists():
        with atomic_folder(output) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as name:
        new, old = Path(name, "new"), Path(name, "old")
        with atomic_folder(new) as folder:
            yield folder
        try:
            output.rename(old)
            new.rename(output)
        except OSError as error:
            if old.exists() and not output.exists():
                shutil.move(old, output)
            raise _refused_output(output, error) from error
