"""Cohen's kappa: agreement of two raters beyond chance, plain or weighted by the distance of ordered grades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from myotome.errors import InputError
from myotome.statistics.classification import count_confusion
from myotome.statistics.intervals import Estimate

__all__ = ["KAPPA_WEIGHTS", "Kappa", "compute_kappa", "weigh_kappa"]

KAPPA_WEIGHTS = ("none", "linear", "quadratic")
_Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Kappa:
    """Kappa of ``cases``; ``agreement`` is the (weighted) share observed, ``chance`` the one expected."""

    cases: int
    estimate: Estimate
    standard_error: float
    agreement: float
    chance: float


def compute_kappa(a: ArrayLike, b: ArrayLike, classes: int, weights: str = "none") -> Kappa:
    """Kappa of two (n,) ratings in 0 to ``classes - 1``.

    ::

        kappa = (po - pe) / (1 - pe)      po = sum w_ij p_ij      pe = sum w_ij p_i. p_.j
        w_ij = [i = j]    or  1 - |i - j| / (k - 1)  (linear)    or  1 - (i - j)^2 / (k - 1)^2  (quadratic)

    (Cohen, Educ Psychol Meas 1960;20:37; Psychol Bull 1968;70:213). The standard error is the large-sample one of
    Fleiss, Cohen and Everitt (Psychol Bull 1969;72:323); the interval is normal and cut at -1 and 1.

    Raises
    ------
    InputError
        When there is no case, a rating is not one of the classes, the weights are unknown, or both raters give every
        case one grade, so that nothing is expected but agreement.
    """
    if weights not in KAPPA_WEIGHTS:
        raise InputError(f"kappa weights '{weights}' are not known: choose one of {', '.join(KAPPA_WEIGHTS)}.")
    counts = count_confusion(a, b, classes)
    total = int(counts.sum())
    if not total:
        raise InputError("there is no rated case: kappa needs some.")
    shares = counts / total
    weight = _weights(classes, weights)
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    agreement, chance = float((weight * shares).sum()), float(rows @ weight @ columns)
    if 1 - chance < 1e-12:
        raise InputError("both raters give every case the same grade: kappa needs cases that differ.")
    value = (agreement - chance) / (1 - chance)
    error = _unit_error(shares, weight, agreement, chance) / float(np.sqrt(total))
    bounds = (max(-1.0, value - _Z * error), min(1.0, value + _Z * error))
    return Kappa(total, Estimate(value, *bounds), error, agreement, chance)


def weigh_kappa(a: ArrayLike, b: ArrayLike, classes: int, weights: np.ndarray, kind: str = "none") -> np.ndarray:
    """(k,) kappas of two (n,) ratings under (k, n) weights of the cases; NaN where the raters do not vary.

    Raises
    ------
    InputError
        When `compute_kappa` refuses.
    """
    compute_kappa(a, b, classes, kind)
    cell = np.asarray(a, dtype=np.intp) * classes + np.asarray(b, dtype=np.intp)
    shares = (weights @ np.eye(classes**2)[cell]).reshape(-1, classes, classes)
    shares = shares / shares.sum(axis=(1, 2), keepdims=True)
    agreed = _weights(classes, kind)
    agreement = (shares * agreed).sum(axis=(1, 2))
    chance = np.einsum("ki,ij,kj->k", shares.sum(axis=2), agreed, shares.sum(axis=1))
    known = 1 - chance >= 1e-12
    return np.divide(agreement - chance, 1 - chance, out=np.full(len(chance), np.nan), where=known)


def _weights(classes: int, kind: str) -> np.ndarray:
    """(k, k) weights of agreement, 1 on the diagonal."""
    steps = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes)))
    if kind == "none":
        return (steps == 0).astype(float)
    return 1 - (steps / max(classes - 1, 1)) ** (1 if kind == "linear" else 2)


def _unit_error(shares: np.ndarray, weight: np.ndarray, agreement: float, chance: float) -> float:
    """Standard error of kappa times the root of the number of cases."""
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    of_cells = weight * (1 - chance) - np.add.outer(weight @ columns, rows @ weight) * (1 - agreement)
    spread = (shares * of_cells**2).sum() - (agreement * chance - 2 * chance + agreement) ** 2
    return float(np.sqrt(max(spread, 0.0)) / (1 - chance) ** 2)
