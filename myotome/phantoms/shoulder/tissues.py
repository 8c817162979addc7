"""What the tissues of a shoulder are made of."""

from __future__ import annotations

from myotome.phantoms.mr_signals import TissueConstants

__all__ = ["TISSUES"]

# Water density, fat density (shares of pure water), T1 at 1.5 T (ms), T2 (ms) of the water. Round figures of
# textbooks; the T2 of fat is its apparent one in a train of echoes. Cortical bone and air are black at any setting.
TISSUES: dict[str, TissueConstants] = {
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
