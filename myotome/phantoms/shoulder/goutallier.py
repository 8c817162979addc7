"""Goutallier's five grades as shares of fat: what the words of the grades are taken to mean in a drawn muscle."""

from __future__ import annotations

import numpy as np

__all__ = ["FAT_RANGES_PERCENT", "GRADE_COUNTS", "draw_fat_percent", "draw_grade", "grade_from_fat"]

# Lowest and highest fat content (% of the area inside the contour) of each grade. Goutallier et al. 1994 (Clin Orthop
# Relat Res 304:78-83) give words: 0 no fat, 1 some fatty streaks, 2 less fat than muscle, 3 as much fat as muscle,
# 4 more fat than muscle. The numbers are this project's reading of those words, not a published calibration.
FAT_RANGES_PERCENT = ((0.0, 5.0), (5.0, 20.0), (20.0, 45.0), (45.0, 55.0), (55.0, 100.0))

# Shoulders of each grade among the 606 of Saavedra et al. 2024 (Front Med 11:1416169).
GRADE_COUNTS = (403, 114, 51, 24, 14)

# Where in its range a drawn shoulder lies: a beta distribution over these limits (%).
_DRAWN = (
    ((0.3, 4.9), (1.3, 2.2)),
    ((5.1, 19.9), (1.0, 1.5)),
    ((20.1, 44.9), (1.1, 1.3)),
    ((45.1, 54.9), (1.1, 1.1)),
    ((55.1, 82.0), (1.1, 2.2)),
)


def grade_from_fat(fat_percent: float) -> int:
    """Grade (0-4) of a muscle with this share of fat (%); a value on a limit has the higher grade."""
    return int(np.searchsorted([low for low, _ in FAT_RANGES_PERCENT[1:]], fat_percent, side="right"))


def draw_grade(rng: np.random.Generator) -> int:
    """A grade, as frequent as among the 606 shoulders of the paper."""
    return int(rng.choice(len(GRADE_COUNTS), p=np.array(GRADE_COUNTS) / sum(GRADE_COUNTS)))


def draw_fat_percent(grade: int, rng: np.random.Generator) -> float:
    """A fat content (%) of the given grade; low and moderate contents are the more frequent ones."""
    (low, high), (first, second) = _DRAWN[grade]
    return float(low + (high - low) * rng.beta(first, second))
