"""Who is at work on which image, so that two readers never get the same one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from myotome.io.atomic import atomic_path

__all__ = ["Reservation", "Reservations"]


@dataclass(frozen=True)
class Reservation:
    """An image kept for a reader until a moment (seconds since 1970). ``parent`` is the version open at the time."""

    image_id: str
    reader: str
    until: float
    strategy: str = ""
    second_reading: bool = False
    parent: str | None = None


class Reservations:
    """The reservations in force, in one file that is replaced whole.

    Parameters
    ----------
    path : the file
    hours : how long a reservation holds
    clock : the present in seconds since 1970
    """

    def __init__(self, path: Path | str, hours: float = 8.0, clock: Callable[[], float] = time.time) -> None:
        self.path, self.hours, self.clock = Path(path), hours, clock
        self._lock = threading.Lock()
        self._held: dict[str, Reservation] = {}
        if self.path.is_file():
            try:
                rows = [Reservation(**row) for row in json.loads(self.path.read_text())]
            except (json.JSONDecodeError, TypeError):
                rows = []  # reservations are a convenience: readers ask again
            self._held = {row.image_id: row for row in rows}

    def held(self) -> dict[str, Reservation]:
        """Reservations in force, by image."""
        now = self.clock()
        return {key: row for key, row in self._held.items() if row.until > now}

    def take(self, reservation: Callable[[dict[str, Reservation]], Reservation | None]) -> Reservation | None:
        """Choose and reserve in one step that no other reader can come between.

        Parameters
        ----------
        reservation : given what is held, returns what to reserve (its ``until`` is set here), or ``None``
        """
        with self._lock:
            wanted = reservation(self.held())
            if wanted is None:
                return None
            row = Reservation(**{**asdict(wanted), "until": self.clock() + 3600 * self.hours})
            # A reader who asks for another image lets go of the one before.
            self._held = {key: held for key, held in self.held().items() if held.reader != row.reader}
            self._held[row.image_id] = row
            self._write()
            return row

    def release(self, image_id: str, reader: str | None = None) -> Reservation | None:
        """End a reservation; of one reader only, when a reader is given."""
        with self._lock:
            held = self._held.get(image_id)
            if held is None or (reader is not None and held.reader != reader):
                return None
            del self._held[image_id]
            self._write()
            return held

    def _write(self) -> None:
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps([asdict(row) for row in self._held.values()], indent=1))
