"""Pictures of a graded shoulder: the Y-view plain and labelled, the tangent, the crop and what spoke for the grade."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from myotome.biomarkers.goutallier import read_definition
from myotome.biomarkers.rotator_cuff import Tangent, find_tangent, find_y_view
from myotome.geometry import Upright, Volume, stand_upright
from myotome.measurement import CaseResult, Grading
from myotome.report.measure_names import format_value
from myotome.report.panels import (
    FONT,
    GAP_IN,
    INK,
    OUTLINE,
    save_figure,
    show_plane,
    write_beware,
    write_line,
    write_title,
)
from myotome.report.planes import choose_window, cut_upright
from myotome.report.thumbnail import THUMBNAIL_SIZE, Tile, write_tiles

__all__ = ["write_shoulder_overview", "write_shoulder_thumbnail"]

_WIDTH_IN, _LEGEND_IN = 15.0, 3.55
_TOP_IN, _BOTTOM_IN = 0.62, 0.62
_LINE, _BOX = "#ffd400", "#00d5ff"
_ROWS = (("area", "area"), ("occupation_ratio", "occupation ratio"), ("fat_fraction", "fat fraction"))


def write_shoulder_overview(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write the overview as a PNG: the Y-view plain and labelled, with tangent and crop, then the crop with Grad-CAM.

    Anterior is on the viewer's left, true proportions in mm. Without a Y-view the middle slice is shown. The same input
    gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    turn, index = _find_view(volume, result)
    plane = cut_upright(volume, result.label_map, turn, index)
    panels = 3 if result.grading is not None else 2
    width = (_WIDTH_IN - _LEGEND_IN - (panels + 1) * GAP_IN) / 3
    total = _TOP_IN + width + _BOTTOM_IN
    figure = Figure(figsize=(_WIDTH_IN, total), facecolor="white")
    FigureCanvasAgg(figure)
    lefts = [GAP_IN + place * (width + GAP_IN) for place in range(panels)]
    boxes = [(left / _WIDTH_IN, _BOTTOM_IN / total, width / _WIDTH_IN, width / total) for left in lefts]
    axes = [figure.add_axes(box, facecolor="black", xticks=[], yticks=[]) for box in boxes]
    window = choose_window(plane.image)
    show_plane(axes[0], plane, window, name=f"slice {index}")
    show_plane(axes[1], plane, window, result.label_map.schema, bar=True)
    _draw_tangent(axes[1], volume, result, turn, index)
    if result.grading is not None:
        _draw_box(axes[1], result.grading)
        _show_attention(axes[2], result.grading)
    write_title(figure, result, "Supraspinatus on MR", "Y-view, anterior on the left")
    legend = ((_WIDTH_IN - _LEGEND_IN) / _WIDTH_IN, _BOTTOM_IN / total, _LEGEND_IN / _WIDTH_IN, width / total)
    _write_legend(figure.add_axes(legend), result)
    save_figure(figure, path)


def write_shoulder_thumbnail(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write one small WebP: the Y-view, plain and with its labels.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    turn, index = _find_view(volume, result)
    plane = cut_upright(volume, result.label_map, turn, index)
    width, window = THUMBNAIL_SIZE[0] // 2, choose_window(plane.image)
    tiles = [Tile(plane, width, window, labelled) for labelled in (False, True)]
    write_tiles(path, tiles, result.label_map.schema)


def _find_view(volume: Volume, result: CaseResult) -> tuple[Upright, int]:
    """How the slices are turned, and the slice to show."""
    axis = volume.grid.slice_axis("LR")
    index = find_y_view(result.label_map)
    return stand_upright(volume.grid, axis), volume.grid.shape[axis] // 2 if index is None else index


def _tangent_of(volume: Volume, result: CaseResult, turn: Upright, index: int) -> Tangent | None:
    labels, schema = np.take(result.label_map.array, index, turn.across), result.label_map.schema
    names = ("supraspinatus", "scapular_spine", "coracoid_process")
    masks = [labels == schema[name].index for name in names]
    return find_tangent(*masks, np.delete(volume.grid.affine[:3, :3], turn.across, axis=1))


def _draw_tangent(axes: Axes, volume: Volume, result: CaseResult, turn: Upright, index: int) -> None:
    """The tangent, drawn on a little beyond the two bones that it touches."""
    tangent = _tangent_of(volume, result, turn, index)
    if tangent is None:
        return
    spacing = volume.grid.spacing_mm
    ends = []
    for point in (tangent.spine, tangent.coracoid):
        row, column = turn.locate(volume.grid.shape, point)
        ends.append(((column + 0.5) * spacing[turn.columns], (row + 0.5) * spacing[turn.rows]))
    start, end = np.array(ends)
    beyond = 0.25 * (end - start)
    x, y = np.stack([start - beyond, end + beyond], axis=1)
    axes.plot(x, y, color=_LINE, linewidth=1.4, solid_capstyle="butt")
    axes.plot(*np.stack([start, end], axis=1), color=_LINE, marker="o", markersize=3, linestyle="none")


def _draw_box(axes: Axes, grading: Grading) -> None:
    if grading.box_mm is not None:
        left, top, width, height = grading.box_mm
        axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=_BOX, linewidth=1.1))


def _show_attention(axes: Axes, grading: Grading) -> None:
    """The crop, the muscle's contour in it, and over both what spoke for the positive answer."""
    axes.imshow(grading.crop, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
    axes.imshow(
        grading.attention, cmap="inferno", vmin=0, vmax=1, alpha=0.55 * grading.attention, interpolation="bilinear"
    )
    if grading.mask.min() < 0.5 < grading.mask.max():
        axes.contour(grading.mask, levels=[0.5], colors=[_BOX], linewidths=0.9)
    for spine in axes.spines.values():
        spine.set(edgecolor=_BOX, linewidth=1.1)
    text = f"what spoke for {grading.attention_of} (Grad-CAM)"
    style = {"color": "white", "fontsize": 9, "transform": axes.transAxes, "path_effects": OUTLINE, **FONT}
    axes.text(0.015, 0.975, text, ha="left", va="top", **style)


def _write_legend(axes: Axes, result: CaseResult) -> None:
    """Grade and probabilities, what was measured, the colours, and flags."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    y = _write_grade(axes, result.grading, 0.0)
    rows = {(row.structure, row.measure): row for row in result.measurements if row.statistic == "total"}
    for measure, title in _ROWS:
        y = write_line(axes, y, title, format_value(rows.get(("supraspinatus", measure))))
    sign = rows.get(("supraspinatus", "tangent_sign"))
    known = None if sign is None else sign.value
    y = write_line(axes, y, "tangent sign", "–" if known is None else ("positive" if known else "negative"), _LINE)
    y += 0.03
    for structure in result.label_map.schema.structures:
        y = write_line(axes, y, structure.title, "", tuple(part / 255 for part in structure.colour))
    write_beware(axes, result.flags, y + 0.02)


def _write_grade(axes: Axes, grading: Grading | None, y: float) -> float:
    if grading is None:
        return y
    axes.text(0.04, y, f"Goutallier grade {grading.grade}", fontsize=12, color=INK, va="top", weight="bold")
    share = grading.grade_probabilities[grading.grade]
    axes.text(0.98, y + 0.005, f"{100 * share:.0f} %", fontsize=11, color=INK, va="top", ha="right")
    y += 0.07
    for name in ("A", "B"):
        if name in grading.probabilities:
            text = f"{name}: {read_definition(name).title}"
            y = write_line(axes, y, text, f"{100 * grading.probabilities[name]:.0f} %")
    return y + 0.03
