"""Pictures of muscle and fat at L3: the slice with its contours, what is in them by density, and where L3 is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import label as label_components

from myotome.biomarkers.body_composition import find_measured_slices
from myotome.biomarkers.cutoffs import compare_with_cutoffs
from myotome.biomarkers.tally import IMAT_HU, LAMA_HU, NAMA_HU
from myotome.geometry import Volume
from myotome.measurement import CaseResult
from myotome.report.measure_names import format_value, name_unit
from myotome.report.panels import (
    AXIAL_VIEW,
    FONT,
    GAP_IN,
    GREY,
    OUTLINE,
    overlay_labels,
    save_figure,
    show_plane,
    size_mm,
    write_beware,
    write_line,
    write_title,
)
from myotome.report.planes import Case, Cut, choose_axial, cut, make_case
from myotome.report.thumbnail import THUMBNAIL_SIZE, Tile, write_tiles
from myotome.structures import LabelSchema, Structure, read_label_schema

__all__ = ["TISSUES", "classify_tissues", "write_l3_overview", "write_l3_thumbnail"]

_WINDOW_HU = (-150, 250)  # level 50, width 400
_SCOUT_HU = (-100, 400)
_WIDTH_IN, _LEGEND_IN, _SCOUT_IN = 15.0, 3.55, 2.5
_TOP_IN, _BOTTOM_IN = 0.62, 0.62
_LINE = "#00d5ff"
_BONE_HU = 180
_SLAB_MM = 8.0
_NEAR_MIDDLE_MM = 60.0
_FILL = 0.68
_RATIO = "visceral_per_subcutaneous"

# What the colours of the second panel stand for: title, colour, labels that it is found in, HU.
_TISSUES = (
    ("Muscle, normal (NAMA)", "nama_area", (206, 70, 70), (1, 4), NAMA_HU),
    ("Muscle, low (LAMA)", "lama_area", (244, 160, 66), (1, 4), LAMA_HU),
    ("Intermuscular fat (IMAT)", "imat_area", (92, 190, 92), (1, 4), IMAT_HU),
    ("Subcutaneous fat", "subcutaneous", (63, 152, 182), (2,), IMAT_HU),
    ("Visceral fat", "visceral", (226, 210, 92), (3,), IMAT_HU),
)


def _tissue_schema() -> LabelSchema:
    muscle = read_label_schema("l3_muscle_ct")["skeletal_muscle"]
    return LabelSchema(
        "tissues",
        tuple(
            Structure(index, name, title, muscle.category, muscle.code, colour, sided=False)
            for index, (title, name, colour, _, _) in enumerate(_TISSUES, start=1)
        ),
    )


TISSUES = _tissue_schema()
"""Colours and numbers of what `classify_tissues` tells apart."""


@dataclass(frozen=True, eq=False)
class _View:
    """What is shown: the case in RAS order, the slice, those that were measured, and the spine's place in it."""

    case: Case
    z: int
    measured: tuple[int, ...]
    spine: tuple[int, int]


def classify_tissues(plane: Cut) -> Cut:
    """The plane with the numbers of `TISSUES` in place of its labels: what is measured in each of them, by HU."""
    found = np.zeros_like(plane.labels)
    density = np.rint(plane.image)
    for index, (_, _, _, labels, (low, high)) in enumerate(_TISSUES, start=1):
        found[np.isin(plane.labels, labels) & (density >= low) & (density <= high)] = index
    return replace(plane, labels=found)


