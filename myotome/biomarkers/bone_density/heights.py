"""How tall a vertebral body is in front, in the middle and behind, and how much of its height it has lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

__all__ = ["Heights", "compute_height_loss", "measure_heights"]

_MIDDLE_WIDTH = (0.33, 0.67)
_TALL_SHARE = 0.8
_STEP_MM = 0.5
_WINDOWS = ((0.1, 0.3), (0.4, 0.6), (0.7, 0.9))
_NEIGHBOURS = 2


@dataclass(frozen=True)
class Heights:
    """Heights in mm of one body, along its own axis: in front, in the middle, behind."""

    anterior_mm: float
    middle_mm: float
    posterior_mm: float

    @property
    def tallest_mm(self) -> float:
        """The largest of the three."""
        return max(self.anterior_mm, self.middle_mm, self.posterior_mm)

    @property
    def least_mm(self) -> float:
        """The smallest of the three."""
        return min(self.anterior_mm, self.middle_mm, self.posterior_mm)


def measure_heights(body: np.ndarray, spacing_mm: tuple[float, float, float]) -> Heights | None:
    """Heights of a body in the middle third of its width, with the body stood upright in the sagittal plane.

    How it is tilted is read off the middles of its vertical chords, which lie on its axis from front to back wherever
    both endplates are hit. Heights are areas per depth, so that they are finer than a slice.

    Parameters
    ----------
    body : (x, y, z) boolean in RAS order, cropped to the body or not
    spacing_mm : along left-right, posterior-anterior, inferior-superior

    Returns
    -------
    Heights or None
        ``None`` for an empty mask.
    """
    columns = np.flatnonzero(body.any(axis=(1, 2)))
    if not columns.size:
        return None
    low, high = (columns[0] + round(share * (columns[-1] - columns[0])) for share in _MIDDLE_WIDTH)
    section = np.pad(body[low : high + 1].mean(axis=0), 1)
    chords = section.sum(axis=1)
    tall = chords >= _TALL_SHARE * chords.max()
    y_mm, z_mm = (np.arange(size) * step for size, step in zip(section.shape, spacing_mm[1:], strict=True))
    middles = section @ z_mm / np.where(chords > 0, chords, 1)
    slope = np.polyfit(y_mm[tall], middles[tall], 1, w=np.sqrt(chords[tall]))[0] if tall.sum() > 2 else 0.0
    profile = _stand_upright(section, spacing_mm[1:], float(np.arctan(slope)))
    inside = np.flatnonzero(profile > 0.5 * np.median(profile[profile > 0]))
    depth = inside[-1] + 1 - inside[0]
    posterior, middle, anterior = (
        float(profile[inside[0] + round(near * depth) : inside[0] + max(1, round(far * depth))].mean())
        for near, far in _WINDOWS
    )
    return Heights(anterior, middle, posterior)


def _stand_upright(section: np.ndarray, spacing_mm: tuple[float, ...], angle: float) -> np.ndarray:
    """Height in mm at each step of 0.5 mm along the body's axis from back to front."""
    sizes = [size * step for size, step in zip(section.shape, spacing_mm, strict=True)]
    reach = np.hypot(*sizes) / 2
    along = np.arange(-reach, reach, _STEP_MM)
    forward, upward = np.meshgrid(along, along, indexing="ij")
    centre = [(size - 1) / 2 for size in section.shape]
    y = (forward * np.cos(angle) - upward * np.sin(angle)) / spacing_mm[0] + centre[0]
    z = (forward * np.sin(angle) + upward * np.cos(angle)) / spacing_mm[1] + centre[1]
    return map_coordinates(section, [y, z], order=1, mode="constant").sum(axis=1) * _STEP_MM


def compute_height_loss(level: str, heights: Mapping[str, Heights], typical_mm: Mapping[str, float]) -> float:
    """How much of its height a body has lost, in %: its least height, of the tallest that it should have.

    That is its own tallest height, or what its neighbours (up to two levels away) say by the typical ratio of heights,
    in the median, where that is more: a body that is crushed all over has no tall part of its own.

    Parameters
    ----------
    level : of ``heights``
    heights : of the bodies that lie whole in the field of view
    typical_mm : heights of every level, of which the ratios are used; in the order of the levels
    """
    names, own = list(typical_mm), heights[level]
    place = names.index(level)
    near = [
        name
        for name in heights
        if name != level and name in typical_mm and abs(names.index(name) - place) <= _NEIGHBOURS
    ]
    expected = [heights[name].tallest_mm * typical_mm[level] / typical_mm[name] for name in near]
    whole = max([own.tallest_mm, *([float(np.median(expected))] if expected else [])])
    return 100 * (1 - own.least_mm / whole)
