"""Readers' decisions: kept in the store, at once or from a file that a page on disk gave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from myotome.cohort.quality_page import UNDECIDED, cohort_mark
from myotome.errors import InputError
from myotome.store import DECISIONS, Store

__all__ = ["DECISIONS_FORMAT", "Imported", "import_decisions", "list_decided", "read_latest_review"]

DECISIONS_FORMAT = "myotome-decisions"
_LARGEST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Imported:
    """What became of the decisions of a file: ``written``, or ``older`` than what the store has already."""

    written: int
    older: int


@dataclass(frozen=True)
class _Decision:
    case_id: str
    decision: str
    reviewer: str
    note: str
    decided_at: datetime


def read_latest_review(store: Store, case_id: str) -> dict[str, Any] | None:
    """The latest decision of one case, whatever was written since the store was opened; ``None`` when there is none."""
    folder = store.cohort.reviews_folder / case_id
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")
        row = json.loads((folder / names[-1]).read_text(encoding="utf-8")) if names else None
    except FileNotFoundError:
        return None
    if row is not None:
        row["reviewed_at"] = _as_utc(row["reviewed_at"]).replace(tzinfo=None).isoformat(timespec="microseconds")
    return row


def import_decisions(store: Store, path: Path | str, reviewer: str = "") -> Imported:
    """Write the decisions that a page on disk kept into the store.

    All are checked before the first is written. One that is older than the store's decision on the case is left out, so
    that the same file can be given twice, and a later decision is never undone.

    Parameters
    ----------
    path : file that the page's button "Download decisions" wrote
    reviewer : who decided; the names in the file when empty

    Raises
    ------
    InputError
        When the file is not of that kind or of another cohort, names a case or a decision that is not known, or nobody
        is named.
    """
    table = _read_table(Path(path))
    if table.get("cohort") != cohort_mark(store):
        raise InputError(f"'{path}' holds decisions about another cohort: give the file that its own page wrote.")
    known = set(store.frame("SELECT case_id FROM cases")["case_id"])
    decisions = []
    for number, entry in enumerate(table["decisions"], start=1):
        try:
            decisions.append(_check(entry, known, reviewer))
        except InputError as error:
            raise InputError(f"decision {number} of '{path}' {error}") from error
    written = 0
    for decision in decisions:
        latest = read_latest_review(store, decision.case_id)
        if latest is None or _as_utc(latest["reviewed_at"]) < decision.decided_at:
            store.write_review(decision.case_id, decision.decision, decision.reviewer, decision.note)
            written += 1
    return Imported(written, len(decisions) - written)


def list_decided(store: Store, decision: str) -> list[str]:
    """Cases whose latest decision is this one, in order; ``undecided`` gives those without any.

    Raises
    ------
    InputError
        When there is no such decision.
    """
    if decision == UNDECIDED:
        sql = "SELECT case_id FROM cases WHERE case_id NOT IN (SELECT case_id FROM reviews WHERE decision <> ?)"
    elif decision in DECISIONS:
        sql = "SELECT case_id FROM reviews WHERE decision = ?"
    else:
        raise InputError(f"'{decision}' is no decision: give one of {', '.join(DECISIONS)}.")
    return store.frame(f"{sql} ORDER BY case_id", [decision])["case_id"].tolist()


def _read_table(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"'{path}' is too large to be a file of decisions.")
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(f"'{path}' is not JSON: give the file that 'Download decisions' wrote.") from error
    if not isinstance(table, dict) or table.get("format") != DECISIONS_FORMAT or table.get("format_version") != 1:
        raise InputError(f"'{path}' is no file of decisions: give the one that 'Download decisions' wrote.")
    if not isinstance(table.get("decisions"), list):
        raise InputError(f"'{path}' has no list of decisions: download it from the page again.")
    return table


def _check(entry: Any, known: set[str], reviewer: str) -> _Decision:
    """One entry of a file, or the end of the sentence that says what is wrong with it."""
    entry = entry if isinstance(entry, dict) else {}
    case_id, decision, note, who = (str(entry.get(key) or "") for key in ("case_id", "decision", "note", "reviewer"))
    if case_id not in known:
        raise InputError(f"is about '{case_id[:40]}', which is no case of this cohort.")
    if decision not in DECISIONS:
        raise InputError(f"is '{decision[:40]}': it must be one of {', '.join(DECISIONS)}.")
    if not (reviewer or who).strip():
        raise InputError("names no reader: say who decided with --reviewer.")
    try:
        return _Decision(case_id, decision, reviewer or who, note, _as_utc(str(entry.get("decided_at"))))
    except ValueError as error:
        raise InputError("has no time: download the file again.") from error


def _as_utc(text: str) -> datetime:
    """A time in ISO format; one without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
