"""Z-scores and lower limits of normal of lung function, by the Global Lung Function Initiative (GLI) and pyspiro.

Spirometry: GLI Global 2022, race-neutral (Bowerman et al., Am J Respir Crit Care Med 2023;207:768), or GLI-2012
(Quanjer et al., Eur Respir J 2012;40:1324), which needs an ethnicity. DLCO (TLCO): GLI 2017 (Stanojevic et al., Eur
Respir J 2017;50:1700010) with the coefficients as corrected in October 2020. With L, M, S of a person's sex, age and
height, z = ((x / M)^L - 1) / (L S); the lower limit of normal is the fifth percentile, z = -1.645.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from myotome.errors import InputError

__all__ = ["ETHNICITIES", "REFERENCES", "compute_z_scores"]

# The groups of GLI-2012 and pyspiro's codes for them.
ETHNICITIES = {"caucasian": 1, "african_american": 2, "north_east_asian": 3, "south_east_asian": 4, "other": 5}
REFERENCES = {
    "gli_global_2022": "GLI Global 2022 (race-neutral)",
    "gli_2012": "GLI-2012 (by ethnic group)",
}
_SPIROMETRY = {"fvc": ("fvc_l", "FVC"), "fev1": ("fev1_l", "FEV1"), "fev1_fvc": ("fev1_fvc", "FEV1FVC")}
_SPIROMETRY_AGES = (3, 95)
_TRANSFER_AGES = (5, 85)


def compute_z_scores(tests: pd.DataFrame, reference: str = "gli_global_2022") -> pd.DataFrame:
    """Z-scores and lower limits of normal of each test.

    Parameters
    ----------
    tests : columns sex ("M", "F"), age_years, height_cm, any of fvc_l, fev1_l, fev1_fvc, dlco_mmol_min_kpa; for
        GLI-2012 also ethnicity, one of :data:`ETHNICITIES`.
    reference : of spirometry, one of :data:`REFERENCES`.

    Returns
    -------
    DataFrame : indexed as ``tests``; columns <measure>_z and <measure>_lln (in the measure's unit) for fvc, fev1,
    fev1_fvc and dlco. NaN where the value is missing, or the age is outside 3 to 95 years (DLCO: 5 to 85).

    Raises
    ------
    InputError
        When the reference or an ethnicity is not known.
    """
    if reference not in REFERENCES:
        raise InputError(f"'{reference}' is no reference equation: choose {' or '.join(REFERENCES)}.")
    frame = pd.DataFrame(
        {"sex": (tests["sex"] == "M").astype(int), "age": tests["age_years"], "height": tests["height_cm"]},
        index=tests.index,
    )
    if reference == "gli_2012":
        frame["ethnicity"] = _codes(tests)
    results = {}
    equations, parameters = _spirometry(reference)
    for name, (column, parameter) in _SPIROMETRY.items():
        if column in tests:
            frame["value"] = tests[column]
            results |= _columns(name, frame, equations, parameters[parameter], _SPIROMETRY_AGES)
    if "dlco_mmol_min_kpa" in tests:
        from pyspiro import GLI_2017

        frame = frame.drop(columns="ethnicity", errors="ignore").assign(value=tests["dlco_mmol_min_kpa"])
        results |= _columns("dlco", frame, GLI_2017(), GLI_2017.Parameters.TLCO, _TRANSFER_AGES)
    return pd.DataFrame(results, index=tests.index)


def _codes(tests: pd.DataFrame) -> pd.Series:
    codes = tests["ethnicity"].map(ETHNICITIES) if "ethnicity" in tests else pd.Series(np.nan, index=tests.index)
    if codes.isna().any():
        raise InputError(
            f"GLI-2012 needs an ethnicity for every test, one of {', '.join(ETHNICITIES)}: fill it in, or use "
            "gli_global_2022."
        )
    return codes.astype(int)


def _spirometry(reference: str) -> tuple[Any, Any]:
    from pyspiro import BOWERMAN_2022, GLI_2012

    equations = GLI_2012 if reference == "gli_2012" else BOWERMAN_2022
    return equations(), equations.Parameters


def _columns(
    name: str, frame: pd.DataFrame, equations: Any, parameter: Any, ages: tuple[float, float]
) -> dict[str, pd.Series]:
    there = frame["value"].gt(0) & frame["age"].between(*ages)
    z, lln = (pd.Series(np.nan, index=frame.index) for _ in range(2))
    if there.any():
        ethnic = {"ethnicity_col": "ethnicity"} if "ethnicity" in frame else {}
        computed = equations.compute(frame[there], parameter, value_col="value", metrics=("zscore", "lln"), **ethnic)
        z[there], lln[there] = computed["zscore"].astype(float), computed["lln"].astype(float)
    return {f"{name}_z": z, f"{name}_lln": lln}
