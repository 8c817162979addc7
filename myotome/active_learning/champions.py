"""The model in use and those before it: a challenger replaces it only when it is better on held-out patients."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from myotome.errors import BundleError, InputError
from myotome.io.atomic import atomic_folder, atomic_path

__all__ = ["Champion", "ChampionHistory", "ValidationList", "Verdict", "copy_bundle", "judge"]

_FEWEST_CASES = 3
_RESAMPLES = 5000


@dataclass(frozen=True)
class Champion:
    """A bundle folder in use. Round 0 is the bundle as it was shipped."""

    number: int
    root: Path
    weights_sha256: str


@dataclass(frozen=True)
class Verdict:
    """Challenger minus champion over the validation cases: the mean of the paired differences and its 95 % interval."""

    better: bool
    difference: float | None
    lower: float | None
    upper: float | None
    cases: int
    reason: str


def judge(champion: Mapping[str, float], challenger: Mapping[str, float], seed: int = 0) -> Verdict:
    """Compare two models case by case (paired bootstrap over cases, percentile interval, 5000 resamples).

    Parameters
    ----------
    champion, challenger : score of each validation case, higher is better; one case per patient

    Returns
    -------
    Verdict
        ``better`` only when the whole interval lies above 0, and there are at least three cases.

    Raises
    ------
    InputError
        When the two were not scored on the same cases.
    """
    if champion.keys() != challenger.keys():
        raise InputError("champion and challenger were scored on different cases: score both on the validation list.")
    count = len(champion)
    if count < _FEWEST_CASES:
        return Verdict(False, None, None, None, count, f"{count} validation cases are too few: {_FEWEST_CASES} needed")
    differences = np.array([challenger[case] - champion[case] for case in sorted(champion)])
    draws = np.random.default_rng(seed).integers(0, count, (_RESAMPLES, count))
    lower, upper = (float(value) for value in np.percentile(differences[draws].mean(axis=1), (2.5, 97.5)))
    better = lower > 0
    words = "better beyond its interval" if better else "not better beyond its interval"
    return Verdict(better, float(differences.mean()), lower, upper, count, words)


class ValidationList:
    """Which patients are held out, decided once for each and never again.

    A patient who is seen for the first time joins the validation list when less than ``share`` of the patients is on
    it, but never before the first training patient.

    Parameters
    ----------
    path : the file, replaced whole
    """

    def __init__(self, path: Path | str, share: float = 0.25) -> None:
        self.path, self.share = Path(path), share
        self._roles: dict[str, str] = {}
        if self.path.is_file():
            try:
                self._roles = dict(json.loads(self.path.read_text())["patients"])
            except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{self.path} is not a list of validation patients: restore it, or scores would leak."
                ) from error

    def divide(self, cases: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
        """Training and validation cases of ``(case, patient)`` pairs; new patients are assigned in the given order."""
        fresh = [patient for patient in dict.fromkeys(patient for _, patient in cases) if patient not in self._roles]
        for patient in fresh:
            held_out = sum(role == "validation" for role in self._roles.values())
            due = self._roles and held_out < self.share * (len(self._roles) + 1)
            self._roles[patient] = "validation" if due else "training"
        if fresh:
            with atomic_path(self.path) as temporary:
                temporary.write_text(json.dumps({"share": self.share, "patients": self._roles}, indent=1))
        training = [case for case, patient in cases if self._roles[patient] == "training"]
        validation = [case for case, patient in cases if self._roles[patient] == "validation"]
        return training, validation


class ChampionHistory:
    """Champions of one bundle: ``round_0001/<bundle>/`` ... as whole bundles, the pointer, and what happened when.

    Everything appears by a rename; a process killed at any moment leaves the champion that was.

    Parameters
    ----------
    folder : for this bundle's champions
    shipped : the bundle as it was shipped, round 0
    """

    def __init__(self, folder: Path | str, shipped: Path | str) -> None:
        self.folder, self.shipped = Path(folder), Path(shipped)

    def current(self) -> Champion:
        """The champion. A pointer that is missing means round 0; one that points nowhere, the last whole round."""
        try:
            number = int(json.loads((self.folder / "champion.json").read_text())["round"])
        except FileNotFoundError:
            number = 0
        except (json.JSONDecodeError, KeyError, TypeError, ValueError):
            number = max(self.rounds())
        return self.find(number if number in self.rounds() else max(self.rounds()))

    def rounds(self) -> list[int]:
        """Numbers of the rounds that have a whole bundle; 0 is always there."""
        found = [int(path.name[6:]) for path in self.folder.glob("round_*") if path.name[6:].isdigit()]
        return [0, *sorted(found)]

    def find(self, number: int) -> Champion:
        """The bundle of one round.

        Raises
        ------
        InputError
            When there was no such round.
        """
        if number not in self.rounds():
            raise InputError(f"there is no round {number} to go back to: the rounds are {self.rounds()}.")
        root = self.folder / f"round_{number:04d}" / self.shipped.name if number else self.shipped
        weights = root / "models" / "model.pt"
        if not weights.is_file():
            raise BundleError(f"bundle '{self.shipped.name}' has no weights at {weights}: train it, or download them.")
        stat = weights.stat()
        return Champion(number, root, _digest(weights, stat.st_mtime_ns, stat.st_size))

    def publish(self, weights: Path | str, verdict: Verdict, details: Mapping[str, Any] | None = None) -> Champion:
        """Make new weights the champion: a whole bundle, then the pointer, then the history's line."""
        number = max(self.rounds()) + 1
        with atomic_folder(self.folder / f"round_{number:04d}") as folder:
            copy_bundle(self.shipped, folder / self.shipped.name, weights, number)
        self._point_to(number)
        champion = self.find(number)
        found = {"verdict": asdict(verdict), "weights_sha256": champion.weights_sha256}
        self.record("published", round=number, **found, **(details or {}))
        return champion

    def roll_back(self, number: int | None = None) -> Champion:
        """Make an earlier round the champion again: a given one, or the champion before the present one.

        Raises
        ------
        InputError
            When there is no such round, or nothing to go back to.
        """
        present = self.current()
        if number is None:
            earlier = [found for found in self.rounds() if found < present.number]
            if not earlier:
                raise InputError("the champion is the bundle as it was shipped: there is nothing to go back to.")
            number = earlier[-1]
        champion = self.find(number)
        self._point_to(number)
        self.record("rolled_back", round=number, before=present.number, weights_sha256=champion.weights_sha256)
        return champion

    def events(self) -> list[dict[str, Any]]:
        """What happened, oldest first; a line that was cut short is left out."""
        path = self.folder / "history.jsonl"
        events = []
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return events

    def record(self, event: str, **details: Any) -> None:
        """Add one line to the history."""
        self.folder.mkdir(parents=True, exist_ok=True)
        row = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **details}
        with (self.folder / "history.jsonl").open("a") as file:
            # A line that a killed process left unfinished must not swallow this one.
            file.write("\n" * (file.tell() > 0) + json.dumps(row))
            file.flush()
            os.fsync(file.fileno())

    def _point_to(self, number: int) -> None:
        with atomic_path(self.folder / "champion.json") as temporary:
            temporary.write_text(json.dumps({"round": number}))


@cache
def _digest(path: Path, changed_ns: int, size: int) -> str:
    """SHA-256 of a file, computed once for each state of it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copy_bundle(shipped: Path, root: Path, weights: Path | str, number: int = 0) -> None:
    """A bundle with other weights, whose sha256 its metadata names; as a round of its own version when numbered."""
    shutil.copytree(shipped, root, ignore=shutil.ignore_patterns("*.pt", "*.ts", "*.onnx", "__pycache__", "eval"))
    (root / "models").mkdir(exist_ok=True)
    shutil.copyfile(weights, root / "models" / "model.pt")
    path = root / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["weights_sha256"] = {"models/model.pt": hashlib.sha256(Path(weights).read_bytes()).hexdigest()}
    if number:
        version = f"{metadata['version'].partition('+')[0]}+round{number}"
        metadata["version"] = version
        metadata["changelog"][version] = f"trained further on a site's own labels, round {number}"
    path.write_text(json.dumps(metadata, indent=4) + "\n")
