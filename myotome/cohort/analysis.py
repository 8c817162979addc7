"""One case of a cohort on a worker: read, made nameless, segmented, measured, written."""

from __future__ import annotations

import contextlib
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from myotome import __version__
from myotome.biomarkers.flags import contrast_recorded
from myotome.cohort.outcomes import Outcome
from myotome.cohort.path_tables import is_plausible
from myotome.cohort.sources import CaseSource
from myotome.errors import InputError, MyotomeError, OutputError
from myotome.geometry import Volume
from myotome.io import read_volume, write_label_map
from myotome.io.archive import unpacked
from myotome.io.dicom_index import index_file, read_texts
from myotome.io.tables import make_rows
from myotome.measurement import CaseResult, Provenance
from myotome.pipeline import CaseDetails, CaseKind, Subject, kind_of, measure_label_map
from myotome.store import CaseRecord, CohortFolder, make_measurement_table
from myotome.store.folder import write_tables
from myotome.store.identifiers import Pseudonyms, scrub
from myotome.structures import LabelSchema

if TYPE_CHECKING:
    from myotome.inference import Segmenter

__all__ = ["OUTPUTS", "AnalysisOptions", "Analyst", "Fingerprint", "blank_record", "record_failure"]

OUTPUTS = ("labels", "overview", "report", "thumbnail")
_MAKERS = (
    "Canon",
    "Fujifilm",
    "GE",
    "Hitachi",
    "Neusoft",
    "Philips",
    "Samsung",
    "Siemens",
    "Toshiba",
    "UIH",
    "Myotome",
)
_KERNEL = re.compile(r"[A-Za-z]{0,8}\d{0,3}[A-Za-z]{0,2}([\\/_ -]?[A-Za-z]{0,4}\d{0,2})")
_MOST_TEXTS = 2000
_LISTING = re.compile(r": choose one by its series UID.*")


@dataclass(frozen=True)
class AnalysisOptions:
    """What is left behind of each case, beside its measurements.

    ``outputs`` are some of `OUTPUTS`. ``dicom`` also writes DICOM SEG and SR; they name the patient, as DICOM does, so
    they lie in the private folder. ``uncertainty_slices``: on how many the model is asked how sure it is; 0 for none.
    """

    outputs: tuple[str, ...] = ("labels", "report", "thumbnail")
    dicom: bool = False
    uncertainty_slices: int = 0

    def __post_init__(self) -> None:
        for name in self.outputs:
            if name not in OUTPUTS:
                raise InputError(f"'{name}' is no output of a case: give some of {', '.join(OUTPUTS)}.")


@dataclass(frozen=True)
class Fingerprint:
    """By what a case was made: another bundle, version or weights make it anew."""

    bundle: str
    bundle_version: str
    weights_sha256: str

    def made(self, record: dict[str, Any], case: CaseSource) -> bool:
        """True when a record was made by this, of the case as it is now."""
        same = all(record.get(name) == value for name, value in asdict(self).items())
        return same and record.get("input_signature") == case.signature


