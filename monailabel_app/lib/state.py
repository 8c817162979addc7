"""Where the server keeps what it makes: one folder, laid out here and nowhere else."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from myotome.active_learning.annotations import folder_name

__all__ = ["State", "default_state", "measurements_of"]


def default_state(studies: str) -> Path:
    """``.myotome`` in a studies folder; for a PACS, a folder of its own under ``~/.local/share/myotome``."""
    if not studies.startswith(("http://", "https://")):
        return Path(studies) / ".myotome"
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "myotome" / "servers" / hashlib.sha256(studies.rstrip("/").encode()).hexdigest()[:16]


def measurements_of(draft: Path) -> Path:
    """The reply that belongs to a draft's label map, beside it."""
    return draft.with_suffix("").with_suffix(".json")


@dataclass(frozen=True)
class State:
    """Paths below the server's own folder.

    ``annotations`` and ``champions`` are to be backed up; all else can be made again.
    """

    root: Path

    @property
    def annotations(self) -> Path:
        return self.root / "annotations"

    @property
    def reservations(self) -> Path:
        return self.root / "reservations.json"

    def champions(self, bundle: str) -> Path:
        return self.root / "champions" / bundle

    def validation_list(self, bundle: str) -> Path:
        return self.root / "champions" / bundle / "validation.json"

    def training(self, bundle: str) -> Path:
        return self.root / "training" / bundle

    def draft(self, bundle: str, weights_sha256: str, image_id: str) -> Path:
        """Label map of a draft; see `measurements_of`."""
        return self.root / "drafts" / bundle / weights_sha256[:16] / f"{folder_name(image_id)}.nii.gz"

    def scores(self, bundle: str, weights_sha256: str, image_id: str) -> Path:
        return self.root / "scores" / bundle / weights_sha256[:16] / f"{folder_name(image_id)}.json"

    def image(self, image_id: str) -> Path:
        """An image as one compressed NIfTI, for clients that want a file."""
        return self.root / "images" / f"{folder_name(image_id)}.nii.gz"

    def training_pair(self, image_id: str, version: str) -> Path:
        """Folder of one annotated case as training reads it: uncompressed, RAS."""
        return self.root / "training" / "cases" / folder_name(image_id) / version

    @property
    def downloads(self) -> Path:
        """Series fetched from a PACS."""
        return self.root / "series"

    @property
    def pacs(self) -> Path:
        """Which segmentations of the PACS are known here."""
        return self.root / "pacs.json"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"
