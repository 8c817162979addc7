"""Which part of each vertebral body is measured, and its HU: trabecular bone away from cortex, endplates and vein."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.ndimage import label as label_components

from myotome.biomarkers.bone_density.heights import Heights, compute_height_loss, measure_heights
from myotome.biomarkers.bone_density.settings import (
    BoneDensitySettings,
    RegionSettings,
    read_bone_density_settings,
)
from myotome.geometry import Volume, axis_codes, reorient
from myotome.structures import LabelMap

__all__ = ["PREFIX", "Region", "erode_body", "find_trabecular_regions", "name_level", "out_of_order"]

PREFIX = "vertebral_body_"
_BLOCK_MM = 6.0
_FINE_MM = 1.5
_APART_MM = (12.0, 55.0)
_STEP_RATIO = (0.6, 1.7)


@dataclass(frozen=True, eq=False)
class Region:
    """The trabecular region of one body.

    Parameters
    ----------
    level : such as ``L1``
    hu, hu_se : mean of the region and its standard error; ``None`` where nothing is measured, and a flag says why
    volume_ml : of the region
    slices : first and one past the last slice of the body, from the feet
    centre_mm : of the body, in the patient's millimetres
    heights : ``None`` when the field of view cuts the body
    height_loss_percent : ``None`` likewise
    mask : (x, y, z) of the region in its box
    box : slices of the mask in the image in RAS order
    flags : why there is no value, and what to beware of
    """

    level: str
    hu: float | None
    hu_se: float | None
    volume_ml: float
    slices: tuple[int, int]
    centre_mm: tuple[float, float, float]
    heights: Heights | None = None
    height_loss_percent: float | None = None
    mask: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), bool), repr=False)
    box: tuple[slice, ...] = ()
    flags: tuple[str, ...] = ()


def name_level(structure: str) -> str | None:
    """``L1`` of ``vertebral_body_l1``; ``None`` of another structure."""
    return structure.removeprefix(PREFIX).upper() if structure.startswith(PREFIX) else None


def find_trabecular_regions(
    volume: Volume, label_map: LabelMap, settings: BoneDensitySettings | None = None
) -> dict[str, Region]:
    """The trabecular region of each labelled body, from the highest level to the lowest.

    The largest part of each label is taken. A body at the end or the edge of the field of view is not measured
    (``cut_first_slice``, ``cut_last_slice``, ``truncated``). One that has lost more height than
    ``region.fracture_percent`` has its HU and the flag ``fractured``; slices over 1.5 mm apart have to show what they
    are further apart on top, since each end of a body is known to half a slice. A region that is too small, or whose
    mean is not bone's, has no HU (``region_too_small``, ``bone_implausible``).

    Parameters
    ----------
    volume : CT in HU, of any axis order
    label_map : on its grid, in the numbering of ``bone_density_ct``

    Returns
    -------
    dict of Region by level
        Empty without a body.
    """
    settings = settings or read_bone_density_settings()
    image, affine = reorient(volume.array, volume.grid.affine)
    labels, _ = reorient(label_map.array, label_map.grid.affine)
    upward = axis_codes(volume.grid.affine)[volume.grid.axis("IS")] == "S"
    boxes, found = find_objects(labels), {}
    for structure in label_map.schema.structures:
        level = name_level(structure.name)
        box = boxes[structure.index - 1] if structure.index <= len(boxes) else None
        if level is None or box is None:
            continue
        body, box = _largest_part(labels[box] == structure.index, box)
        found[level] = _describe(level, body, box, (image, affine, upward), settings.region)
    heights = {level: region.heights for level, region in found.items() if region.heights is not None}
    step_mm = float(np.linalg.norm(affine[:3, 2]))
    for level, own in heights.items():
        loss = compute_height_loss(level, heights, settings.region.heights_mm)
        unseen = 100 * max(0.0, step_mm - _FINE_MM) / own.tallest_mm
        fractured = ("fractured",) * (loss > settings.region.fracture_percent + unseen)
        found[level] = replace(found[level], height_loss_percent=loss, flags=(*found[level].flags, *fractured))
    return found


def out_of_order(centres_mm: Mapping[str, tuple[float, float, float]], levels: tuple[str, ...]) -> bool:
    """True when bodies do not lie below one another as their levels do: then the names are not to be relied on.

    Neighbours lie 12 to 55 mm apart, and no step from level to level is under 0.6 or over 1.7 times the median one: a
    name that was left out, or given to a body further away, makes such a step.

    Parameters
    ----------
    centres_mm : of each whole body, in the patient's millimetres; the middle of a cut one is not known
    levels : every level, from the highest to the lowest
    """
    places = [place for place, level in enumerate(levels) if level in centres_mm]
    if len(places) < 2:
        return False
    moves = np.diff([centres_mm[levels[place]] for place in places], axis=0)
    steps = np.linalg.norm(moves, axis=1) / np.diff(places)
    ratio = steps / np.median(steps)
    apart = (steps < _APART_MM[0]) | (steps > _APART_MM[1]) | (ratio < _STEP_RATIO[0]) | (ratio > _STEP_RATIO[1])
    return bool((moves[:, 2] >= 0).any() or apart.any())


def _largest_part(mask: np.ndarray, box: tuple[slice, ...]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """The largest connected part of a mask and its own box."""
    parts, count = label_components(mask)
    if count <= 1:
        return mask, box
    number = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    inner = find_objects(parts)[number - 1]
    whole = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, inner, strict=True))
    return parts[inner] == number, whole


def _describe(
    level: str,
    body: np.ndarray,
    box: tuple[slice, ...],
    scan: tuple[np.ndarray, np.ndarray, bool],
    settings: RegionSettings,
) -> Region:
    image, affine, upward = scan
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    middle = np.argwhere(body).mean(axis=0) + [part.start for part in box]
    centre = tuple(float(one) for one in affine[:3, :3] @ middle + affine[:3, 3])
    region = Region(level, None, None, 0.0, (box[2].start, box[2].stop), centre)
    cut = _cut_flags(box, image.shape, upward)
    if cut:
        return replace(region, flags=cut)
    mask = erode_body(body, spacing, settings)
    volume_ml = float(mask.sum() * np.prod(spacing) / 1000)
    region = replace(region, heights=measure_heights(body, spacing), mask=mask, box=box, volume_ml=volume_ml)
    if mask.sum() < settings.fewest_voxels or volume_ml < settings.smallest_ml:
        return replace(region, flags=("region_too_small",))
    hu, se = _mean_hu(image[box], mask, spacing)
    low, high = settings.plausible_hu
    if not low <= hu <= high:
        return replace(region, flags=("bone_implausible",))
    return replace(region, hu=hu, hu_se=se)


def _cut_flags(box: tuple[slice, ...], shape: tuple[int, ...], upward: bool) -> tuple[str, ...]:
    """Which ends of the field of view a body reaches; the slices are named in the volume's own order."""
    lowest, highest = ("cut_first_slice", "cut_last_slice") if upward else ("cut_last_slice", "cut_first_slice")
    sides = any(part.start == 0 or part.stop == size for part, size in zip(box[:2], shape[:2], strict=True))
    flags = [lowest] * (box[2].start == 0) + [highest] * (box[2].stop == shape[2]) + ["truncated"] * sides
    return tuple(flags)


