"""Pictures of lumbar discs: a slice plain and with its labels, names, boxes and scores; the sizes beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from myotome.biomarkers.lumbar_disc import UNNAMED, find_disc_slices, find_plane
from myotome.geometry import Upright, Volume, stand_upright
from myotome.measurement import CaseResult, Instance
from myotome.report.measure_names import format_value
from myotome.report.panels import (
    FONT,
    GAP_IN,
    GREY,
    OUTLINE,
    save_figure,
    show_plane,
    write_beware,
    write_line,
    write_title,
)
from myotome.report.planes import choose_window, cut_upright
from myotome.report.thumbnail import THUMBNAIL_SIZE, Tile, write_tiles

__all__ = ["find_shown_slices", "write_disc_overview", "write_disc_thumbnail"]

_WIDTH_IN, _LEGEND_IN = 15.0, 3.55
_TOP_IN, _HEIGHT_IN, _BOTTOM_IN = 0.62, 4.8, 0.62
_MOST_LABELLED = 2
_VIEWS = {"sagittal": "anterior on the left", "axial": "the patient's right is on the left"}
_SIZES = {
    "sagittal": (("ap_diameter", "AP", 1), ("disc_height", "height", 1), ("signal_per_csf", "signal / CSF", 2)),
    "axial": (("area", "area", 0), ("ap_diameter", "AP", 1), ("transverse_diameter", "width", 1)),
}


def find_shown_slices(result: CaseResult) -> list[int]:
    """Slices to show: of a sagittal case the one that shows most discs, of an axial one the two largest cuts.

    The middle slice where nothing is labelled.
    """
    grid, labels = result.label_map.grid, result.label_map.array
    axis = grid.slice_axis("LR")
    slices = find_disc_slices(result.label_map)
    if not slices:
        return [grid.shape[axis] // 2]
    areas = np.stack(
        [np.bincount(np.take(labels, index, axis).ravel(), minlength=result.label_map.schema.class_count)[1:]
         for index in slices]
    )  # fmt: skip
    if find_plane(grid) == "axial":
        largest = np.argsort(-areas.sum(axis=1), kind="stable")[:_MOST_LABELLED]
        return [slices[place] for place in largest]
    shown = np.sqrt(areas / np.maximum(areas.max(axis=0), 1)).sum(axis=1)
    return [slices[int(shown.argmax())]]


def write_disc_overview(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write the overview as a PNG: a slice plain, then labelled with names, boxes and scores; sizes and flags beside.

    True proportions in mm. An axial case shows two of its cuts, the largest ones. The same input gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    slices, turn = find_shown_slices(result), stand_upright(volume.grid, volume.grid.slice_axis("LR"))
    width = (_WIDTH_IN - _LEGEND_IN - (len(slices) + 2) * GAP_IN) / (len(slices) + 1)
    height, total = _HEIGHT_IN, _TOP_IN + _HEIGHT_IN + _BOTTOM_IN
    figure = Figure(figsize=(_WIDTH_IN, total), facecolor="white")
    FigureCanvasAgg(figure)
    lefts = [GAP_IN + place * (width + GAP_IN) for place in range(len(slices) + 1)]
    boxes = [(left / _WIDTH_IN, _BOTTOM_IN / total, width / _WIDTH_IN, height / total) for left in lefts]
    axes = [figure.add_axes(box, facecolor="black", xticks=[], yticks=[]) for box in boxes]
    planes = [cut_upright(volume, result.label_map, turn, index) for index in slices]
    window = choose_window(planes[0].image)
    show_plane(axes[0], planes[0], window, name=f"slice {slices[0]}")
    for place, (plane, index) in enumerate(zip(planes, slices, strict=True), start=1):
        name = f"slice {index}" if len(slices) > 1 else ""
        show_plane(axes[place], plane, window, result.label_map.schema, name=name, bar=place == 1)
        _draw_boxes(axes[place], volume, result, turn, index)
    view = find_plane(volume.grid) or "sagittal"
    write_title(figure, result, "Lumbar discs on MR", f"{view}, {_VIEWS[view]}")
    legend = ((_WIDTH_IN - _LEGEND_IN) / _WIDTH_IN, _BOTTOM_IN / total, _LEGEND_IN / _WIDTH_IN, height / total)
    _write_legend(figure.add_axes(legend), result, view)
    save_figure(figure, path)


def write_disc_thumbnail(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write one small WebP: the slice that shows most of the discs, plain and with its labels.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    turn = stand_upright(volume.grid, volume.grid.slice_axis("LR"))
    plane = cut_upright(volume, result.label_map, turn, find_shown_slices(result)[0])
    width, window = THUMBNAIL_SIZE[0] // 2, choose_window(plane.image)
    tiles = [Tile(plane, width, window, labelled) for labelled in (False, True)]
    write_tiles(path, tiles, result.label_map.schema)


def _draw_boxes(axes: Axes, volume: Volume, result: CaseResult, turn: Upright, index: int) -> None:
    """A box around each instance in the slice, with the disc's name and the score."""
    schema = result.label_map.schema
    for one in result.instances:
        if not one.box[0][turn.across] <= index < one.box[1][turn.across]:
            continue
        left, top, right, bottom = _place_box(volume, turn, one)
        colour = tuple(part / 255 for part in schema[one.structure].colour)
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.1))
        score = dict(one.slice_scores).get(index, one.score)
        name = "" if one.structure == UNNAMED else f"{schema[one.structure].title.removesuffix(' disc')}  "
        style = {"color": "white", "fontsize": 8.5, "path_effects": OUTLINE, **FONT}
        axes.text(right + 2, (top + bottom) / 2, f"{name}{score:.2f}", ha="left", va="center", clip_on=True, **style)


def _place_box(volume: Volume, turn: Upright, one: Instance) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box in the upright plane, in mm from its corner."""
    first, last = one.box[0], tuple(end - 1 for end in one.box[1])
    others = [axis for axis in range(3) if axis != turn.across]
    corners = [turn.locate(volume.grid.shape, tuple(corner[axis] for axis in others)) for corner in (first, last)]
    (top, bottom), (left, right) = (sorted(ends) for ends in zip(*corners, strict=True))
    down, over = volume.grid.spacing_mm[turn.rows], volume.grid.spacing_mm[turn.columns]
    return left * over, top * down, (right + 1) * over, (bottom + 1) * down


def _write_legend(axes: Axes, result: CaseResult, view: str) -> None:
    """The sizes of each disc, or of each cut shown, and flags."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    y = 0.0
    for (structure, level, index), rows in _group_rows(result, view).items():
        known = result.label_map.schema[structure]
        title = known.title if index is None else f"slice {index}"
        y = write_line(axes, y, level or title, "", tuple(part / 255 for part in known.colour))
        text = "   ".join(f"{word} {format_value(rows.get(measure), digits)}" for measure, word, digits in _SIZES[view])
        axes.text(0.11, y - 0.012, text, fontsize=8, color=GREY, va="top")
        y += 0.034
    write_beware(axes, result.flags, y + 0.02)


def _group_rows(result: CaseResult, view: str) -> dict:
    """Rows by measure of each disc; of an axial case of each slice that is shown."""
    groups: dict = {}
    shown = find_shown_slices(result)
    for row in result.measurements:
        if row.statistic == "total" and (row.slice_index is None if view == "sagittal" else row.slice_index in shown):
            groups.setdefault((row.structure, row.level, row.slice_index), {})[row.measure] = row
    return groups