def write_l3_overview(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write the overview as a PNG: the slice of L3 with its contours, its tissues by density, and a scout.

    Window 400/50 HU, the patient's right on the viewer's left, true proportions in mm. The scout, a coronal and a
    sagittal slab of 16 mm through the spine, shows a line at each measured slice; an image of one slice has none.
    Without labels the middle slice is shown plain. The same input gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    view = _find_view(volume, result)
    axial = cut(view.case, 2, view.z)
    scout = volume.grid.shape[volume.grid.axis("IS")] > 1
    room = _WIDTH_IN - _LEGEND_IN - (4 if scout else 3) * GAP_IN - (_SCOUT_IN if scout else 0)
    width = room / 2
    shape = size_mm(axial)
    height = float(np.clip(width * shape[0] / shape[1], 3.9, 5.2))
    total = _TOP_IN + height + _BOTTOM_IN
    figure = Figure(figsize=(_WIDTH_IN, total), facecolor="white")
    FigureCanvasAgg(figure)

    def panel(left: float, top: float, across: float, down: float):
        box = (left / _WIDTH_IN, 1 - (top + down) / total, across / _WIDTH_IN, down / total)
        return figure.add_axes(box, facecolor="black", xticks=[], yticks=[])

    number = view.case.slice_numbers[view.z]
    first = panel(GAP_IN, _TOP_IN, width, height)
    show_plane(first, axial, _WINDOW_HU, name=f"slice {number}", bar=True)
    overlay_labels(first, axial, result.label_map.schema, fill=0)
    second = panel(2 * GAP_IN + width, _TOP_IN, width, height)
    show_plane(second, axial, _WINDOW_HU, name="by density")
    overlay_labels(second, classify_tissues(axial), TISSUES, fill=_FILL, outline=False)
    if scout:
        left, half = 3 * GAP_IN + 2 * width, (height - GAP_IN) / 2
        for row, axis in enumerate((1, 0)):
            _show_scout(panel(left, _TOP_IN + row * (half + GAP_IN), _SCOUT_IN, half), view, axis, result)
    write_title(figure, result, "Muscle and fat at L3 on CT", AXIAL_VIEW)
    box = ((_WIDTH_IN - _LEGEND_IN) / _WIDTH_IN, _BOTTOM_IN / total, _LEGEND_IN / _WIDTH_IN, height / total)
    _write_legend(figure.add_axes(box), result)
    save_figure(figure, path)


def write_l3_thumbnail(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write one small WebP: the slice of L3, plain and with its labels.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    view = _find_view(volume, result)
    axial = cut(view.case, 2, view.z)
    tiles = [Tile(axial, THUMBNAIL_SIZE[0] // 2, _WINDOW_HU, labelled) for labelled in (False, True)]
    write_tiles(path, tiles, result.label_map.schema)


def _find_view(volume: Volume, result: CaseResult) -> _View:
    """The slice to show: that of L3 where it is labelled, or else the middle of the labelled ones, or of the image."""
    case = make_case(volume, result.label_map)
    slices, level = find_measured_slices(result.label_map), result.level
    index = level.slice_index if level is not None and level.slice_index in slices else None
    if index is None and slices:
        index = slices[len(slices) // 2]
    place = {int(number): z for z, number in enumerate(case.slice_numbers)}
    z = choose_axial(case)[1] if index is None else place[index]
    return _View(case, z, tuple(place[one] for one in slices), _find_spine(case, z))


def _find_spine(case: Case, z: int) -> tuple[int, int]:
    """(x, y) of the vertebral body in a slice: the front part of the largest bone near the body's middle."""
    image, (x_mm, y_mm, _) = case.image[..., z], case.spacing_mm
    middle = image.shape[0] // 2
    reach = max(1, int(_NEAR_MIDDLE_MM / x_mm))
    low = max(0, middle - reach)
    components, count = label_components(image[low : middle + reach] > _BONE_HU)
    if count == 0:
        return middle, image.shape[1] // 2
    bone = np.argwhere(components == 1 + np.argmax(np.bincount(components.ravel())[1:]))
    return low + int(np.median(bone[:, 0])), int(bone[:, 1].max() - 15 / y_mm)


def _show_scout(axes, view: _View, axis: int, result: CaseResult) -> None:
    """A slab through the spine with a line at each measured slice, and which level that is."""
    case, at = view.case, view.spine[axis]
    step = max(1, round(_SLAB_MM / case.spacing_mm[axis]))
    slab = slice(max(0, at - step), at + step + 1)
    mean = np.moveaxis(case.image, axis, 0)[slab].mean(axis=0, dtype=np.float32)
    flat = Case(np.expand_dims(mean, axis), np.zeros((), np.uint8), case.spacing_mm, case.slice_numbers)
    flat = replace(flat, labels=np.zeros(flat.image.shape, np.uint8))
    plane = cut(flat, axis, 0)
    show_plane(axes, plane, _SCOUT_HU, name="coronal" if axis == 1 else "sagittal")
    height_mm, width_mm = size_mm(plane)
    depth = case.image.shape[2]
    for z in view.measured:
        y_mm = (depth - 1 - z + 0.5) * height_mm / depth
        axes.plot([0, width_mm], [y_mm, y_mm], color=_LINE, linewidth=1.0 if z == view.z else 0.5)
        if z == view.z and axis == 1:
            style = {"color": _LINE, "fontsize": 9, "path_effects": OUTLINE, **FONT}
            axes.text(0.08 * width_mm, y_mm - 0.01 * height_mm, _name_level(result), ha="left", va="bottom", **style)


def _name_level(result: CaseResult) -> str:
    level = result.level
    if level is None:
        return "L3"
    return level.name if level.confidence is None else f"{level.name}, {100 * level.confidence:.0f} % sure"


def _write_legend(axes, result: CaseResult) -> None:
    """What was measured, with cut-offs where there are any; the colours; flags."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    rows = {(row.structure, row.measure): row for row in result.measurements if row.slice_index is None}
    muscle = "skeletal_muscle"
    beside = {row.measure: (row, one) for row, one in compare_with_cutoffs(rows.values(), *_group_of(result))}
    y = 0.0
    for measure, title in (("muscle_area", "SMA"), ("area_per_height2", "SMI"), ("density", "SMD")):
        y = write_line(axes, y, title, format_value(rows.get((muscle, measure))))
        if measure in beside:
            row, cutoff = beside[measure]
            text = cutoff.describe(row.value).replace(cutoff.unit, name_unit(cutoff.unit))
            axes.text(0.98, y - 0.008, text, fontsize=7.5, color=GREY, va="top", ha="right")
            y += 0.03
    y += 0.02
    values = {name: rows.get((muscle, name)) for name in ("nama_area", "lama_area", "imat_area")}
    values |= {name: rows.get((f"{name}_fat", "fat_area")) for name in ("subcutaneous", "visceral")}
    for structure in TISSUES.structures:
        colour = tuple(part / 255 for part in structure.colour)
        y = write_line(axes, y, structure.title, format_value(values[structure.name]), colour)
    y = write_line(axes, y, "IMAT share", format_value(rows.get((muscle, "imat_share"))))
    y = write_line(axes, y, "visceral / subcutaneous", format_value(rows.get(("visceral_fat", _RATIO)), 2))
    write_beware(axes, result.flags, y + 0.02)


def _group_of(result: CaseResult) -> tuple[str, str | None]:
    return result.label_map.schema.name, result.subject.sex
