"""Hounsfield units of tissues: what contrast agent, its phase and the tube voltage make of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from myotome.phantoms.abdomen.person import AbdomenPerson

__all__ = ["PHASES", "VOLTAGES_KV", "compute_tissue_hu"]

VOLTAGES_KV = (80.0, 100.0, 120.0, 140.0)
PHASES = ("none", "arterial", "venous", "delayed")
# Enhancement at 120 kV by phase: no agent, arterial, portal venous, delayed. Round figures of textbooks.
_IODINE = {
    "muscle": (0, 4, 11, 10),
    "aorta": (0, 240, 115, 75),
    "cava": (0, 40, 100, 75),
    "vessel": (0, 110, 105, 70),
    "liver": (0, 15, 52, 38),
    "spleen": (0, 75, 68, 45),
    "renal_cortex": (0, 125, 145, 100),
    "renal_medulla": (0, 25, 130, 110),
    "renal_pelvis": (0, 0, 25, 480),
    "bowel_wall": (0, 35, 52, 38),
    "marrow": (0, 4, 12, 10),
    "skin": (0, 5, 12, 12),
}
_PLAIN = {
    "muscle": (58, 4.5),
    "aorta": (43, 4),
    "cava": (41, 4),
    "vessel": (40, 4),
    "liver": (56, 9),
    "spleen": (48, 4),
    "renal_cortex": (32, 3),
    "renal_medulla": (30, 3),
    "renal_pelvis": (8, 3),
    "bowel_wall": (38, 6),
    "fluid": (14, 8),
    "stool": (5, 25),
    "disc": (85, 12),
    "cord": (32, 5),
    "skin": (25, 12),
    "ligament": (70, 12),
    "fat": (-104, 5),
}
_IODINE_BY_KV = {80.0: 1.62, 100.0: 1.25, 120.0: 1.0, 140.0: 0.86}
_BONE_BY_KV = {80.0: 1.35, 100.0: 1.14, 120.0: 1.0, 140.0: 0.92}
_FAT_BY_KV = {80.0: -14.0, 100.0: -5.0, 120.0: 0.0, 140.0: 4.0}


def compute_tissue_hu(person: AbdomenPerson, phase: str, tube_voltage_kv: float) -> Mapping[str, float]:
    """Hounsfield units of every tissue of one person; the draws do not depend on phase and voltage.

    Parameters
    ----------
    person : whose tissues they are; age thins the bone.
    phase : one of `PHASES`.
    tube_voltage_kv : 80, 100, 120 or 140.
    """
    rng = np.random.default_rng((person.seed, 223))
    strength = float(rng.uniform(0.75, 1.2)) * _IODINE_BY_KV[tube_voltage_kv]
    hu = {name: float(mean + spread * rng.normal()) for name, (mean, spread) in _PLAIN.items()}
    steatosis = float(rng.exponential(8.0) if rng.random() < 0.4 else 0.0)
    hu["liver"] = max(hu["liver"] - steatosis, 5.0)
    hu["fat"] += _FAT_BY_KV[tube_voltage_kv]
    hu["visceral_fat"] = hu["fat"] + float(rng.normal(4, 4))
    hu["muscle_fat"] = hu["fat"] + float(rng.uniform(0, 14))
    stronger = _BONE_BY_KV[tube_voltage_kv]
    density = 1 - person.bone_loss
    hu["marrow"] = (40 + 150 * density + float(rng.normal(0, 20))) * stronger
    hu["cortex"] = (420 + 330 * density + float(rng.normal(0, 60))) * stronger
    hu["cartilage"] = 100.0
    for name, enhancement in _IODINE.items():
        hu[name] += enhancement[PHASES.index(phase)] * strength
    hu |= {"air": -1000.0, "gas": -985.0, "lung": float(rng.normal(-850, 25)), "calcification": 650.0}
    hu["positive_contrast"] = float(rng.uniform(120, 420)) * _IODINE_BY_KV[tube_voltage_kv]
    hu["metal"] = 3071.0
    return hu
