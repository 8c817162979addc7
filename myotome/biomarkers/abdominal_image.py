"""What about an axial CT of the abdomen makes the measures of a slice less sure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_opening, distance_transform_edt, uniform_filter
from scipy.ndimage import label as label_components

from myotome.biomarkers.flags import (
    contrast_recorded,
    find_contacts,
    find_padding_value,
    metal_present,
    thick_slices,
    truncation_flags,
)
from myotome.biomarkers.orientation import compute_tilt_degrees
from myotome.geometry import Grid, Volume, reorient

__all__ = ["MOST_TILT_DEGREES", "find_enhanced_vessel", "flag_abdominal_ct", "is_sharp_kernel"]

MOST_TILT_DEGREES = 20.0
"""Slices that are tilted further are not axial: a cut through an upright cylinder is 6 % too large at 20 degrees."""

_OBLIQUE_DEGREES = 10.0  # 1.5 % too large
_CUSTOMARY_KV, _KV_TOLERANCE = 120.0, 5.0
_BODY_HU, _AIR_HU = -300, -1000
_TABLE_MM = 8.0
_SHARP_NAMES = re.compile(r"LUNG|BONE|EDGE|ULTRA|SHARP|^FC[358]\d")
_SIEMENS_NUMBER = re.compile(r"^[A-Z][A-Z]?(\d\d)")
_SHARP_NUMBER = 60
_ENHANCED_HU, _HIGHEST_BLOOD_HU = 100, 450
_SMOOTH_MM, _CORE_MM, _NEAR_MIDDLE_MM = 4.0, 4.0, 45.0
_VESSEL_MM2 = (60.0, 900.0)
_BESIDE_SPINE_MM, _GAP_MM, _BEHIND_FRONT_MM = (20.0, 50.0), 25.0, 4.0


def is_sharp_kernel(kernel: str | None) -> bool:
    """True for a reconstruction kernel made for lung or bone, by the names that scanners give them.

    Siemens numbers of 60 and more (``B70f``, ``Br64d``), names with LUNG, BONE or EDGE (GE), FC30, FC50 and FC80 and
    their neighbours (Canon). Such kernels amplify noise, which moves pixels across the limits of the HU ranges.
    """
    name = (kernel or "").strip().upper()
    number = _SIEMENS_NUMBER.match(name)
    if number and not name.startswith("FC"):
        return int(number[1]) >= _SHARP_NUMBER
    return bool(_SHARP_NAMES.search(name))


def flag_abdominal_ct(volume: Volume, compartment: np.ndarray, slices: Sequence[int]) -> tuple[str, ...]:
    """Flags of the slices that are measured, and of how they were acquired.

    ``thick_slices``, ``contrast_suspected`` (header, or an enhanced vessel), ``sharp_kernel``,
    ``tube_voltage_not_120``, ``not_axial`` (tilted over 10 degrees), ``metal`` (in the slices or their neighbours),
    ``body_truncated`` (the body leaves the field of view).

    Parameters
    ----------
    compartment : boolean, on the volume's grid: muscle and the fat between and in muscles
    slices : indices along the volume's inferior-superior axis
    """
    acquisition = volume.acquisition
    voltage = acquisition.tube_voltage_kv
    flags = {
        "thick_slices": thick_slices(volume),
        "contrast_suspected": contrast_recorded(acquisition.contrast_agent),
        "sharp_kernel": is_sharp_kernel(acquisition.kernel),
        "tube_voltage_not_120": voltage is not None and abs(voltage - _CUSTOMARY_KV) > _KV_TOLERANCE,
        "not_axial": compute_tilt_degrees(volume.grid, "IS") > _OBLIQUE_DEGREES,
        "metal": bool(slices) and metal_present(_around(volume, slices)),
    }
    spacing = tuple(volume.grid.spacing_mm[volume.grid.axis(codes)] for codes in ("LR", "PA", "IS"))
    for index in slices:
        image, affine = _plane(volume.array, volume.grid, index)
        muscle, _ = _plane(compartment, volume.grid, index)
        flags["contrast_suspected"] |= find_enhanced_vessel(image, muscle, spacing[:2])
        flags["body_truncated"] = flags.get("body_truncated", False) or bool(_body_contact(image, affine, spacing))
    return tuple(name for name, raised in flags.items() if raised)


def _around(volume: Volume, slices: Sequence[int]) -> Volume:
    """The measured slices with one neighbour on each side."""
    axis = volume.grid.axis("IS")
    low, high = max(0, min(slices) - 1), min(volume.grid.shape[axis], max(slices) + 2)
    array = np.moveaxis(np.moveaxis(volume.array, axis, 0)[low:high], 0, axis)
    return Volume(array, Grid(array.shape, volume.grid.affine), volume.modality)


def _plane(array: np.ndarray, grid: Grid, index: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) view of one slice in RAS order, and the affine of the volume in that order."""
    axis = grid.axis("IS")
    turned, affine = reorient(np.moveaxis(np.moveaxis(array, axis, 0)[index : index + 1], 0, axis), grid.affine)
    return turned[..., 0], affine


