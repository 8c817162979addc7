"""Reconstruction kernels by their makers' names: sharp (lung, bone, edge) or not."""

from __future__ import annotations

import re

__all__ = ["is_sharp_kernel"]

_SHARP_WORDS = ("LUNG", "BONE", "EDGE", "SHARP", "ULTRA")  # GE and others
_SHARP_CODES = {"D", "E", "L", "YC", "YD", "YE"}  # Philips
_SIEMENS = re.compile(r"^(?:[BHIJTUQS][A-Z]?)(\d\d)")
_SIEMENS_SHARPEST_SOFT = 49
_CANON = re.compile(r"^FC(\d\d)")


def is_sharp_kernel(kernel: str) -> bool:
    """True for a kernel that sharpens edges and noise, such as ``B70f``, ``LUNG`` or ``FC52``; False when unknown.

    Siemens numbers grow with sharpness (50 and over is sharp), Canon's FC30 to FC39 are bone and FC50 to FC59 and
    FC80 and over lung.
    """
    name = kernel.upper().split("/")[0].strip()
    if any(word in name for word in _SHARP_WORDS) or name in _SHARP_CODES:
        return True
    if match := _SIEMENS.match(name):
        return int(match[1]) > _SIEMENS_SHARPEST_SOFT
    if match := _CANON.match(name):
        number = int(match[1])
        return 30 <= number < 40 or 50 <= number < 60 or number >= 80
    return False
