"""Calibration by the phantom of quantitative CT: rods of known density under the back, found in the image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve

from myotome.biomarkers.bone_density.calibration import Calibration, CalibrationRefused, to_k2hpo4
from myotome.biomarkers.bone_density.settings import BoneDensitySettings, Rods, read_bone_density_settings
from myotome.geometry import Volume, reorient

__all__ = ["FoundRods", "calibrate_with_phantom", "find_rods"]

_INNER_MM = 3.0  # from a rod's edge to the disc that is measured
_BESIDE_MM, _BESIDE_HEIGHT_MM = (3.0, 8.0), 3.0  # from a rod's edge to the plastic on both sides of it, and up and down
_PLASTIC_HU = 70.0
_SMALLEST_R2 = 0.985
_MOST_UNEVEN = 0.15  # of the HU between the rods: what a disc's SD may have on top of the most even one's
_MOST_SLICES = 60
_SD_OF_DEVIATION = 1.4826  # of a Gaussian, per median absolute deviation
_MEDIAN_INEFFICIENCY = 1.2533  # standard error of a median, of that of the mean


@dataclass(frozen=True, eq=False)
class FoundRods:
    """The rods of a phantom: densities (mg/cm3, K2HPO4), mean HU and its error, and their centres in the RAS plane."""

    kind: str
    density_mg_cm3: np.ndarray
    hu: np.ndarray
    se_hu: np.ndarray
    centres: tuple[tuple[int, int], ...]


def find_rods(
    volume: Volume, settings: BoneDensitySettings | None = None, slices: Iterable[int] | None = None
) -> FoundRods | None:
    """Find the rods of a calibration phantom in the median of some slices.

    Every place is tried at which a phantom's rods could lie side by side: their discs must have HU on a line with their
    densities, rise by a scanner's HU per mg/cm3, and lie in plastic of the HU of water. Each has to be as even as the
    others: half of a rod and half of a back that has sunk into it are on a line, too, with half of its slope. Of these
    places the one with most rods is taken, and of those the one whose discs are the most even.

    Parameters
    ----------
    volume : CT in HU, of any axis order
    slices : numbers from the feet; all when ``None``

    Returns
    -------
    FoundRods or None
        ``None`` where there is no phantom.
    """
    settings = settings or read_bone_density_settings()
    image, affine = reorient(volume.array, volume.grid.affine)
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, :2], axis=0))
    numbers = np.arange(image.shape[2]) if slices is None else np.unique(np.fromiter(slices, int))
    if not numbers.size:
        return None
    numbers = numbers[:: max(1, int(np.ceil(numbers.size / _MOST_SLICES)))]
    behind = image[:, : image.shape[1] // 2, numbers]
    plane = np.median(behind, axis=2).astype(np.float64)
    found = []
    for kind, rods in settings.phantom.kinds.items():
        found += [(*place, kind, rods) for place in _places(plane, rods, spacing, settings)]
    if not found:
        return None
    _, x, y, turned, kind, rods = min(found, key=lambda place: (-len(place[5].densities_mg_cm3), place[0]))
    offsets = _offsets(rods, spacing[0])
    centres = tuple((int(x + step), int(y)) for step in (offsets[::-1] if turned else offsets))
    hu, se = _read_rods(behind, centres, rods, spacing)
    density = np.array(rods.densities_mg_cm3)
    if rods.equivalent == "hydroxyapatite":
        density = np.array([to_k2hpo4(one) for one in density])
    return FoundRods(kind, density, hu, se, centres)


def _places(
    plane: np.ndarray, rods: Rods, spacing_mm: tuple[float, ...], settings: BoneDensitySettings
) -> Iterator[tuple[float, int, int, bool]]:
    """Unevenness, place and direction of the best place of each direction, where there is one."""
    disc = _disc(rods.radius_mm - _INNER_MM, spacing_mm)
    sides = _beside(rods.radius_mm, spacing_mm)
    mean = convolve(plane, disc, mode="nearest")
    uneven = np.sqrt(np.maximum(0, convolve(plane**2, disc, mode="nearest") - mean**2))
    around = convolve(plane, sides, mode="nearest")
    offsets = _offsets(rods, spacing_mm[0])
    reach = int(max(abs(offsets)))
    if plane.shape[0] <= 2 * reach:
        return
    density = np.array(rods.densities_mg_cm3)
    x = density - density.mean()
    for turned in (False, True):
        steps = offsets[::-1] if turned else offsets
        window = [slice(reach + step, plane.shape[0] - reach + step) for step in steps]
        values = np.stack([mean[part] for part in window])
        slope = np.tensordot(x, values, 1) / (x @ x)
        left = ((values - values.mean(axis=0) - x[:, None, None] * slope) ** 2).sum(axis=0)
        total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
        zero = values.mean(axis=0) - slope * density.mean()
        embedded = np.all([np.abs(around[part] - zero) < _PLASTIC_HU for part in window], axis=0)
        low, high = settings.phantom.hu_per_mg_cm3
        good = embedded & (slope >= low) & (slope <= high) & (left <= (1 - _SMALLEST_R2) * total)
        good &= np.sqrt(left / max(1, len(density) - 2)) <= settings.phantom.most_residual_hu
        spread = np.stack([uneven[part] for part in window])
        edges = np.sqrt(spread.max(axis=0) ** 2 - spread.min(axis=0) ** 2)
        good &= edges <= _MOST_UNEVEN * slope * (density.max() - density.min())
        if good.any():
            cost = np.where(good, spread.max(axis=0), np.inf)
            place = np.unravel_index(int(np.argmin(cost)), cost.shape)
            yield float(cost[place]), int(place[0]) + reach, int(place[1]), turned


def _offsets(rods: Rods, step_mm: float) -> np.ndarray:
    """Pixels from the middle of the phantom to the centre of each rod."""
    count = len(rods.densities_mg_cm3)
    return np.rint((np.arange(count) - (count - 1) / 2) * rods.spacing_mm / step_mm).astype(int)


def _disc(radius_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Weights of a disc, which add up to 1."""
    x, y = _axes((radius_mm, radius_mm), spacing_mm)
    inside = (np.hypot(x[:, None], y) <= radius_mm).astype(float)
    return inside / inside.sum()


