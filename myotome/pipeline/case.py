"""The one way through the house: read an image, segment it, measure it, write the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from myotome.biomarkers.height import is_plausible_height, require_height_m
from myotome.geometry import Volume
from myotome.io import read_volume
from myotome.measurement import CaseResult, Level, Subject
from myotome.pipeline.axes import in_axis_order
from myotome.pipeline.kind import Findings
from myotome.pipeline.kinds import kind_of
from myotome.pipeline.level import LevelChoice, require_level_segmenter, segment_at
from myotome.pipeline.outputs import require_writable, write_case
from myotome.pipeline.provenance import make_provenance
from myotome.structures import LabelMap

if TYPE_CHECKING:
    from myotome.inference import Grader, Segmenter

__all__ = ["AnalysisRequest", "CaseDetails", "analyze", "measure_label_map"]

Progress = Callable[[str, float], None]


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
    sex : ``M`` or ``F``, for reference values; the DICOM header's when ``None``
    level : which slice is measured, for a bundle that labels one vertebral level

    Raises
    ------
    InputError
        When the height is not a person's in metres, or the sex is neither.
    """

    source: Path
    output: Path
    overwrite: bool = False
    series_uid: str | None = None
    height_m: float | None = None
    sex: str | None = None
    level: LevelChoice = field(default_factory=LevelChoice)

    def __post_init__(self) -> None:
        require_height_m(self.height_m)
        Subject(self.height_m, self.sex)
        object.__setattr__(self, "source", Path(self.source))
        object.__setattr__(self, "output", Path(self.output))


@dataclass(frozen=True)
class CaseDetails:
    """What is known of a case beside image and labels: of the person, and which slice is the level that is labelled."""

    person: Subject = field(default_factory=Subject)
    level: Level | None = None


def analyze(request: AnalysisRequest, segmenter: Segmenter, progress: Progress | None = None) -> CaseResult:
    """Read, segment and measure one image, and write the outputs (`OUTPUT_NAMES`) into ``request.output``.

    What is read, checked and measured is decided by the segmenter's label schema (see `CaseKind`). The folder appears
    complete or not at all. From an input without DICOM headers (NIfTI), and where nothing is labelled, the two DICOM
    outputs are left out, and ``provenance.notes`` says so.

    Parameters
    ----------
    request : what to analyse and where the results go
    segmenter : finds the structures; `BundleSegmenter` runs a bundle
    progress : called with the step under way and the share of it that is done, 0 to 1

    Raises
    ------
    InputError
        When the input is unreadable, of another modality, or not such an image (a CT in Hounsfield units, a shoulder
        MR ...).
    OutputError
        When the output folder exists or cannot be written.
    """
    report = progress or (lambda step, share: None)
    kind = kind_of(segmenter.schema)
    require_writable(request.output, request.overwrite)
    if request.level.given:
        require_level_segmenter(segmenter)
    report("reading", 0.0)
    volume = read_volume(request.source, series_uid=request.series_uid, **kind.reading)
    kind.require_image(volume)
    report("segmenting", 0.0)
    label_map, level = segment_at(segmenter, volume, request.level)
    report("measuring", 0.0)
    details = CaseDetails(Subject(request.height_m, request.sex), level)
    result = measure_label_map(volume, label_map, segmenter=segmenter, source=request.source, details=details)
    report("writing", 0.0)
    write_case(request.output, volume, result, overwrite=request.overwrite)
    report("writing", 1.0)
    return result


def measure_label_map(
    volume: Volume,
    label_map: LabelMap,
    *,
    segmenter: Segmenter | None = None,
    grader: Grader | None = None,
    source: Path | str = "",
    details: CaseDetails | None = None,
) -> CaseResult:
    """Measure the structures of a label map on its image, and grade them where the bundle does.

    Parameters
    ----------
    volume : an image of the label map's kind, such as a CT in Hounsfield units
    label_map : on the volume's grid, or on the same voxels stored in another axis order (as some editors do)
    segmenter : what made the label map; ``None`` when it came from elsewhere, such as a reader's correction
    grader : what grades the labelled region; the segmenter, when it can, if ``None``
    source : where the image came from; only its last part is kept, for the provenance
    details : what is known beside the image; of the rest the header and the segmenter are asked

    Returns
    -------
    CaseResult
        When no voxel is labelled, every value is ``None``, nothing is graded, and a flag of the case says so.

    Raises
    ------
    InputError
        When the image is not of the label map's kind, the label map lies on another grid, or the height is not a
        person's in metres.
    """
    kind = kind_of(label_map.schema)
    kind.require_image(volume)
    label_map = in_axis_order(label_map, volume.grid)
    details = details or CaseDetails()
    findings = _find_out(volume, label_map, segmenter, grader, details.level)
    subject = _describe_subject(details.person, volume)
    measurements, flags = kind.measure(volume, label_map, subject, findings)
    if getattr(segmenter, "left_out", ()):
        flags = (*flags, "vertebra_not_named")
    provenance = make_provenance(volume, label_map, segmenter, Path(source).name, grader=grader)
    beside = findings.grading, findings.level, subject, findings.instances
    return CaseResult(label_map, measurements, provenance, flags, *beside)


def _find_out(
    volume: Volume, label_map: LabelMap, segmenter: Segmenter | None, grader: Grader | None, level: Level | None
) -> Findings:
    """What those who can say it say beside the labels; a level that is known is not looked for."""
    grade = getattr(grader or segmenter, "grade", None)
    locate, find = (getattr(segmenter, name, None) for name in ("locate", "find_instances"))
    grading = grade(volume, label_map) if grade is not None else None
    if level is None and locate is not None:
        level = locate(volume, label_map)
    return Findings(grading, level, find(volume, label_map) if find is not None else ())


def _describe_subject(person: Subject, volume: Volume) -> Subject:
    """What is known of a person, or else what the header says where that can be true."""
    height_m, acquisition = person.height_m, volume.acquisition
    if height_m is None and acquisition.height_m is not None and is_plausible_height(acquisition.height_m):
        height_m = acquisition.height_m
    return Subject(height_m, person.sex or acquisition.sex)
