"""What studies begin with: a configuration read, people who are in one part only, and an output folder taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from myotome.errors import InputError, OutputError
from myotome.io.atomic import atomic_path

__all__ = [
    "MARKER",
    "People",
    "Settings",
    "claim_folder",
    "compute_fingerprint",
    "read_protocol",
    "refuse_other_kinds",
    "refuse_unknown_parts",
]

MARKER = "study.json"


@dataclass(frozen=True)
class People:
    """Phantoms of seeds ``seed`` to ``seed + count - 1``."""

    seed: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0:
            raise InputError(
                f"{self.count} phantoms from seed {self.seed} cannot be made: ask for 1 or more, from 0 on."
            )

    def overlaps(self, other: People) -> bool:
        """Whether a person stands in both."""
        return self.seed < other.seed + other.count and other.seed < self.seed + self.count


@dataclass(frozen=True)
class Settings:
    """What the settings of a study with a folder can do; a subclass has the parts of its configuration as fields."""

    of_the_analysis = ()
    """Parts that may change while the folder's jobs stay as they are."""

    @property
    def fingerprint(self) -> str:
        """Eight letters that differ when a job, or what it reads, would be another."""
        return compute_fingerprint({k: v for k, v in asdict(self).items() if k not in self.of_the_analysis})

    def changed(self, **choices: Any) -> Self:
        """The same with other choices; one that is ``None`` stays as it was."""
        return replace(self, **{name: value for name, value in choices.items() if value is not None})


def read_protocol(path: Path, preset: str | None = None) -> dict[str, Any]:
    """The parts of a study's configuration; a preset of the file is laid over them.

    Raises
    ------
    InputError
        When the file is not YAML, or there is no such preset.
    """
    try:
        table = YAML(typ="safe").load(path)
        presets = table.pop("presets", {})
    except (OSError, YAMLError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the study's configuration cannot be read ({reason}): give a YAML file.") from error
    if preset is not None and preset not in presets:
        raise InputError(f"the study's configuration has no preset '{preset}': it has {', '.join(presets) or 'none'}.")
    return table | presets.get(preset, {})


def refuse_unknown_parts(table: Mapping[str, Any], known: list[str], example: str) -> None:
    """Refuse a configuration that lacks a part or has one that nobody reads.

    Raises
    ------
    InputError
        With the name of the first such part, and the file to copy.
    """
    strange = sorted(set(table) - set(known)) or [name for name in known if name not in table]
    if strange:
        raise InputError(
            f"the study's configuration lacks a part or has an unknown one ('{strange[0]}'): begin with a copy of "
            f"{example}."
        )


@contextmanager
def refuse_other_kinds(example: str) -> Iterator[None]:
    """Refuse a configuration with a part of another kind, such as a number for a list, while values are made of it.

    Raises
    ------
    InputError
        With what Python said of the part, and the file to copy.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the study's configuration has a part of another kind ({error}): begin with a copy of {example}."
        ) from error


def compute_fingerprint(parts: Mapping[str, Any]) -> str:
    """Eight letters that differ when a part does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()[:8]


def claim_folder(output: Path, study: str, fingerprint: str) -> None:
    """Take a new or empty folder, or the folder of this study that was stopped.

    Raises
    ------
    OutputError
        When it holds something else, or a study with other settings.
    """
    marker = {"study": study, "fingerprint": fingerprint}
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        try:
            found = json.loads((output / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        if not isinstance(found, dict) or found.get("study") != study:
            raise OutputError("the output folder holds something else than this study: choose another folder.")
        if found != marker:
            raise OutputError("the output folder holds this study with other settings: choose another folder.")
        return
    with atomic_path(output / MARKER) as temporary:
        temporary.write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