def erode_body(
    body: np.ndarray, spacing_mm: tuple[float, float, float], settings: RegionSettings | None = None
) -> np.ndarray:
    """The trabecular region of a body: away from its cortex and endplates, without its back and its vein.

    In each slice what lies closer than ``cortex_mm`` to the outside is taken off, then ``posterior_share`` of the depth
    behind. Above and below, ``endplate_mm`` (one slice at least) are taken off. Around the basivertebral vein, in the
    middle of height and width, ``vein_share`` of the depth is left out.

    Parameters
    ----------
    body : (x, y, z) boolean in RAS order

    Returns
    -------
    (x, y, z) boolean
    """
    settings = settings or read_bone_density_settings().region
    kept = np.zeros_like(body)
    for z in range(body.shape[2]):
        if body[..., z].any():
            depth = distance_transform_edt(np.pad(body[..., z], 1), sampling=spacing_mm[:2])[1:-1, 1:-1]
            kept[..., z] = depth > settings.cortex_mm
    for step in range(1, max(1, round(settings.endplate_mm / spacing_mm[2])) + 1):
        padded = np.pad(body, ((0, 0), (0, 0), (step, step)))
        kept &= padded[..., 2 * step :] & padded[..., : body.shape[2]]
    return kept & ~_left_out(body, settings)


def _left_out(body: np.ndarray, settings: RegionSettings) -> np.ndarray:
    """The back of the body, and where the vein runs."""
    used = np.flatnonzero(body.any(axis=(0, 1)))
    if not used.size:
        return body
    height = used[-1] + 1 - used[0]
    apart = np.abs(np.arange(body.shape[2]) - (used[0] + used[-1]) / 2)
    near_vein = apart <= settings.vein_height_share * height / 2 + 0.5  # every slice that it passes through
    out = np.zeros_like(body)
    for z in used:
        x, y = (np.flatnonzero(body[..., z].any(axis=axis)) for axis in (1, 0))
        out[:, : y[0] + round(settings.posterior_share * (y[-1] + 1 - y[0])), z] = True
        if near_vein[z]:
            width = settings.vein_width_share * (x[-1] + 1 - x[0]) / 2
            centre = (x[0] + x[-1]) / 2
            columns = np.abs(np.arange(body.shape[0]) - centre) <= width
            out[columns, : y[0] + round(settings.vein_share * (y[-1] + 1 - y[0])), z] = True
    return out


def _mean_hu(image: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[float, float]:
    """Mean of the masked HU and its standard error, by the scatter of the means of blocks of 6 mm.

    Blocks hold neighbours whose noise is shared, and show how the bone differs from place to place.
    """
    places = np.argwhere(mask)
    hu = image[mask].astype(float)
    sizes = [max(1, round(_BLOCK_MM / step)) for step in spacing_mm]
    cells = (places - places.min(axis=0)) // sizes
    _, block = np.unique(np.ravel_multi_index(cells.T, cells.max(axis=0) + 1), return_inverse=True)
    counts = np.bincount(block)
    mean = float(hu.mean())
    if counts.size < 2:
        return mean, float(hu.std(ddof=1) / np.sqrt(hu.size))
    totals = np.bincount(block, weights=hu - mean)
    variance = counts.size / (counts.size - 1) * float((totals**2).sum()) / hu.size**2
    return mean, float(np.sqrt(variance))