class Analyst:
    """Works on one case after another with a segmenter that is opened once.

    Parameters
    ----------
    folder : of the cohort
    open_segmenter : called once, in the process that works, when the first case is there
    fingerprint : that records are marked with
    """

    def __init__(
        self,
        folder: Path,
        open_segmenter: Callable[[], Segmenter],
        fingerprint: Fingerprint,
        options: AnalysisOptions | None = None,
    ) -> None:
        self._cohort = CohortFolder(folder)
        self._open_segmenter, self._segmenter = open_segmenter, None
        self._fingerprint, self._options = fingerprint, options or AnalysisOptions()
        self._pseudonyms = Pseudonyms(self._cohort.key)

    @property
    def segmenter(self) -> Segmenter:
        if self._segmenter is None:
            self._segmenter = self._open_segmenter()
        return self._segmenter

    def analyze(self, case: CaseSource, attempt: int = 1) -> Outcome:
        """Do one case and write it into the cohort; what is refused or fails is written, too.

        Raises
        ------
        BundleError
            When the bundle cannot be opened: no case can be done then.
        """
        known = self._cohort.read_record(case.case_id)
        if known and known["status"] == "done" and self._fingerprint.made(known, case):
            return Outcome(case.case_id, "done")
        segmenter = self.segmenter
        _forget_peak_memory()
        record = blank_record(case, self._pseudonyms, self._fingerprint, attempt)
        try:
            record = self._measure(case, record, segmenter, _Timer())
        except InputError as error:
            status = "failed" if _is_trouble(error) or _vanished(case) else "refused"
            record = record_failure(self._cohort, replace(record, status=status, reason=str(error)), case)
        except Exception as error:  # whatever one case does, the others go on
            reason = str(error) if isinstance(error, MyotomeError) else f"{type(error).__name__}: {error}"
            record = record_failure(self._cohort, replace(record, status="failed", reason=reason), case)
        return Outcome(case.case_id, record.status, record.reason)

    def _measure(self, case: CaseSource, record: CaseRecord, segmenter: Segmenter, timer: _Timer) -> CaseRecord:
        if case.refusal:
            raise InputError(case.refusal)
        kind = kind_of(segmenter.schema)
        volume = _read(case, kind)
        timer.lap("read_s")
        nameless = self._without_names(volume, record)
        kind.require_image(nameless)
        label_map = segmenter.segment(nameless)
        uncertainty = self._uncertainty(segmenter, nameless, label_map.schema)
        timer.lap("segment_s")
        details = CaseDetails(Subject(case.person.height_m, case.person.sex))
        result = measure_label_map(nameless, label_map, segmenter=segmenter, details=details)
        result = replace(result, provenance=_without_traces(result.provenance, segmenter))
        table = make_measurement_table(case.case_id, make_rows(result, nameless))
        timer.lap("measure_s")
        done = replace(
            record,
            status="done",
            reason=None,
            uncertainty=uncertainty,
            run_id=result.provenance.run_id,
            engine=result.provenance.engine,
            precision=result.provenance.precision,
            flags=result.flags,
            **_describe_image(nameless, kind),
            **_describe_person(case, volume),
        )
        if self._options.dicom and volume.acquisition.headers and label_map.array.any():
            self._write_dicom(case, volume, result)
        with self._cohort.new_case(case.case_id) as folder:
            self._fill(folder, nameless, result)
            timer.lap("write_s")
            done = _finished(replace(done, **timer.laps))
            write_tables(folder, done, table)
        return done

    def _without_names(self, volume: Volume, record: CaseRecord) -> Volume:
        """The volume as everything outside the private folder may know it."""
        acquisition = volume.acquisition

        def uid(original: str | None) -> str | None:
            return None if original is None else self._pseudonyms.uid(original)

        nameless = replace(
            acquisition,
            subject_id=record.subject_id,
            study_uid=uid(acquisition.study_uid),
            series_uid=uid(acquisition.series_uid),
            series_description=None,
            contrast_agent="given" if contrast_recorded(acquisition.contrast_agent) else None,
            kernel=_plain_kernel(acquisition.kernel),
            manufacturer=_plain_maker(acquisition.manufacturer),
            flags=tuple(flag.split(":")[0] for flag in acquisition.flags),
            headers=(),
        )
        return replace(volume, acquisition=nameless)

    def _uncertainty(self, segmenter: Segmenter, volume: Volume, schema: LabelSchema) -> float | None:
        if not self._options.uncertainty_slices:
            return None
        from myotome.inference.uncertainty import score_probabilities

        planes = segmenter.iter_probabilities(volume, self._options.uncertainty_slices)
        return score_probabilities(planes, [structure.name for structure in schema.structures]).entropy

    def _fill(self, folder: Path, volume: Volume, result: CaseResult) -> None:
        outputs, kind = self._options.outputs, kind_of(result.label_map.schema)
        if "labels" in outputs:
            write_label_map(folder / "labels.nii.gz", result.label_map)
        if "overview" in outputs or "report" in outputs:
            overview = folder / "overview.png"
            kind.write_overview(overview, volume, result)
            if "report" in outputs:
                kind.write_report(folder / "report.html", volume, result, overview)
            if "overview" not in outputs:
                overview.unlink()
        if "thumbnail" in outputs:
            kind.write_thumbnail(folder / "thumbnail.webp", volume, result)

    def _write_dicom(self, case: CaseSource, volume: Volume, result: CaseResult) -> None:
        from myotome.io.dicom_report import write_structured_report
        from myotome.io.dicom_segmentation import write_segmentation

        folder = self._cohort.private_folder / "dicom" / case.case_id
        write_segmentation(folder / "segmentation.dcm", result.label_map, volume, result.provenance)
        write_structured_report(folder / "measurements.dcm", result, volume, folder / "segmentation.dcm")


def blank_record(case: CaseSource, pseudonyms: Pseudonyms, fingerprint: Fingerprint, attempt: int) -> CaseRecord:
    """The record of a case of which nothing is known yet."""
    return CaseRecord(
        case_id=case.case_id,
        status="failed",
        reason="not finished",
        subject_id=pseudonyms.subject(case.subject),
        software_version=__version__,
        input_signature=case.signature,
        attempts=attempt,
        **asdict(fingerprint),
    )


def record_failure(cohort: CohortFolder, record: CaseRecord, case: CaseSource) -> CaseRecord:
    """Write why a case is not done: the whole sentence into the private folder, a scrubbed one into the case.

    Where not even that can be written, the record is only returned: the driver counts it, and a rerun tries again.
    """
    sentence = " ".join(str(record.reason).split())
    shown = _LISTING.sub(": run it with --series all, or keep one of them.", sentence)
    texts = read_texts(case.files[:_MOST_TEXTS]) if case.kind == "dicom" else set()
    record = _finished(replace(record, reason=scrub(shown, {*case.secrets, *texts})))
    try:
        reasons = cohort.private_folder / "reasons"
        reasons.mkdir(exist_ok=True)
        text = sentence.encode(errors="surrogateescape") + b"\n"
        (reasons / f"{record.case_id}.txt").write_bytes(text)
        cohort.write_case(record)
    except (OSError, OutputError):
        pass
    return record


