"""Reference tissues of the person's own, taken from the slices of the bone that they calibrate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from myotome.biomarkers.bone_density.mode import HIGHEST_HU, LOWEST_HU, estimate_mode
from myotome.biomarkers.bone_density.settings import (
    BoneDensitySettings,
    TissueSettings,
    read_bone_density_settings,
)
from myotome.biomarkers.flags import METAL_HU, contrast_recorded, metal_present
from myotome.geometry import Grid, Volume, reorient
from myotome.structures import LabelMap

__all__ = ["ReferenceTally", "ReferenceTissue", "References", "collect_references", "tally_references"]

_BODY = "vertebral_body_"
_IN_BODY_HU, _MOST_HU = -950, 2000
_METAL_MARGIN_MM = 5.0


@dataclass(frozen=True)
class ReferenceTissue:
    """One reference: the robust mode of its HU, the standard error of that, the SD of its peak, and voxels used."""

    hu: float
    se_hu: float
    sd_hu: float
    voxels: int


@dataclass(frozen=True)
class References:
    """The references of some slices, and what of the scan decides whether they can be used.

    ``tissues`` holds those of which at least one voxel was found: ``fat``, ``muscle``, ``blood``, ``air``,
    ``cortical_bone``. ``contrast_recorded`` is by the header; ``metal`` is in these slices. ``water_diameter_cm`` is
    that of a cylinder of water that attenuates as the slices do (AAPM report 220).
    """

    tissues: Mapping[str, ReferenceTissue]
    tube_voltage_kv: float | None = None
    contrast_recorded: bool = False
    metal: bool = False
    water_diameter_cm: float | None = None


@dataclass(frozen=True, eq=False)
class ReferenceTally:
    """Histograms of the eroded references by slice, from the feet; `at` makes references of some of the slices.

    Parameters
    ----------
    histograms : by tissue, (slices, 4600) counts over whole HU from -1499 to 3100
    first_slice : number of the first slice that was counted, from the feet
    spacing_mm : along left-right, posterior-anterior, inferior-superior
    metal_slices : numbers, from the feet, of the slices that hold metal
    water_cm2 : (slices,) area of water that attenuates as each slice does
    """

    histograms: Mapping[str, np.ndarray]
    first_slice: int
    spacing_mm: tuple[float, float, float]
    settings: BoneDensitySettings = field(repr=False)
    tube_voltage_kv: float | None = None
    contrast_recorded: bool = False
    metal_slices: frozenset[int] = frozenset()
    water_cm2: np.ndarray | None = field(default=None, repr=False)

    def at(self, slices: Iterable[int]) -> References:
        """The references of slices (numbers from the feet) and each tissue's margin."""
        numbers = np.unique(np.fromiter(slices, int))
        pixel_mm2 = self.spacing_mm[0] * self.spacing_mm[1]
        limits, tissues = self.settings.references, {}
        for name, counts in self.histograms.items():
            part = counts[self._range(numbers, limits.tissues[name].margin_mm)]
            mode = estimate_mode(part, pixel_mm2, limits.correlation_mm2)
            if mode is not None:
                tissues[name] = ReferenceTissue(mode.hu, mode.se_hu, mode.sd_hu, mode.voxels)
        near = self._range(numbers, _METAL_MARGIN_MM)
        metal = any(number + self.first_slice in self.metal_slices for number in range(near.start, near.stop))
        water = np.zeros(0) if self.water_cm2 is None else self.water_cm2[self._range(numbers, 0.0)]
        diameter = float(2 * np.sqrt(water.mean() / np.pi)) if water.size else None
        return References(tissues, self.tube_voltage_kv, self.contrast_recorded, metal, diameter)

    def _range(self, numbers: np.ndarray, margin_mm: float) -> slice:
        """Where slices and their margin lie in the histograms."""
        if not numbers.size:
            return slice(0, 0)
        margin = int(margin_mm / self.spacing_mm[2])
        low = max(0, int(numbers[0]) - margin - self.first_slice)
        return slice(low, max(low, int(numbers[-1]) + margin + 1 - self.first_slice))


