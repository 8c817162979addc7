"""Signals of tissues: the spin-echo equation over tissue constants, separately for water and for fat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Signal", "compute_signals"]


@dataclass(frozen=True)
class Signal:
    """What a pixel filled by a tissue gives: from its water and from its fat."""

    water: float
    fat: float


# Water density, fat density (shares of pure water), T1 at 1.5 T (ms), T2 (ms) of the water. Round figures of
# textbooks; the T2 of fat is its apparent one in a train of echoes. Cortical bone and air are black at any setting.
_TISSUES = {
    "air": (0.0, 0.0, 1000, 50),
    "muscle": (0.82, 0.0, 1000, 42),
    "fat": (0.04, 0.90, 800, 45),
    "fascia": (0.40, 0.05, 800, 22),
    "tendon": (0.35, 0.0, 700, 12),
    "cortex": (0.08, 0.0, 700, 4),
    "marrow": (0.20, 0.68, 800, 50),
    "red_marrow": (0.55, 0.35, 850, 55),
    "cartilage": (0.75, 0.0, 1000, 45),
    "labrum": (0.30, 0.0, 700, 12),
    "fluid": (1.0, 0.0, 3000, 600),
    "skin": (0.60, 0.05, 800, 32),
    "flow_void": (0.10, 0.0, 1500, 30),
    "slow_blood": (0.85, 0.0, 1500, 110),
    "nerve": (0.70, 0.10, 1100, 65),
    "lung": (0.06, 0.0, 1200, 20),
}
_FAT_T1, _FAT_T2 = 290.0, 125.0


def compute_signals(
    tr_ms: float, te_ms: float, field_t: float, fat_suppression: float, rng: np.random.Generator
) -> dict[str, Signal]:
    """Signal of every tissue for one sequence, as a share of unsuppressed fat's; people differ by a few per cent.

    Parameters
    ----------
    tr_ms, te_ms : repetition time and effective echo time.
    field_t : 1.5 or 3.0; T1 is longer at 3 T.
    fat_suppression : share of the fat's signal that is suppressed.
    rng : of the person; the draws do not depend on the sequence.
    """
    longer = 1.0 if field_t < 2 else 1.25
    fat = _spin_echo(1.0, _FAT_T1 * longer, _FAT_T2 * rng.uniform(0.92, 1.08), tr_ms, te_ms)
    unit = _TISSUES["fat"][1] * fat
    fat *= 1 - fat_suppression
    signals = {}
    for name, (water_density, fat_density, t1, t2) in _TISSUES.items():
        spread = rng.normal(1.0, 0.05, 3)
        water = _spin_echo(water_density * spread[0], t1 * longer * spread[1], t2 * spread[2], tr_ms, te_ms)
        signals[name] = Signal(water / unit, fat_density * fat / unit)
    return signals


def _spin_echo(density: float, t1_ms: float, t2_ms: float, tr_ms: float, te_ms: float) -> float:
    return float(density * (1 - np.exp(-tr_ms / t1_ms)) * np.exp(-te_ms / t2_ms))
