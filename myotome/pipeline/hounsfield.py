"""Whether an image is a CT in Hounsfield units."""

from __future__ import annotations

import numpy as np

from myotome.errors import InputError
from myotome.geometry import Volume

__all__ = ["require_hounsfield"]

_AIR_BELOW_HU = -300
_SOFT_TISSUE_HU = (-150, 200)
_SMALLEST_SHARE = 0.001
_SAMPLED_PER_AXIS = 128


def require_hounsfield(volume: Volume) -> None:
    """Refuse an image that is not a CT, or whose numbers cannot be Hounsfield units."""
    if volume.modality != "CT":
        raise InputError(f"the image is {volume.modality}, not CT: these muscles are measured on CT.")
    lowest = float(volume.array.min())
    if lowest >= 0:
        raise InputError(
            f"the image's lowest value is {lowest:g}, so it is not in Hounsfield units (air is -1000): "
            "apply its rescale slope and intercept, or convert it again from DICOM."
        )
    low, high = _SOFT_TISSUE_HU
    sample = volume.array[tuple(slice(None, None, max(1, size // _SAMPLED_PER_AXIS)) for size in volume.array.shape)]
    shares = {
        f"air (below {_AIR_BELOW_HU} HU)": np.count_nonzero(sample < _AIR_BELOW_HU),
        f"soft tissue ({low} to {high} HU)": np.count_nonzero((sample >= low) & (sample <= high)),
    }
    for name, count in shares.items():
        if count < _SMALLEST_SHARE * sample.size:
            raise InputError(
                f"the image shows hardly any {name}, so its numbers are not Hounsfield units or it is a small crop: "
                "check its rescale, or give the whole image."
            )
