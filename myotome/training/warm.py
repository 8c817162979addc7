"""Trainings one after the other without starting Python for each: a process that has imported everything forks.

To import torch and MONAI takes ten seconds of a processor, a fifth of a short training. A study of many short trainings
keeps a `WarmTrainer`: the process behind it imports them once, and each training is a child of it, as separate from the
next as if it had been started by itself. Requests are lines of JSON on its standard input; what a training says comes
out of its standard output, and after that a line with the exit code.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from myotome.processes import die_with_parent
from myotome.training.bundle_run import BundleTraining, ignore, train_bundle

__all__ = ["WarmTrainer"]

_END = "-- myotome training ended "
_PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


class WarmTrainer:
    """`train_bundle` for many trainings one after the other.

    The process behind it is started by the first training, and again where it has ended. A copy, such as one that was
    pickled for another machine, has a process of its own.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_process": None}

    def __enter__(self) -> WarmTrainer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self, training: BundleTraining, report: Callable[[str, float], None] = ignore) -> Path:
        """As `train_bundle`."""
        return train_bundle(training, report, self.run)

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], say: Callable[[str], None]
    ) -> int:
        """Run ``python -m`` with words, in a folder; each line that it prints is said. Its exit code."""
        process, code = self._open(environment), None
        try:
            process.stdin.write(json.dumps({"words": list(words), "folder": str(folder)}) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith(_END):
                    code = int(line.removeprefix(_END))
                    return code
                say(line.rstrip())
            return process.wait() or 1
        finally:
            if code is None:
                self.close()

    def close(self) -> None:
        """End the process, and a training that is under way."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _open(self, environment: Mapping[str, str]) -> subprocess.Popen:
        if self._process is None or self._process.poll() is not None:
            self.close()
            # What asks for a GPU by the driver would keep the forks from using it.
            given = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **environment}
            command = [sys.executable, "-m", __name__]
            self._process = subprocess.Popen(command, env=given, preexec_fn=die_with_parent, **_PIPES)
        return self._process


def _serve() -> None:
    """Import what every training imports, then run what standard input asks for until it is closed."""
    import monai.bundle  # noqa: F401

    import myotome.training  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            _become(request["words"], request["folder"])
        _, status = os.waitpid(child, 0)
        print(f"\n{_END}{os.waitstatus_to_exitcode(status)}", flush=True)


def _become(words: Sequence[str], folder: str) -> None:
    """Be the module that was asked for, and end."""
    code = 1
    try:
        die_with_parent()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        sys.path[0], sys.argv = folder, list(words)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
