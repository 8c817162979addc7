"""Size, height and signal of the lumbar discs on MR, disc by disc.

In a **sagittal** volume each disc is measured in its own middle slice, the one nearest to its centroid, and in that
slice by its largest connected part. Its AP axis is the part's long principal axis. Measures, by name: ``area`` (mm2),
``ap_diameter`` (mm, along the AP axis), ``transverse_diameter`` (mm, from the first to the last slice that shows it),
``volume`` (mL), ``anterior_height``, ``middle_height`` and ``posterior_height`` (mm, perpendicular to the AP axis, in
windows of a tenth of the AP diameter, 15, 50 and 85 % behind its front end), ``disc_height`` (mm, Dabbs' form: mean of
anterior and posterior height), ``disc_height_index`` (Farfan's form: anterior and posterior height together over the
AP diameter), ``signal_per_csf`` (mean signal of the cut over that of the fluid behind it, `spinal_fluid`) and
``disc_slice``.

In **axial** slices a disc has ``area``, ``ap_diameter`` and ``transverse_diameter``, by the principal axes of its cut
in each slice, and never a height: one slice does not show it, and how many do says how they were planned.

Both have ``centroid`` (statistics ``x``, ``y``, ``z``: patient mm, RAS+) and, where a detector found the disc,
``detection_score``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import label as label_components

from myotome.biomarkers.disc_shape import (
    HEIGHT_PLACES,
    DiscAxes,
    DiscCut,
    cut_disc,
    find_axes,
    measure_extent_mm,
    measure_height_mm,
)
from myotome.biomarkers.spinal_fluid import estimate_fluid_signals
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.measurement import Instance, Measurement
from myotome.structures import LabelMap

__all__ = ["SCHEMA", "UNNAMED", "find_disc_slices", "find_plane", "measure_discs"]

SCHEMA = "lumbar_disc_mr"
UNNAMED = "intervertebral_disc"

_COARSE_MM = 2.0
_STEEPEST_DEG = 60.0
_OTHER_PART = 0.1
_SIZES = (("area", "mm2"), ("ap_diameter", "mm"), ("transverse_diameter", "mm"))
_SAGITTAL_ONLY = (
    ("volume", "mL"),
    *((f"{name}_height", "mm") for name in HEIGHT_PLACES),
    ("disc_height", "mm"),
    ("disc_height_index", "1"),
    ("signal_per_csf", "1"),
    ("disc_slice", "1"),
)
_METHODS = {
    "disc_height": "Dabbs: mean of anterior and posterior height",
    "disc_height_index": "Farfan: anterior and posterior height over AP diameter",
    "signal_per_csf": "mean signal of the cut per fluid behind it",
    "centroid": "patient millimetres, RAS+",
    "detection_score": "mean over the slices it was found in",
    "disc_slice": "slice that was measured",
}


@dataclass(frozen=True, eq=False)
class _Disc:
    """One disc: what it is called, its voxels, and the slice that is measured."""

    structure: str
    level: str | None
    mask: np.ndarray
    index: int
    cut: DiscCut
    axes: DiscAxes
    sagittal: bool

    @property
    def method(self) -> str:
        """Of what is measured in the cut."""
        return "middle slice" if self.sagittal else "the slice"


def find_plane(grid: Grid) -> str | None:
    """``"sagittal"`` or ``"axial"``, by the direction across the slices; ``None`` for coronal ones.

    A volume of even spacing has no slices and is taken as sagittal. Axial slices follow the disc, and that of a steep
    sacrum is tilted by 50 degrees and more: up to 60 they are axial.
    """
    across = np.abs(grid.affine[:3, grid.slice_axis("LR")])
    if across[0] >= across[1:].max():
        return "sagittal"
    tilt_deg = np.degrees(np.arctan2(across[1], across[2]))
    return "axial" if tilt_deg <= _STEEPEST_DEG else None


def find_disc_slices(label_map: LabelMap) -> list[int]:
    """Indices, across the slices, of the slices in which a disc is labelled."""
    axis = label_map.grid.slice_axis("LR")
    others = tuple(other for other in range(3) if other != axis)
    return [int(index) for index in np.flatnonzero((label_map.array > 0).any(axis=others))]


def measure_discs(
    volume: Volume, label_map: LabelMap, instances: Sequence[Instance] = ()
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """Measure every labelled disc of a sagittal or axial MR.

    Parameters
    ----------
    volume : MR in sagittal or axial slices
    label_map : on the same grid, in the numbering of ``lumbar_disc_mr``
    instances : what a detector says of the discs it found

    Returns
    -------
    measurements : as listed at the head of this module. Sagittal: a named disc has ``level=None``, one of unknown level
        (label 6) is ``disc 1 from below`` and so on; of the five named discs those that are not labelled have rows
        without a value. Axial: rows of each slice, and rows of the case, which hold a value when one slice is labelled.
    flags : of the case: the image's, ``no_disc_found``, ``level_unknown``

    Raises
    ------
    InputError
        When the grids differ, the image is not an MR in sagittal or axial slices, or the labels are of another schema.
    """
    plane = _check(volume, label_map)
    flags = list(volume.acquisition.flags)
    if not label_map.array.any():
        return tuple(_absent_rows(label_map, plane)), tuple(dict.fromkeys([*flags, "no_disc_found"]))
    if plane == "axial":
        rows = _measure_axial(label_map, instances)
    else:
        rows = _measure_sagittal(volume, label_map, instances)
        flags += ["level_unknown"] * bool((label_map.array == label_map.schema[UNNAMED].index).any())
    return tuple(rows), tuple(dict.fromkeys(flags))


def _check(volume: Volume, label_map: LabelMap) -> str:
    if volume.modality != "MR":
        raise InputError(f"discs are measured on MR, and this image is {volume.modality}: give the MR series.")
    if label_map.schema.name != SCHEMA:
        raise InputError(f"these labels are of '{label_map.schema.name}': discs need those of '{SCHEMA}'.")
    if not volume.grid.same_as(label_map.grid):
        raise InputError(
            f"the label map ({label_map.grid.shape}) is not on the image's grid ({volume.grid.shape}): "
            "resample it to the image by nearest neighbour."
        )
    plane = find_plane(volume.grid)
    if plane is None:
        raise InputError("discs are measured in sagittal or axial slices, and these are coronal: give another series.")
    return plane


def _absent_rows(label_map: LabelMap, plane: str) -> Iterator[Measurement]:
    for structure in label_map.schema.structures:
        if (structure.name == UNNAMED) == (plane == "axial"):
            for measure, unit in _list_measures(plane):
                yield Measurement(structure.name, measure, None, unit, flags=("absent",))


def _list_measures(plane: str) -> tuple[tuple[str, str], ...]:
    return _SIZES if plane == "axial" else (*_SIZES, *_SAGITTAL_ONLY)


# -- sagittal ----------------------------------------------------------------------------------------------------------


def _measure_sagittal(volume: Volume, label_map: LabelMap, instances: Sequence[Instance]) -> list[Measurement]:
    discs = list(_find_discs(label_map))
    axis = label_map.grid.slice_axis("LR")
    images = [np.take(volume.array, disc.index, axis) for disc in discs]
    weighted = volume.acquisition.weighting in (None, "T2")
    cuts = [(disc.cut, disc.axes) for disc in discs]
    fluid = estimate_fluid_signals(images, cuts) if weighted else [None] * len(discs)
    named = {disc.structure for disc in discs}
    rows = [row for row in _absent_rows(label_map, "sagittal") if row.structure not in named]
    for disc, image, signal in zip(discs, images, fluid, strict=True):
        of_disc = [
            *_size_rows(disc),
            *_reach_rows(disc, label_map.grid, axis),
            *_height_rows(disc),
            _signal_row(disc, image, signal, "csf_not_found" if weighted else "not_t2_weighted"),
            Measurement(disc.structure, "disc_slice", float(disc.index), "1", method=_METHODS["disc_slice"]),
            *_place_rows(disc.structure, _find_centroid_mm(disc.mask, label_map.grid)),
            *_score_rows(disc, instances),
        ]
        rows += [replace(row, level=disc.level) for row in of_disc]
    return rows


def _find_discs(label_map: LabelMap) -> Iterator[_Disc]:
    """Named discs in the schema's order, then those of unknown level from below."""
    for structure in label_map.schema.structures:
        mask = label_map.array == structure.index
        if not mask.any():
            continue
        if structure.name != UNNAMED:
            yield _make_disc(structure.name, None, mask, label_map.grid)
            continue
        components, count = label_components(mask, np.ones((3, 3, 3)))
        parts = [components == number for number in range(1, count + 1)]
        parts.sort(key=lambda part: _find_centroid_mm(part, label_map.grid)[2])
        for place, part in enumerate(parts, start=1):
            yield _make_disc(structure.name, f"disc {place} from below", part, label_map.grid)


