"""Finished runs as JSON lines: written as they come, so that a bench that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["Ledger"]

_IDENTITY = ("part", "name", "input", "settings", "repeat", "after", "code", "machine")


class Ledger:
    """The runs in one file.

    A record holds ``part``, ``name``, ``input``, ``settings``, ``repeat`` and ``after`` (what was asked), ``code``,
    ``commit`` and ``machine`` (of what), and ``result`` or ``error``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: list[dict[str, Any]] = []
        if path.is_file():
            for line in path.read_text().splitlines():
                try:
                    self.records.append(json.loads(line))
                except json.JSONDecodeError:  # the last line of a bench that was killed
                    continue
        self._done = {_key(record) for record in self.records if "result" in record}

    def holds(self, record: dict[str, Any]) -> bool:
        """True when a run with this identity has a result."""
        return _key(record) in self._done

    def add(self, record: dict[str, Any]) -> None:
        """Keep a run, on disk at once."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.records.append(record)
        if "result" in record:
            self._done.add(_key(record))

    def latest(self, part: str) -> list[dict[str, Any]]:
        """The results of a part that were measured on the code and the machine of its newest one.

        A run that was repeated (after an error, or by hand) counts once, with its last result.
        """
        found = [record for record in self.records if record["part"] == part and "result" in record]
        if not found:
            return []
        newest = max(found, key=lambda record: record["time"])
        alike = {_key(r): r for r in found if (r["code"], r["machine"]) == (newest["code"], newest["machine"])}
        return list(alike.values())

    def errors(self, part: str, code: str) -> list[dict[str, Any]]:
        """Runs of a part that failed on some code and were not done since."""
        failed = [r for r in self.records if r["part"] == part and r["code"] == code and "error" in r]
        return list({_key(r): r for r in failed if _key(r) not in self._done}.values())

    def usual_seconds(self, part: str, name: str, source: str) -> float | None:
        """How long such a run took the last time, process start included."""
        found = [
            record["process_s"]
            for record in self.records
            if (record["part"], record["name"], record["input"]) == (part, name, source) and "result" in record
        ]
        return found[-1] if found else None


def _key(record: dict[str, Any]) -> str:
    identity = json.dumps([record.get(name) for name in _IDENTITY], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()
