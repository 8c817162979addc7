"""Processes of ``python -m monai.bundle`` that are forked from one that has imported MONAI, which takes many seconds.

Run as a program, it reads a task a line and forks a child for each, which becomes ``python -m monai.bundle`` with the
task's folder, path, environment and arguments. MONAI and what it is used with are imported by then, Myotome is not.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import site
import subprocess
import sys
import tempfile
from pathlib import Path

PRELOADED = ("monai.bundle", "ignite.engine", "nibabel", "scipy.ndimage", "torchvision")


class MonaiProcesses:
    """Runs ``python -m monai.bundle``, one process after the other; the first that is asked for starts the forker."""

    def __init__(self) -> None:
        self._forker: subprocess.Popen | None = None

    def run(
        self, folder: Path, arguments: list[str], path: tuple[str, ...] = (), timeout_s: float = 600
    ) -> subprocess.CompletedProcess:
        """What the command said and returned in a folder; ``path`` is what PYTHONPATH names besides the packages."""
        with tempfile.TemporaryDirectory() as scratch:
            said = [str(Path(scratch, name)) for name in ("stdout", "stderr")]
            task = {"folder": str(folder), "path": path, "environment": _environment(path)}
            try:
                code = self._ask({**task, "arguments": arguments, "said": said}, timeout_s)
            except BaseException:
                self.close()
                raise
            stdout, stderr = (Path(name).read_text(errors="replace") for name in said)
        return subprocess.CompletedProcess(arguments, code, stdout, stderr)

    def close(self) -> None:
        """End the forker and what it runs."""
        if self._forker is not None:
            os.killpg(self._forker.pid, 9)
            self._forker.communicate()
            self._forker = None

    def _ask(self, task: dict, timeout_s: float) -> int:
        if self._forker is None:
            # Without `site`, whose .pth files may name a checkout.
            run, pipe = [sys.executable, "-S", "-P", __file__], subprocess.PIPE
            options = {"text": True, "env": _environment(()), "start_new_session": True}
            self._forker = subprocess.Popen(run, stdin=pipe, stdout=pipe, **options)
        self._forker.stdin.write(json.dumps(task) + "\n")
        self._forker.stdin.flush()
        if not select.select([self._forker.stdout], [], [], timeout_s)[0]:
            raise subprocess.TimeoutExpired(task["arguments"], timeout_s)
        return int(self._forker.stdout.readline())


def _environment(path: tuple[str, ...]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((*path, *site.getsitepackages())), "OMP_NUM_THREADS": "1"}


def _fork_for_each_task() -> dict | None:
    """In each child its task, and None in the forker, when there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def _become(task: dict) -> None:
    for number, name in ((0, os.devnull), (1, task["said"][0]), (2, task["said"][1])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.path[:0] = [task["folder"], *task["path"]]
    sys.argv[1:] = task["arguments"]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in PRELOADED:
        importlib.import_module(name)
    assert "myotome" not in sys.modules
    if (own := _fork_for_each_task()) is not None:
        _become(own)
