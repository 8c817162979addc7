"""A simulated reader who grades by eye: the truth, blurred as much as readers disagree in the literature."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.shoulder.goutallier import FAT_RANGES_PERCENT

__all__ = ["RATER_SPREAD", "rate"]

# Standard deviation of a reading on the scale of grades. Between two such readers of shoulders with the paper's
# frequencies, Cohen's plain (unweighted) kappa is 0.62; of one reader against the true grade it is higher.
RATER_SPREAD = 0.345

_LIMITS = [low for low, _ in FAT_RANGES_PERCENT] + [100.0]


def rate(fat_percent: float, seed: int, rater: int = 0) -> int:
    """The grade (0-4) that a reader gives a muscle of this fat content.

    The fat content is placed on a continuous scale of grades (linear between the grades' limits: 5 % is 1.0, 20 % is
    2.0), a normal deviate of `RATER_SPREAD` is added, and what is left of the decimal point is the grade.

    Parameters
    ----------
    fat_percent : true fat content.
    seed : of the shoulder; the same shoulder is always read alike by one reader.
    rater : number of the reader; readers are independent of each other.
    """
    place = float(np.interp(fat_percent, _LIMITS, range(len(_LIMITS))))
    deviate = np.random.default_rng((seed, 59, rater)).normal()
    return int(np.clip(np.floor(place + RATER_SPREAD * deviate), 0, 4))
