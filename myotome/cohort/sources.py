"""Where a cohort's cases come from: folders, zips, a table of paths, a PACS. One case is one study (or series)."""

from __future__ import annotations

import csv
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from myotome.errors import InputError
from myotome.io.dicom_index import IndexEntry, index_archive, index_file
from myotome.store.identifiers import Pseudonyms

__all__ = ["CaseSource", "Person", "SourceOptions", "find_cases"]

Kind = Literal["dicom", "nifti", "zip", "pacs", "refused"]
_NIFTI = (".nii", ".nii.gz")
_PERSON_COLUMNS = ("subject_id", "sex", "age_years", "height_m", "weight_kg", "study_date")
_RANGES = {"age_years": (0.0, 120.0), "height_m": (0.4, 2.6), "weight_kg": (1.0, 400.0)}


@dataclass(frozen=True)
class Person:
    """What a table of paths says of a person; it counts before what a header says."""

    subject_id: str | None = None
    sex: str | None = None
    age_years: float | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    study_date: str | None = None


@dataclass(frozen=True)
class CaseSource:
    """One case before it is worked on: where its image is. Identifiers in it are the original ones.

    ``files`` are all of the study's DICOM files, the one NIfTI file or the zip; ``address`` is the PACS's service.
    ``refusal`` is set when it is known already that nothing can be measured. ``signature`` changes with the files.
    """

    case_id: str
    kind: Kind
    files: tuple[str, ...] = ()
    study_uid: str | None = None
    series_uid: str | None = None
    patient_id: str | None = None
    address: str | None = None
    signature: str = ""
    refusal: str | None = None
    person: Person = field(default_factory=Person)

    @property
    def job_id(self) -> str:
        """What the engine calls it."""
        return self.case_id

    @property
    def place(self) -> str:
        """Where a person finds it."""
        return self.files[0] if self.files else f"{self.address}/studies/{self.study_uid}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Words that must not appear outside the cohort's private folder."""
        parts = [part for file in self.files[:1] for part in Path(file).parts]
        parts += [Path(file).name for file in self.files]
        known = (self.patient_id, self.study_uid, self.series_uid, self.address, self.person.subject_id)
        return tuple({*parts, *(Path(part).stem for part in parts), *(word for word in known if word)})


@dataclass(frozen=True)
class SourceOptions:
    """How cases are found.

    ``series`` is ``best`` (one case per study; of its series the one that `myotome analyze` would choose) or ``all``
    (one case per series). ``pattern`` is what a NIfTI file's name must match, such as ``*_ct.nii.gz``.
    """

    series: Literal["best", "all"] = "best"
    pattern: str = "*"
    modality: str = "CT"


