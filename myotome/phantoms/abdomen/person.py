"""Sampled people: build, muscle and fat at L3, and what disease and surgery have left of them.

Muscle area at 30 years and BMI 26 kg/m2 is drawn so that its mean less two standard deviations is the cut-off of
healthy adults in Derstine 2018 (Sci Rep 8:11369: 144.3 cm2 in men, 92.2 cm2 in women); it then falls by 0.6 % a year
from 45 on and rises with weight. Muscle density falls with age and weight from the same source's young adults. The
areas of fat are lognormal around straight lines of BMI and age that give what surveys of screening CTs find at BMI 27
and 55 years: about 165 and 90 cm2 of visceral and 200 and 270 cm2 of subcutaneous fat in men and in women.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["AbdomenPerson", "make_abdomen_person"]

CONDITIONS = ("none", "wasted", "oedema", "post_operative", "scoliosis", "spinal_implant")
_CONDITION_SHARES = (0.70, 0.08, 0.08, 0.06, 0.06, 0.02)


@dataclass(frozen=True)
class AbdomenPerson:
    """One sampled adult. Areas are what is aimed at in the middle of L3; what is drawn is measured on the drawing.

    ``diffuse_fat`` is the share of fat in muscle that is finer than a pixel, ``streak_fat`` the share in streaks,
    ``fat_planes`` a factor of the fat between muscles; ``lumbar_count`` is 4 or 6 in a transitional spine.
    """

    seed: int
    sex: str
    age_years: float
    height_m: float
    bmi_kg_m2: float
    condition: str
    lumbar_count: int
    muscle_cm2: float
    visceral_cm2: float
    subcutaneous_cm2: float
    organs_cm2: float
    diffuse_fat: float
    streak_fat: float
    fat_planes: float
    bone_loss: float
    oral_contrast: str

    @property
    def size(self) -> float:
        """Scale of the skeleton; 1 is a mean man's."""
        return self.height_m / 1.76 * (1.0 if self.sex == "M" else 0.97)


def make_abdomen_person(seed: int) -> AbdomenPerson:
    """Sample one person; the same seed is the same person."""
    rng = np.random.default_rng((seed, 211))
    male = bool(rng.random() < 0.5)
    age = float(np.clip(rng.normal(60, 15), 20, 92))
    height = float(np.clip(rng.normal(1.76 if male else 1.625, 0.07), 1.42, 2.03))
    condition = str(rng.choice(CONDITIONS, p=_CONDITION_SHARES))
    wasted = condition == "wasted"
    bmi = float(np.clip(np.exp(rng.normal(np.log(26.3), 0.17)) - 5.0 * wasted, 15.5, 46))
    mean, spread = (198.0, 26.8) if male else (133.0, 20.4)
    muscle = (mean + spread * rng.normal()) * (height / (1.76 if male else 1.625))
    muscle *= (1 + 0.012 * (bmi - 26)) * (1 - 0.006 * max(0.0, age - 45)) * (0.78 if wasted else 1.0)
    visceral = (165 + 16 * (bmi - 27) + 2.0 * (age - 55)) if male else (90 + 10 * (bmi - 27) + 1.5 * (age - 55))
    subcutaneous = 200 + 21 * (bmi - 27) if male else 270 + 25 * (bmi - 27)
    diffuse = 0.035 + 0.0016 * (age - 30) + 0.0035 * (bmi - 26) + (0.0 if male else 0.015) + rng.normal(0, 0.03)
    streaks = 0.02 + 0.0007 * (age - 30) + 0.001 * (bmi - 26) + rng.exponential(0.018)
    return AbdomenPerson(
        seed=seed,
        sex="M" if male else "F",
        age_years=round(age, 1),
        height_m=round(height, 3),
        bmi_kg_m2=round(bmi, 2),
        condition=condition,
        lumbar_count=int(rng.choice([4, 5, 6], p=[0.02, 0.95, 0.03])),
        muscle_cm2=float(np.clip(muscle, 55, 290)),
        visceral_cm2=float(np.clip(max(visceral, 18) * np.exp(rng.normal(0, 0.4)), 6, 480)),
        subcutaneous_cm2=float(np.clip(max(subcutaneous, 45) * np.exp(rng.normal(0, 0.25)), 18, 800)),
        organs_cm2=float(np.clip(rng.normal(135 if male else 108, 24), 70, 230)),
        diffuse_fat=float(np.clip(diffuse, 0.0, 0.32)),
        streak_fat=float(np.clip(streaks, 0.004, 0.22)),
        fat_planes=float(np.clip(0.5 + 0.045 * (bmi - 22) + 0.012 * (age - 55) + rng.normal(0, 0.35), 0.05, 2.8)),
        bone_loss=float(np.clip(0.012 * (age - 35) + rng.normal(0, 0.2), -0.4, 0.85)),
        oral_contrast=str(rng.choice(["none", "positive", "water"], p=[0.62, 0.26, 0.12])),
    )
