"""Whether predicted probabilities are those that come true: calibration curve, its error, Brier score, temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from myotome.errors import InputError
from myotome.statistics.classification import estimate_proportion
from myotome.statistics.intervals import Estimate

__all__ = [
    "CalibrationBin",
    "compute_brier",
    "compute_calibration_curve",
    "compute_calibration_error",
    "fit_temperature",
    "scale_probabilities",
    "simulate_calibration_error",
]

_BINS = 10
_TEMPERATURES = (0.05, 20.0)
_SMALLEST = 1e-12


@dataclass(frozen=True)
class CalibrationBin:
    """Cases of one bin: how many, their mean probability, and the share of positives with Wilson's interval."""

    lower: float
    upper: float
    count: int
    mean_probability: float
    observed: Estimate


def compute_brier(target: ArrayLike, probability: ArrayLike) -> float:
    """Mean of (probability - target)^2 over (n,) cases (Brier, Mon Weather Rev 1950;78:1), 0 is best.

    Raises
    ------
    InputError
        When there is no case, lengths differ, a target is neither 0 nor 1, or a probability is not within 0 to 1.
    """
    positive, share = _check_probabilities(target, probability)
    return float(np.mean((share - positive) ** 2))


def compute_calibration_curve(
    target: ArrayLike, probability: ArrayLike, bins: int = _BINS, equal: str = "width"
) -> list[CalibrationBin]:
    """Predicted against observed share of positives, bin by bin; empty bins are left out.

    Parameters
    ----------
    target, probability : (n,)
    bins : how many
    equal : ``"width"``: bins [0, 1/bins], (1/bins, 2/bins] ...; ``"count"``: bounded by quantiles of the probabilities,
        so that rare probabilities share a bin; equal probabilities stay in one bin.

    Raises
    ------
    InputError
        When `compute_brier` refuses, ``bins`` is below 1, or ``equal`` is neither.
    """
    positive, share = _check_probabilities(target, probability)
    place = _assign_bins(share, bins, equal)
    edges = _edges(share, bins, equal)
    return [
        CalibrationBin(
            lower=float(edges[index]),
            upper=float(edges[index + 1]),
            count=int(np.sum(place == index)),
            mean_probability=float(share[place == index].mean()),
            observed=estimate_proportion(int(positive[place == index].sum()), int(np.sum(place == index))),
        )
        for index in np.unique(place)
    ]


def compute_calibration_error(
    target: ArrayLike, probability: ArrayLike, bins: int = _BINS, equal: str = "width"
) -> float:
    """Expected calibration error (ECE) of the probability of the positive class, 0 is best.

    ::

        ECE = sum over bins of count / n |observed share - mean probability|

    (Naeini et al., AAAI 2015;2901). The bins are those of `compute_calibration_curve`. Even a perfect forecast has an
    ECE above 0 in a finite sample.

    Raises
    ------
    InputError
        When `compute_calibration_curve` refuses.
    """
    positive, share = _check_probabilities(target, probability)
    place = _assign_bins(share, bins, equal)
    return float(np.abs(np.bincount(place, weights=positive - share)).sum() / len(share))


def simulate_calibration_error(
    probability: ArrayLike, bins: int = _BINS, equal: str = "width", *, draws: int = 2000, seed: int = 0
) -> float:
    """The ECE that true probabilities stay below in 95 % of samples of this size.

    Targets are drawn from the (n,) probabilities themselves (consistency resampling: Bröcker and Smith, Weather
    Forecast 2007;22:651). An ECE below this value is no sign of bad calibration.

    Raises
    ------
    InputError
        When `compute_calibration_error` refuses.
    """
    _, share = _check_probabilities(np.zeros(np.size(probability), dtype=int), probability)
    place = _assign_bins(share, bins, equal)
    rng = np.random.default_rng(seed)
    member = np.eye(bins)[place]
    errors = [np.abs((rng.random(len(share)) < share) @ member - share @ member).sum() for _ in range(draws)]
    return float(np.quantile(errors, 0.95) / len(share))


def scale_probabilities(probabilities: ArrayLike, temperature: float) -> np.ndarray:
    """(n, k) probabilities of classes at another temperature: ``p^(1/T) / sum p^(1/T)``; T > 1 makes them less sure.

    The same as dividing the logits by T (Guo et al., ICML 2017;70:1321); the most probable class stays the same.
    """
    logs = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), _SMALLEST, 1)) / temperature
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def fit_temperature(target: ArrayLike, probabilities: ArrayLike) -> float:
    """The temperature that makes (n,) classes most likely under (n, k) probabilities, within 0.05 to 20.

    Fit it on cases that neither trained the classifier nor are scored. log T has a standard normal prior, which weighs
    as much as a few cases: without it, cases that are all classified right would make every probability 0 or 1.

    Raises
    ------
    InputError
        When there is no case, lengths differ, or a target is not one of the classes.
    """
    classes, shares = np.asarray(target).ravel(), np.asarray(probabilities, dtype=np.float64)
    if shares.ndim != 2 or len(shares) != len(classes) or not len(classes):
        raise InputError(f"{shares.shape} probabilities stand against {len(classes)} targets: give a row per case.")
    if not np.isin(classes, np.arange(shares.shape[1])).all():
        raise InputError(f"a target is not one of {shares.shape[1]} classes: leave out the cases a definition drops.")
    chosen = np.arange(len(classes)), classes.astype(np.intp)

    def loss(log_temperature: float) -> float:
        scaled = scale_probabilities(shares, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(scaled[chosen], _SMALLEST)).sum() + log_temperature**2 / 2)

    bounds = tuple(np.log(_TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _edges(share: np.ndarray, bins: int, equal: str) -> np.ndarray:
    edges = np.linspace(0, 1, bins + 1)
    return np.quantile(share, edges, method="inverted_cdf") if equal == "count" else edges


def _assign_bins(share: np.ndarray, bins: int, equal: str) -> np.ndarray:
    """The bin of each probability, 0 to ``bins - 1``."""
    if bins < 1 or equal not in ("width", "count"):
        raise InputError(f"{bins} bins of equal {equal} cannot be made: ask for 1 or more, of equal width or count.")
    place = np.searchsorted(_edges(share, bins, equal), share, side="left") - 1
    return np.clip(place, 0, bins - 1)


def _check_probabilities(target: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    positive, share = np.asarray(target).ravel(), np.asarray(probability, dtype=np.float64).ravel()
    if not len(positive) or len(positive) != len(share):
        raise InputError(
            f"{len(share)} probabilities stand against {len(positive)} targets: give one of each per case."
        )
    if not np.isin(positive, (0, 1)).all():
        raise InputError("a target is neither 0 nor 1: leave out the cases that a definition drops.")
    if not ((share >= 0) & (share <= 1)).all():
        raise InputError("a probability is not within 0 to 1: give probabilities, not scores.")
    return positive.astype(bool), share
