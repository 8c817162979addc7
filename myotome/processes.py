"""Child processes that end with the process that started them, however that ends."""

from __future__ import annotations

import ctypes
import signal
import sys

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to end this process when the thread that started it is gone; nothing happens elsewhere.

    To be called in the child, for instance as ``preexec_fn`` of :class:`subprocess.Popen`.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
