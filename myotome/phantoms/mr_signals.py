"""Signals of tissues on MR: the spin-echo equation over tissue constants, separately for water and for fat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from myotome.phantoms.mr_scan import MrScan

__all__ = ["Signal", "TissueConstants", "compute_signals"]

# Water density, fat density (shares of pure water), T1 at 1.5 T (ms), T2 (ms) of the water.
TissueConstants = tuple[float, float, float, float]

_FAT_DENSITY, _FAT_T1, _FAT_T2 = 0.90, 290.0, 125.0


@dataclass(frozen=True)
class Signal:
    """What a pixel filled by a tissue gives: from its water and from its fat."""

    water: float
    fat: float


def compute_signals(
    tissues: Mapping[str, TissueConstants], scan: MrScan, rng: np.random.Generator
) -> dict[str, Signal]:
    """Signal of every tissue for one sequence, as a share of unsuppressed fat's; people differ by a few per cent.

    Parameters
    ----------
    tissues : constants of each tissue. T1 is longer at 3 T.
    scan : whose repetition time, effective echo time, field and fat suppression are used.
    rng : of the person; the draws do not depend on the sequence.
    """
    longer = 1.0 if scan.field_t < 2 else 1.25
    fat = _spin_echo(1.0, _FAT_T1 * longer, _FAT_T2 * rng.uniform(0.92, 1.08), scan)
    unit = _FAT_DENSITY * fat
    fat *= 1 - scan.fat_suppression
    signals = {}
    for name, (water_density, fat_density, t1, t2) in tissues.items():
        spread = rng.normal(1.0, 0.05, 3)
        water = _spin_echo(water_density * spread[0], t1 * longer * spread[1], t2 * spread[2], scan)
        signals[name] = Signal(water / unit, fat_density * fat / unit)
    return signals


def _spin_echo(density: float, t1_ms: float, t2_ms: float, scan: MrScan) -> float:
    return float(density * (1 - np.exp(-scan.tr_ms / t1_ms)) * np.exp(-scan.te_ms / t2_ms))
