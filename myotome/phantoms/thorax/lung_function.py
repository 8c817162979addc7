"""Lung function of a sampled person, tied to muscle with a stated partial correlation.

Expected values are linear in height and age: spirometry and transfer factor of the European Coal and Steel Community
(Quanjer et al. and Cotes et al., Eur Respir J 1993), respiratory pressures of Evans and Whitelaw (Respir Care 2009).
A person's deviation, in standard deviations, is ``r * muscle_z + sqrt(1 - r^2) * noise``: given sex, age and height,
the correlation with the muscle z-score is ``r`` of :data:`PARTIAL_CORRELATION`.
"""

from __future__ import annotations

import numpy as np

from myotome.phantoms.thorax.person import Person

__all__ = ["PARTIAL_CORRELATION", "make_lung_function"]

PARTIAL_CORRELATION = {"fvc_l": 0.45, "fev1_l": 0.40, "dlco_mmol_min_kpa": 0.25, "mip_cmh2o": 0.55, "mep_cmh2o": 0.50}

# measure: sex: (per metre of height, per year of age, constant, standard deviation)
_EXPECTED = {
    "fvc_l": {"M": (5.76, -0.026, -4.34, 0.61), "F": (4.43, -0.026, -2.89, 0.43)},
    "fev1_l": {"M": (4.30, -0.029, -2.49, 0.51), "F": (3.95, -0.025, -2.60, 0.38)},
    "dlco_mmol_min_kpa": {"M": (11.11, -0.066, -6.03, 1.41), "F": (8.18, -0.049, -2.74, 1.17)},
    "mip_cmh2o": {"M": (0.0, -0.41, 120.0, 22.0), "F": (0.0, -0.61, 108.0, 18.0)},
    "mep_cmh2o": {"M": (0.0, -0.83, 174.0, 33.0), "F": (0.0, -0.86, 131.0, 24.0)},
}
_OBSTRUCTION = {"fev1_l": 0.62, "dlco_mmol_min_kpa": 0.72}


def make_lung_function(person: Person) -> dict[str, float]:
    """FVC and FEV1 (L), their ratio, DLCO (mmol/min/kPa), MIP and MEP (cmH2O) of one person.

    COPD multiplies FEV1 by 0.62 and DLCO by 0.72. FEV1 never exceeds 0.95 of FVC; every value stays above a tenth of
    the expected one.
    """
    rng = np.random.default_rng((person.seed, 53))
    values = {}
    for measure, r in PARTIAL_CORRELATION.items():
        height, age, constant, sd = _EXPECTED[measure][person.sex]
        expected = height * person.height_m + age * person.age_years + constant
        deviation = r * person.muscle_z + np.sqrt(1 - r**2) * rng.normal()
        value = max(expected + sd * deviation, 0.1 * expected)
        values[measure] = float(value * (_OBSTRUCTION.get(measure, 1.0) if person.disease == "copd" else 1.0))
    values["fev1_l"] = min(values["fev1_l"], 0.95 * values["fvc_l"])
    values["fev1_fvc"] = values["fev1_l"] / values["fvc_l"]
    return values
