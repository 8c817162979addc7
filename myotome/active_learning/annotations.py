"""Readers' label maps, every version kept: checked, written whole or not at all, the newest wins."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np

from myotome.errors import GeometryError, InputError, OutputError
from myotome.geometry import Grid
from myotome.io import read_label_map, write_label_map
from myotome.io.atomic import atomic_folder, atomic_path
from myotome.structures import LabelMap, LabelSchema, read_label_schema

__all__ = ["Annotation", "AnnotationStore", "Authorship", "folder_name", "rename_labels", "require_same_grid"]

_SAME_PLACE_MM = 0.05
_BACKGROUND_NAMES = ("background", "")
_LONGEST_NAME = 150


@dataclass(frozen=True)
class Authorship:
    """Who drew a label map, with what, and from where it started.

    ``model`` is the sha256 of the weights whose draft was corrected; ``parent`` the version that was open before.
    """

    author: str = "unknown"
    client: str = "unknown"
    model: str | None = None
    parent: str | None = None
    seconds: float | None = None
    origin: str | None = None


@dataclass(frozen=True)
class Annotation:
    """One saved version of an image's labels. ``voxels`` counts each structure; all zero is an intended empty mask."""

    image_id: str
    version: str
    created: str
    schema: str
    authorship: Authorship
    voxels: dict[str, int] = field(hash=False)
    labels_sha256: str
    folder: Path

    @property
    def path(self) -> Path:
        """The label map, as NIfTI on the image's grid."""
        return self.folder / "labels.nii.gz"

    def to_json(self) -> dict:
        """What a client or a page may show."""
        row = asdict(self)
        row.pop("folder")
        return row


def folder_name(image_id: str) -> str:
    """A single, safe folder name for an image id; different ids have different names.

    Raises
    ------
    InputError
        When the id is empty, or climbs out of a folder.
    """
    parts = image_id.split("/")
    if not image_id or "\0" in image_id or "\\" in image_id or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"'{image_id[:80]}' is no image id: take one from the list of images.")
    name = quote(image_id, safe="")
    return name if len(name) <= _LONGEST_NAME else hashlib.sha256(image_id.encode()).hexdigest()


def rename_labels(array: np.ndarray, grid: Grid, schema: LabelSchema, names: Mapping[int, str] | None) -> LabelMap:
    """A client's label array in the numbering of a schema, told by the names of its segments.

    Parameters
    ----------
    array : (X, Y, Z) whole numbers, 0 for background, in the client's own numbering
    grid : where the array lies
    schema : numbering of the result
    names : client's number to segment name (a structure's name or title, in any case, with ``_`` or blanks);
        ``None`` when the client says nothing, and the numbers are then the schema's own

    Raises
    ------
    InputError
        When a number has no name, or a name is not in the schema; the sentence lists those that are.
    """
    values = _values(array)
    if values[0] < 0 or any(value % 1 for value in values):
        raise InputError("the label holds values that are not whole numbers from 0 up: save a label map.")
    if names is None:
        if values[-1] > 255:
            raise InputError(f"the label holds the value {values[-1]:g}, which no structure has: save a label map.")
        return LabelMap(np.asarray(array, np.uint8), grid, schema)
    known = {_key(word): s.index for s in schema.structures for word in (s.name, s.title)}
    known |= dict.fromkeys(_BACKGROUND_NAMES, 0)
    titles = ", ".join(structure.name for structure in schema.structures)
    labels = np.zeros(array.shape, np.uint8)
    for value in (int(value) for value in values if value):
        name = names.get(value)
        if name is None:
            raise InputError(f"value {value} of the label has no segment name: name its segments from {titles}.")
        if _key(name) not in known:
            raise InputError(f"the segment '{name[:60]}' is not a structure of this model: name segments {titles}.")
        labels[array == value] = known[_key(name)]
    return LabelMap(labels, grid, schema)


def _values(array: np.ndarray) -> list[float]:
    """The values that occur, ascending; plane by plane, so that a large volume is never copied."""
    found: set[float] = set()
    for plane in np.moveaxis(array, -1, 0):
        found.update(np.unique(plane).tolist())
    return sorted(found)


def _key(name: str) -> str:
    return name.strip().casefold().replace("_", " ")


