"""Pictures of bone density: the spine from the side with each body's density, and one body with its region."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from myotome.biomarkers.bone_density import SPINE, find_trabecular_regions
from myotome.geometry import Volume, reorient
from myotome.measurement import CaseResult, Measurement
from myotome.report.measure_names import format_value
from myotome.report.panels import (
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
from myotome.report.planes import Case, choose_axial, cut, make_case
from myotome.report.thumbnail import THUMBNAIL_SIZE, Tile, write_tiles
from myotome.structures import LabelMap, LabelSchema, Structure

__all__ = ["CLASSES", "describe_class", "list_levels", "write_bone_overview", "write_bone_thumbnail"]

CLASSES = ("normal range", "low bone mass range", "osteoporosis range")
"""What the classes 0, 1 and 2 of ``bmd_class`` are."""

_WINDOW_HU = (-160, 440)
_VIEW = "window 600 / 140 HU   ·   the patient's right is on the left"
_WIDTH_IN, _LEGEND_IN, _SIDE_IN = 15.0, 3.9, 3.6
_TOP_IN, _BOTTOM_IN = 0.62, 0.62
_REGION, _REGION_COLOUR, _FILL = 14, (0, 213, 255), 0.4
_NAMES = {"subcutaneous_fat": "fat", "erector_spinae": "muscle", "aorta": "blood", "air": "air"}


@dataclass(frozen=True, eq=False)
class _View:
    """What is shown: the case with its regions as a label of their own, and through which voxel it is cut."""

    case: Case
    schema: LabelSchema
    x: int
    z: int
    level: str | None


def list_levels(result: CaseResult) -> dict[str, dict[str, Measurement]]:
    """The rows of each body by level and measure, from the highest level to the lowest."""
    levels: dict[str, dict[str, Measurement]] = {}
    for row in result.measurements:
        if row.level is not None and row.slice_index is None:
            levels.setdefault(row.level, {})[row.measure] = row
    return levels


def describe_class(result: CaseResult) -> str:
    """Where the mean lies by the fixed cut-offs, as a phrase; why there is none, or a dash."""
    for row in result.measurements:
        if (row.structure, row.measure) == (SPINE, "bmd_class"):
            if row.value is not None:
                return CLASSES[int(row.value)]
            return "withheld: thoracic levels" if "class_withheld_thoracic" in row.flags else "–"
    return "–"


def write_bone_overview(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write the overview as a PNG: a body with its region and the references, and the spine with each body's density.

    Window 600/140 HU, the patient's right on the viewer's left, true proportions in mm. Without labels the middle of
    the image is shown plain. The same input gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    view = _find_view(volume, result)
    axial, side = cut(view.case, 2, view.z), cut(view.case, 0, view.x)
    width = _WIDTH_IN - _LEGEND_IN - _SIDE_IN - 3 * GAP_IN
    shape = size_mm(axial)
    height = float(np.clip(width * shape[0] / shape[1], 4.6, 6.2))
    total = _TOP_IN + height + _BOTTOM_IN
    figure = Figure(figsize=(_WIDTH_IN, total), facecolor="white")
    FigureCanvasAgg(figure)

    def panel(left: float, across: float) -> Axes:
        box = (left / _WIDTH_IN, _BOTTOM_IN / total, across / _WIDTH_IN, height / total)
        return figure.add_axes(box, facecolor="black", xticks=[], yticks=[])

    first = panel(GAP_IN, width)
    name = f"slice {view.case.slice_numbers[view.z]}" + (f", {view.level}" if view.level else "")
    show_plane(first, axial, _WINDOW_HU, name=name, bar=True)
    overlay_labels(first, axial, view.schema, fill=0)
    second = panel(2 * GAP_IN + width, _SIDE_IN)
    show_plane(second, side, _WINDOW_HU, name="sagittal")
    overlay_labels(second, side, view.schema, fill=_FILL, outline=False)
    _write_levels(second, view, result)
    write_title(figure, result, "Bone density on CT without a phantom", _VIEW)
    box = ((_WIDTH_IN - _LEGEND_IN) / _WIDTH_IN, _BOTTOM_IN / total, _LEGEND_IN / _WIDTH_IN, height / total)
    _write_legend(figure.add_axes(box), result)
    save_figure(figure, path)


def write_bone_thumbnail(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write one small WebP: a slice through a body, and the spine from the side, with their labels.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    view = _find_view(volume, result)
    tiles = [
        Tile(cut(view.case, axis, at), THUMBNAIL_SIZE[0] // 2, _WINDOW_HU) for axis, at in ((2, view.z), (0, view.x))
    ]
    write_tiles(path, tiles, view.schema)


def _find_view(volume: Volume, result: CaseResult) -> _View:
    """The case without the label of air, its regions on top, cut through the lowest body that has a region."""
    schema, label_map = result.label_map.schema, result.label_map
    shown = np.where(label_map.array == schema["air"].index, np.uint8(0), label_map.array)
    upright, _ = reorient(shown, volume.grid.affine)  # a view: what is written into it is in `shown`
    regions = find_trabecular_regions(volume, label_map)
    for region in regions.values():
        if region.box:
            upright[region.box][region.mask] = _REGION
    bone = schema["cortical_bone"]
    mark = Structure(_REGION, "region", "Trabecular region", bone.category, bone.code, _REGION_COLOUR, sided=False)
    with_region = LabelSchema("shown", (*schema.structures, mark))
    case = make_case(volume, LabelMap(shown, label_map.grid, with_region))
    used = _levels_used(result) or tuple(level for level, region in regions.items() if region.hu is not None)
    level = used[0] if used else next(iter(regions), None)
    if level is None:
        return _View(case, with_region, case.image.shape[0] // 2, choose_axial(case)[1], None)
    low, high = regions[level].slices
    bodies = [structure.index for structure in schema.structures if structure.name.startswith("vertebral_body_")]
    columns = np.flatnonzero(np.isin(case.labels[..., (low + high) // 2], [*bodies, _REGION]).any(axis=1))
    x = int(np.median(columns)) if columns.size else case.image.shape[0] // 2
    return _View(case, with_region, x, (low + high) // 2, level)


def _levels_used(result: CaseResult) -> tuple[str, ...]:
    for flag in result.flags:
        if flag.startswith("levels_used:"):
            return tuple(one.strip() for one in flag.partition(":")[2].split(","))
    return ()


def _write_levels(axes: Axes, view: _View, result: CaseResult) -> None:
    """Name and density of each body beside it."""
    case, schema = view.case, result.label_map.schema
    _, y_mm, z_mm = case.spacing_mm
    plane = case.labels[view.x]
    for level, rows in list_levels(result).items():
        index = schema[f"vertebral_body_{level.lower()}"].index
        places = np.argwhere(plane == index)
        if not places.size:
            continue
        front, middle = places[:, 0].max(), places[:, 1].mean()
        x = (plane.shape[0] - 1 - front - 3) * y_mm
        y = (plane.shape[1] - 0.5 - middle) * z_mm
        bmd = rows["bmd"]
        text = f"{level} {bmd.value:.0f}" if bmd.value is not None else f"{level} –"
        style = {"color": "white", "fontsize": 9, "path_effects": OUTLINE, **FONT}
        axes.text(x, y, text, ha="right", va="center", **style)


def _write_legend(axes: Axes, result: CaseResult) -> None:
    """The mean, each body, the references, and flags."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    rows = {(row.structure, row.measure): row for row in result.measurements if row.level is None}
    used = _levels_used(result)
    y = write_line(
        axes, 0.0, f"mean of {', '.join(used)}" if used else "mean", format_value(rows.get((SPINE, "bmd")), 0)
    )
    y = write_line(axes, y, "hydroxyapatite", format_value(rows.get((SPINE, "bmd_ha")), 0))
    y = write_line(axes, y, "120 and 80 mg/cm³ (lumbar)", describe_class(result))
    axes.text(0.04, y, "K2HPO4-equivalent, 95 % interval in brackets", fontsize=7.5, color=GREY, va="top")
    y += 0.05
    for level, found in list_levels(result).items():
        colour = tuple(part / 255 for part in result.label_map.schema[f"vertebral_body_{level.lower()}"].colour)
        bmd = found["bmd"]
        text = format_value(bmd, 0) if bmd.value is not None else bmd.flags[0].replace("_", " ")
        y = write_line(axes, y, level, text, colour)
    y += 0.02
    known = [(name, rows.get((structure, "reference_density"))) for structure, name in _NAMES.items()]
    text = ", ".join(f"{name} {row.value:.0f}" for name, row in known if row is not None and row.value is not None)
    if text:
        axes.text(0.04, y, f"references, HU: {text}", fontsize=8, color=GREY, va="top")
        y += 0.045
    write_beware(axes, tuple(flag for flag in result.flags if not flag.startswith("levels_used")), y + 0.01)
