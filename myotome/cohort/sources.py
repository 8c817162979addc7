"""Where a cohort's cases come from: folders, zips, a table of paths, a PACS. One case is one study (or series)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from myotome.cohort.path_tables import Person, read_path_table, read_person
from myotome.errors import InputError
from myotome.io.dicom_index import IndexEntry, index_archive, index_file
from myotome.store.identifiers import Pseudonyms

__all__ = ["CaseSource", "SourceOptions", "find_cases"]

Kind = Literal["dicom", "nifti", "zip", "pacs", "refused"]
_NIFTI = (".nii", ".nii.gz")


_NOBODY = Person()


@dataclass(frozen=True)
class CaseSource:
    """One case before it is worked on: where its image is. Identifiers in it are the original ones.

    ``packed`` are all of the study's DICOM files, the one NIfTI file or the zips, as `_Paths` keeps them; ``address``
    is the PACS's service. ``refusal`` is set when it is known already that nothing can be measured. ``signature``
    changes with the files and with what a table says of the person.
    """

    case_id: str
    kind: Kind
    packed: bytes = b""
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
    def files(self) -> tuple[str, ...]:
        """Paths of the files."""
        return tuple(_Paths(self.packed))

    @property
    def place(self) -> str:
        """Where a person finds it."""
        return self.files[0] if self.packed else f"{self.address}/studies/{self.study_uid}"

    @property
    def subject(self) -> str:
        """What its subject is known by: the table's identifier, the header's, or else where it lies."""
        return self.person.subject_id or self.patient_id or self.place

    @property
    def secrets(self) -> tuple[str, ...]:
        """Words that must not appear outside the cohort's private folder."""
        files = self.files
        parts = [part for file in files[:1] for part in Path(file).parts]
        parts += [Path(file).name for file in files]
        known = (self.patient_id, self.study_uid, self.series_uid, self.address, self.person.subject_id)
        return tuple({*parts, *(Path(part).stem for part in parts), *(word for word in known if word)})


class _Paths:
    """Absolute paths in few bytes, since a cohort has many: a folder's once, then its files' names.

    Entries end with a zero byte; one that ends in a slash is the folder of those that follow.
    """

    def __init__(self, packed: bytes = b"") -> None:
        self.packed, self._folder = bytearray(packed), ""

    def add(self, path: str) -> None:
        folder, name = os.path.split(path)
        if folder != self._folder:
            self._folder = folder
            self.packed += os.fsencode(folder.rstrip("/")) + b"/\0"
        self.packed += os.fsencode(name) + b"\0"

    def __iter__(self) -> Iterator[str]:
        folder = ""
        for entry in bytes(self.packed).split(b"\0")[:-1]:
            text = os.fsdecode(entry)
            if text.endswith("/"):
                folder = text
            else:
                yield folder + text


@dataclass(frozen=True)
class SourceOptions:
    """How cases are found.

    ``series`` is ``best`` (one case per study; of its series the one that `myotome analyze` would choose) or ``all``
    (one case per series). ``pattern`` is what a NIfTI file's name must match, such as ``*_ct.nii.gz``. ``modality`` is
    that of the studies which a PACS is asked for.
    """

    series: Literal["best", "all"] = "best"
    pattern: str = "*"
    modality: str = "CT"


