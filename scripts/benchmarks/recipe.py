"""The one recipe that every pipeline of the comparison is given: constants alone, which cost nothing to import."""

from __future__ import annotations

__all__ = ["CLASSES", "OVERLAP", "ROI", "SPACING_MM", "WINDOW_HU"]

ROI = (96, 96, 96)
OVERLAP = 0.5
SPACING_MM = 1.5
WINDOW_HU = (-150.0, 250.0)
CLASSES = 5