class _Timer:
    """Seconds of each step of a case."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._began = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._began, 4)
        self._began = now


def _finished(record: CaseRecord) -> CaseRecord:
    return replace(
        record, finished_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"), peak_memory_mb=_read_peak_memory_mb()
    )


def _forget_peak_memory() -> None:
    """Have Linux measure the process's peak memory from here on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _read_peak_memory_mb() -> float:
    """Resident memory at its highest since it was last forgotten; since the process began where Linux cannot forget."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _without_traces(provenance: Provenance, segmenter: Segmenter) -> Provenance:
    """Provenance without the hash of the voxels, by which one scan could be found again in another cohort."""
    known = {key: value for key, value in provenance.input.items() if key != "voxels_sha256"}
    return replace(provenance, input=known, notes=segmenter.notes)


def _plain_maker(text: str | None) -> str | None:
    """The scanner's maker, when it is one that is known; the header's text may be anything."""
    words = (text or "").casefold()
    return next((maker for maker in _MAKERS if words.startswith(maker.casefold())), "other" if words else None)


def _plain_kernel(text: str | None) -> str | None:
    """The reconstruction kernel, when it looks like one (``B40f``, ``STANDARD``, ``Br40d\\3``), or else ``other``."""
    if not text:
        return None
    return text.strip() if _KERNEL.fullmatch(text.strip()) else "other"


def _is_trouble(error: BaseException | None) -> bool:
    """True when a refusal goes back to what the system said (a permission, a disk), not to the image."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return True
        error = error.__cause__
    return False


def _vanished(case: CaseSource) -> bool:
    """True when files of the case are not there any more: a disk that went, not an image that cannot be measured."""
    return case.refusal is None and any(not Path(file).exists() for file in case.files)


def _read(case: CaseSource, kind: CaseKind) -> Volume:
    with _fetched(case) as files:
        if case.kind != "dicom" and len(files) == 1:
            return read_volume(files[0], **kind.reading)
        from myotome.io.dicom_series import SeriesWish, read_dicom_files

        return read_dicom_files(files, SeriesWish(**kind.reading, series_uid=case.series_uid))


@contextmanager
def _fetched(case: CaseSource) -> Iterator[list[Path]]:
    """The files of a case, for as long as the block lasts: those of a zip or a PACS are brought to this machine."""
    if case.kind == "pacs":
        from myotome.io.dicom_web import fetch_study

        with tempfile.TemporaryDirectory(prefix="myotome-") as name:
            yield fetch_study(case.address, case.study_uid, Path(name))
    elif case.kind == "dicom":
        yield [Path(file) for file in case.files]
    elif case.kind == "nifti" or case.study_uid is None:
        yield [Path(case.files[0])]
    else:
        with contextlib.ExitStack() as stack:
            folders = [stack.enter_context(unpacked(archive)) for archive in case.files]
            files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
            entries = ((path, index_file(path)) for path in files)
            yield [path for path, entry in entries if entry and entry.study_uid == case.study_uid]


def _describe_image(volume: Volume, kind: CaseKind) -> dict[str, Any]:
    """Columns of a record that say how the image was acquired."""
    acquisition, grid = volume.acquisition, volume.grid
    return {
        "study_uid": acquisition.study_uid,
        "series_uid": acquisition.series_uid,
        "slices": int(grid.shape[grid.slice_axis(kind.across)]),
        "spacing_mm": tuple(round(float(spacing), 4) for spacing in grid.spacing_mm),
        "slice_thickness_mm": acquisition.slice_thickness_mm,
        "tube_voltage_kv": acquisition.tube_voltage_kv,
        "kernel": acquisition.kernel,
        "contrast_agent": None if not acquisition.contrast_agent else True,
        "manufacturer": acquisition.manufacturer,
    }


def _describe_person(case: CaseSource, volume: Volume) -> dict[str, Any]:
    """Columns of a record about the person: from the table of paths, or else from the header, where it is plausible."""
    header = volume.acquisition.headers[0] if volume.acquisition.headers else {}
    person = case.person
    height_m = person.height_m or volume.acquisition.height_m
    if height_m is not None and not is_plausible("height_m", height_m):
        height_m = None
    sex = str(header.get("PatientSex") or "")
    return {
        "sex": person.sex or (sex if sex in ("M", "F") else None),
        "age_years": person.age_years if person.age_years is not None else _age_years(header.get("PatientAge")),
        "height_m": height_m,
        "weight_kg": person.weight_kg or _weight_kg(header.get("PatientWeight")),
        "study_date": person.study_date or _iso_date(header.get("StudyDate")),
    }


def _age_years(text: Any) -> float | None:
    """Years of a DICOM age such as ``063Y`` or ``018M``."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", str(text or "").strip())
    if match is None:
        return None
    return round(int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]], 2)


def _weight_kg(value: Any) -> float | None:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        return None
    return weight if is_plausible("weight_kg", weight) else None


def _iso_date(text: Any) -> str | None:
    try:
        return date.fromisoformat(str(text or "")).isoformat()
    except ValueError:
        return None
