"""The peers' own environment, made once from `requirements/peers.txt`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import CHECKOUT

__all__ = ["make_peer_environment"]

_REQUIREMENTS = CHECKOUT / "requirements" / "peers.txt"


def make_peer_environment(folder: Path) -> Path:
    """Python of an environment with the pinned peers; made, or made anew, when the pins changed.

    Raises
    ------
    subprocess.CalledProcessError
        When uv cannot install them.
    """
    python, marker = folder / "bin" / "python", folder / "installed.txt"
    wanted = _REQUIREMENTS.read_text()
    if marker.is_file() and marker.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = [str(Path(sys.executable).with_name("uv"))]
    version = ".".join(map(str, sys.version_info[:2]))
    subprocess.run([*uv, "venv", "--quiet", "--python", version, str(folder)], check=True)
    subprocess.run([*uv, "pip", "install", "--python", str(python), "-r", str(_REQUIREMENTS)], check=True)
    compile_all = [str(python), "-m", "compileall", "-q", str(folder / "lib")]
    subprocess.run(compile_all, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    marker.write_text(wanted)
    return python
