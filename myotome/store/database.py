"""SQL over a cohort, read-only: DuckDB over the cases' files and over the tables in which many of them are gathered."""

from __future__ import annotations

import glob
import json
import secrets
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from myotome.errors import InputError, OutputError
from myotome.io.atomic import atomic_path
from myotome.store.folder import CohortFolder, held
from myotome.store.reviews import write_review
from myotome.store.tables import CASE_COLUMNS, MEASUREMENT_SCHEMA

__all__ = ["Store"]

_GATHERED = ("cases", "measurements")
_CONTENTS_VERSION = 1
_MEASUREMENT_TYPES = {"value": "DOUBLE", "lower": "DOUBLE", "upper": "DOUBLE", "slice_index": "INTEGER"}
_MEASUREMENT_COLUMNS = {
    name: "VARCHAR[]" if name == "flags" else _MEASUREMENT_TYPES.get(name, "VARCHAR")
    for name in MEASUREMENT_SCHEMA.names
}
_REVIEW_COLUMNS = {
    "case_id": "VARCHAR",
    "decision": "VARCHAR",
    "reviewer": "VARCHAR",
    "note": "VARCHAR",
    "reviewed_at": "TIMESTAMP",
}


class Store:
    """A cohort's tables: ``cases``, ``measurements``, ``reviews`` and ``included_measurements``, for SQL.

    What is read is the cohort as it was when the store was made; make another to see what came since.

    Parameters
    ----------
    folder : of the cohort

    Raises
    ------
    InputError
        When it is not a cohort's folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.cohort = CohortFolder(folder)
        self._stamps = self.cohort.case_stamps()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        return self.cohort.folder

    @property
    def cases_folder(self) -> Path:
        return self.cohort.cases_folder

    @property
    def key(self) -> bytes:
        """The secret of the cohort's keyed hash."""
        return self.cohort.key

    def subject_key(self, original_id: str) -> str:
        """What stands for a patient's identifier in this cohort."""
        return self.cohort.subject_key(original_id)

    def write_review(self, case_id: str, decision: str, reviewer: str, note: str = "") -> None:
        """Keep a reader's decision; see :func:`myotome.store.reviews.write_review`."""
        write_review(self.cohort, case_id, decision, reviewer, note)

    def frame(self, sql: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """The answer to one query.

        Parameters
        ----------
        sql : one SELECT (or WITH, FROM, DESCRIBE, SUMMARIZE ...) over the views
        parameters : of the query's question marks

        Raises
        ------
        InputError
            When it is not SQL, is more than one statement, or would write anything.
        """
        with self._lock:
            try:
                statements = self._open().extract_statements(sql)
            except duckdb.Error as error:
                raise InputError(f"this is not SQL that can be read ({_first_line(error)}).") from error
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise InputError("the cohort is only read by SQL: give one SELECT.")
            try:
                return self._answer(statements[0], parameters)
            except duckdb.Error as error:
                raise InputError(f"the query cannot be answered ({_first_line(error)}).") from error

    def _answer(self, statement: duckdb.Statement, parameters: Sequence[Any]) -> pd.DataFrame:
        """Run a statement; once more on the cohort as it is now, when a case was written anew under our hands."""
        try:
            return self._open().execute(statement, list(parameters)).df()
        except duckdb.IOException:
            self._renew()
            return self._open().execute(statement, list(parameters)).df()

    def compact(self) -> int:
        """Gather the measurements of every finished case in one file, so that later stores open at once.

        The cases' own files stay what counts: a case written anew is read from its folder until the next time.

        Returns
        -------
        int : cases that were gathered anew; 0 also when somebody else is at it.

        Raises
        ------
        OutputError
            When it cannot be done; the cohort is as good without.
        """
        try:
            self.cohort.tables_folder.mkdir(exist_ok=True)
            with (self.cohort.tables_folder / "lock").open("a+") as lock, held(lock, wait=False), self._lock:
                return self._gather()
        except BlockingIOError:
            return 0
        except (OSError, duckdb.Error) as error:
            raise OutputError(
                f"the tables of '{self.folder}' cannot be gathered ({_first_line(error)}): it is tried again after the "
                "next run."
            ) from error

    def _gather(self) -> int:
        self._renew()
        contents, loose, stale = self._sort_out()
        if not loose and not stale:
            return 0
        token = secrets.token_hex(4)
        names = {view: f"{view}-{token}.parquet" for view in _GATHERED}
        for view, name in names.items():
            with atomic_path(self.cohort.tables_folder / name) as temporary:
                _write_parquet(self._open().sql(f"SELECT * FROM {view}"), temporary)
        with atomic_path(self.cohort.tables_folder / "contents.json") as temporary:
            table = {"version": _CONTENTS_VERSION, **names, "stamps": self._stamps}
            temporary.write_text(json.dumps(table), encoding="utf-8")
        kept = {*names.values(), *(contents.get(view) for view in _GATHERED)}
        for view in _GATHERED:
            for path in self.cohort.tables_folder.glob(f"{view}-*.parquet"):
                if path.name not in kept:
                    path.unlink(missing_ok=True)
        self._renew()
        return len(loose)

    def _renew(self) -> None:
        """Look at the cohort anew when it is next asked."""
        self._connection, self._stamps = None, self.cohort.case_stamps()

    def _sort_out(self) -> tuple[dict[str, Any], list[str], list[str]]:
        """The gathered tables' contents; cases to be read from their folders; gathered cases that are out of date."""
        try:
            contents = json.loads((self.cohort.tables_folder / "contents.json").read_text(encoding="utf-8"))
            stamps = contents["stamps"]
            complete = contents["version"] == _CONTENTS_VERSION
            complete &= all((self.cohort.tables_folder / contents[view]).is_file() for view in _GATHERED)
        except (OSError, ValueError, KeyError):
            complete = False
        if not complete:
            return {}, sorted(self._stamps), []
        loose = sorted(case for case, stamp in self._stamps.items() if stamps.get(case) != stamp)
        stale = sorted(case for case, stamp in stamps.items() if self._stamps.get(case) != stamp)
        return contents, loose, stale

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config={"python_enable_replacements": False})
        contents, loose, stale = self._sort_out()
        for table, case_ids in (("loose_cases", loose), ("stale_cases", stale)):
            connection.execute(f"CREATE TABLE {table} (case_id VARCHAR)")
            if case_ids:
                connection.from_arrow(_as_column(case_ids)).insert_into(table)
        root = self.cases_folder
        everything = len(loose) == len(self._stamps)
        sources = {
            "cases": (CASE_COLUMNS, "case.json", _read_json),
            "measurements": (_MEASUREMENT_COLUMNS, "measurements.parquet", _read_parquet),
        }
        for view, (columns, name, read) in sources.items():
            parts = []
            if contents:
                gathered = _quoted(glob.escape(str(self.cohort.tables_folder / contents[view])))
                parts.append(_read_parquet(gathered, columns) + " WHERE case_id NOT IN (FROM stale_cases)")
            files = (glob.escape(str(path)) for case in loose if (path := root / case / name).is_file())
            if first := next(files, None):
                pattern = f"{glob.escape(str(root))}/*/{name}"
                paths = _quoted(pattern) if everything else _list([first, *files])
                parts.append(read(paths, columns) + " WHERE case_id IN (FROM loose_cases)")
            connection.execute(f"CREATE VIEW {view} AS " + (" UNION ALL ".join(parts) or _empty(columns)))
        decisions = sorted(glob.escape(str(path)) for path in self.cohort.reviews_folder.glob("*/*.json"))
        history = _read_json(_list(decisions), _REVIEW_COLUMNS) if decisions else _empty(_REVIEW_COLUMNS)
        connection.execute(f"CREATE TABLE review_history AS {history}")
        connection.execute(
            "CREATE VIEW reviews AS SELECT * FROM review_history "
            "QUALIFY row_number() OVER (PARTITION BY case_id ORDER BY reviewed_at DESC) = 1"
        )
        connection.execute(
            "CREATE VIEW included_measurements AS SELECT * FROM measurements "
            "WHERE case_id NOT IN (SELECT case_id FROM reviews WHERE decision = 'exclude')"
        )
        folders = [f"{root}/", f"{self.cohort.tables_folder}/"]
        allowed = [*folders, *map(glob.escape, folders)]  # what is compared is the pattern
        connection.execute(f"SET allowed_directories = {_list(allowed)}")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, texts)) + "]"


def _as_column(values: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.table({"case_id": pa.array(values, pa.string())})


def _read_json(files: str, columns: dict[str, str]) -> str:
    types = ", ".join(f"{name}: {_quoted(kind)}" for name, kind in columns.items())
    how = "format='newline_delimited', hive_partitioning=false, ignore_errors=true"
    return f"SELECT * FROM read_json({files}, {how}, columns={{{types}}})"


def _read_parquet(files: str, columns: dict[str, str]) -> str:
    return f"SELECT {', '.join(columns)} FROM read_parquet({files}, hive_partitioning=false)"


def _empty(columns: dict[str, str]) -> str:
    return "SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items()) + " LIMIT 0"


def _write_parquet(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    """Stream an answer into a Parquet file, a batch at a time."""
    import pyarrow.parquet as pq

    batches = rows.to_arrow_reader(500_000)
    with pq.ParquetWriter(path, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
