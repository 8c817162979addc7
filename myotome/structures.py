"""Anatomical structures, the schemas that number them (``configs/structures.yaml``) and the maps that place them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from myotome.errors import InputError
from myotome.geometry import Grid
from myotome.resources import config_path

__all__ = ["Code", "LabelMap", "LabelSchema", "Structure", "present_labels", "read_label_schema", "read_structure"]

_SLAB_VOXELS = 1 << 20


@dataclass(frozen=True)
class Code:
    """A coded concept: value, coding scheme (``SCT`` or ``DCM``) and meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """One labelled structure.

    ``code`` is what the structure is; ``parts`` are the anatomical codes it is made of where no single code names
    the whole (pectoralis is major and minor). ``sided`` structures are measured on the right and on the left.
    """

    index: int
    name: str
    title: str
    category: Code
    code: Code
    colour: tuple[int, int, int]
    parts: tuple[Code, ...] = ()
    sided: bool = True


@dataclass(frozen=True)
class LabelSchema:
    """The numbering of one kind of label map. Index 0 is always background."""

    name: str
    structures: tuple[Structure, ...]

    def __getitem__(self, name: str) -> Structure:
        for structure in self.structures:
            if structure.name == name:
                return structure
        raise KeyError(f"schema '{self.name}' has no structure '{name}'")

    @property
    def class_count(self) -> int:
        """Number of classes, background included."""
        return 1 + max(structure.index for structure in self.structures)

    def channel_def(self) -> dict[str, str]:
        """The numbering as a bundle's metadata writes it: ``{"0": "background", "1": ...}``."""
        return {"0": "background", **{str(structure.index): structure.name for structure in self.structures}}


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One structure index per voxel, 0 for background, in the numbering of a schema.

    Raises
    ------
    InputError
        When the array does not fit the grid or holds a label that the schema does not know.
    """

    array: np.ndarray
    grid: Grid
    schema: LabelSchema

    def __post_init__(self) -> None:
        if tuple(self.array.shape) != self.grid.shape:
            raise InputError(f"a label map of shape {self.array.shape} does not fit a grid of {self.grid.shape}.")
        if self.array.dtype != np.uint8:
            raise InputError(f"a label map is stored as uint8, not {self.array.dtype}: convert it without rounding.")
        known = {0, *(structure.index for structure in self.schema.structures)}
        unknown = sorted(set(present_labels(self.array)) - known)
        if unknown:
            raise InputError(
                f"labels {unknown} are not in schema '{self.schema.name}': it knows {self.schema.channel_def()}."
            )


def present_labels(array: np.ndarray) -> list[int]:
    """The values that occur in a uint8 array, ascending; counted slab by slab, in the order they lie in memory."""
    flat = array.ravel(order="K")
    seen = np.zeros(256, dtype=bool)
    for start in range(0, flat.size, _SLAB_VOXELS):
        seen[np.bincount(flat[start : start + _SLAB_VOXELS], minlength=256) > 0] = True
    return [int(value) for value in np.flatnonzero(seen)]


@cache
def read_label_schema(name: str = "respiratory_muscle_ct") -> LabelSchema:
    """Read one label schema from ``configs/structures.yaml``.

    Raises
    ------
    InputError
        When the file has no schema of that name.
    """
    table = _read_table()
    if name not in table["schemas"]:
        raise InputError(f"no label schema '{name}': configs/structures.yaml has {', '.join(table['schemas'])}.")
    return LabelSchema(name, tuple(_make(key, int(index)) for index, key in table["schemas"][name].items()))


@cache
def read_structure(name: str) -> Structure:
    """Read one structure from ``configs/structures.yaml``, with index 0: it need not be in a schema.

    What stands for several labels, such as the vertebral column, is measured and has no label of its own.

    Raises
    ------
    InputError
        When the file has no structure of that name.
    """
    if name not in _read_table()["structures"]:
        raise InputError(f"no structure '{name}' in configs/structures.yaml: add it there, with its codes.")
    return _make(name, 0)


@cache
def _read_table() -> dict[str, Any]:
    return YAML(typ="safe").load(config_path("structures.yaml"))


def _make(name: str, index: int) -> Structure:
    table = _read_table()
    entry, codes = table["structures"][name], {key: Code(*code) for key, code in table["codes"].items()}
    return Structure(
        index=index,
        name=name,
        title=entry["title"],
        category=codes[entry["category"]],
        code=codes[entry["code"]],
        colour=tuple(entry["colour"]),
        parts=tuple(codes[part] for part in entry.get("parts", ())),
        sided=entry.get("sided", True),
    )
