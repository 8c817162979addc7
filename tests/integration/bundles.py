"""What the tests of every bundle do with it: run it by MONAI, give a copy other weights, pack it and verify the zip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_monai(bundle: Path, *arguments: object, timeout_s: float = 600) -> subprocess.CompletedProcess:
    """`python -m monai.bundle` in a bundle's folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-m", "monai.bundle", *map(str, arguments)]
    return subprocess.run(run, cwd=bundle, env=environment, capture_output=True, text=True, timeout=timeout_s)


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


def pack_and_verify(name: str, folder: Path, weights: Path) -> list[str]:
    """Names in the zip of a bundle: packing twice gives the same bytes, and the zoo's gate lets it through."""
    run = [sys.executable, str(ROOT / "scripts" / "pack"), name, "--weights", str(weights)]
    for place in ("one", "two"):
        subprocess.run([*run, "--output", str(folder / place)], check=True, capture_output=True)
    packed = folder / "one" / f"{name}.zip"
    assert packed.read_bytes() == (folder / "two" / f"{name}.zip").read_bytes()
    verify = [sys.executable, str(ROOT / "scripts" / "verify"), str(packed)]
    done = subprocess.run(verify, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(packed).namelist()
