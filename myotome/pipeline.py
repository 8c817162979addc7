"""The one way through the house: read a CT, segment it, measure it, write the results."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from myotome import __version__
from myotome.biomarkers.muscle import measure_muscles
from myotome.errors import InputError, OutputError
from myotome.geometry import Grid, Volume, reorient
from myotome.io import read_volume, write_label_map
from myotome.io.atomic import atomic_folder
from myotome.io.dicom_report import write_structured_report
from myotome.io.dicom_segmentation import write_segmentation
from myotome.io.tables import write_measurements_csv, write_measurements_json
from myotome.measurement import CaseResult, Provenance
from myotome.report.html import write_report
from myotome.report.overview import write_overview
from myotome.structures import LabelMap

if TYPE_CHECKING:
    from myotome.inference import Segmenter

__all__ = [
    "OUTPUT_NAMES",
    "AnalysisRequest",
    "analyze",
    "in_axis_order",
    "measure_label_map",
    "require_hounsfield",
    "require_writable",
    "write_case",
]

OUTPUT_NAMES = (
    "labels.nii.gz",
    "segmentation.dcm",
    "measurements.dcm",
    "measurements.csv",
    "measurements.json",
    "overview.png",
    "report.html",
)

Progress = Callable[[str, float], None]

_AIR_BELOW_HU = -300
_SOFT_TISSUE_HU = (-150, 200)
_SMALLEST_SHARE = 0.001
_SAMPLED_PER_AXIS = 128
_SOFTWARE = ("torch", "monai", "numpy", "scipy", "nibabel", "pydicom", "highdicom", "openvino")


@dataclass(frozen=True)
class AnalysisRequest:
    """What to analyse and where the results go.

    Parameters
    ----------
    source : DICOM folder, zip of one, or NIfTI file
    output : folder for the results; it must not exist, unless ``overwrite`` and it holds an earlier result
    overwrite : replace an earlier result in ``output``
    series_uid : which DICOM series to take when the source holds several
    height_m : the person's height in metres, for indices; the DICOM header's when ``None``
    """

    source: Path
    output: Path
    overwrite: bool = False
    series_uid: str | None = None
    height_m: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", Path(self.source))
        object.__setattr__(self, "output", Path(self.output))


def analyze(request: AnalysisRequest, segmenter: Segmenter, progress: Progress | None = None) -> CaseResult:
    """Read, segment and measure one CT, and write the outputs (`OUTPUT_NAMES`) into ``request.output``.

    The folder appears complete or not at all. From an input without DICOM headers (NIfTI), and where nothing is
    labelled, the two DICOM outputs are left out, and ``provenance.notes`` says so.

    Parameters
    ----------
    request : what to analyse and where the results go
    segmenter : finds the muscles; `BundleSegmenter` runs a bundle
    progress : called with the step under way and the share of it that is done, 0 to 1

    Raises
    ------
    InputError
        When the input is unreadable, not a CT, or not in Hounsfield units.
    OutputError
        When the output folder exists or cannot be written.
    """
    report = progress or (lambda step, share: None)
    require_writable(request.output, request.overwrite)
    report("reading", 0.0)
    volume = read_volume(request.source, series_uid=request.series_uid)
    require_hounsfield(volume)
    report("segmenting", 0.0)
    label_map = segmenter.segment(volume)
    report("measuring", 0.0)
    result = measure_label_map(volume, label_map, segmenter=segmenter, source=request.source, height_m=request.height_m)
    report("writing", 0.0)
    write_case(request.output, volume, result, overwrite=request.overwrite)
    report("writing", 1.0)
    return result


def measure_label_map(
    volume: Volume,
    label_map: LabelMap,
    *,
    segmenter: Segmenter | None = None,
    source: Path | str = "",
    height_m: float | None = None,
) -> CaseResult:
    """Measure the structures of a label map on its image.

    Parameters
    ----------
    volume : a CT in Hounsfield units
    label_map : on the volume's grid, or on the same voxels stored in another axis order (as some editors do)
    segmenter : what made the label map; ``None`` when it came from elsewhere, such as a reader's correction
    source : where the image came from; only its last part is kept, for the provenance
    height_m : the person's height in metres; the header's when ``None``

    Returns
    -------
    CaseResult
        When no voxel is labelled, every value is ``None`` and the case carries the flag ``no_muscle_found``.

    Raises
    ------
    InputError
        When the image is not a CT in Hounsfield units, the label map lies on another grid, or the height is not a
        person's in metres.
    """
    require_hounsfield(volume)
    label_map = in_axis_order(label_map, volume.grid)
    measurements, flags = measure_muscles(volume, label_map, height_m=height_m)
    provenance = _make_provenance(volume, label_map, segmenter, Path(source).name)
    return CaseResult(label_map, measurements, provenance, flags)


def write_case(output: Path | str, volume: Volume, result: CaseResult, *, overwrite: bool = False) -> None:
    """Write every output of a case into a folder that appears complete or not at all.

    Raises
    ------
    OutputError
        When the folder exists (and is not an earlier result to be overwritten) or cannot be written.
    """
    with _complete_folder(Path(output), overwrite) as folder:
        write_label_map(folder / "labels.nii.gz", result.label_map)
        if volume.acquisition.headers and result.label_map.array.any():
            segmentation = folder / "segmentation.dcm"
            write_segmentation(segmentation, result.label_map, volume, result.provenance)
            write_structured_report(folder / "measurements.dcm", result, volume, segmentation)
        write_measurements_csv(folder / "measurements.csv", result, volume)
        write_measurements_json(folder / "measurements.json", result, volume)
        overview = folder / "overview.png"
        write_overview(overview, volume, result)
        write_report(folder / "report.html", volume, result, overview)


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


def require_hounsfield(volume: Volume) -> None:
    """Refuse an image that is not a CT, or whose numbers cannot be Hounsfield units."""
    if volume.modality != "CT":
        raise InputError(f"the image is {volume.modality}, not CT: muscles are measured on CT alone so far.")
    lowest = float(volume.array.min())
    if lowest >= 0:
        raise InputError(
            f"the image's lowest value is {lowest:g}, so it is not in Hounsfield units (air is -1000): "
            "apply its rescale slope and intercept, or convert it again from DICOM."
        )
    low, high = _SOFT_TISSUE_HU
    sample = volume.array[tuple(slice(None, None, max(1, size // _SAMPLED_PER_AXIS)) for size in volume.array.shape)]
    shares = {
        f"air (below {_AIR_BELOW_HU} HU)": np.count_nonzero(sample < _AIR_BELOW_HU),
        f"soft tissue ({low} to {high} HU)": np.count_nonzero((sample >= low) & (sample <= high)),
    }
    for name, count in shares.items():
        if count < _SMALLEST_SHARE * sample.size:
            raise InputError(
                f"the image shows hardly any {name}, so its numbers are not Hounsfield units or it is a small crop: "
                "check its rescale, or give the whole image."
            )


def in_axis_order(label_map: LabelMap, grid: Grid) -> LabelMap:
    """The same label map with its axes permuted and flipped to those of a grid."""
    if label_map.grid.axis_codes == grid.axis_codes:
        return label_map
    array, affine = reorient(label_map.array, label_map.grid.affine, "".join(grid.axis_codes))
    return LabelMap(np.ascontiguousarray(array), Grid(array.shape, affine), label_map.schema)


def _versions() -> dict[str, str]:
    found = {"myotome": __version__, "python": platform.python_version()}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _make_provenance(volume: Volume, label_map: LabelMap, segmenter: Segmenter | None, source: str) -> Provenance:
    """Where a result came from. The run's id is a hash of what went in, so the same run has the same id."""
    acquisition = volume.acquisition
    notes = []
    if not acquisition.headers:
        notes.append("the input has no DICOM headers: segmentation.dcm and measurements.dcm are left out")
    elif not label_map.array.any():
        notes.append("nothing is labelled: segmentation.dcm and measurements.dcm are left out")
    provenance = Provenance(
        bundle="none",
        bundle_version="none",
        weights_sha256="none",
        software=_versions(),
        device="none",
        input={
            "name": source or None,
            "subject_id": acquisition.subject_id,
            "study_uid": acquisition.study_uid,
            "series_uid": acquisition.series_uid,
            "series_description": acquisition.series_description,
            "voxels_sha256": _digest(volume.array),
        },
        notes=tuple(notes),
    )
    if segmenter is None:
        provenance = replace(provenance, notes=("the label map was given, not computed", *provenance.notes))
    else:
        provenance = replace(
            provenance,
            bundle=segmenter.bundle,
            bundle_version=segmenter.bundle_version,
            weights_sha256=segmenter.weights_sha256,
            device=segmenter.device,
            engine=segmenter.engine,
            precision=segmenter.precision,
            notes=(*segmenter.notes, *provenance.notes),
        )
    identity = [repr(provenance), _digest(label_map.array), repr(volume.grid.affine.tolist())]
    return replace(provenance, run_id=hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16])


def _digest(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and values, whatever its layout in memory."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    for plane in np.moveaxis(array, -1, 0):
        digest.update(np.ascontiguousarray(plane))
    return digest.hexdigest()
