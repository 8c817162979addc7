"""A cohort's folder: where everything lies, and how a case appears in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from myotome.errors import InputError, OutputError
from myotome.io.atomic import atomic_path
from myotome.store.identifiers import Pseudonyms, read_key, write_key
from myotome.store.tables import CaseRecord

__all__ = ["FORMAT", "CohortFolder", "write_tables"]

FORMAT = "myotome-cohort"
_FORMAT_VERSION = 1
_YOUNG_S = 2.0


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
            version = self.description["format_version"]
        except (json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
            raise InputError(f"'{folder}/cohort.json' is damaged: start a cohort in another folder.") from error
        if version != _FORMAT_VERSION:
            raise InputError(f"'{folder}' is a cohort of format {version}, and this version reads {_FORMAT_VERSION}.")

    @classmethod
    def create(cls, folder: Path | str, description: dict[str, Any] | None = None) -> CohortFolder:
        """Make a cohort's folder with a new key, or open the one that is there and renew its description.

        Raises
        ------
        OutputError
            When the folder holds something else, or cannot be written.
        """
        folder = Path(folder)
        here = folder.is_dir() and any(entry.name != "private" for entry in folder.iterdir())
        if (folder.exists() and not folder.is_dir()) or (here and not (folder / "cohort.json").is_file()):
            raise OutputError(f"'{folder}' holds something else than a cohort: choose another folder.")
        try:
            for name in ("cases", "reviews", "incomplete"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"'{folder}' cannot be made ({error.strerror}): choose a folder that you may write."
            ) from error
        write_key(folder / "private" / "key")
        known = json.loads((folder / "cohort.json").read_text(encoding="utf-8")) if here else {}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        table = {"format": FORMAT, "format_version": _FORMAT_VERSION, "created": now, **known, **(description or {})}
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
        """The row of one case, or ``None`` when it is not finished."""
        try:
            return json.loads((self.cases_folder / case_id / "case.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
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
            with self._held(temporary):
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

    def write_case(
        self, record: CaseRecord, table: pa.Table | None = None, fill: Callable[[Path], None] | None = None
    ) -> None:
        """Put one case into the cohort.

        Parameters
        ----------
        table : measurements, as :func:`myotome.store.tables.make_measurement_table` makes them
        fill : called with the folder, before it appears, to write what else belongs to the case

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        with self.new_case(record.case_id) as folder:
            if fill is not None:
                fill(folder)
            write_tables(folder, record, table)

    @contextmanager
    def _held(self, temporary: Path) -> Iterator[None]:
        """Mark a folder as being written, for as long as this process lives."""
        with (temporary / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def remove_leftovers(self) -> int:
        """Remove what writers that are gone left half-written; returns how many cases."""
        count = 0
        for temporary in list((self.folder / "incomplete").glob("*")):
            with contextlib.suppress(OSError), (temporary / "lock").open("a") as lock:
                if time.time() - temporary.stat().st_ctime < _YOUNG_S:
                    continue  # its writer may not have taken the lock yet
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(temporary, ignore_errors=True)
                count += 1
        return count


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
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
