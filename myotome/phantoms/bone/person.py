"""Sampled people and their spines: density of each vertebra, fractures, marrow, and what their soft tissues weigh.

Trabecular density by age and sex follows round figures of surveys by QCT (K2HPO4-equivalent, mean of L1 and L2): about
175 mg/cm3 in the young, 105 in women and 120 in men at 65 years. Ages are drawn so that 9 % of all people are below
80 mg/cm3, as in the chest CTs of Zhao 2024. Density falls from the thoracic to the lumbar spine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from myotome.phantoms.abdomen.person import AbdomenPerson, make_abdomen_person

__all__ = ["LEVELS", "OSTEOPOROSIS_MG_CM3", "BonePerson", "Vertebra", "make_bone_person"]

#: Cut-off of osteoporosis by QCT of the lumbar spine (ACR practice parameter, K2HPO4-equivalent).
OSTEOPOROSIS_MG_CM3 = 80.0
#: Vertebrae that carry a label, from the head down.
LEVELS = ("T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3")
# Density beside the mean of L1 and L2.
_BY_LEVEL = {"T6": 1.27, "T7": 1.25, "T8": 1.22, "T9": 1.19, "T10": 1.15, "T11": 1.10, "T12": 1.06}
_BY_LEVEL |= {"L1": 1.02, "L2": 0.98, "L3": 0.95, "L4": 0.96, "L5": 0.99, "L6": 1.0}
_FRACTURE_SHARES = {"T8": 0.1, "T9": 0.06, "T10": 0.06, "T11": 0.13, "T12": 0.24, "L1": 0.25, "L2": 0.1, "L3": 0.06}
_MEAN_BY_AGE = {
    "F": ((25, 45, 55, 65, 75, 90), (176, 166, 134, 105, 84, 66)),
    "M": ((25, 45, 55, 65, 75, 90), (174, 150, 135, 120, 106, 90)),
}
_SPREAD = {"F": 26.0, "M": 28.0}
_AGE_MEAN, _AGE_SPREAD = 58.0, 11.0
_CONDITION_KEPT = {"none": 1.0, "wasted": 0.3, "oedema": 0.2, "post_operative": 0.4, "scoliosis": 0.5}
_CONDITION_KEPT |= {"spinal_implant": 0.25}


@dataclass(frozen=True)
class Vertebra:
    """One vertebral body.

    ``bmd_mg_cm3`` is the K2HPO4-equivalent density of its trabecular bone, ``height_loss`` the share of its height
    that is lost in front, in the middle and at the back, ``cortex_mm`` the thickness of its shell of compact bone.
    """

    bmd_mg_cm3: float
    height_loss: tuple[float, float, float]
    cortex_mm: float

    @property
    def height_loss_percent(self) -> float:
        """Where it is greatest."""
        return 100 * max(self.height_loss)


@dataclass(frozen=True, eq=False)
class BonePerson:
    """One sampled adult: the body as the abdomen's phantoms draw it, and the bone in it.

    ``marrow_fat`` is the share of yellow marrow between the trabeculae, ``porosity`` that of soft tissue in compact
    bone, ``texture`` the spread of density within a body. The densities of soft tissues are in g/cm3.
    """

    seed: int
    body: AbdomenPerson
    vertebrae: Mapping[str, Vertebra]
    marrow_fat: float
    porosity: float
    texture: float
    fat_g_cm3: float
    muscle_g_cm3: float
    blood_g_cm3: float

    @property
    def reference_levels(self) -> tuple[str, ...]:
        """The two lumbar vertebrae that a reader of QCT takes: the first ones without a fracture, L1 and L2 in most."""
        fit = [name for name in ("L1", "L2", "L3", "L4") if self.vertebrae[name].height_loss_percent <= 20]
        return tuple(fit[:2])

    @property
    def bmd_mg_cm3(self) -> float:
        """Mean density of the `reference_levels`."""
        return float(np.mean([self.vertebrae[name].bmd_mg_cm3 for name in self.reference_levels]))


def make_bone_person(seed: int) -> BonePerson:
    """Sample one person; the same seed is the same person."""
    rng = np.random.default_rng((seed, 401))
    body = _choose_body(seed, rng)
    mean = float(np.interp(body.age_years, *_MEAN_BY_AGE[body.sex])) + _SPREAD[body.sex] * float(rng.normal())
    mean = max(mean, 22.0 + 6 * float(rng.random()))
    age = body.age_years
    return BonePerson(
        seed=seed,
        body=body,
        vertebrae=_sample_vertebrae(mean, age, rng),
        marrow_fat=float(np.clip(0.45 + 0.005 * (age - 55) + rng.normal(0, 0.08), 0.2, 0.8)),
        porosity=float(np.clip(0.10 + 0.002 * (age - 50) + rng.normal(0, 0.03), 0.03, 0.28)),
        texture=float(rng.uniform(0.05, 0.13)),
        fat_g_cm3=float(rng.normal(0.927, 0.0025)),
        muscle_g_cm3=float(rng.normal(1.062, 0.002)),
        blood_g_cm3=float(rng.normal(1.0475, 0.0025)),
    )


def _choose_body(seed: int, rng: np.random.Generator) -> AbdomenPerson:
    """One of the abdomen's people, by odds that give the wanted ages and few diseases; nobody drank contrast."""
    for number in range(200):
        body = make_abdomen_person(seed + 10_000_019 * number)
        age = body.age_years
        odds = np.exp((age - 60) ** 2 / (2 * 15**2) - (age - _AGE_MEAN) ** 2 / (2 * _AGE_SPREAD**2) - 0.25)
        if age >= 30 and rng.random() < odds * _CONDITION_KEPT[body.condition]:
            break
    return replace(body, oral_contrast="none")


def _sample_vertebrae(mean: float, age: float, rng: np.random.Generator) -> dict[str, Vertebra]:
    """Density and shape of T6 to L6; thin bone and age bring fractures, and a fractured body is denser."""
    steepness = 1 + 0.5 * float(rng.normal(0, 0.35))
    odds = 0.45 / (1 + np.exp((mean - 76) / 13)) * np.clip((age - 35) / 30, 0, 1.3) + 0.008
    lost = {}
    while rng.random() < odds and len(lost) < 3:
        lost[str(rng.choice(list(_FRACTURE_SHARES), p=list(_FRACTURE_SHARES.values())))] = _sample_loss(rng)
    vertebrae = {}
    for name, factor in _BY_LEVEL.items():
        bmd = mean * (1 + steepness * (factor - 1)) * float(np.exp(rng.normal(0, 0.03)))
        loss = lost.get(name, tuple(rng.uniform(0.0, 0.05, 3) * (1.0, 1.0, 0.4)))
        bmd *= 1 + 0.9 * max(0.0, max(loss) - 0.1)
        cortex = float(np.clip(0.85 + 0.002 * (mean - 110) + rng.normal(0, 0.08), 0.45, 1.3))
        vertebrae[name] = Vertebra(float(bmd), (float(loss[0]), float(loss[1]), float(loss[2])), cortex)
    return vertebrae


def _sample_loss(rng: np.random.Generator) -> tuple[float, float, float]:
    """A wedge, a biconcave body or a crush, that has lost 22 to 50 % of its height where it is lowest."""
    worst = float(rng.uniform(0.22, 0.5))
    kind = rng.choice(3, p=[0.55, 0.3, 0.15])
    shape = ((1.0, 0.75, 0.15), (0.55, 1.0, 0.4), (0.95, 1.0, 0.8))[kind]
    return worst * shape[0], worst * shape[1], worst * shape[2]
