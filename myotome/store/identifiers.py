"""Identifiers that cannot be turned back without the cohort's key.

A keyed hash (HMAC-SHA256, RFC 2104) stands for every identifier of a patient, a study and a case. The key is made once
per cohort and lies in its ``private`` folder; whoever shares the rest of the folder leaves that one at home.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from myotome.errors import InputError
from myotome.io.atomic import atomic_path

__all__ = ["Pseudonyms", "read_key", "scrub", "write_key"]

_KEY_BYTES = 32
_SHORTEST_SECRET = 3
_UID = re.compile(r"\b[0-2](?:\.\d+){4,}\b")
_QUOTED = re.compile(r"'[^']*'")
_WORD = re.compile(r"[^\W_]+")


def write_key(path: Path) -> bytes:
    """Make a cohort's key, readable by its owner alone; the one that is there is kept.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        with atomic_path(path) as temporary:
            temporary.write_text(secrets.token_hex(_KEY_BYTES), encoding="ascii")
        path.chmod(0o600)
    return read_key(path)


def read_key(path: Path) -> bytes:
    """A cohort's key.

    Raises
    ------
    InputError
        When it is absent, as in a copy that was made to be shared, or damaged.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise InputError(
            f"'{path}' is not there, so patients cannot be matched by their identifiers: "
            "use the cohort's original folder, not a copy that was made to be shared."
        ) from error
    except ValueError as error:
        raise InputError(f"'{path}' is damaged: restore it from a backup, or identifiers cannot be matched.") from error
    if len(key) != _KEY_BYTES:
        raise InputError(f"'{path}' is damaged: restore it from a backup, or identifiers cannot be matched.")
    return key


class Pseudonyms:
    """What stands for identifiers in everything that leaves a cohort's ``private`` folder.

    Parameters
    ----------
    key : the cohort's secret; another key gives other pseudonyms
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _digest(self, kind: str, *parts: str) -> bytes:
        return hmac.new(self._key, "\0".join((kind, *parts)).encode(), hashlib.sha256).digest()

    def case(self, *parts: str) -> str:
        """Sixteen hexadecimal digits for what makes a case: a study's or series' UID, or a file's path."""
        return self._digest("case", *parts).hex()[:16]

    def subject(self, original: str) -> str:
        """``S`` and twelve hexadecimal digits for a patient's identifier; blanks around it do not count."""
        return "S" + self._digest("subject", original.strip()).hex()[:12]

    def uid(self, original: str) -> str:
        """A DICOM UID (root 2.25, an integer of 128 bits) for a UID."""
        return f"2.25.{int.from_bytes(self._digest('uid', original.strip())[:16], 'big')}"


def scrub(sentence: str, secrets_of_case: Iterable[str]) -> str:
    """A sentence without what it may say about a person: the given words, anything in quotes, UIDs.

    Parameters
    ----------
    secrets_of_case : identifiers, names, descriptions and paths of the case; each is taken out whole, then word by word
    """
    words = {os.fspath(secret).strip() for secret in secrets_of_case if secret}
    words |= {part for word in list(words) for part in _WORD.findall(word)}
    for word in sorted((word for word in words if len(word) >= _SHORTEST_SECRET), key=len, reverse=True):
        sentence = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "…", sentence)
    return _UID.sub("…", _QUOTED.sub("'…'", sentence))