def _body_contact(image: np.ndarray, affine: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[str, ...]:
    """In which directions the body, without table and clothes, reaches the edge of the field of view."""
    sizes = [max(1, round(_TABLE_MM / step)) for step in spacing_mm[:2]]
    padded = np.pad(image > _BODY_HU, [(size, size) for size in sizes], mode="edge")
    opened = binary_opening(padded, np.ones(sizes, bool))[sizes[0] : -sizes[0], sizes[1] : -sizes[1]]
    components, count = label_components(opened)
    if count == 0:
        return ()
    body = components == 1 + np.argmax(np.bincount(components.ravel())[1:])
    padding = find_padding_value(image[..., None])
    padding = None if padding is None or padding >= _AIR_HU else padding  # noiseless air around the body is no edge
    contacts = find_contacts(body, image, padding, affine)
    return () if contacts is None else truncation_flags(np.count_nonzero(contacts, axis=(1, 2)), spacing_mm)


def find_enhanced_vessel(image: np.ndarray, compartment: np.ndarray, spacing_mm: tuple[float, float]) -> bool:
    """True when something like an enhanced aorta or vena cava lies in front of the spine.

    It is 100 to 450 HU in means of 4 mm, at least 8 mm thick, 0.6 to 9 cm2 large, outside the muscles, within 45 mm of
    their middle, and not behind the front of the psoas: the front of the vertebral body, whose marrow may be as dense,
    lies about there. Blood without contrast stays below 80 HU. Bowel full of oral contrast can be taken for a vessel.

    Parameters
    ----------
    image : (x, y) HU
    compartment : (x, y) boolean, the muscles with the fat between them
    spacing_mm : along x and y
    """
    if not compartment.any():
        return False
    middle_mm = np.flatnonzero(compartment.any(axis=1))[[0, -1]].mean() * spacing_mm[0]
    front_mm = _find_psoas_front_mm(compartment, middle_mm, spacing_mm)
    if front_mm is None:
        return False
    size = [max(1, 2 * round(_SMOOTH_MM / step / 2) + 1) for step in spacing_mm]
    smooth = uniform_filter(image.astype(np.float32), size)
    dense = (smooth > _ENHANCED_HU) & ~compartment
    cores, count = label_components(distance_transform_edt(dense, sampling=spacing_mm) >= _CORE_MM)
    for number in range(1, count + 1):
        core = cores == number
        x_mm, y_mm = np.argwhere(core).mean(axis=0) * spacing_mm
        if abs(x_mm - middle_mm) > _NEAR_MIDDLE_MM or y_mm < front_mm - _BEHIND_FRONT_MM:
            continue
        around = dense & (distance_transform_edt(~core, sampling=spacing_mm) <= _CORE_MM)
        area_mm2 = float(around.sum()) * spacing_mm[0] * spacing_mm[1]
        if _VESSEL_MM2[0] <= area_mm2 <= _VESSEL_MM2[1] and smooth[core].mean() <= _HIGHEST_BLOOD_HU:
            return True
    return False


def _find_psoas_front_mm(compartment: np.ndarray, middle_mm: float, spacing_mm: tuple[float, float]) -> float | None:
    """How far forward the muscles beside the spine reach: up to the first gap of 25 mm; ``None`` without one."""
    away_mm = np.abs(np.arange(compartment.shape[0]) * spacing_mm[0] - middle_mm)
    beside = (away_mm >= _BESIDE_SPINE_MM[0]) & (away_mm <= _BESIDE_SPINE_MM[1])
    rows = np.flatnonzero(compartment[beside].any(axis=0)) * spacing_mm[1]
    gaps = np.flatnonzero(np.diff(rows) >= _GAP_MM)
    return float(rows[gaps[0]]) if gaps.size else None
