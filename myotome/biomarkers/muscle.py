"""Volume, density and composition of labelled muscles on CT, per side, per slice and at named levels.

The label of a muscle is its anatomical contour, fat streaks included. Inside it, muscle is -29..150 HU (LAMA -29..29,
NAMA 30..150) and IMAT is -190..-30 HU.

Measures, by name: ``volume`` (mL, whole contour), ``muscle_volume`` (mL, muscle range), ``density`` (HU of the muscle
range: mean, median, sd), ``contour_density`` (HU of the whole contour), ``nama_share``, ``lama_share``, ``imat_share``
(%, of NAMA + LAMA + IMAT), ``volume_per_length`` (mL/cm), ``volume_per_height2`` (cm3/m2), ``volume_per_height3``
(cm3/m3); per slice ``area`` (cm2, whole contour); at named levels also ``muscle_area``, ``density``, ``imat_share`` and
``area_per_height2`` (cm2/m2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from myotome.biomarkers.coarse import make_coarse_case
from myotome.biomarkers.flags import contrast_suspected, metal_present, thick_slices, truncation_flags
from myotome.biomarkers.height import is_plausible_height, require_height_m
from myotome.biomarkers.sides import find_midsagittal_plane
from myotome.biomarkers.tally import IMAT_HU, LAMA_HU, MUSCLE_HU, NAMA_HU, Tally, count_voxels
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.measurement import Measurement
from myotome.structures import LabelMap, Structure

__all__ = ["measure_muscles"]

HU = "[hnsf'U]"
_CONTOUR = "whole contour"
_MUSCLE = "contour voxels of -29..150 HU"
_VOLUME_CASE_FLAGS = ("gap_between_slices", "instance_numbers_skip", "missing_slices", "thick_slices")
_DENSITY_CASE_FLAGS = (*_VOLUME_CASE_FLAGS, "contrast_suspected", "lossy_compression", "metal", "no_value_below_zero")


@dataclass(frozen=True, eq=False)
class _Case:
    """What every measurement of one case shares."""

    tally: Tally
    voxel_ml: float
    pixel_cm2: float
    length_cm: float
    spacing_mm: tuple[float, float, float]
    height_m: float | None
    levels: dict[str, int]
    flags: tuple[str, ...]

    def flags_among(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(flag for flag in self.flags if flag in names)


@dataclass(frozen=True, eq=False)
class _Part:
    """The counts of one structure on one side (or both), with the flags that belong to it."""

    structure: str
    side: str
    histogram: np.ndarray
    lowest_hu: int
    ranges: np.ndarray
    muscle_hu_sum: np.ndarray
    contact: np.ndarray
    flags: tuple[str, ...]

    @property
    def voxels(self) -> int:
        return int(self.histogram.sum())

    def row(self, measure: str, value: float | None, unit: str, **details) -> Measurement:
        """A measurement of this part; a missing value carries the flag that says why."""
        voxels, flags = details.pop("voxels", self.voxels), details.pop("flags", ())
        if value is None:
            flags = ("absent" if voxels == 0 else "no_muscle_range_voxels", *self.flags)
        return Measurement(self.structure, measure, value, unit, side=self.side, flags=flags, **details)


def measure_muscles(
    volume: Volume,
    label_map: LabelMap,
    *,
    height_m: float | None = None,
    levels: dict[str, int] | None = None,
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """Measure every structure of a label map on the CT it was drawn on.

    Parameters
    ----------
    volume : CT in HU, any orientation
    label_map : on the same grid
    height_m : height of the person in metres; the header's is used when it is not given
    levels : vertebral level to slice index, along the volume's own inferior-superior array axis

    Returns
    -------
    measurements : per structure and side; volumes first, then slices, then levels
    flags : of the case, such as ``thick_slices``, ``contrast_suspected``, ``metal``, ``no_muscle_found``

    Notes
    -----
    An absent structure or side has ``None`` with the flag ``absent``. Labelled voxels of -1500 HU or below lie outside
    the reconstruction circle: they are not counted, and the part is flagged ``padding_in_contour``. Shares follow the
    literature's NAMA/TAMA: the denominator is all muscle and fat inside the contour (-190..150 HU), so that the three
    add up to 100 % and IMAT% = IMAT / (muscle + IMAT). SD is that of the population of voxels. ``slice_index`` counts
    along the volume's own inferior-superior array axis.

    Raises
    ------
    InputError
        When the grids differ, the image is not a CT, the height is not plausible, or a level lies outside the image.
    """
    _check(volume, label_map, height_m, levels or {})
    coarse = make_coarse_case(volume, label_map)
    plane = find_midsagittal_plane(volume, label_map, coarse)
    tally = count_voxels(volume, label_map, plane)
    flags = list(volume.acquisition.flags)
    if height_m is None and volume.acquisition.height_m is not None:
        height_m = volume.acquisition.height_m
        if not is_plausible_height(height_m):
            height_m = None
            flags.append("height_implausible")
    flags += ["thick_slices"] * thick_slices(volume)
    flags += ["contrast_suspected"] * contrast_suspected(volume, label_map, coarse)
    flags += ["metal"] * metal_present(volume)
    flags += ["no_muscle_found"] * (not tally.histogram[1:].any())
    case = _describe_case(volume, tally, height_m, levels or {}, tuple(dict.fromkeys(flags)))
    parts = [part for structure in label_map.schema.structures for part in _split(case, structure)]
    rows = [row for part in parts for row in _measure_volume(case, part)]
    rows += [row for part in parts for row in _measure_slices(case, part)]
    rows += [
        row
        for level, index in case.levels.items()
        for part in parts
        for row in _measure_level(case, part, level, index)
    ]
    return tuple(rows), case.flags


def _check(volume: Volume, label_map: LabelMap, height_m: float | None, levels: dict[str, int]) -> None:
    if volume.modality != "CT":
        raise InputError(f"muscle density is measured on CT, and this image is {volume.modality}: give the CT series.")
    if not volume.grid.same_as(label_map.grid):
        raise InputError(
            f"the label map ({label_map.grid.shape}) is not on the image's grid ({volume.grid.shape}): "
            "resample it to the image by nearest neighbour."
        )
    require_height_m(height_m)
    depth = volume.grid.shape[volume.grid.axis("IS")]
    for level, index in levels.items():
        if not 0 <= index < depth:
            raise InputError(f"level {level} is slice {index}, outside the image: its slices are 0 to {depth - 1}.")


def _describe_case(
    volume: Volume, tally: Tally, height_m: float | None, levels: dict[str, int], flags: tuple[str, ...]
) -> _Case:
    spacing = tuple(volume.grid.spacing_mm[volume.grid.axis(codes)] for codes in ("LR", "PA", "IS"))
    return _Case(
        tally=tally,
        voxel_ml=volume.grid.voxel_volume_mm3 / 1000,
        pixel_cm2=spacing[0] * spacing[1] / 100,
        length_cm=tally.ranges.shape[0] * spacing[2] / 10,
        spacing_mm=spacing,
        height_m=height_m,
        levels=levels,
        flags=flags,
    )


def _split(case: _Case, structure: Structure) -> Iterator[_Part]:
    """The structure's right, left and both sides; only both where it has no sides."""
    sides = {"right": [0], "left": [1]} if structure.sided else {}
    for side, columns in {**sides, "both": [0, 1]}.items():
        tally, index = case.tally, structure.index
        ranges = tally.ranges[:, index, columns].sum(axis=1)
        contact = tally.contact[:, index, columns]
        present = ranges.sum(axis=1) > 0
        flags = _truncation(case, contact.sum(axis=0))
        flags += ["cut_first_slice"] * bool(present[0]) + ["cut_last_slice"] * bool(present[-1])
        flags += ["padding_in_contour"] * bool(tally.padded[index, columns].sum())
        yield _Part(
            structure.name,
            side,
            tally.histogram[index, columns].sum(axis=0),
            tally.lowest_hu,
            ranges,
            tally.muscle_hu_sum[:, index, columns].sum(axis=1),
            contact,
            tuple(flags),
        )