def find_cases(
    sources: Sequence[str],
    pseudonyms: Pseudonyms,
    options: SourceOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[CaseSource]:
    """Every case of the sources, in the order of their ids, each once.

    Parameters
    ----------
    sources : folders (any nesting; DICOM is told by content, NIfTI by name), NIfTI files, zips, CSV files with a column
        ``path``, addresses of DICOMweb services with a query
    pseudonyms : what makes the cases' ids
    progress : called with the number of files looked at so far

    Raises
    ------
    InputError
        When a source is not there, or a table of paths cannot be used.
    PacsError
        When a PACS does not answer.
    """
    finder = _Finder(pseudonyms, options or SourceOptions(), progress)
    for source in sources:
        finder.add(str(source))
    cases = finder.cases()
    if not cases:
        places = ", ".join(repr(str(source)) for source in sources)
        raise InputError(
            f"there is no image in {places}: give folders of DICOM or NIfTI, zips, a CSV with a column 'path', or a "
            "DICOMweb address."
        )
    return cases


class _Finder:
    def __init__(self, pseudonyms: Pseudonyms, options: SourceOptions, progress: Callable[[int], None] | None) -> None:
        self._pseudonyms, self._options = pseudonyms, options
        self._progress, self._looked_at = progress, 0
        self._groups: dict[tuple[str, ...], tuple[IndexEntry, list[str], Person]] = {}
        self._cases: dict[str, CaseSource] = {}

    def add(self, source: str) -> None:
        if source.startswith(("http://", "https://")):
            self._add_pacs(source)
            return
        path = Path(source)
        if path.is_dir():
            for file in _walk(path):
                self._add_file(file, Person())
        elif path.suffix.lower() == ".csv" and path.is_file():
            self._add_table(path)
        elif path.is_file():
            self._add_file(path, Person())
        else:
            raise InputError(f"there is nothing at '{source}': check the path, or the disk it is on.")

    def cases(self) -> list[CaseSource]:
        for key, (entry, files, person) in self._groups.items():
            files.sort()
            series = entry.series_uid if self._options.series == "all" else None
            self._keep(
                CaseSource(
                    self._pseudonyms.case(*key),
                    "dicom",
                    tuple(files),
                    entry.study_uid or None,
                    series,
                    entry.patient_id or None,
                    signature=_sign(files),
                    person=person,
                )
            )
        return [self._cases[case_id] for case_id in sorted(self._cases)]

    def _keep(self, case: CaseSource) -> None:
        self._cases.setdefault(case.case_id, case)

    def _add_file(self, path: Path, person: Person) -> None:
        self._looked_at += 1
        if self._progress:
            self._progress(self._looked_at)
        name = path.name.lower()
        try:
            if name.endswith(_NIFTI):
                if path.match(self._options.pattern):
                    self._add_single(path, "nifti", person)
            elif name.endswith(".zip"):
                self._add_zip(path, person)
            else:
                self._add_dicom(path, index_file(path), person)
        except (InputError, OSError) as error:
            sentence = str(error) if isinstance(error, InputError) else f"'{path.name}' may not be read."
            self._add_single(path, "refused", person, sentence)

    def _add_single(self, path: Path, kind: Kind, person: Person, refusal: str | None = None) -> None:
        path = path.resolve()
        case_id = self._pseudonyms.case("file", str(path))
        signature = _sign([str(path)])
        self._keep(CaseSource(case_id, kind, (str(path),), signature=signature, refusal=refusal, person=person))

    def _add_dicom(self, path: Path, entry: IndexEntry | None, person: Person) -> None:
        if entry is None or not entry.is_image:
            return
        key = self._key(entry)
        self._groups.setdefault(key, (entry, [], person))[1].append(str(path.resolve()))

    def _key(self, entry: IndexEntry) -> tuple[str, ...]:
        """What makes files one case."""
        uids = (entry.study_uid, entry.series_uid) if self._options.series == "all" else (entry.study_uid,)
        return ("dicom", *uids) if all(uids) else ("dicom", entry.patient_id, entry.study_uid, entry.series_uid)

    def _add_zip(self, path: Path, person: Person) -> None:
        """Each study of a zip is a case; a zip without DICOM is taken to hold one NIfTI image."""
        path = path.resolve()
        found = {self._key(entry): entry for entry in index_archive(path) if entry.is_image}
        if not found:
            self._add_single(path, "zip", person)
        for key, entry in found.items():
            series = entry.series_uid if self._options.series == "all" else None
            case = CaseSource(
                self._pseudonyms.case(*key),
                "zip",
                (str(path),),
                entry.study_uid or None,
                series,
                entry.patient_id or None,
                signature=_sign([str(path)]),
                person=person,
            )
            self._keep(case)

    def _add_pacs(self, address: str) -> None:
        from myotome.io.dicom_web import find_studies

        for study in find_studies(address, self._options.modality):
            self._keep(
                CaseSource(
                    self._pseudonyms.case("dicom", study.study_uid),
                    "pacs",
                    study_uid=study.study_uid,
                    patient_id=study.patient_id or None,
                    address=study.service,
                    signature=f"{study.instances} instances",
                )
            )

    def _add_table(self, table: Path) -> None:
        for number, row in _read_table(table):
            path = Path(row["path"])
            path = path if path.is_absolute() else table.parent / path
            person = _read_person(table.name, number, row)
            if path.is_dir():
                for file in _walk(path):
                    self._add_file(file, person)
            elif path.is_file():
                self._add_file(path, person)
            else:
                self._add_single(path, "refused", person, f"there is nothing at '{row['path']}': check the table.")


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, at any depth; hidden ones and links to folders are passed over."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name != "DICOMDIR":
                yield Path(root, name)


def _sign(files: Sequence[str]) -> str:
    """A hash of files' names, sizes and times of change: another one when a file is added, removed or written anew."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = os.stat(file)
            size = status.st_size if stat.S_ISREG(status.st_mode) else -1
            digest.update(f"{Path(file).name} {size} {status.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{Path(file).name} gone\n".encode())
    return digest.hexdigest()[:16]


def _read_table(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row of a table of paths."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [column.strip() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            if "path" not in columns:
                raise InputError(f"'{table.name}' has no column 'path': its first line names the columns.")
            if "height_cm" in columns:
                raise InputError(f"'{table.name}' gives heights in cm: give a column 'height_m', in metres.")
            for row in reader:
                cells = {column: (row.get(column) or "").strip() for column in ("path", *_PERSON_COLUMNS)}
                if cells["path"]:
                    yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"'{table.name}' is not a CSV file in UTF-8: save it as one from the spreadsheet.") from error


def _read_person(table: str, number: int, row: dict[str, str]) -> Person:
    """What a row says of a person, in range and in the units that the columns name."""
    numbers: dict[str, float | None] = {}
    for column, (low, high) in _RANGES.items():
        try:
            value = float(row[column]) if row[column] else None
        except ValueError as error:
            raise InputError(f"line {number} of '{table}': {column} is not a number.") from error
        if value is not None and not low <= value <= high:
            hint = " (heights are in metres)" if column == "height_m" else ""
            raise InputError(f"line {number} of '{table}': {column} is {value:g}, not {low:g} to {high:g}{hint}.")
        numbers[column] = value
    sex = row["sex"].upper()[:1] or None
    if sex not in (None, "M", "F"):
        raise InputError(f"line {number} of '{table}': sex is '{row['sex']}', not M or F.")
    date = row["study_date"] or None
    if date is not None:
        _check_date(date, f"line {number} of '{table}'")
    return Person(subject_id=row["subject_id"] or None, sex=sex, study_date=date, **numbers)


def _check_date(text: str, where: str) -> None:
    from datetime import date

    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{where}: study_date is '{text}', not a date such as 2024-03-31.") from error
