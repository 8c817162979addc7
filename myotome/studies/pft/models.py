"""Linear and mixed models of lung function on muscle, age, sex and height (statsmodels)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from myotome.studies.pft.analysis import Pair, each_pair
from myotome.studies.pft.settings import Settings

__all__ = ["fit_models"]

# Variance within patients, as a share of all, below which the mixed model is degenerate.
_LEAST_WITHIN = 1e-5
_BASE = ("age_years", "male", "height_cm")
_COLUMNS = (
    "muscle",
    "measure",
    "lung_function",
    "model",
    "patients",
    "scans",
    "beta",
    "lower",
    "upper",
    "p",
    "slope",
    "slope_unit",
    "r_squared",
    "r_squared_gain",
    "note",
)


def fit_models(people: pd.DataFrame, every: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """One model per pair: lung function ~ muscle + age + sex + height, all standardised but sex.

    Patients with one scan each: least squares with HC3 standard errors. With ``repeated: all``, and several scans of
    some patient: a mixed model with a random intercept per patient (restricted maximum likelihood), over every pair.

    Parameters
    ----------
    people, every : one row per patient, and one per pair of scan and test, as :class:`myotome.studies.pft.join.Joined`.

    Returns
    -------
    DataFrame : ``beta`` is the change of lung function, in standard deviations, per standard deviation of muscle, with
    interval and p; ``slope`` the same in units; ``r_squared`` and ``r_squared_gain`` (over the model without muscle) of
    least squares; ``patients`` and ``scans`` used. What could not be fitted has a ``note``.
    """
    mixed = settings.repeated == "all" and every["subject_id"].duplicated().any()
    source = every if mixed else people
    rows = [_fit(pair, source, mixed, settings) for pair in each_pair(settings)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _fit(pair: Pair, source: pd.DataFrame, mixed: bool, settings: Settings) -> dict[str, Any]:
    frame = pd.DataFrame(
        {
            "muscle": source[pair.column],
            "lung": source[pair.lung.name],
            "age_years": source["age_years"],
            "male": (source["sex"] == "M").astype(float),
            "height_cm": source["height_cm"],
            "patient": source["subject_id"],
        }
    ).dropna()
    row: dict[str, Any] = {
        "muscle": pair.muscle,
        "measure": pair.measure.name,
        "lung_function": pair.lung.name,
        "model": "mixed, with a random intercept per patient" if mixed else "least squares, HC3 errors",
        "patients": frame["patient"].nunique(),
        "scans": len(frame),
        "note": "",
    }
    if frame["patient"].nunique() < settings.fewest_people:
        return {**row, "note": f"fewer than {settings.fewest_people} patients"}
    spread = {name: frame[name].std() for name in ("muscle", "lung")}
    if min(spread.values()) <= 0:
        return {**row, "note": "a value does not vary"}
    for name in ("muscle", "lung", "age_years", "height_cm"):
        frame[name] = (frame[name] - frame[name].mean()) / (frame[name].std() or 1.0)
    row |= _fit_mixed(frame, settings) if mixed else _fit_least_squares(frame, settings)
    if "beta" in row:
        row["slope"] = row["beta"] * spread["lung"] / spread["muscle"]
        row["slope_unit"] = f"{pair.lung.unit} per {pair.measure.unit}".strip()
    return row


def _design(frame: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    columns = [np.ones(len(frame)), *(frame[name].to_numpy() for name in names if frame[name].std() > 0)]
    return np.column_stack(columns)


def _fit_least_squares(frame: pd.DataFrame, settings: Settings) -> dict[str, Any]:
    import statsmodels.api as sm

    lung = frame["lung"].to_numpy()
    full = sm.OLS(lung, _design(frame, ("muscle", *_BASE))).fit(cov_type="HC3", use_t=True)
    base = sm.OLS(lung, _design(frame, _BASE)).fit()
    low, high = full.conf_int(1 - settings.level)[1]
    gain = full.rsquared - base.rsquared
    return {
        "beta": full.params[1],
        "lower": low,
        "upper": high,
        "p": full.pvalues[1],
        "r_squared": full.rsquared,
        "r_squared_gain": gain,
    }


def _fit_mixed(frame: pd.DataFrame, settings: Settings) -> dict[str, Any]:
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    design = _design(frame, ("muscle", *_BASE))
    model = sm.MixedLM(frame["lung"].to_numpy(), design, groups=frame["patient"].to_numpy())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", ConvergenceWarning)
            fitted = model.fit(reml=True)
    except (ConvergenceWarning, np.linalg.LinAlgError):
        return {"note": "the mixed model did not converge"}
    if fitted.scale < _LEAST_WITHIN:
        return {"note": "lung function hardly differs within patients"}
    low, high = fitted.conf_int(1 - settings.level)[1]
    return {"beta": fitted.params[1], "lower": low, "upper": high, "p": fitted.pvalues[1]}
