"""A cohort's folder: where everything lies, and how a case appears in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from myotome.errors import InputError, OutputError
from myotome.io.atomic import atomic_path
from myotome.store.identifiers import Pseudonyms, read_key, write_key
from myotome.store.tables import CaseRecord

__all__ = ["FORMAT", "CohortFolder", "held", "write_tables"]

FORMAT = "myotome-cohort"
_FORMAT_VERSION = 1
_YOUNG_S = 2.0
_ENTRIES = {"cohort.json", "cases", "reviews", "tables", "runs", "private", "incomplete", "quality.html"}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class CohortFolder:
    """The files of a cohort.

    ::

        cohort.json            what it is, by which bundle it was made
        cases/<case_id>/       one case, which appears by one rename: case.json, measurements.parquet, pictures, labels
        reviews/<case_id>/     readers' decisions, one file each, never rewritten
        tables/                measurements of many cases in one file; may be deleted, and is made again
        private/               key, identities, logs: what names people. Readable by its owner alone, never to be shared
        incomplete/            cases being written; emptied when their driver is gone

    Parameters
    ----------
    folder : of the cohort

    Raises
    ------
    InputError
        When it is not a cohort's folder; :meth:`create` makes one.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / "cohort.json").is_file():
            raise InputError(f"'{folder}' holds no cohort: give the folder that 'myotome cohort run -o' wrote.")
        try:
            self.description: dict[str, Any] = json.loads((self.folder / "cohort.json").read_text(encoding="utf-8"))
            found = (self.description["format"], self.description["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"'{folder}/cohort.json' is damaged: start a cohort in another folder.") from error
        if found != (FORMAT, _FORMAT_VERSION):
            raise InputError(
                f"'{folder}' is of the format {found[0]} {found[1]}, and this version of Myotome reads {FORMAT} "
                f"{_FORMAT_VERSION}."
            )

    @classmethod
    def create(cls, folder: Path | str, description: dict[str, Any] | None = None) -> CohortFolder:
        """Make a cohort's folder with a new key, or open the one that is there and renew its description.

        Raises
        ------
        OutputError
            When the folder holds something else, or cannot be written.
        """
        folder = Path(folder)
        names = {path.name for path in folder.iterdir() if path.name[0] != "."} if folder.is_dir() else set()
        if folder.is_file() or not names <= _ENTRIES:
            raise OutputError(f"'{folder}' holds something else than a cohort: choose another folder.")
        try:
            for name in ("private", "cases", "reviews", "incomplete"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            with (folder / "private" / "create.lock").open("a+") as lock, held(lock):
                return cls._claim(folder, description or {})
        except OSError as error:
            raise OutputError(
                f"'{folder}' cannot be made ({error.strerror}): choose a folder that you may write."
            ) from error

    @classmethod
    def _claim(cls, folder: Path, description: dict[str, Any]) -> CohortFolder:
        known = cls(folder).description if (folder / "cohort.json").is_file() else {}
        if known and not (folder / "private" / "key").is_file():
            raise OutputError(
                f"'{folder}' is a copy without its private folder, and a new key would make every case anew: "
                "go on in the cohort's own folder, or start another."
            )
        write_key(folder / "private" / "key")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        table = {"format": FORMAT, "format_version": _FORMAT_VERSION, "created": now, **known, **description}
        with atomic_path(folder / "cohort.json") as temporary:
            temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        return cls(folder)

    @property
    def cases_folder(self) -> Path:
        return self.folder / "cases"

    @property
    def reviews_folder(self) -> Path:
        return self.folder / "reviews"

    @property
    def tables_folder(self) -> Path:
        return self.folder / "tables"

    @property
    def private_folder(self) -> Path:
        return self.folder / "private"

    @property
    def key(self) -> bytes:
        """The secret of the keyed hash; an InputError when this is a copy without it."""
        return read_key(self.private_folder / "key")

    def subject_key(self, original_id: str) -> str:
        """What stands for a patient's identifier in every table of this cohort."""
        return Pseudonyms(self.key).subject(original_id)

    def case_stamps(self) -> dict[str, int]:
        """Every finished case and a number that changes when the case is written anew."""
        with os.scandir(self.cases_folder) as entries:
            return {entry.name: entry.stat().st_mtime_ns for entry in entries if not entry.name.startswith(".")}

    def read_record(self, case_id: str) -> dict[str, Any] | None:
        """The row of one case, or ``None`` when it is not finished or cannot be read."""
        try:
            return json.loads((self.cases_folder / case_id / "case.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    @contextmanager
    def new_case(self, case_id: str) -> Iterator[Path]:
        """A folder to fill with a case. When the block ends it takes the place of an earlier result, by one rename.

        Raises
        ------
        OutputError
            When it cannot be written; nothing of it is left behind then, and an earlier result stays.
        """
        temporary = None
        try:
            (self.folder / "incomplete").mkdir(exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f"{case_id}-", dir=self.folder / "incomplete"))
            with (temporary / "lock").open("a+") as lock, held(lock):
                new = temporary / "case"
                new.mkdir()
                yield new
                _flush(new)
                _put_in_place(new, self.cases_folder / case_id, temporary / "old")
        except OSError as error:
            raise OutputError(
                f"case {case_id} cannot be written to '{self.folder}' ({error.strerror or error}): "
                "free some space, and run the cohort again."
            ) from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)

    def write_case(self, record: CaseRecord, table: pa.Table | None = None) -> None:
        """Put one case into the cohort, of its record and its measurements alone; see `new_case` for more.

        Parameters
        ----------
        table : measurements, as :func:`myotome.store.tables.make_measurement_table` makes them

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        with self.new_case(record.case_id) as folder:
            write_tables(folder, record, table)

    def remove_leftovers(self) -> int:
        """Remove what writers that are gone left half-written; returns how many cases."""
        count = 0
        for temporary in list((self.folder / "incomplete").glob("*")):
            with contextlib.suppress(OSError), (temporary / "lock").open("a+") as lock:
                if time.time() - temporary.stat().st_ctime < _YOUNG_S:
                    continue  # its writer may not have taken the lock yet
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not `held`: without locks nobody is known to be gone
                shutil.rmtree(temporary, ignore_errors=True)
                count += 1
        return count


@contextmanager
def held(lock: IO[str], *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold a lock on an open file (read and write, as NFS wants it) for as long as the block lasts.

    On a file system that keeps no locks the block runs without.

    Raises
    ------
    BlockingIOError
        When somebody else holds it, and ``wait`` is False.
    """
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError(*error.args) from error
        if error.errno not in _NO_LOCKS:
            raise
    yield


def write_tables(folder: Path, record: CaseRecord, table: pa.Table | None) -> None:
    """Write a case's measurements and its record into its new folder."""
    if table is not None:
        pq.write_table(table, folder / "measurements.parquet", compression="zstd")
    text = json.dumps(record.as_row(), allow_nan=False)
    (folder / "case.json").write_text(text + "\n", encoding="utf-8")


def _flush(folder: Path) -> None:
    """Have everything in a folder on the disk before it is given its name."""
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _put_in_place(new: Path, target: Path, old: Path) -> None:
    """Give a case its name; what bore it before, or was given it in the meantime by another writer, makes room."""
    for attempt in range(2):
        if target.exists():
            target.rename(old.with_name(f"{old.name}-{attempt}"))
        try:
            new.rename(target)
            return
        except OSError as error:
            before = old.with_name(f"{old.name}-{attempt}")
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and attempt == 0:
                continue
            if before.exists() and not target.exists():
                before.rename(target)
            raise