def tally_references(
    volume: Volume,
    label_map: LabelMap,
    slices: Iterable[int] | None = None,
    settings: BoneDensitySettings | None = None,
) -> ReferenceTally:
    """Count the HU of the reference tissues slice by slice, their borders eroded in the plane.

    Parameters
    ----------
    volume : CT in HU, of any axis order
    label_map : on its grid, in the numbering of ``bone_density_ct``
    slices : that are counted, with their margin, as numbers from the feet; those that hold a body when ``None``

    Returns
    -------
    ReferenceTally
        Without a body and without slices it counts nothing.
    """
    settings = settings or read_bone_density_settings()
    image, affine = reorient(volume.array, volume.grid.affine)
    labels, _ = reorient(label_map.array, label_map.grid.affine)
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    margin_mm = max(tissue.margin_mm for tissue in settings.references.tissues.values())
    numbers = _find_body_slices(label_map) if slices is None else np.fromiter(slices, int)
    low, high = _range_of(numbers, margin_mm / spacing[2], labels.shape[2])
    part, density = labels[..., low:high], image[..., low:high]
    histograms = {}
    for name, tissue in settings.references.tissues.items():
        index = label_map.schema[tissue.structure].index
        histograms[name] = _count(part == index, density, tissue, spacing)
    return ReferenceTally(
        histograms,
        low,
        spacing,
        settings,
        volume.acquisition.tube_voltage_kv,
        contrast_recorded(volume.acquisition.contrast_agent),
        _find_metal(density, affine, low),
        _measure_water(density, spacing),
    )


def collect_references(
    volume: Volume,
    label_map: LabelMap,
    slices: Iterable[int] | None = None,
    settings: BoneDensitySettings | None = None,
) -> References:
    """The references of one place: the modes of the eroded tissues in some slices.

    Parameters
    ----------
    volume : CT in HU, of any axis order
    label_map : on its grid, in the numbering of ``bone_density_ct``
    slices : numbers from the feet; those that hold a vertebral body when ``None``

    Returns
    -------
    References
        Without any tissue when there is none in the slices.
    """
    numbers = list(_find_body_slices(label_map) if slices is None else slices)
    return tally_references(volume, label_map, numbers, settings).at(numbers)


def _find_body_slices(label_map: LabelMap) -> np.ndarray:
    """Numbers, from the feet, of the slices that hold a vertebral body."""
    labels, _ = reorient(label_map.array, label_map.grid.affine)
    bodies = np.zeros(256, bool)
    bodies[[one.index for one in label_map.schema.structures if one.name.startswith(_BODY)]] = True
    return np.flatnonzero(bodies[labels].any(axis=(0, 1)))


def _range_of(numbers: np.ndarray, margin: float, depth: int) -> tuple[int, int]:
    """First and one past the last slice that is counted."""
    if numbers.size == 0:
        return 0, 0
    reach = int(margin)
    return max(0, int(numbers.min()) - reach), min(depth, int(numbers.max()) + reach + 1)


def _count(mask: np.ndarray, density: np.ndarray, tissue: TissueSettings, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """(slices, 4600) counts of the mask's HU, its border eroded in each slice."""
    bins = HIGHEST_HU - LOWEST_HU + 1
    counts = np.zeros((mask.shape[2], bins), np.int64)
    used = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2))]
    if not used[0].size:
        return counts
    box = tuple(slice(one[0], one[-1] + 1) for one in used)
    steps = [round(tissue.erode_mm / step) for step in spacing_mm[:2]]
    for z in range(mask.shape[2]):
        plane = mask[*box, z]
        if plane.any():
            hu = np.rint(density[*box, z][_erode(plane, steps)])
            hu = hu[(hu >= LOWEST_HU) & (hu <= HIGHEST_HU)].astype(np.int64)
            counts[z] = np.bincount(hu - LOWEST_HU, minlength=bins)
    return counts


def _erode(plane: np.ndarray, steps: list[int]) -> np.ndarray:
    """What stays of a mask when so many pixels are taken off along each axis; beyond the array is none of it."""
    kept = np.pad(plane, 1)
    for axis in (0, 1):
        for _ in range(steps[axis]):
            kept = kept & np.roll(kept, 1, axis) & np.roll(kept, -1, axis)
    return kept[1:-1, 1:-1]


def _measure_water(density: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Area of water, in cm2, that attenuates as each slice does; air, and what is no metal's or bone's HU, left out."""
    pixel_cm2 = spacing_mm[0] * spacing_mm[1] / 100
    areas = [np.clip(density[..., z], -1000, _MOST_HU)[density[..., z] > _IN_BODY_HU] for z in range(density.shape[2])]
    return np.array([float((one / 1000 + 1).sum(dtype=np.float64)) * pixel_cm2 for one in areas])


def _find_metal(density: np.ndarray, affine: np.ndarray, first_slice: int) -> frozenset[int]:
    """Numbers, from the feet, of the slices that metal passes through."""
    tall = [z for z in range(density.shape[2]) if density[..., z].max() > METAL_HU]
    if not tall:
        return frozenset()
    runs = np.split(np.array(tall), np.flatnonzero(np.diff(tall) > 1) + 1)
    found: set[int] = set()
    for run in runs:
        part = density[..., run[0] : run[-1] + 1]
        if metal_present(Volume(part, Grid(part.shape, affine))):
            found |= {int(z) + first_slice for z in run}
    return frozenset(found)
