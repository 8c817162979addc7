"""The person whose lumbar spine is drawn: build, posture, and how worn each disc is.

Wear is a continuous Pfirrmann grade (Pfirrmann et al., Spine 2001;26:1873). It rises with age and is greater in the two
lowest discs; discs of one person are more alike than discs of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["DISCS", "HERNIATIONS", "LEVELS", "DiscState", "LumbarPerson", "make_lumbar_person"]

# From the head down. What is above L1-L2 is drawn, and has no label.
DISCS = ("T8-T9", "T9-T10", "T10-T11", "T11-T12", "T12-L1", "L1-L2", "L2-L3", "L3-L4", "L4-L5", "L5-S1")
LEVELS = DISCS[-5:]
HERNIATIONS = ("none", "bulge", "protrusion", "extrusion")

_MORE_WEAR = (-0.8, -0.8, -0.8, -0.7, -0.6, -0.45, -0.25, 0.0, 0.45, 0.45)
_HEIGHT_BY_WEAR = ((1.0, 2.5, 3.0, 4.0, 5.0, 5.6), (1.04, 1.0, 0.95, 0.78, 0.48, 0.34))


@dataclass(frozen=True)
class DiscState:
    """One disc. ``height`` is a share of a healthy disc's; lengths in mm.

    ``herniation`` is one of `HERNIATIONS`; ``reach_mm`` is how far it stands out behind, ``side`` where (-1 left edge,
    0 middle, 1 right edge of the body) and ``drop_mm`` how far an extrusion has sunk (or, negative, risen).
    ``cleft`` is the strength of the dark band in the middle of the nucleus, ``squareness`` how far the nucleus reaches
    into its corners (2 an ellipse), ``fissure`` 1 where the annulus is torn behind.
    """

    name: str
    wear: float
    height: float
    bulge_mm: float
    herniation: str
    reach_mm: float
    side: float
    drop_mm: float
    cleft: float
    squareness: float
    fissure: float

    @property
    def pfirrmann(self) -> int:
        """Grade, 1 to 5."""
        return int(np.clip(np.rint(self.wear), 1, 5))


@dataclass(frozen=True)
class LumbarPerson:
    """One adult. ``size`` scales the skeleton, 1 is a mean man's; angles in degrees, lengths in mm.

    ``lordosis`` scales the wedges of bodies and discs so that they undo the sacrum's slope, as in people who lie.
    ``slip_mm`` is how far the vertebra above ``slip_disc`` stands before the one below (spondylolisthesis).
    """

    seed: int
    sex: str
    age_years: float
    size: float
    bmi_kg_m2: float
    sacral_slope_deg: float
    lordosis: float
    scoliosis_mm: float
    slip_disc: str
    slip_mm: float
    back_fat_mm: float
    muscle_bulk: float
    muscle_fat_percent: float
    marrow_fat: float
    canal: float
    epidural_fat: float
    discs: tuple[DiscState, ...]

    def disc(self, name: str) -> DiscState:
        """The state of one disc."""
        return self.discs[DISCS.index(name)]


def make_lumbar_person(seed: int) -> LumbarPerson:
    """Sample one person; the same seed is the same person."""
    rng = np.random.default_rng((seed, 401))
    male = bool(rng.random() < 0.5)
    age = float(np.clip(rng.normal(46, 16), 18, 88))
    bmi = float(np.clip(np.exp(rng.normal(np.log(25.5), 0.16)), 17, 44))
    size = float(np.clip(rng.normal(1.0 if male else 0.91, 0.045), 0.8, 1.14))
    slipped = rng.random() < 0.04 + 0.001 * max(0.0, age - 45)
    muscle_fat = 3 + 0.28 * max(0.0, age - 25) + 0.5 * (bmi - 25) + (0 if male else 4) + rng.normal(0, 4)
    slope = float(np.clip(rng.normal(37, 7.5), 18, 56))
    return LumbarPerson(
        seed=seed,
        sex="M" if male else "F",
        age_years=round(age, 1),
        size=size,
        bmi_kg_m2=round(bmi, 2),
        sacral_slope_deg=slope,
        lordosis=float(np.clip((slope + 9 + rng.normal(0, 4.5)) / 54, 0.35, 1.35)),
        scoliosis_mm=float(np.clip(rng.normal(0, 3.0), -11, 11)),
        slip_disc=str(rng.choice(["L4-L5", "L5-S1"], p=[0.65, 0.35])),
        slip_mm=float(rng.uniform(3, 8)) if slipped else 0.0,
        back_fat_mm=float(np.clip(np.exp(rng.normal(np.log(11), 0.4)) * (bmi / 25.5) ** 1.8, 3, 60)),
        muscle_bulk=float(np.clip(rng.normal(1.0 if male else 0.9, 0.1) - 0.002 * (age - 45), 0.65, 1.3)),
        muscle_fat_percent=float(np.clip(muscle_fat, 1.5, 45)),
        marrow_fat=float(np.clip(0.27 + 0.0045 * (age - 25) + rng.normal(0, 0.07), 0.15, 0.72)),
        canal=float(np.clip(rng.normal(1.0, 0.11), 0.72, 1.3)),
        epidural_fat=float(np.clip(rng.normal(1.0, 0.35), 0.2, 2.2)),
        discs=_draw_discs(age, np.random.default_rng((seed, 403))),
    )


def _draw_discs(age: float, rng: np.random.Generator) -> tuple[DiscState, ...]:
    usual = 1.55 + 0.034 * (age - 20) + rng.normal(0, 0.45)
    return tuple(_draw_disc(name, usual + more, rng) for name, more in zip(DISCS, _MORE_WEAR, strict=True))


def _draw_disc(name: str, usual: float, rng: np.random.Generator) -> DiscState:
    accident = rng.choice([0.0, 0.9, 1.8], p=[0.82, 0.11, 0.07])
    wear = float(np.clip(usual + rng.normal(0, 0.45) + accident, 0.6, 5.55))
    height = float(np.interp(wear, *_HEIGHT_BY_WEAR) * np.clip(rng.normal(1, 0.06), 0.85, 1.15))
    low = name in LEVELS[3:]
    odds = np.clip((wear - 2.1) * (0.16 if low else 0.06), 0.0, 0.45)
    kind = "none"
    if rng.random() < odds:
        kind = str(rng.choice(["protrusion", "extrusion"], p=[0.68, 0.32]))
    bulge = float(np.clip(0.35 + 0.55 * max(0.0, wear - 2.0) + rng.normal(0, 0.35), 0.0, 3.2))
    if kind == "none" and bulge > 1.4:
        kind = "bulge"
    reach = {"protrusion": rng.uniform(2.8, 5.5), "extrusion": rng.uniform(5.0, 9.5)}.get(kind, 0.0)
    drop = float(rng.choice([-1, 1], p=[0.3, 0.7]) * rng.uniform(2, 7)) if kind == "extrusion" else 0.0
    return DiscState(
        name=name,
        wear=wear,
        height=height,
        bulge_mm=bulge,
        herniation=kind,
        reach_mm=float(reach),
        side=float(np.clip(rng.normal(0, 0.28), -0.6, 0.6)),
        drop_mm=drop,
        cleft=float(np.clip(np.interp(wear, [1.2, 2.0, 2.8, 3.6], [0.0, 0.75, 0.55, 0.0]) + rng.normal(0, 0.1), 0, 1)),
        squareness=float(rng.uniform(1.9, 4.5)),
        fissure=float(rng.random() < np.interp(wear, [2, 3.5, 5], [0.05, 0.35, 0.2])),
    )
