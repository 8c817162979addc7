"""What the tissues of a lumbar spine are made of, with marrow and discs of one person."""

from __future__ import annotations

import numpy as np

from myotome.phantoms.lumbar.person import LumbarPerson
from myotome.phantoms.mr_signals import TissueConstants

__all__ = ["make_tissues"]

# Water density, fat density, T1 at 1.5 T (ms), T2 (ms) of the water: round figures of textbooks.
_TISSUES: dict[str, TissueConstants] = {
    "air": (0.0, 0.0, 1000, 50),
    "muscle": (0.82, 0.0, 1000, 42),
    "fat": (0.04, 0.90, 800, 45),
    "skin": (0.60, 0.05, 800, 32),
    "fascia": (0.40, 0.05, 800, 22),
    "ligament": (0.35, 0.0, 700, 14),
    "cortex": (0.10, 0.02, 700, 6),
    "csf": (1.0, 0.0, 3200, 900),
    "cord": (0.76, 0.0, 950, 82),
    "nerve": (0.72, 0.04, 1100, 70),
    "annulus": (0.52, 0.0, 850, 33),
    "outer_annulus": (0.38, 0.0, 800, 20),
    "cartilage": (0.75, 0.0, 1000, 45),
    "fluid": (1.0, 0.0, 3000, 500),
    "flow_void": (0.08, 0.0, 1500, 30),
    "slow_blood": (0.85, 0.0, 1500, 120),
    "bowel_wall": (0.80, 0.0, 1000, 50),
    "bowel_fluid": (0.92, 0.05, 1600, 130),
    "oedema": (0.75, 0.15, 1300, 110),
    "fatty_marrow": (0.16, 0.72, 800, 50),
    "sclerosis": (0.18, 0.12, 800, 20),
}
# By wear: water density, T1, T2 of the nucleus.
_WEAR = (0.6, 1.0, 2.0, 3.0, 4.0, 5.0, 5.6)
_NUCLEUS = ((0.93, 0.92, 0.90, 0.84, 0.76, 0.66, 0.62), (1350, 1300, 1200, 1050, 950, 900, 880))
_NUCLEUS_T2 = (165, 145, 112, 76, 54, 41, 38)


def make_tissues(person: LumbarPerson) -> dict[str, TissueConstants]:
    """Constants of all tissues; marrow is ``marrow``, and the nucleus of a disc ``nucleus L4-L5`` and so on."""
    fat = person.marrow_fat
    tissues = {**_TISSUES, "marrow": (0.62 * (1 - fat), 0.92 * fat, 780.0, 48.0)}
    for disc in person.discs:
        water, t1 = (float(np.interp(disc.wear, _WEAR, values)) for values in _NUCLEUS)
        tissues[f"nucleus {disc.name}"] = (water, 0.0, t1, float(np.interp(disc.wear, _WEAR, _NUCLEUS_T2)))
    return tissues
