"""Identifiers that cannot be turned back without the cohort's key.

A keyed hash (HMAC-SHA256, RFC 2104) stands for every identifier of a patient, a study and a case. The key is made once
per cohort and lies in its ``private`` folder; whoever shares the rest of the folder leaves that one at home.
"""

from __future__ import annotations

import contextlib
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
_UID = re.compile(r"\b\w+(?:\.\w+){3,}\b")
_QUOTED = re.compile(r"(?<!\w)'.*?'(?!\w)")
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
        new = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
        with atomic_path(new) as temporary:
            temporary.write_text(secrets.token_hex(_KEY_BYTES), encoding="ascii")
        new.chmod(0o600)
        with contextlib.suppress(FileExistsError):  # of two that make one, the first counts
            os.link(new, path)
        new.unlink()
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
    except PermissionError as error:
        raise InputError(f"'{path}' is its owner's alone: ask whoever made the cohort, or make your own.") from error
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
        text = "\0".join((kind, *parts))
        return hmac.new(self._key, text.encode(errors="surrogateescape"), hashlib.sha256).digest()

    def case(self, *parts: str) -> str:
        """Sixteen hexadecimal digits for what makes a case: a study's or series' UID, or a file's path."""
        return self._digest("case", *parts).hex()[:16]

    def subject(self, original: str) -> str:
        """``S`` and twelve hexadecimal digits for a patient's identifier; blanks around it do not count."""
        return "S" + self._digest("subject", original.strip()).hex()[:12]

    def signature(self, *parts: str) -> str:
        """Sixteen hexadecimal digits that change when any part does."""
        return self._digest("signature", *parts).hex()[:16]

    def uid(self, original: str) -> str:
        """A DICOM UID (root 2.25, an integer of 128 bits) for a UID."""
        return f"2.25.{int.from_bytes(self._digest('uid', original.strip())[:16], 'big')}"


def scrub(sentence: str, secrets_of_case: Iterable[str]) -> str:
    """A sentence without what it may say about a person: the given words, anything in quotes, UIDs.

    Parameters
    ----------
    secrets_of_case : identifiers, names, descriptions and paths of the case, taken out whole; then quotes and UIDs;
        then the words of the secrets
    """
    whole = {os.fspath(secret).strip() for secret in secrets_of_case if secret}
    words = {part for word in whole for part in _WORD.findall(word)}
    sentence = _without(sentence, whole)
    return _without(_UID.sub("…", _QUOTED.sub("'…'", sentence)), words)


def _without(sentence: str, words: set[str]) -> str:
    """Take words out, the longest first; what is shorter than a name is left, or nothing would be."""
    for word in sorted((word for word in words if len(word) >= _SHORTEST_SECRET), key=len, reverse=True):
        sentence = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "…", sentence)
    return sentence
