"""What MONAI Label imports and this app does not have: pydicom-seg, which cannot be installed beside pydicom 3.

MONAI Label names it in `monailabel.datastore.utils.convert` only, to read and write DICOM SEG; this app does both
with highdicom (`myotome.io.dicom_segmentation`), so the stand-in is imported and never used.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["install_standins"]


class _PydicomSeg(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError("DICOM SEG is read and written by myotome.io.dicom_segmentation, not by pydicom-seg.")


def install_standins() -> None:
    """Make ``import monailabel`` work; to be called before it."""
    sys.modules.setdefault("pydicom_seg", _PydicomSeg("pydicom_seg"))
