"""Training a bundle by its own configs, stage after stage, each in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from myotome.errors import BundleError
from myotome.processes import die_with_parent

__all__ = ["BundleTraining", "Run", "can_train", "ignore", "run_alone", "train_bundle"]

Run = Callable[[Sequence[str], Path, Mapping[str, str], Callable[[str], None]], int]
"""Of words for ``python -m``, the folder, the environment, and what is told of every line; gives the exit code."""

_PROGRESS = re.compile(r"(?P<stage>\w+) (?P<done>\d+)/(?P<total>\d+) loss (?P<loss>[\d.naif]+)")
_REASON = re.compile(r"myotome\.errors\.\w+: (?P<sentence>.+)")
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class BundleTraining:
    """What is trained: a bundle folder, the data list, where weights and checkpoints go, and keys to override.

    Paths may be relative to the folder that this is called in, among ``overrides`` where they are `Path`.
    ``weights`` is read when the file exists (training goes on from it) and written; ``overlays`` are config files of
    the bundle, such as ``finetune``, laid over those of every stage. ``only`` names the stages to run, all by default.
    """

    bundle: Path
    datalist: Path
    weights: Path
    checkpoints: Path
    overlays: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] | None = None


def can_train(bundle: Path | str) -> bool:
    """Whether a bundle has a training config."""
    return (Path(bundle) / "configs" / "train.yaml").is_file()


def ignore(words: str, share: float) -> None:
    """Tells nobody how far a training is."""


def run_alone(words: Sequence[str], folder: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Run ``python -m`` with words, in a folder, in a process of its own; each line that it prints is said."""
    command, pipes = [sys.executable, "-m", *words], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    given = {"cwd": folder, "env": dict(environment), "preexec_fn": die_with_parent}
    with subprocess.Popen(command, text=True, **given, **pipes) as process:
        for line in process.stdout:
            say(line.rstrip())
    return process.returncode


def train_bundle(training: BundleTraining, report: Callable[[str, float], None] = ignore, run: Run = run_alone) -> Path:
    """Run every stage of a bundle's training; an interrupted one goes on from its checkpoints.

    ``configs/train.yaml`` names the stages in its key ``stages``; the first is the file itself, the others are the
    overlays ``train_<stage>.yaml``. A bundle without that key has one stage. An overlay with that key
    runs some of them. A pretext task is an overlay that ``stages`` does not name; it is run when ``only`` does.

    Parameters
    ----------
    report : called with a line of words and the share of the whole that is done, 0 to 1
    run : how each stage's command gets a process

    Returns
    -------
    Path : the weights.

    Raises
    ------
    BundleError
        When a stage fails, and the sentence ends with the reason that it gave, or with what it said last; or when none
        of the stages is known.
    """
    configs = training.bundle / "configs"
    named = [YAML(typ="safe").load(configs / f"{name}.yaml").get("stages") for name in ("train", *training.overlays)]
    stages = named[0] or [None]
    wanted = training.only or next((names for names in reversed(named) if names), stages)
    pretexts = [name for name in training.only or () if (configs / f"train_{name}.yaml").is_file()]
    chosen = [stage for stage in dict.fromkeys((*pretexts, *stages)) if stage in wanted]
    if not chosen:
        raise BundleError(f"'{training.bundle.name}' has none of the stages {training.only}: it has {stages}.")
    for place, stage in enumerate(chosen):
        files = ["train", *([f"train_{stage}"] if stage != stages[0] else []), *training.overlays]
        options = {
            "bundle_root": training.bundle,
            "datalist": training.datalist,
            "weights_path": training.weights,
            "checkpoint_dir": training.checkpoints,
            **training.overrides,
        }
        options = {key: value.resolve() if isinstance(value, Path) else value for key, value in options.items()}
        _run(
            training.bundle,
            [configs / f"{name}.yaml" for name in files],
            options,
            lambda words, share, place=place: report(words, (place + share) / len(chosen)),
            run,
        )
    if not training.weights.is_file():
        raise BundleError(f"the training of '{training.bundle.name}' left no weights: see its log.")
    return training.weights


def _run(
    root: Path, files: list[Path], options: Mapping[str, Any], report: Callable[[str, float], None], run: Run
) -> None:
    words = ["monai.bundle", "run", "training", "--config_file", str([str(file) for file in files])]
    logging_file = root / "configs" / "logging.conf"
    if logging_file.is_file():
        words += ["--logging_file", str(logging_file)]
    for key, value in options.items():
        words += [f"--{key}", str(value)]
    last, reason = "it said nothing", None  # MONAI ends with words of its own, long after the sentence that says why

    def listen(line: str) -> None:
        nonlocal last, reason
        last, reason = line or last, _REASON.match(line) or reason
        found = _PROGRESS.search(line)
        if found:
            told = "{stage} {done}/{total}, loss {loss}".format(**found.groupdict())
            report(told, int(found["done"]) / int(found["total"]))

    if run(words, root, _environment(), listen):
        raise BundleError(f"the training of '{root.name}' failed: {reason['sentence'] if reason else last}")


def _environment() -> dict[str, str]:
    """Waiting threads sleep: with other work on the machine, spinning ones make training several times slower.

    What is freed stays with the process: asking for it again at each step took a quarter of VGG-19's time.
    """
    paths = [str(_CHECKOUT), os.environ.get("PYTHONPATH", "")]
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**40),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