def _truncation(case: _Case, contact: np.ndarray) -> list[str]:
    """Flags of any of the sides in a (sides, 4) array of contacts."""
    flags = [flag for side in contact for flag in truncation_flags(side, case.spacing_mm)]
    return list(dict.fromkeys(flags))


def _measure_volume(case: _Case, part: _Part) -> Iterator[Measurement]:
    """Everything that is measured on the whole of a part."""
    present = part.voxels > 0
    muscle = _hu_range(part, MUSCLE_HU).sum() if present else None
    volume = part.voxels * case.voxel_ml if present else None
    flags = (*part.flags, *case.flags_among(_VOLUME_CASE_FLAGS))
    yield part.row("volume", volume, "mL", method=_CONTOUR, flags=flags)
    yield part.row("muscle_volume", muscle * case.voxel_ml if present else None, "mL", method=_MUSCLE, flags=flags)
    density_flags = (*part.flags, *case.flags_among(_DENSITY_CASE_FLAGS))
    for measure, hu_range, method in (
        ("density", MUSCLE_HU, _MUSCLE),
        ("contour_density", (part.lowest_hu, part.lowest_hu + len(part.histogram) - 1), _CONTOUR),
    ):
        values = _describe_histogram(_hu_range(part, hu_range), hu_range[0])
        for statistic, value in zip(("mean", "median", "sd"), values, strict=True):
            yield part.row(measure, value, HU, statistic=statistic, method=method, flags=density_flags)
    tissue = muscle + _hu_range(part, IMAT_HU).sum() if present else 0
    for name, hu_range in (("nama", NAMA_HU), ("lama", LAMA_HU), ("imat", IMAT_HU)):
        share = 100 * float(_hu_range(part, hu_range).sum() / tissue) if tissue else None
        method = f"{hu_range[0]}..{hu_range[1]} HU in -190..150 HU of the contour"
        yield part.row(f"{name}_share", share, "%", method=method, flags=density_flags)
    method = f"{_CONTOUR} per {case.length_cm:.1f} cm scanned"
    yield part.row(
        "volume_per_length", volume / case.length_cm if present else None, "mL/cm", method=method, flags=flags
    )
    if case.height_m is not None:
        for power in (2, 3):
            index = volume / case.height_m**power if present else None
            yield part.row(f"volume_per_height{power}", index, f"cm3/m{power}", method=_CONTOUR, flags=flags)


