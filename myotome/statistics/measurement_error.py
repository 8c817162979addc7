"""How large a measurement's error is, as far as a few cases with known truth can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from myotome.errors import InputError

__all__ = ["MeasurementError", "estimate_error"]

_FEWEST = 5


@dataclass(frozen=True)
class MeasurementError:
    """The random part of an error; a bias does not change a correlation.

    ``relative`` errors multiply the truth: measured = truth (1 + e). Then ``share`` is c / (1 + c) with
    c = var(e) / (1 + mean(e))^2, and the error's variance in a sample is ``share`` times the mean of the squared
    measurements. ``absolute`` errors are added to the truth, and ``share`` is their variance. ``share_error`` is its
    standard error, for ``count`` cases; ``bias`` is the mean error and ``spread`` the standard deviation, in the
    errors' own unit.
    """

    kind: Literal["relative", "absolute"]
    share: float
    share_error: float
    bias: float
    spread: float
    count: int


def estimate_error(kind: str, errors: Sequence[float] | np.ndarray) -> MeasurementError:
    """The error model of cases with known truth.

    Parameters
    ----------
    kind : ``relative`` (errors are measured / truth - 1) or ``absolute`` (measured - truth).
    errors : one per case, at least five.

    Raises
    ------
    InputError
        When the kind is another, or cases are too few, or an error is not a number.
    """
    errors = np.asarray(errors, dtype=float)
    if kind not in ("relative", "absolute"):
        raise InputError(f"a measurement error is 'relative' or 'absolute', not '{kind}'.")
    if errors.ndim != 1 or len(errors) < _FEWEST or not np.isfinite(errors).all():
        raise InputError(f"the size of an error needs at least {_FEWEST} cases with a known truth.")
    count, bias, spread = len(errors), float(errors.mean()), float(errors.std(ddof=1))
    deviation = errors - bias
    if kind == "absolute":
        return MeasurementError("absolute", spread**2, _standard_error(deviation**2 - spread**2), bias, spread, count)
    mean = 1 + bias
    if mean <= 0:
        raise InputError("relative errors are measured / truth - 1: their mean cannot be -1 or less.")
    ratio = (spread / mean) ** 2
    influence = (deviation**2 - spread**2) / mean**2 - 2 * ratio * deviation / mean
    error = _standard_error(influence) / (1 + ratio) ** 2
    return MeasurementError("relative", ratio / (1 + ratio), error, bias, spread, count)


def _standard_error(influence: np.ndarray) -> float:
    return float(np.sqrt(np.mean(influence**2) / (len(influence) - 1)))
