"""Sampled people: the sizes, tissues and disease from which a thorax is drawn.

Body sizes follow published adult means (height 1.76 / 1.63 m, BMI 27 kg/m2) scaled so that muscle areas at T4 and T12
fall in the ranges of ``docs/results.md``. ``spread`` above 1 goes beyond the plausible on purpose: a network
trained there has to learn shape and place rather than one drawing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Person", "make_person"]


@dataclass(frozen=True)
class Person:
    """One sampled adult. Lengths in mm unless named, intensities in HU, shares in 0..1."""

    seed: int
    sex: str
    age_years: float
    height_m: float
    bmi_kg_m2: float
    muscle_z: float
    imat_share: float
    disease: str
    thorax_height: float
    half_width: float
    depth: float
    squareness: float
    wall: float
    fat: float
    muscle: float
    plane: float
    rib_drop: float
    breast: float
    arms_up: bool
    muscle_hu: float
    fat_hu: float
    blood_hu: float
    organ_hu: float
    bone_hu: float
    lung_hu: float
    effusion: float
    abdomen: float
    variation: float

    @property
    def male(self) -> bool:
        return self.sex == "M"


def make_person(seed: int, spread: float = 1.0) -> Person:
    """Sample one person; the same seed and spread give the same person.

    Parameters
    ----------
    seed : seed of the draw.
    spread : 1 samples the plausible; 2 doubles every deviation from the mean.
    """
    rng = np.random.default_rng((seed, 11))

    def normal(mean: float, sd: float, low: float, high: float) -> float:
        return float(np.clip(mean + spread * sd * np.clip(rng.normal(), -2.5, 2.5), low, high))

    male = bool(rng.random() < 0.5)
    age = float(rng.uniform(20, 88))
    height = normal(1.76 if male else 1.63, 0.07, 1.40, 2.05)
    bmi = normal(27.0 if male else 26.5, 4.5, 15.5, 46.0)
    muscle_z = float(np.clip(rng.normal(), -2.5, 2.5))
    disease = str(rng.choice(["none", "copd", "sarcopenia", "effusion"], p=[0.6, 0.15, 0.15, 0.1]))
    fade = 0.004 * (age - 50) + (0.18 if disease == "sarcopenia" else 0.0)
    muscle = (1.0 if male else 0.74) * (1 + 0.16 * spread * muscle_z - fade) * (1 + 0.012 * (bmi - 26))
    imat = 0.03 + 0.0012 * max(0.0, age - 30) + 0.003 * max(0.0, bmi - 25) + 0.05 * rng.random() ** 2
    fat = (7 if male else 10) + (1.1 if male else 1.5) * (bmi - 22)
    build = {
        "thorax_height": 156 * height * normal(1, 0.04, 0.85, 1.15),
        "half_width": (138 if male else 122)
        * (height / (1.76 if male else 1.63))
        * normal(1 + 0.005 * (bmi - 26), 0.04, 0.8, 1.25),
        "depth": (196 if male else 176) * normal(1.12 if disease == "copd" else 1.0, 0.06, 0.8, 1.3),
        "squareness": normal(2.25, 0.16, 1.9, 2.8),
        "wall": normal(6.6 if male else 5.8, 0.8, 4.0, 9.5),
        "fat": float(np.clip(fat * normal(1, 0.25, 0.4, 1.9), 1.5, 70)),
        "muscle": float(np.clip(muscle, 0.35, 1.9)),
        "plane": float(np.clip(normal(1.1, 0.5, 0.15, 3.5) + 0.05 * (bmi - 26), 0.15, 4.5)),
        "rib_drop": normal(78, 12, 40, 115),
    }
    rng.normal()  # a draw that has lost its use: without it, every person drawn so far would change
    return Person(
        seed=seed,
        sex="M" if male else "F",
        age_years=age,
        height_m=height,
        bmi_kg_m2=bmi,
        muscle_z=muscle_z,
        imat_share=float(np.clip(imat * (1.6 if disease == "sarcopenia" else 1.0), 0.01, 0.4)),
        disease=disease,
        **build,
        breast=0.0 if male else normal(24, 12, 0, 70),
        arms_up=bool(rng.random() < 0.8),
        muscle_hu=normal(44 - 0.12 * (age - 50), 5, 25, 66),
        fat_hu=normal(-103, 5, -122, -85),
        blood_hu=normal(42, 5, 28, 60),
        organ_hu=normal(58, 8, 25, 80),
        bone_hu=normal(240 - 2.0 * (age - 50), 50, 60, 420),
        lung_hu=normal(-890 if disease == "copd" else -850, 30, -950, -720),
        effusion=float(rng.uniform(0.1, 0.5)) if disease == "effusion" else 0.0,
        abdomen=normal(1.0 + 0.012 * (bmi - 26), 0.05, 0.85, 1.3),
        variation=spread,
    )