def _hu_range(part: _Part, hu_range: tuple[int, int]) -> np.ndarray:
    return part.histogram[hu_range[0] - part.lowest_hu : hu_range[1] - part.lowest_hu + 1]


def _describe_histogram(counts: np.ndarray, lowest_hu: int) -> tuple[float | None, float | None, float | None]:
    """Mean, median and population SD of the whole numbers that a histogram counts."""
    bins = np.flatnonzero(counts)
    if bins.size == 0:
        return None, None, None
    counts, values = counts[bins], bins + lowest_hu
    total = int(counts.sum())
    mean = float(counts @ values) / total
    below = np.cumsum(counts)
    middle = [values[np.searchsorted(below, rank, side="right")] for rank in ((total - 1) // 2, total // 2)]
    return mean, float(sum(middle)) / 2, float(np.sqrt(counts @ (values - mean) ** 2 / total))


def _measure_slices(case: _Case, part: _Part) -> Iterator[Measurement]:
    """Area of the contour in every slice that holds the part."""
    voxels = part.ranges.sum(axis=1)
    for index in np.flatnonzero(voxels):
        flags = tuple(_truncation(case, part.contact[index]))
        area = float(voxels[index]) * case.pixel_cm2
        yield part.row("area", area, "cm2", slice_index=int(index), method=_CONTOUR, flags=flags)


def _measure_level(case: _Case, part: _Part, level: str, index: int) -> Iterator[Measurement]:
    """Area, density and fat share in the slice of one named level."""
    _, imat, lama, nama = (int(count) for count in part.ranges[index])
    voxels, muscle = int(part.ranges[index].sum()), lama + nama
    flags = tuple(_truncation(case, part.contact[index])) if voxels else ()
    place = {"level": level, "slice_index": int(index), "voxels": voxels}
    area = voxels * case.pixel_cm2 if voxels else None
    yield part.row("area", area, "cm2", method=_CONTOUR, flags=flags, **place)
    muscle_area = muscle * case.pixel_cm2 if voxels else None
    yield part.row("muscle_area", muscle_area, "cm2", method=_MUSCLE, flags=flags, **place)
    density_flags = (*flags, *case.flags_among(_DENSITY_CASE_FLAGS))
    density = float(part.muscle_hu_sum[index]) / muscle if muscle else None
    yield part.row("density", density, HU, statistic="mean", method=_MUSCLE, flags=density_flags, **place)
    share = 100 * imat / (muscle + imat) if muscle + imat else None
    method = "-190..-30 HU in -190..150 HU of the contour"
    yield part.row("imat_share", share, "%", method=method, flags=density_flags, **place)
    if case.height_m is not None:
        value = muscle_area / case.height_m**2 if voxels else None
        yield part.row("area_per_height2", value, "cm2/m2", method=_MUSCLE, flags=flags, **place)
