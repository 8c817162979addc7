"""The person whose shoulder is drawn: size, age, fat, muscle and what the tendon's tear has left of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.phantoms.shoulder.goutallier import draw_fat_percent, draw_grade

__all__ = ["ShoulderPerson", "make_shoulder_person"]

_AGE_BY_GRADE = (52.0, 57.0, 63.0, 67.0, 69.0)
_RETRACTED_BY_GRADE = (0.01, 0.05, 0.25, 0.45, 0.6)


@dataclass(frozen=True)
class ShoulderPerson:
    """One shoulder. Lengths in mm; ``size`` scales the skeleton, 1 is a mean man's.

    ``occupation`` is the share of the fossa that the muscle is meant to fill; what it fills is measured on the drawing.
    """

    side: str
    sex: str
    age_years: float
    size: float
    skin_fat_mm: float
    fat_percent: float
    occupation: float
    retracted: bool
    streakiness: float
    diffuse_share: float
    other_fat_percent: float
    infraspinatus_fat_percent: float
    effusion: float
    bulk: float


def make_shoulder_person(seed: int, grade: int | None = None) -> ShoulderPerson:
    """Sample one person, of a given grade or of the paper's frequencies; other traits keep to the seed."""
    grade_rng = np.random.default_rng((seed, 11))
    drawn = draw_grade(grade_rng)
    grade = drawn if grade is None else grade
    fat = draw_fat_percent(grade, grade_rng)
    rng = np.random.default_rng((seed, 12))
    sex = str(rng.choice(["F", "M"]))
    age = float(np.clip(rng.normal(_AGE_BY_GRADE[grade], 10), 20, 88))
    retracted = bool(rng.random() < _RETRACTED_BY_GRADE[grade])
    occupation = 0.82 - 0.44 * fat / 100 - 0.0015 * (age - 50) + rng.normal(0, 0.1) - 0.1 * retracted
    return ShoulderPerson(
        side=str(rng.choice(["L", "R"], p=[0.42, 0.58])),
        sex=sex,
        age_years=round(age, 1),
        size=float(np.clip(rng.normal(1.0 if sex == "M" else 0.89, 0.05), 0.75, 1.16)),
        skin_fat_mm=float(np.clip(np.exp(rng.normal(np.log(9), 0.45)), 3, 28)),
        fat_percent=fat,
        occupation=float(np.clip(occupation, 0.2, 0.92)),
        retracted=retracted,
        streakiness=float(rng.uniform(0.25, 1.0)),
        diffuse_share=float(rng.uniform(0.0, 0.08)),
        other_fat_percent=float(np.clip(1 + 0.05 * (age - 30) + rng.normal(0, 1.5), 0.5, 12)),
        infraspinatus_fat_percent=float(np.clip(1 + 0.5 * fat * rng.uniform(0, 1.2) + rng.exponential(1.5), 0.5, 70)),
        effusion=float(max(0.0, rng.normal(0.7 if retracted else 0.05, 0.3))),
        bulk=float(np.clip(rng.normal(1.05 if sex == "M" else 0.88, 0.12) - 0.003 * (age - 55), 0.6, 1.4)),
    )
