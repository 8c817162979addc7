"""What to beware of in a case: cut-off structures, thick slices, contrast, metal."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label as label_components
from scipy.ndimage import minimum_filter

from myotome.biomarkers.coarse import CoarseCase
from myotome.geometry import Volume
from myotome.structures import LabelMap

__all__ = [
    "DIRECTIONS",
    "PADDING_HU",
    "contrast_recorded",
    "contrast_suspected",
    "find_contacts",
    "find_padding_value",
    "metal_present",
    "thick_slices",
    "truncation_flags",
]

DIRECTIONS = ("right", "left", "anterior", "posterior")
PADDING_HU = -1500
THICK_SLICE_MM = 5.0
METAL_HU = 2500
BLOOD_HU = 100

_REACH_MM = 1.5
_SMALLEST_CONTACT_MM2 = 10.0
_SMALLEST_CONTACT_SHARE = 0.3
_SMALLEST_METAL_MM3 = 20.0
_SMALLEST_POOL_MM3 = 6000.0
_VESSEL_MM = 15.0
_SPINE_DEPTH_MM = 75.0
_MEDIASTINUM_MM = 90.0
_NO_CONTRAST = {"", "no", "n", "none", "no contrast", "non-contrast", "without", "without contrast", "unenhanced"}


def find_padding_value(image: np.ndarray) -> float | None:
    """Value that fills the image outside the reconstruction circle: what a corner of the middle slice is filled with.

    ``None`` when no 4 x 4 corner holds one value only.
    """
    middle = image[..., image.shape[2] // 2]
    corners = [middle[x, y] for x in (slice(None, 4), slice(-4, None)) for y in (slice(None, 4), slice(-4, None))]
    filled = [corner.flat[0].item() for corner in corners if (corner == corner.flat[0]).all()]
    return max(filled, key=filled.count) if filled else None


def find_contacts(
    labelled: np.ndarray, image: np.ndarray, padding_value: float | None, affine: np.ndarray
) -> tuple[np.ndarray, ...] | None:
    """Find the labelled voxels that lie at the edge of the field of view in one axial slice.

    The edge is the border of the image and the border of its padding: voxels of -1500 HU or below, and voxels of the
    padding value that hang together with a corner. At the edge is within 1.5 mm of it, at least one voxel.

    Parameters
    ----------
    labelled : (x, y) mask in RAS order, not empty
    image : (x, y) HU

    Returns
    -------
    Four (x, y) masks of the voxels at the edge towards right, left, anterior and posterior; ``None`` where there are
    none, as in most slices.
    """
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    reach = [max(1, round(_REACH_MM / step)) for step in spacing]
    box = _bounding_box(labelled, reach)
    cropped, density = labelled[box], image[box]
    outside = density <= PADDING_HU
    if padding_value is not None and _touches(density == padding_value, cropped, reach):
        outside |= _joined_to_corner(image == padding_value)[box]
    inside = [part.start > 0 and part.stop <= size for part, size in zip(box, labelled.shape, strict=True)]
    if all(inside) and not outside.any():
        return None
    found = []
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        at_edge = _near_border(labelled, axis, step, reach[axis])
        at_edge[box] |= _near_mask(outside, axis, step, reach[axis])
        found.append(at_edge & labelled)
    return tuple(found)


def _bounding_box(mask: np.ndarray, margin: list[int]) -> tuple[slice, slice]:
    box = []
    for axis in (0, 1):
        used = np.flatnonzero(mask.any(axis=1 - axis))
        box.append(slice(max(0, used[0] - margin[axis]), used[-1] + margin[axis] + 1))
    return box[0], box[1]


def _touches(mask: np.ndarray, labelled: np.ndarray, reach: list[int]) -> bool:
    """True when a labelled voxel lies within reach of the mask."""
    if not mask.any():
        return False
    directions = [(axis, step) for axis in (0, 1) for step in (1, -1)]
    return any((_near_mask(mask, axis, step, reach[axis]) & labelled).any() for axis, step in directions)


def _joined_to_corner(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask that reach a corner of the image."""
    components, _ = label_components(mask)
    corners = {int(components[x, y]) for x in (0, -1) for y in (0, -1)} - {0}
    return np.isin(components, list(corners))


def _near_mask(mask: np.ndarray, axis: int, step: int, reach: int) -> np.ndarray:
    """Voxels with a voxel of the mask at most ``reach`` indices further along an axis."""
    near = np.zeros_like(mask)
    mask, result = np.moveaxis(mask, axis, 0), np.moveaxis(near, axis, 0)
    for shift in range(1, min(reach, mask.shape[0] - 1) + 1):
        if step > 0:
            result[:-shift] |= mask[shift:]
        else:
            result[shift:] |= mask[:-shift]
    return near


