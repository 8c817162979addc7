"""The overview picture: axial, coronal and sagittal planes, plain and with the label map, on one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from myotome.geometry import Volume
from myotome.measurement import CaseResult
from myotome.report.panels import (
    AXIAL_VIEW,
    GAP_IN,
    GREY,
    INK,
    save_figure,
    show_plane,
    size_mm,
    write_beware,
    write_title,
)
from myotome.report.planes import Case, choose_axial, choose_coronal, choose_sagittal, cut, make_case

__all__ = ["write_overview"]

_WINDOW_HU = (-150, 250)
_WIDTH_IN = 15.0
_TOP, _BOTTOM, _LEGEND = 0.62, 0.62, 3.55


def write_overview(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write the overview as a PNG, in radiological convention (the patient's right on the viewer's left).

    Three axial levels plain and with the label map, one coronal and one sagittal plane, window 400/50 HU, true
    proportions in mm, a scale bar, volumes and flags. The same input gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    case = make_case(volume, result.label_map)
    save_figure(_draw(case, result), path)


def _draw(case: Case, result: CaseResult) -> Figure:
    """Lay the panels out in inches, so that every plane keeps its proportions.

    Columns are the three axial levels (plain above, overlay below), then coronal above sagittal, then the legend.
    """
    levels = choose_axial(case)
    axial = [(z, cut(case, 2, z)) for z in levels]
    lines = [("coronal", cut(case, 1, choose_coronal(case))), ("sagittal", cut(case, 0, choose_sagittal(case)))]
    shape = size_mm(axial[0][1])
    room = _WIDTH_IN - _LEGEND - 5 * GAP_IN
    side_width = min(3.4, room / 4)
    width = (room - side_width) / 3
    height = float(np.clip(width * shape[0] / shape[1], 1.9, 4.2))
    total = _TOP + 2 * height + GAP_IN + _BOTTOM
    figure = Figure(figsize=(_WIDTH_IN, total), facecolor="white")
    FigureCanvasAgg(figure)

    def panel(left: float, top: float, size: tuple[float, float]):
        box = (left / _WIDTH_IN, 1 - (top + size[1]) / total, size[0] / _WIDTH_IN, size[1] / total)
        return figure.add_axes(box, facecolor="black", xticks=[], yticks=[])

    schema = result.label_map.schema
    for column, (z, plane) in enumerate(axial):
        left = GAP_IN + column * (width + GAP_IN)
        name = f"slice {case.slice_numbers[z]}"
        show_plane(panel(left, _TOP, (width, height)), plane, _WINDOW_HU, name=name)
        lower = panel(left, _TOP + height + GAP_IN, (width, height))
        show_plane(lower, plane, _WINDOW_HU, schema, bar=column == 0)
    for row, (name, plane) in enumerate(lines):
        left = GAP_IN + 3 * (width + GAP_IN)
        side = panel(left, _TOP + row * (height + GAP_IN), (side_width, height))
        show_plane(side, plane, _WINDOW_HU, schema, name=name, bar=row == 0)
    write_title(figure, result, "Muscle on CT", AXIAL_VIEW)
    box = ((_WIDTH_IN - _LEGEND) / _WIDTH_IN, _BOTTOM / total, _LEGEND / _WIDTH_IN, (2 * height + GAP_IN) / total)
    _write_legend(figure.add_axes(box), result)
    return figure


def _write_legend(axes, result: CaseResult) -> None:
    """Colours, volumes by side, and flags."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    for x, text in ((0.60, "right"), (0.79, "left"), (0.98, "both")):
        axes.text(x, 0.0, text, fontsize=9, color=GREY, ha="right", va="top")
    y = 0.055
    for structure in result.label_map.schema.structures:
        colour = tuple(part / 255 for part in structure.colour)
        axes.add_patch(Rectangle((0.04, y - 0.004), 0.045, 0.03, facecolor=colour, linewidth=0))
        axes.text(0.11, y, structure.title, fontsize=10, color=INK, va="top", weight="bold")
        for row, (measure, unit, digits) in enumerate((("volume", "mL", 0), ("density", "HU", 0)), start=1):
            line = y + row * 0.036
            axes.text(0.11, line, f"{measure}, {unit}", fontsize=9, color=GREY, va="top")
            for x, side in ((0.60, "right"), (0.79, "left"), (0.98, "both")):
                text = _value(result, structure.name, measure, side, digits)
                axes.text(x, line, text, fontsize=9, color=INK, ha="right", va="top")
        y += 0.14
    _write_flags(axes, result, y + 0.02)


def _value(result: CaseResult, structure: str, measure: str, side: str, digits: int) -> str:
    statistic = "mean" if measure == "density" else "total"
    for row in result.measurements:
        if row.slice_index is None and row.level is None:
            if (row.structure, row.measure, row.side, row.statistic) != (structure, measure, side, statistic):
                continue
            incomplete = any(flag.startswith(("truncated_", "cut_")) for flag in row.flags)
            return "–" if row.value is None else f"{row.value:.{digits}f}" + "*" * (incomplete and measure == "volume")
    return "–"


def _write_flags(axes, result: CaseResult, y: float) -> None:
    if any("*" in _value(result, s.name, "volume", "both", 0) for s in result.label_map.schema.structures):
        axes.text(0.04, y, "* cut off by the scan: more than this", fontsize=9, color=GREY, va="top")
        y += 0.05
    write_beware(axes, result.flags, y)
