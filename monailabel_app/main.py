"""Myotome's MONAI Label app; what it does is in `lib`.

It is started by `myotome serve`; MONAI Label starts it again, as a process of its own, for each training.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lib.standins import install_standins

install_standins()

from lib.app import MyotomeApp

__all__ = ["MyotomeApp"]