def _near_border(mask: np.ndarray, axis: int, step: int, reach: int) -> np.ndarray:
    near = np.zeros_like(mask)
    np.moveaxis(near, axis, 0)[slice(-reach, None) if step > 0 else slice(None, reach)] = True
    return near


def truncation_flags(contact: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[str, ...]:
    """Flags ``truncated_right`` ... of one structure and side, from its contacts.

    A direction is flagged when at least 10 mm2 of the structure's border lie at the edge of the field of view there,
    and at least 30 % of all its contact: an arc at 45 degrees is cut in two directions, one at 20 degrees in one.

    Parameters
    ----------
    contact : (4,) counts towards right, left, anterior, posterior
    spacing_mm : along left-right, posterior-anterior and inferior-superior
    """
    faces_mm2 = np.array([spacing_mm[1], spacing_mm[1], spacing_mm[0], spacing_mm[0]]) * spacing_mm[2]
    reach = [max(1, round(_REACH_MM / spacing_mm[axis])) for axis in (0, 0, 1, 1)]
    area = contact * faces_mm2 / reach
    if area.sum() == 0:
        return ()
    cut = (area >= _SMALLEST_CONTACT_MM2) & (area >= _SMALLEST_CONTACT_SHARE * area.sum())
    return tuple(f"truncated_{name}" for name, flagged in zip(DIRECTIONS, cut, strict=True) if flagged)


def thick_slices(volume: Volume) -> bool:
    """True when slices lie more than 5 mm apart, or are more than 5 mm thick by their header."""
    thickness = volume.acquisition.slice_thickness_mm or 0.0
    return max(thickness, volume.grid.spacing_mm[volume.grid.axis("IS")]) > THICK_SLICE_MM + 1e-3


def contrast_recorded(agent: str | None) -> bool:
    """True when a header's text for the contrast agent names one; "none", "without contrast" and their like do not."""
    return (agent or "").strip().lower() not in _NO_CONTRAST


def contrast_suspected(volume: Volume, label_map: LabelMap, coarse: CoarseCase) -> bool:
    """True when the header names a contrast agent, or the blood in the mediastinum is denser than 100 HU.

    Blood without contrast is 30-60 HU and stays below 80 HU even at a high haematocrit; in the portal venous phase the
    aorta and the heart reach 120-180 HU. So a pool above 100 HU is enhanced: at least 6 mL of places whose whole
    neighbourhood of 15 mm is above 100 HU in block means of 5 mm (which takes noise away). Ribs, sternum, calcium
    and leads are thinner than that (a manubrium in 8 mm slices left 3 mL); vertebral bodies are excluded by place: a
    pool counts only within 90 mm of the erector spinae's median place and more than 75 mm in front of it, slice by
    slice. Weak, late enhancement (below 100 HU) is not seen, and without erector spinae only the header is used.
    """
    if contrast_recorded(volume.acquisition.contrast_agent):
        return True
    spine = [structure.index for structure in label_map.schema.structures if structure.name == "erector_spinae"]
    muscle = np.isin(coarse.labels, spine)
    if not muscle.any():
        return False
    size = 2 * np.floor(_VESSEL_MM / 2 / coarse.spacing_mm).astype(int) + 1
    pool = minimum_filter(coarse.density_hu, size=size, mode="constant", cval=-1000) > BLOOD_HU
    count = 0
    for z in np.flatnonzero(pool.any(axis=(0, 1)) & muscle.any(axis=(0, 1))):
        behind = np.median(np.argwhere(muscle[..., z]), axis=0) * coarse.spacing_mm[:2]
        x_mm, y_mm = (np.argwhere(pool[..., z]) * coarse.spacing_mm[:2] - behind).T
        count += int(((y_mm > _SPINE_DEPTH_MM) & (np.abs(x_mm) < _MEDIASTINUM_MM)).sum())
    return bool(count * np.prod(coarse.spacing_mm) >= _SMALLEST_POOL_MM3)


def metal_present(volume: Volume) -> bool:
    """True when at least 20 mm3 above 2500 HU hang together: denser than any bone of the trunk.

    Cortical bone stays below 2000 HU; steel and titanium saturate a 12-bit scanner at 3071 HU.
    """
    array = np.moveaxis(volume.array, volume.grid.axis("IS"), -1)
    smallest = max(2, _SMALLEST_METAL_MM3 / volume.grid.voxel_volume_mm3)
    found = []
    for z in range(array.shape[-1]):
        if array[..., z].max() > METAL_HU:
            found += [(x, y, z) for x, y in np.argwhere(array[..., z] > METAL_HU)]
    positions = np.array(found, dtype=int).reshape(-1, 3)
    if len(positions) < smallest:
        return False
    low = positions.min(axis=0)
    mask = np.zeros(positions.max(axis=0) - low + 1, bool)
    mask[tuple((positions - low).T)] = True
    components, count = label_components(mask, np.ones((3, 3, 3)))
    return bool(count and np.bincount(components.ravel())[1:].max() >= smallest)
