"""A training in steps: phantoms where there are none, lists of what each step learns from, and steps done once.

A step is a stage of a bundle, trained in a folder of its own. It may be stopped at any time, and goes on when it is
asked for again; the file ``done`` in its folder says that it has reached its end. `myotome.training.release` puts what
was trained into the bundle.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from myotome.errors import InputError
from myotome.training.bundle_run import BundleTraining, train_bundle

__all__ = ["Step", "Steps", "find_phantoms", "list_words", "make_teller", "read_lists", "read_overrides", "write_lists"]

Train = Callable[[BundleTraining, Callable[[str, float], None]], Path]

_CHECKOUT = Path(__file__).resolve().parents[2]
_DONE = "done"
_FILES = ("image", "label")


@dataclass(frozen=True)
class Step:
    """One training: its name, which is its folder's, the bundle's stage, its data list, and config keys of its own."""

    name: str
    stage: str
    datalist: Path
    keys: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()


@dataclass(frozen=True)
class Steps:
    """Where the steps of one bundle's training go, and what is the same in all of them.

    Parameters
    ----------
    bundle : the bundle's folder
    root : holds a folder per step, and what was read from the images (``cache``)
    minutes : after which a step stops, to be gone on with later; 0: it runs to its end
    overrides : config keys that go before a step's own
    train : `train_bundle`, or what stands for it in a test
    """

    bundle: Path
    root: Path
    minutes: float = 0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    train: Train = train_bundle

    def folder(self, name: str) -> Path:
        """Folder of a step."""
        return self.root.resolve() / name

    def weights(self, name: str) -> Path:
        """Weights of a step: of its end where `is_done`, else as far as it has come."""
        return self.folder(name) / "model.pt"

    def is_done(self, *names: str) -> bool:
        """Whether all of these steps were trained to their end."""
        return all(self.weights(name).is_file() and (self.folder(name) / _DONE).is_file() for name in names)

    def run(self, step: Step) -> bool:
        """Train a step, unless it is done; whether it is done now.

        Raises
        ------
        BundleError
            When the training fails.
        """
        if self.is_done(step.name):
            return True
        folder = self.folder(step.name)
        folder.mkdir(parents=True, exist_ok=True)
        keys = {"cache_dir": self.folder("cache"), "max_minutes": self.minutes, **step.keys, **self.overrides}
        training = BundleTraining(
            self.bundle,
            step.datalist.resolve(),
            self.weights(step.name),
            folder,
            step.overlays,
            keys,
            only=(step.stage,),
        )
        begun, tell, reached = time.monotonic(), make_teller(step.name), [0.0]

        def report(words: str, share: float) -> None:
            reached.append(share)
            tell(words, share)

        self.train(training, report)
        # What was not stopped by the clock has reached its end, or has ended early.
        if reached[-1] == 1 or not self.minutes or time.monotonic() - begun < 60 * self.minutes:
            (folder / _DONE).touch()
        return self.is_done(step.name)


def make_teller(name: str) -> Callable[[str, float], None]:
    """Prints lines such as ``level: level 40/2500, loss 0.4, 2 %, 0.3 min``; minutes count from now."""
    begun = time.monotonic()

    def tell(words: str, share: float) -> None:
        print(f"{name}: {words}, {100 * share:.0f} %, {(time.monotonic() - begun) / 60:.1f} min", flush=True)

    return tell


def read_overrides(words: Sequence[str]) -> dict[str, str]:
    """Config keys and values of words such as ``--iterations 2000`` or ``--iterations=2000``.

    Raises
    ------
    InputError
        When a key has no value, or a value no key.
    """
    found, waiting = {}, list(words)
    while waiting:
        key, equals, value = waiting.pop(0).partition("=")
        if not key.startswith("--") or not (equals or waiting):
            raise InputError(f"'{key}' is not a config key with a value: give them as -- --iterations 2000.")
        found[key.lstrip("-")] = value if equals else waiting.pop(0)
    return found


# -- phantoms and lists ------------------------------------------------------------------------------------------------


def find_phantoms(folder: Path, anatomy: str, recipe: Mapping[str, Any], jobs: int | None = None) -> Path:
    """The data list of phantoms, which ``myotome phantom`` makes in a process of its own where there is none.

    Parameters
    ----------
    anatomy : ``abdomen``, ``thorax`` ... as ``myotome phantom`` names it
    recipe : its options: ``{"count": 400, "seed": 500000}``; one that is true is given without a value
    jobs : made at the same time; as many as there are cores when ``None``

    Raises
    ------
    subprocess.CalledProcessError
        When they cannot be made; the command has said why.
    """
    datalist = folder / "datalist.json"
    if not datalist.is_file():
        run = [sys.executable, "-m", "myotome", "phantom", anatomy, *list_words(recipe)]
        run += ["--jobs", str(jobs or os.cpu_count() or 1), "-o", str(folder.resolve())]
        subprocess.run(run, check=True, cwd=_CHECKOUT)
    return datalist


def list_words(recipe: Mapping[str, Any]) -> list[str]:
    """Options of a command line: ``{"count": 4, "volume": True}`` gives ``--count 4 --volume``."""
    pairs = ((f"--{key}",) if value is True else (f"--{key}", str(value)) for key, value in recipe.items())
    return [word for pair in pairs for word in pair]


def read_lists(datalist: Path, names: Sequence[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Every list of a data list, ``image`` and ``label`` as whole paths.

    Parameters
    ----------
    names : what is kept of each row; all of it when ``None``
    """
    lists = {}
    for key, rows in json.loads(datalist.read_text(encoding="utf-8")).items():
        lists[key] = [{name: row[name] for name in names or row if name in row} for row in rows]
        for row in lists[key]:
            row |= {name: str(datalist.resolve().parent / row[name]) for name in _FILES if name in row}
    return lists


def write_lists(lists: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> Path:
    """Write a data list, and its folder where there is none; the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(lists, indent=1), encoding="utf-8")
    return path