def _beside(radius_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Weights of the plastic on both sides of a rod, which add up to 1."""
    near, far = (radius_mm + step for step in _BESIDE_MM)
    x, y = _axes((far, _BESIDE_HEIGHT_MM), spacing_mm)
    inside = ((np.abs(x)[:, None] >= near) & (np.abs(y) <= _BESIDE_HEIGHT_MM)).astype(float)
    return inside / inside.sum()


def _axes(reach_mm: tuple[float, float], spacing_mm: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Places in mm, from -reach to reach, along both axes."""
    sizes = [int(np.ceil(reach / step)) for reach, step in zip(reach_mm, spacing_mm, strict=True)]
    x, y = (np.arange(-size, size + 1) * step for size, step in zip(sizes, spacing_mm, strict=True))
    return x, y


def _read_rods(
    behind: np.ndarray, centres: tuple[tuple[int, int], ...], rods: Rods, spacing_mm: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """HU of each rod, the median of its means in the slices, and the standard error by their scatter.

    Slices in which something else lies at the place, such as a back that sinks in, do not count while they are few.
    """
    disc = _disc(rods.radius_mm - _INNER_MM, spacing_mm)
    half = [size // 2 for size in disc.shape]
    means, errors = [], []
    for x, y in centres:
        low = [max(0, half[0] - x), max(0, half[1] - y)]
        cut = behind[max(0, x - half[0]) : x + half[0] + 1, max(0, y - half[1]) : y + half[1] + 1]
        weights = disc[low[0] : low[0] + cut.shape[0], low[1] : low[1] + cut.shape[1]] > 0
        inside = cut[weights].astype(float)
        slices = inside.mean(axis=0)
        middle = float(np.median(slices))
        scatter = _SD_OF_DEVIATION * float(np.median(np.abs(slices - middle)))
        noise = float(np.median(inside.std(axis=0))) / np.sqrt(inside.shape[0])
        means.append(middle)
        errors.append(_MEDIAN_INEFFICIENCY * max(scatter, noise) / np.sqrt(len(slices)))
    return np.array(means), np.array(errors)


def calibrate_with_phantom(
    volume: Volume, settings: BoneDensitySettings | None = None, slices: Iterable[int] | None = None
) -> Calibration | CalibrationRefused:
    """Calibrate by the rods of a phantom under the back: a straight line of HU on density.

    Parameters
    ----------
    volume : CT in HU, of any axis order
    slices : numbers from the feet; all when ``None``

    Returns
    -------
    Calibration or CalibrationRefused
        The latter (``phantom_not_found``) where no rods lie behind the patient. Its densities are of K2HPO4 also with a
        phantom of hydroxyapatite, by the published conversion.
    """
    rods = find_rods(volume, settings, slices)
    if rods is None:
        sentence = "No rods of a calibration phantom were found under the back."
        return CalibrationRefused("phantom", ("phantom_not_found",), (sentence,))
    design = np.stack([np.ones_like(rods.density_mg_cm3), rods.density_mg_cm3], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    line = inverse @ design.T @ rods.hu
    residual = rods.hu - design @ line
    variance = max(float(residual @ residual) / (len(rods.hu) - 2), float((rods.se_hu**2).mean()))
    r2 = 1 - float(residual @ residual) / float(((rods.hu - rods.hu.mean()) ** 2).sum())
    return Calibration("phantom", _convert, line, variance * inverse, r2=r2)


def _convert(parameters: np.ndarray, hu: float) -> float:
    return float((hu - parameters[0]) / parameters[1])