def _make_disc(structure: str, level: str | None, mask: np.ndarray, grid: Grid) -> _Disc:
    axis = grid.slice_axis("LR")
    labelled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    middle = np.argwhere(mask)[:, axis].mean()
    index = int(labelled[np.abs(labelled - middle).argmin()])
    cut = cut_disc(mask, grid, axis, index)
    assert cut is not None
    return _Disc(structure, level, mask, index, cut, find_axes(cut, long_axis="PA"), True)


def _find_centroid_mm(mask: np.ndarray, grid: Grid) -> np.ndarray:
    return grid.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + grid.affine[:3, 3]


def _reach_rows(disc: _Disc, grid: Grid, axis: int) -> Iterator[Measurement]:
    """What goes across the slices: width and volume, cut off where the first or last slice is labelled."""
    labelled = np.flatnonzero(disc.mask.any(axis=tuple(other for other in range(3) if other != axis)))
    step_mm, last = grid.spacing_mm[axis], grid.shape[axis] - 1
    flags = ("coarse_across_slices",) * (step_mm > _COARSE_MM)
    flags += ("cut_first_slice",) * int(labelled[0] == 0) + ("cut_last_slice",) * int(labelled[-1] == last)
    width = float((labelled[-1] - labelled[0] + 1) * step_mm)
    yield Measurement(disc.structure, "transverse_diameter", width, "mm", method="all slices", flags=flags)
    volume = float(np.count_nonzero(disc.mask) * grid.voxel_volume_mm3 / 1000)
    yield Measurement(disc.structure, "volume", volume, "mL", method="all slices", flags=flags)


