"""What the tests of every bundle do with it: run it by MONAI, give a copy other weights, pack it and verify the zip."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from tests.integration.monai_processes import MonaiProcesses

ROOT = Path(__file__).parents[2]
_PROCESSES = MonaiProcesses()


def run_monai(bundle: Path, *arguments: object, timeout_s: float = 600) -> subprocess.CompletedProcess:
    """`python -m monai.bundle` in a bundle's folder."""
    return _PROCESSES.run(bundle, list(map(str, arguments)), (str(ROOT),), timeout_s)


def run_training(words: Sequence[str], folder: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> int:
    """A stage of `train_bundle`, for its ``run``; what it prints is said when it has ended."""
    assert words[0] == "monai.bundle"
    done = _PROCESSES.run(folder, list(words[1:]), (str(ROOT),))
    for line in (done.stdout + done.stderr).splitlines():
        say(line)
    return done.returncode


def run_program(bundle: Path, *arguments: object, timeout_s: float = 600) -> str:
    """What a program of a bundle printed; it has to succeed."""
    done = run_monai(bundle, "run", *arguments, timeout_s=timeout_s)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def copy_bundle(name: str, folder: Path, weights: Path | None = None) -> Path:
    """A copy of a bundle in a folder, with other weights or none, whose metadata names no sum of them."""
    bundle = folder / name
    shutil.copytree(ROOT / "bundle" / name, bundle, ignore=shutil.ignore_patterns("*.pt"))
    if weights is not None:
        shutil.copyfile(weights, bundle / "models" / "model.pt")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    metadata.pop("weights_sha256", None)  # a bundle that has not been trained names none
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return bundle


def verify(packed: Path) -> None:
    """The zoo's gate as people run it, with a Python started for each check."""
    run = [sys.executable, str(ROOT / "scripts" / "verify"), str(packed)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def verify_quickly(packed: Path) -> None:
    """Every check of the zoo's gate; those of ``python -m monai.bundle`` do not import MONAI anew each time."""
    gate = _load_program(ROOT / "scripts" / "verify")

    class Bundle(gate.Bundle):
        def python(self, *arguments: str) -> subprocess.CompletedProcess:
            if arguments[:2] != ("-m", "monai.bundle"):
                return super().python(*arguments)
            return _PROCESSES.run(self.root, list(arguments[2:]), timeout_s=900)

    folder = packed.with_suffix("")
    zipfile.ZipFile(packed).extractall(folder)
    (root,) = folder.iterdir()
    for name, check in Bundle(root, folder).checks():
        try:
            check()
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error


def pack_and_verify(name: str, folder: Path, weights: Path, gate: Callable[[Path], None] = verify_quickly) -> list[str]:
    """Names in the zip of a bundle: packing twice gives the same bytes, and the zoo's gate lets it through."""
    run = [sys.executable, str(ROOT / "scripts" / "pack"), name, "--weights", str(weights)]
    for place in ("one", "two"):
        subprocess.run([*run, "--output", str(folder / place)], check=True, capture_output=True)
    packed = folder / "one" / f"{name}.zip"
    assert packed.read_bytes() == (folder / "two" / f"{name}.zip").read_bytes()
    gate(packed)
    return zipfile.ZipFile(packed).namelist()


def _load_program(path: Path) -> ModuleType:
    """A program without a suffix, as a module."""
    module = module_from_spec(spec_from_loader(path.name, SourceFileLoader(path.name, str(path))))
    module.__loader__.exec_module(module)
    return module