class AnnotationStore:
    """Versions of label maps under one folder: ``<image>/v0001/{labels.nii.gz, annotation.json}``, never rewritten.

    A version appears by one rename, when both its files are on the disk: a process killed at any moment leaves the
    older versions as they were, and at most a hidden unfinished folder that nobody reads.

    Parameters
    ----------
    root : made when it is absent
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self._saving = threading.Lock()
        self._known: dict[Path, Annotation] = {}

    def save(self, image_id: str, label_map: LabelMap, image_grid: Grid, authorship: Authorship) -> Annotation:
        """Keep a label map as the newest version of an image's labels.

        Raises
        ------
        GeometryError
            When the label map does not lie on the image's grid.
        OutputError
            When it cannot be written; the older versions stay.
        """
        require_same_grid(label_map.grid, image_grid)
        home = self.root / folder_name(image_id)
        counts = sum(np.bincount(plane.ravel(), minlength=256) for plane in np.moveaxis(label_map.array, -1, 0))
        voxels = {s.name: int(counts[s.index]) for s in label_map.schema.structures}
        with self._saving:
            number = self._last_number(home) + 1
            while True:
                version = f"v{number:04d}"
                try:
                    with atomic_folder(home / version) as folder:
                        write_label_map(folder / "labels.nii.gz", label_map)
                        digest = hashlib.sha256((folder / "labels.nii.gz").read_bytes()).hexdigest()
                        annotation = Annotation(
                            image_id=image_id,
                            version=version,
                            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
                            schema=label_map.schema.name,
                            authorship=authorship,
                            voxels=voxels,
                            labels_sha256=digest,
                            folder=home / version,
                        )
                        with atomic_path(folder / "annotation.json") as temporary:
                            temporary.write_text(json.dumps(annotation.to_json(), indent=1))
                    return annotation
                except OutputError:
                    if not (home / version).exists():
                        raise
                    number += 1  # another process saved this number first

    def versions(self, image_id: str) -> list[Annotation]:
        """Every version of an image's labels, oldest first."""
        return self._in_folder(self.root / folder_name(image_id))

    def newest(self, image_id: str, schema: str | None = None) -> Annotation | None:
        """The version that counts: the one saved last; of one label schema, when one is named."""
        versions = [row for row in self.versions(image_id) if schema in (None, row.schema)]
        return versions[-1] if versions else None

    def by_reader(self, image_id: str, schema: str | None = None) -> dict[str, Annotation]:
        """Each reader's newest version; of one label schema, when one is named."""
        rows = [row for row in self.versions(image_id) if schema in (None, row.schema)]
        return {annotation.authorship.author: annotation for annotation in rows}

    def find(self, image_id: str, version: str) -> Annotation:
        """One version.

        Raises
        ------
        InputError
            When there is no such version.
        """
        for annotation in self.versions(image_id):
            if annotation.version == version:
                return annotation
        raise InputError(f"there is no version '{version[:20]}' of the labels of '{image_id[:80]}': see its versions.")

    def image_ids(self, schema: str | None = None) -> list[str]:
        """Images that have at least one version; of one label schema, when one is named."""
        homes = sorted(path for path in self.root.iterdir() if path.is_dir())
        rows = ([row for row in self._in_folder(home) if schema in (None, row.schema)] for home in homes)
        return [found[0].image_id for found in rows if found]

    @staticmethod
    def read(annotation: Annotation) -> LabelMap:
        """The label map of a version.

        Raises
        ------
        InputError
            When the file is not the one that was saved.
        """
        found = hashlib.sha256(annotation.path.read_bytes()).hexdigest()
        if found != annotation.labels_sha256:
            raise InputError(f"{annotation.path} is not the file that was saved: restore it from a backup.")
        return read_label_map(annotation.path, read_label_schema(annotation.schema))

    def _in_folder(self, home: Path) -> list[Annotation]:
        """The versions in an image's folder. A version never changes, so each is read from the disk once."""
        found = []
        for name in sorted(os.listdir(home)) if home.is_dir() else ():
            folder = home / name
            if folder not in self._known and _is_version(name) and (folder / "annotation.json").is_file():
                self._known[folder] = _read_annotation(folder)
            if folder in self._known:
                found.append(self._known[folder])
        return found

    @staticmethod
    def _last_number(home: Path) -> int:
        numbers = [int(name[1:]) for name in os.listdir(home) if _is_version(name)] if home.is_dir() else []
        return max(numbers, default=0)


def require_same_grid(labels: Grid, image: Grid) -> None:
    """Refuse labels that do not lie on their image's voxels, in whatever axis order either is stored.

    Raises
    ------
    GeometryError
    """
    ours, theirs = (sorted(zip(grid.axis_codes, grid.shape, strict=True), key=_axis) for grid in (labels, image))
    if [size for _, size in ours] != [size for _, size in theirs]:
        raise GeometryError(
            f"the label's shape {labels.shape} is not that of its image, {image.shape}: save the labels on the grid of "
            "the image they were drawn on."
        )
    if not np.allclose(_corners(labels), _corners(image), atol=_SAME_PLACE_MM):
        raise GeometryError("the label lies elsewhere than its image: save the labels on the grid of the image.")


def _axis(entry: tuple[str, int]) -> int:
    return "LRPAIS".index(entry[0]) // 2


def _corners(grid: Grid) -> np.ndarray:
    """Lowest and highest patient coordinate of the voxel centres along each axis, in mm."""
    index = np.array(np.meshgrid(*[(0, size - 1) for size in grid.shape], indexing="ij")).reshape(3, -1)
    places = grid.affine[:3, :3] @ index + grid.affine[:3, 3:]
    return places[:, np.lexsort(places.round(2))]


def _is_version(name: str) -> bool:
    return name.startswith("v") and name[1:].isdigit()


def _read_annotation(folder: Path) -> Annotation:
    row = json.loads((folder / "annotation.json").read_text())
    row["authorship"] = Authorship(**row["authorship"])
    return Annotation(**row, folder=folder)
