"""Muscle and fat in the slice through L3, or in it and its neighbours: areas, density, composition.

The muscle compartment is the label of muscle together with the label of the fat between and in muscles: the contour
that a reader draws. Inside it muscle is -29..150 HU, of which LAMA is -29..29 and NAMA 30..150, and IMAT is -190..-30
(Aubrey et al., Acta Physiol 2014;210:489-497). Subcutaneous and visceral fat are -190..-30 HU in their labels.

Measures, by structure and name. Of ``skeletal_muscle``: ``muscle_area`` (SMA, cm2), ``area_per_height2`` (SMI = SMA /
height^2, cm2/m2), ``density`` (SMD, mean HU of the SMA's pixels), ``nama_area`` and ``lama_area`` (cm2),
``nama_share_of_sma`` and ``lama_share_of_sma`` (%), ``imat_area`` (cm2), ``imat_share`` (%, IMAT / (SMA + IMAT)),
``l3_slice`` (index from 0), ``l3_confidence`` (0 to 1) and ``slices_measured``. Of ``subcutaneous_fat`` and of
``visceral_fat``: ``fat_area`` (cm2); of the latter also ``visceral_per_subcutaneous``, the ratio of the two.

A row without ``slice_index`` stands for the case: it is the mean of its slices' values. Where several slices were
measured, each has its own rows with ``slice_index``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from myotome.biomarkers.abdominal_image import flag_abdominal_ct
from myotome.biomarkers.flags import truncation_flags
from myotome.biomarkers.height import is_plausible_height, require_height_m
from myotome.biomarkers.sides import MidsagittalPlane
from myotome.biomarkers.tally import Tally, count_voxels
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.measurement import Level, Measurement
from myotome.structures import LabelMap

__all__ = ["SCHEMA", "find_measured_slices", "measure_body_composition"]

SCHEMA = "l3_muscle_ct"

_MUSCLE, _SUBCUTANEOUS, _VISCERAL, _INTERMUSCULAR = (
    "skeletal_muscle",
    "subcutaneous_fat",
    "visceral_fat",
    "intermuscular_fat",
)
_HU = "[hnsf'U]"
_IN_COMPARTMENT = "{} HU in the muscle compartment"
_FAT = "-190..-30 HU in the label"
_MOST_SLICES = 3
_UNSURE = 0.8
# Every measure here is of pixels in a range of HU, so whatever moves HU or the contour concerns all of them.
_ROW_FLAGS = {
    "contrast_suspected",
    "gap_between_slices",
    "level_not_labelled",
    "level_unsure",
    "lossy_compression",
    "metal",
    "missing_slices",
    "not_axial",
    "padding_in_contour",
    "many_slices_labelled",
    "sharp_kernel",
    "thick_slices",
    "tube_voltage_not_120",
}


@dataclass(frozen=True)
class _Value:
    """One quantity of a slice; ``None`` with the flag that says why."""

    structure: str
    measure: str
    value: float | None
    unit: str
    method: str
    missing: str = "absent"


@dataclass(frozen=True, eq=False)
class _Slice:
    """Pixel counts of one slice: of the compartment by range, of both fats, and the HU sum of its muscle pixels."""

    index: int
    imat: int
    lama: int
    nama: int
    muscle_hu_sum: float
    fat: dict[str, int | None]
    truncated: dict[str, tuple[str, ...]]


def find_measured_slices(label_map: LabelMap) -> tuple[int, ...]:
    """Indices, along the inferior-superior array axis, of the slices in which muscle or the fat in it is labelled."""
    axis = label_map.grid.axis("IS")
    labels = [label_map.schema[name].index for name in (_MUSCLE, _INTERMUSCULAR)]
    planes = np.moveaxis(label_map.array, axis, 0)
    return tuple(index for index, plane in enumerate(planes) if plane.any() and np.isin(plane, labels).any())


def measure_body_composition(
    volume: Volume, label_map: LabelMap, *, height_m: float | None = None, level: Level | None = None
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """Measure muscle and fat in the labelled slice or slices of an axial abdominal CT.

    Parameters
    ----------
    volume : CT in HU, one slice or several, of any axis order
    label_map : on the same grid, in the numbering of ``l3_muscle_ct``, 0 outside the slices that are to be measured
    height_m : of the person, in metres; the header's is used when it is not given
    level : which slice is L3, and how sure that is, where something found it

    Returns
    -------
    measurements : as listed at the head of this module
    flags : of the case: the image's, those of `flag_abdominal_ct`, ``no_muscle_found``, ``many_slices_labelled``
        (more than three), ``level_unsure`` (a confidence below 0.8), ``level_not_labelled`` (not L3 but another slice)

    Notes
    -----
    HU that are not whole numbers are rounded: the ranges' limits (-30 | -29) lie between whole HU. Values of -1500 HU
    and below lie outside the reconstruction circle and are not counted (``padding_in_contour``). A structure at the
    edge of the field of view has the flag ``truncated_...``: its area is too low. No interval is given: how far one
    slice's contour is off is not known, and three neighbouring slices do not tell. Without muscle every value is
    ``None`` with the flag ``absent``; SMI without a height has ``height_unknown``.

    Raises
    ------
    InputError
        When the grids differ, the image is not a CT, the labels are of another schema, or the height is not a person's.
    """
    _check(volume, label_map, height_m)
    flags = list(volume.acquisition.flags)
    if height_m is None and volume.acquisition.height_m is not None:
        height_m = volume.acquisition.height_m
        if not is_plausible_height(height_m):
            height_m = None
            flags.append("height_implausible")
    slices = find_measured_slices(label_map)
    if not slices:
        return tuple(_absent_rows()), tuple(dict.fromkeys([*flags, "no_muscle_found"]))
    compartment = np.isin(label_map.array, [label_map.schema[name].index for name in (_MUSCLE, _INTERMUSCULAR)])
    flags += flag_abdominal_ct(volume, compartment, slices)
    flags += ["many_slices_labelled"] * (len(slices) > _MOST_SLICES)
    if level is not None:
        flags += ["level_unsure"] * (level.confidence is not None and level.confidence < _UNSURE)
        flags += ["level_not_labelled"] * (level.slice_index not in slices)
    tally = count_voxels(volume, label_map, MidsagittalPlane(0.0))
    flags += ["padding_in_contour"] * bool(tally.padded.sum())
    case_flags = tuple(dict.fromkeys(flags))
    rows = [*_measure_slices(volume, label_map, tally, height_m, case_flags), *_level_rows(slices, level)]
    return tuple(rows), case_flags


def _check(volume: Volume, label_map: LabelMap, height_m: float | None) -> None:
    if volume.modality != "CT":
        raise InputError(f"muscle at L3 is measured on CT, and this image is {volume.modality}: give the CT series.")
    if label_map.schema.name != SCHEMA:
        raise InputError(f"these labels are of '{label_map.schema.name}': body composition needs those of '{SCHEMA}'.")
    if not volume.grid.same_as(label_map.grid):
        raise InputError(
            f"the label map ({label_map.grid.shape}) is not on the image's grid ({volume.grid.shape}): "
            "resample it to the image by nearest neighbour."
        )
    require_height_m(height_m)


def _measure_slices(
    volume: Volume, label_map: LabelMap, tally: Tally, height_m: float | None, case_flags: tuple[str, ...]
) -> Iterator[Measurement]:
    """Rows of the case, then of each slice where there are several."""
    spacing = tuple(volume.grid.spacing_mm[volume.grid.axis(codes)] for codes in ("LR", "PA", "IS"))
    pixel_cm2 = spacing[0] * spacing[1] / 100
    slices = [_count(tally, label_map, index, spacing) for index in find_measured_slices(label_map)]
    values = [list(_compute_values(one, pixel_cm2, height_m, case_flags)) for one in slices]
    for same in zip(*values, strict=True):
        truncated = dict.fromkeys(flag for one in slices for flag in one.truncated[same[0].structure])
        yield _row(_mean(list(same)), tuple(truncated), case_flags)
    if len(slices) > 1:
        for one, found in zip(slices, values, strict=True):
            for value in found:
                yield _row(value, one.truncated[value.structure], case_flags, one.index)


def _count(tally: Tally, label_map: LabelMap, index: int, spacing_mm: tuple[float, ...]) -> _Slice:
    number = {structure.name: structure.index for structure in label_map.schema.structures}
    ranges = tally.ranges[index].sum(axis=1)
    compartment = [number[_MUSCLE], number[_INTERMUSCULAR]]
    _, imat, lama, nama = (int(count) for count in ranges[compartment].sum(axis=0))
    contact = tally.contact[index].sum(axis=1)
    touched = {_MUSCLE: compartment, _SUBCUTANEOUS: [number[_SUBCUTANEOUS]], _VISCERAL: [number[_VISCERAL]]}
    fats = {name: ranges[number[name]] for name in (_SUBCUTANEOUS, _VISCERAL)}
    return _Slice(
        index=index,
        imat=imat,
        lama=lama,
        nama=nama,
        muscle_hu_sum=float(tally.muscle_hu_sum[index][compartment].sum()),
        fat={name: int(counts[1]) if counts.any() else None for name, counts in fats.items()},
        truncated={name: truncation_flags(contact[labels].sum(axis=0), spacing_mm) for name, labels in touched.items()},
    )


def _compute_values(
    one: _Slice, pixel_cm2: float, height_m: float | None, case_flags: tuple[str, ...]
) -> Iterator[_Value]:
    muscle, tissue = one.lama + one.nama, one.lama + one.nama + one.imat
    sma = muscle * pixel_cm2
    yield _Value(_MUSCLE, "muscle_area", sma, "cm2", _IN_COMPARTMENT.format("-29..150"))
    smi = None if height_m is None else sma / height_m**2
    why = "height_implausible" if "height_implausible" in case_flags else "height_unknown"
    yield _Value(_MUSCLE, "area_per_height2", smi, "cm2/m2", "SMA per squared height", why)
    smd = one.muscle_hu_sum / muscle if muscle else None
    empty = "no_muscle_range_voxels"
    yield _Value(_MUSCLE, "density", smd, _HU, _IN_COMPARTMENT.format("-29..150"), empty)
    for name, count, hu_range in (("nama", one.nama, "30..150"), ("lama", one.lama, "-29..29")):
        method = _IN_COMPARTMENT.format(hu_range)
        yield _Value(_MUSCLE, f"{name}_area", count * pixel_cm2, "cm2", method)
        share = 100 * count / muscle if muscle else None
        yield _Value(_MUSCLE, f"{name}_share_of_sma", share, "%", f"{hu_range} HU, of SMA", empty)
    yield _Value(_MUSCLE, "imat_area", one.imat * pixel_cm2, "cm2", _IN_COMPARTMENT.format("-190..-30"))
    imat = 100 * one.imat / tissue if tissue else None
    yield _Value(_MUSCLE, "imat_share", imat, "%", "IMAT per SMA + IMAT", empty)
    areas = {name: None if count is None else count * pixel_cm2 for name, count in one.fat.items()}
    for name in (_SUBCUTANEOUS, _VISCERAL):
        yield _Value(name, "fat_area", areas[name], "cm2", _FAT)
    below, above = areas[_SUBCUTANEOUS], areas[_VISCERAL]
    ratio = None if above is None or not below else above / below
    yield _Value(_VISCERAL, "visceral_per_subcutaneous", ratio, "1", "ratio of fat areas")


def _mean(values: list[_Value]) -> _Value:
    """The mean of what the slices have; the reason of the first when none has any."""
    given = [value.value for value in values if value.value is not None]
    first = values[0]
    method = f"{first.method}; mean of {len(given)} slices" if len(given) > 1 else first.method
    mean = float(np.mean(given)) if given else None
    return _Value(first.structure, first.measure, mean, first.unit, method, first.missing)


def _row(
    value: _Value, truncated: tuple[str, ...], case_flags: tuple[str, ...], slice_index: int | None = None
) -> Measurement:
    """A measurement with the flags that concern it."""
    flags = (*truncated, *(flag for flag in case_flags if flag in _ROW_FLAGS))
    return Measurement(
        value.structure,
        value.measure,
        value.value,
        value.unit,
        statistic="mean" if value.measure == "density" else "total",
        slice_index=slice_index,
        method=value.method,
        flags=(value.missing, *flags) if value.value is None else flags,
    )


def _level_rows(slices: tuple[int, ...], level: Level | None) -> Iterator[Measurement]:
    """Which slice is L3, how sure that is, and how many were measured."""
    index = slices[len(slices) // 2] if level is None else level.slice_index
    reason = (level.reason if level is not None else "") or "middle of the labelled slices"
    yield Measurement(_MUSCLE, "l3_slice", float(index), "1", method=reason)
    confidence = level.confidence if level is not None else None
    missing = ("level_given",) if confidence is None else ()
    yield Measurement(_MUSCLE, "l3_confidence", confidence, "1", method="of the level", flags=missing)
    yield Measurement(_MUSCLE, "slices_measured", float(len(slices)), "1", method="with labelled muscle")


def _absent_rows() -> Iterator[Measurement]:
    """Every measure without a value."""
    empty = _Slice(0, 0, 0, 0, 0.0, {_SUBCUTANEOUS: None, _VISCERAL: None}, {})
    for value in _compute_values(empty, 1.0, None, ()):
        statistic = "mean" if value.measure == "density" else "total"
        yield Measurement(value.structure, value.measure, None, value.unit, statistic=statistic, flags=("absent",))
    yield Measurement(_MUSCLE, "l3_slice", None, "1", flags=("absent",))
