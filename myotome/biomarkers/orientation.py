"""How slices lie in the patient."""

from __future__ import annotations

import numpy as np

from myotome.geometry import Grid

__all__ = ["compute_tilt_degrees"]

_PATIENT_AXES = {"LR": 0, "PA": 1, "IS": 2}


def compute_tilt_degrees(grid: Grid, across: str = "LR") -> float:
    """Angle between the slices' normal and one of the patient's axes, 0 to 90.

    With ``"LR"`` 0 are sagittal slices and 90 axial ones; slices in parallel with the glenoid, as the Y-view wants
    them, have some 20 to 45 degrees. With ``"IS"`` 0 are axial slices.

    Parameters
    ----------
    across : the patient's axis: ``"LR"``, ``"PA"`` or ``"IS"``
    """
    normal = grid.affine[:3, grid.slice_axis(across)]
    cosine = abs(float(normal[_PATIENT_AXES[across]])) / float(np.linalg.norm(normal))
    return float(np.degrees(np.arccos(min(1.0, cosine))))
