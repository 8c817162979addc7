"""One door to the calibrations that need no phantom."""

from __future__ import annotations

from myotome.biomarkers.bone_density.calibration import Calibration, CalibrationRefused
from myotome.biomarkers.bone_density.multi_tissue import calibrate_multi_tissue
from myotome.biomarkers.bone_density.references import References
from myotome.biomarkers.bone_density.settings import METHODS, BoneDensitySettings, read_bone_density_settings
from myotome.biomarkers.bone_density.two_tissue import calibrate_two_tissue
from myotome.errors import InputError

__all__ = ["calibrate"]

_METHODS = dict(zip(METHODS, (calibrate_two_tissue, calibrate_multi_tissue), strict=True))


def calibrate(
    references: References, method: str | None = None, settings: BoneDensitySettings | None = None
) -> Calibration | CalibrationRefused:
    """Calibrate by the person's own tissues.

    Parameters
    ----------
    references : of the slices that are to be calibrated
    method : ``two_tissue`` or ``multi_tissue``; that of the settings when ``None``

    Returns
    -------
    Calibration or CalibrationRefused
        The latter says why there is no number.

    Raises
    ------
    InputError
        When the method is not known.
    """
    settings = settings or read_bone_density_settings()
    method = method or settings.method
    if method not in _METHODS:
        raise InputError(f"no calibration '{method}': there are {', '.join(_METHODS)}.")
    return _METHODS[method](references, settings)