def _height_rows(disc: _Disc) -> Iterator[Measurement]:
    flags = _cut_flags(disc.cut)
    heights = {name: measure_height_mm(disc.cut, disc.axes, place) for name, place in HEIGHT_PLACES.items()}
    for name, value in heights.items():
        yield Measurement(disc.structure, f"{name}_height", value, "mm", method=disc.method, flags=flags)
    ends = heights["anterior"] + heights["posterior"]
    yield Measurement(disc.structure, "disc_height", ends / 2, "mm", method=_METHODS["disc_height"], flags=flags)
    index = ends / measure_extent_mm(disc.cut, disc.axes.front)
    yield Measurement(
        disc.structure, "disc_height_index", index, "1", method=_METHODS["disc_height_index"], flags=flags
    )


def _signal_row(disc: _Disc, image: np.ndarray, fluid: float | None, why: str) -> Measurement:
    method = _METHODS["signal_per_csf"]
    if fluid is None:
        return Measurement(disc.structure, "signal_per_csf", None, "1", method=method, flags=(why,))
    ratio = float(image[disc.cut.mask].mean(dtype=float)) / fluid
    return Measurement(disc.structure, "signal_per_csf", ratio, "1", method=method, flags=_cut_flags(disc.cut))


# -- axial -------------------------------------------------------------------------------------------------------------


def _measure_axial(label_map: LabelMap, instances: Sequence[Instance]) -> list[Measurement]:
    axis = label_map.grid.slice_axis("LR")
    by_slice, rows = [], []
    for structure in label_map.schema.structures:
        mask = label_map.array == structure.index
        for index in find_disc_slices(label_map):
            cut = cut_disc(mask, label_map.grid, axis, index)
            if cut is None:
                continue
            only = np.zeros_like(mask)
            np.moveaxis(only, axis, 0)[index] = np.take(mask, index, axis)
            disc = _Disc(structure.name, None, only, index, cut, find_axes(cut, long_axis="LR"), False)
            of_disc = [*_size_rows(disc), *_place_rows(disc.structure, cut.centroid_mm), *_score_rows(disc, instances)]
            by_slice.append([replace(row, slice_index=index) for row in of_disc])
    if len(by_slice) == 1:
        return [*(replace(row, slice_index=None) for row in by_slice[0]), *by_slice[0]]
    for name in dict.fromkeys(part[0].structure for part in by_slice):
        rows += [Measurement(name, measure, None, unit, flags=("several_cuts",)) for measure, unit in _SIZES]
    return [*rows, *(row for part in by_slice for row in part)]


# -- both --------------------------------------------------------------------------------------------------------------


def _size_rows(disc: _Disc) -> Iterator[Measurement]:
    """Area and AP diameter of the cut; of an axial one the transverse diameter, too."""
    cut, flags = disc.cut, _cut_flags(disc.cut)
    front = measure_extent_mm(cut, disc.axes.front)
    yield Measurement(disc.structure, "area", cut.area_mm2, "mm2", method=disc.method, flags=flags)
    yield Measurement(disc.structure, "ap_diameter", front, "mm", method=disc.method, flags=flags)
    if not disc.sagittal:
        across = measure_extent_mm(cut, disc.axes.across)
        yield Measurement(disc.structure, "transverse_diameter", across, "mm", method=disc.method, flags=flags)


def _cut_flags(cut: DiscCut) -> tuple[str, ...]:
    return ("truncated",) * cut.at_border + ("several_parts",) * (cut.other_share > _OTHER_PART)


def _place_rows(structure: str, place_mm: np.ndarray) -> Iterator[Measurement]:
    for name, value in zip("xyz", place_mm, strict=True):
        yield Measurement(structure, "centroid", float(value), "mm", statistic=name, method=_METHODS["centroid"])


def _score_rows(disc: _Disc, instances: Sequence[Instance]) -> Iterator[Measurement]:
    """The score of the instance of this structure that holds most of the disc; nothing where none does."""
    held = [
        (np.count_nonzero(disc.mask[one.region]), one.score) for one in instances if one.structure == disc.structure
    ]
    count, score = max(held, default=(0, 0.0))
    if count:
        yield Measurement(disc.structure, "detection_score", score, "1", method=_METHODS["detection_score"])
