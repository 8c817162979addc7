"""Whether an image can be the MR of a part of the body."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from myotome.errors import InputError
from myotome.geometry import Volume

__all__ = ["refuse_other_parts", "require_mr"]

_AIR_BELOW_HU = -300
_SMALLEST_SHARE = 0.001


def require_mr(volume: Volume, reason: str, wanted: str) -> None:
    """Refuse an image that is not MR by its header or its values, or that shows nothing.

    Parameters
    ----------
    reason : why it has to be MR, as the end of a sentence
    wanted : what to give in its place
    """
    if volume.modality != "MR":
        raise InputError(f"the image is {volume.modality}, not MR: {reason}.")
    air = np.count_nonzero(volume.array < _AIR_BELOW_HU)
    if air > _SMALLEST_SHARE * volume.array.size:
        raise InputError(
            f"the image has {air} voxels below {_AIR_BELOW_HU}, so it is a CT, not MR: give {wanted}'s MR series."
        )
    if volume.array.min() == volume.array.max():
        raise InputError(f"every voxel of the image is {volume.array.flat[0]:g}: export the series again.")


def refuse_other_parts(volume: Volume, parts: Collection[str], wanted: str, name: str) -> None:
    """Refuse an image whose header names another part of the body.

    Parameters
    ----------
    parts : DICOM's words for what the image is not
    wanted, name : what it has to be, with a definite and an indefinite article
    """
    part = volume.acquisition.body_part
    if part in parts:
        raise InputError(
            f"the header says that the image is of the {part}, not of {name}: give {wanted}'s series, or "
            "correct its BodyPartExamined."
        )
