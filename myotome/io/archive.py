"""Zip archives, unpacked to a temporary folder that is gone when the work is done."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from myotome.errors import InputError

__all__ = ["unpacked"]

_MEMBER_LIMIT = 100_000
_BLOCK = 1 << 20


def _checked_target(root: Path, member: zipfile.ZipInfo, archive: Path) -> Path:
    """Where a member may be written: below the root, a plain file, not encrypted."""
    target = (root / member.filename.replace("\\", "/")).resolve()
    if not target.is_relative_to(root):
        raise InputError(f"the archive '{archive.name}' holds a path that leaves it: make it again from plain files.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"the archive '{archive.name}' holds a link: make it again from plain files.")
    if member.flag_bits & 0x1:
        raise InputError(f"the archive '{archive.name}' is encrypted: unpack it and give the folder.")
    return target


def _copy_member(source: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, room_bytes: int) -> int:
    """Write one member, counting what really comes out of it; the number of bytes, or more than the room."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with source.open(member) as stream, target.open("wb") as file:
        while block := stream.read(_BLOCK):
            written += len(block)
            if written > room_bytes:
                break
            file.write(block)
    return written


def _unpack(archive: Path, root: Path, limit_bytes: int) -> None:
    with zipfile.ZipFile(archive) as source:
        members = [member for member in source.infolist() if not member.is_dir()]
        if len(members) > _MEMBER_LIMIT:
            raise InputError(f"the archive '{archive.name}' holds {len(members)} files: give one study at a time.")
        room = min(limit_bytes, int(0.9 * shutil.disk_usage(root).free))
        for member in members:
            target = _checked_target(root, member, archive)
            room -= _copy_member(source, member, target, room)
            if room < 0:
                raise InputError(
                    f"the archive '{archive.name}' unpacks to more than the {limit_bytes / 2**30:.3g} GiB allowed, or "
                    "than the temporary folder holds: unpack it and give the folder."
                )


@contextmanager
def unpacked(archive: Path | str, *, limit_bytes: int = 16 * 2**30) -> Iterator[Path]:
    """Unpack a zip archive to a temporary folder, removed when the block ends.

    Parameters
    ----------
    archive : path of the zip file
    limit_bytes : most bytes it may unpack to, counted while unpacking (the archive's own figures are not believed)

    Raises
    ------
    InputError
        When it is not a zip archive, is damaged or encrypted, leaves its folder, holds links, or is too large.
    """
    archive = Path(archive)
    with tempfile.TemporaryDirectory(prefix="myotome-") as name:
        root = Path(name).resolve()
        try:
            _unpack(archive, root, limit_bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise InputError(f"'{archive.name}' is not a zip archive that can be read: copy it again.") from error
        except OSError as error:
            raise InputError(
                f"the archive '{archive.name}' cannot be unpacked ({error.strerror}): unpack it and give the folder."
            ) from error
        yield root
