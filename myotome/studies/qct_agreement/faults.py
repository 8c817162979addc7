"""Calibrations broken on purpose: what the image and its labels show when something went wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import distance_transform_edt

from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.phantoms.bone import BoneCase
from myotome.phantoms.ct_scan import PADDING_HU
from myotome.structures import LabelMap
from myotome.studies.qct_agreement.settings import Fault

__all__ = ["FAULTS", "break_case"]

_INTERCEPT_HU = -1024.0
_LOWEST_HU, _HIGHEST_HU = -1024, 3071
_BEYOND = ("subcutaneous_fat", "air")
_KEPT_MM = (0.0, 3.0)


def break_case(case: BoneCase, name: str, fault: Fault, seed: int) -> BoneCase:
    """A scan with a fault; contrast agent and metal are in the acquisition already, and their headers differ.

    Raises
    ------
    InputError
        When there is no fault of that name.
    """
    if name not in FAULTS:
        raise InputError(f"no fault '{name}': there are {', '.join(FAULTS)}.")
    return FAULTS[name](case, fault, seed)


def _hide_contrast(case: BoneCase, fault: Fault, seed: int) -> BoneCase:
    """Every second header does not name the agent."""
    if seed % 2:
        return case
    volume = case.volume
    return _with_image(case, volume.array, replace(volume.acquisition, contrast_agent=None))


def _cut_fat(case: BoneCase, fault: Fault, seed: int) -> BoneCase:
    """The field ends at the fat's inner edge, or up to 3 mm beyond: the fat and what lies outside is padding."""
    schema, labels = case.label_map.schema, case.label_map.array
    inner = ~np.isin(labels, [schema[name].index for name in _BEYOND])
    kept_mm = float(np.random.default_rng((seed, 601)).uniform(*_KEPT_MM)) if seed % 2 else 0.0
    outside = np.empty(labels.shape, bool)
    for z in range(labels.shape[2]):
        body = _fill(inner[..., z])
        outside[..., z] = distance_transform_edt(~body, sampling=case.volume.grid.spacing_mm[:2]) > kept_mm
    image = np.where(outside, np.int16(PADDING_HU), case.volume.array)
    left = np.where(outside, 0, labels).astype(np.uint8)
    return replace(_with_image(case, image), label_map=LabelMap(left, case.label_map.grid, schema))


def _fill(plane: np.ndarray) -> np.ndarray:
    """The largest part of what is neither fat nor air, with what it encloses."""
    from scipy.ndimage import binary_fill_holes, label

    parts, count = label(plane)
    if count > 1:
        plane = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return binary_fill_holes(plane)


def _leave(case: BoneCase, fault: Fault, seed: int) -> BoneCase:
    return case


def _stretch(case: BoneCase, fault: Fault, seed: int) -> BoneCase:
    """HU by a rescale slope that is wrong by a factor, about the intercept of -1024: each person by the next factor."""
    if not fault.factors:
        raise InputError("broken.faults.wrong_slope has no factors: give such as [0.5, 2.0].")
    factor = fault.factors[seed % len(fault.factors)]
    wrong = factor * (case.volume.array.astype(np.float32) - _INTERCEPT_HU) + _INTERCEPT_HU
    return _with_image(case, np.clip(np.rint(wrong), _LOWEST_HU, _HIGHEST_HU).astype(np.int16))


def _with_image(case: BoneCase, image: np.ndarray, acquisition=None) -> BoneCase:
    volume = case.volume
    return replace(case, volume=Volume(image, volume.grid, volume.modality, acquisition or volume.acquisition))


FAULTS: dict[str, Callable[[BoneCase, Fault, int], BoneCase]] = {
    "contrast": _hide_contrast,
    "missing_fat": _cut_fat,
    "metal": _leave,
    "wrong_slope": _stretch,
}
"""By name, as the configuration has them."""