def find_cases(
    sources: Sequence[str],
    pseudonyms: Pseudonyms,
    options: SourceOptions | None = None,
    wanted: Callable[[str], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[CaseSource]:
    """Every case of the sources, in the order of their ids, each once.

    Parameters
    ----------
    sources : folders (any nesting; DICOM is told by content, NIfTI by name), NIfTI files, zips, CSV files with a column
        ``path``, addresses of DICOMweb services with a query
    pseudonyms : what makes the cases' ids
    wanted : says of a case's id whether it is to be kept; the others cost no memory
    progress : called with the number of files looked at so far

    Returns
    -------
    list of CaseSource
        Empty only when there are cases and none is wanted.

    Raises
    ------
    InputError
        When a source is not there, there is no image in any, or a table of paths cannot be used.
    PacsError
        When a PACS does not answer.
    """
    finder = _Finder(pseudonyms, options or SourceOptions(), wanted or (lambda case_id: True), progress)
    for source in sources:
        finder.add(str(source))
    if finder.is_empty:
        places = ", ".join(repr(str(source)) for source in sources)
        raise InputError(
            f"there is no image in {places}: give folders of DICOM or NIfTI, zips, a CSV with a column 'path', or a "
            "DICOMweb address."
        )
    return finder.cases()


@dataclass
class _Group:
    """A case while its files are being found."""

    kind: Kind
    entry: IndexEntry | None = None
    paths: _Paths = field(default_factory=_Paths)
    person: Person = _NOBODY
    line: str = ""
    refusal: str | None = None
    address: str | None = None
    instances: int | None = None


class _Contradiction(InputError):
    """Two rows of a table say different things of one scan."""


class _Finder:
    """Collects cases, file by file."""

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        options: SourceOptions,
        wanted: Callable[[str], bool],
        progress: Callable[[int], None] | None,
    ) -> None:
        self._pseudonyms, self._options, self._wanted = pseudonyms, options, wanted
        self._progress, self._looked_at = progress, 0
        self._groups: dict[str, _Group] = {}
        self._damaged_folders: set[str] = set()
        self._studies_of_folders: dict[str, set[str]] = {}
        self._opened = 0
        # Whose files are being found: what the table's row says, and where it says it.
        self._person, self._line = _NOBODY, ""

    def add(self, source: str) -> None:
        if source.startswith(("http://", "https://")):
            self._add_pacs(source)
            return
        path = Path(source)
        if path.suffix.lower() == ".csv" and path.is_file():
            self._add_table(path)
        elif not self._add_path(path, by_name=False):
            raise InputError(f"there is nothing at '{source}': check the path, or the disk it is on.")

    @property
    def is_empty(self) -> bool:
        """True when no case was found, wanted or not."""
        return self._opened == 0

    def cases(self) -> list[CaseSource]:
        """What was found and is wanted."""
        return [self._close(case_id, group) for case_id, group in sorted(self._groups.items())]

    def _close(self, case_id: str, group: _Group) -> CaseSource:
        entry = group.entry or IndexEntry("", "", "", True)
        case = CaseSource(
            case_id,
            group.kind,
            bytes(group.paths.packed),
            entry.study_uid or None,
            entry.series_uid or None if self._options.series == "all" else None,
            entry.patient_id or None,
            address=group.address,
            refusal=group.refusal,
            person=group.person,
        )
        if group.kind == "dicom" and self._lacks_slices(case_id, group):
            sentence = (
                "a DICOM file beside its slices is damaged or may not be read, so a slice may be missing: mend it."
            )
            case = replace(case, kind="refused", refusal=sentence)
        files = [_describe_file(file) for file in case.files]
        signature = self._pseudonyms.signature(*sorted(files), repr(case.person), case.subject, str(group.instances))
        return replace(case, signature=signature)

    def _lacks_slices(self, case_id: str, group: _Group) -> bool:
        """True when a folder that holds nothing but this case also holds a DICOM file that could not be read."""
        folders = {os.path.dirname(file) for file in group.paths} & self._damaged_folders
        return any(self._studies_of_folders.get(folder) == {case_id} for folder in folders)

    def _open(self, case_id: str, kind: Kind, entry: IndexEntry | None = None) -> _Group | None:
        """The group of a case, with the person of the row under way; ``None`` when the case is not wanted.

        A table's word counts before a folder's silence, and two rows may not say different things of one case.
        """
        self._opened += 1
        if not self._wanted(case_id):
            return None
        group = self._groups.setdefault(case_id, _Group(kind, entry))
        if self._person != _NOBODY:
            if group.person not in (_NOBODY, self._person):
                raise _Contradiction(
                    f"{group.line} and {self._line} say different things of one scan: keep one of them."
                )
            group.person, group.line = self._person, self._line
        return group

    def _add_path(self, path: Path, by_name: bool) -> bool:
        """Add a folder or a file; a file that was named is taken whatever its name is. False when nothing is there."""
        if path.is_dir():
            for file, error in _walk(path):
                if error is None:
                    self._add_file(file, by_name=False)
                else:
                    self._add_single(file, "refused", f"'{file.name}' may not be read ({error}): ask for permission.")
        elif path.is_file():
            self._add_file(path, by_name)
        else:
            return False
        return True

    def _add_file(self, path: Path, by_name: bool) -> None:
        self._looked_at += 1
        if self._progress:
            self._progress(self._looked_at)
        name = path.name.lower()
        try:
            if name.endswith(_NIFTI):
                if by_name or path.match(self._options.pattern):
                    self._add_single(path, "nifti")
            elif name.endswith(".zip"):
                self._add_zip(path)
            else:
                self._add_dicom(path, index_file(path))
        except _Contradiction:
            raise
        except InputError as error:
            self._damaged_folders.add(os.path.dirname(os.path.realpath(path)))
            self._add_single(path, "refused", str(error))

    def _add_single(self, path: Path, kind: Kind, refusal: str | None = None) -> None:
        whole = os.path.realpath(path)
        group = self._open(self._pseudonyms.case("file", whole), kind)
        if group is not None and not group.paths.packed:
            group.paths.add(whole)
            group.refusal = refusal

    def _add_dicom(self, path: Path, entry: IndexEntry | None) -> None:
        if entry is None or not entry.is_image:
            return
        whole = os.path.realpath(path)
        case_id = self._name(entry)
        self._studies_of_folders.setdefault(os.path.dirname(whole), set()).add(case_id)
        group = self._open(case_id, "dicom", entry)
        if group is not None:
            if group.kind == "zip":  # the same study is there unpacked, too
                group.kind, group.paths = "dicom", _Paths()
            group.paths.add(whole)

    def _name(self, entry: IndexEntry) -> str:
        """The id of the case that a file belongs to."""
        uids = (entry.study_uid, entry.series_uid) if self._options.series == "all" else (entry.study_uid,)
        uids = uids if all(uids) else (entry.patient_id, entry.study_uid, entry.series_uid)
        return self._pseudonyms.case("dicom", *uids)

    def _add_zip(self, path: Path) -> None:
        """Each study of a zip is a case, of several zips when they share it; without DICOM it holds one NIfTI image."""
        whole = os.path.realpath(path)
        found = {self._name(entry): entry for entry in index_archive(path) if entry.is_image}
        if not found:
            self._add_single(path, "zip")
        for case_id, entry in found.items():
            group = self._open(case_id, "zip", entry)
            if group is not None and group.kind == "zip":
                group.paths.add(whole)

    def _add_pacs(self, address: str) -> None:
        from myotome.io.dicom_web import find_studies

        if self._options.series == "all":
            raise InputError("a PACS gives one case per study: leave out --series all.")
        for study in find_studies(address, self._options.modality):
            entry = IndexEntry(study.patient_id, study.study_uid, "", True)
            group = self._open(self._pseudonyms.case("dicom", study.study_uid), "pacs", entry)
            if group is not None and group.kind == "pacs":
                group.address, group.instances = study.service, study.instances

    def _add_table(self, table: Path) -> None:
        for number, row in read_path_table(table):
            self._line = f"line {number} of '{table.name}'"
            self._person = read_person(self._line, row)
            path = table.parent / row["path"]
            before = self._opened
            there = self._add_path(path, by_name=True)
            if self._opened == before:
                what = "no image" if there else "nothing"
                self._add_single(path, "refused", f"there is {what} at '{row['path']}': check the table.")
        self._person, self._line = _NOBODY, ""


def _walk(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Files below a folder, at any depth, and folders that may not be entered, with the reason.

    Hidden ones, links to folders, pipes and devices are passed over, and so is a cohort's own folder.
    """
    refused: list[OSError] = []
    for root, folders, names in os.walk(folder, onerror=refused.append):
        if "cohort.json" in names and "cases" in folders:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and name != "DICOMDIR" and path.is_file():
                yield path, None
    yield from map(_blame, refused)


def _blame(error: OSError) -> tuple[Path, str]:
    return Path(os.fsdecode(error.filename)), (error.strerror or "no reason given").lower()


def _describe_file(file: str) -> str:
    """Name, size and time of change of a file; another text when it is written anew or gone."""
    try:
        status = os.stat(file)
    except OSError:
        return f"{os.path.basename(file)} gone"
    size = status.st_size if stat.S_ISREG(status.st_mode) else -1
    return f"{os.path.basename(file)} {size} {status.st_mtime_ns}"
