"""The overview picture: axial, coronal and sagittal planes, plain and with the label map, on one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from myotome.geometry import Volume
from myotome.io.atomic import atomic_path
from myotome.measurement import CaseResult
from myotome.report.planes import Case, Cut, choose_axial, choose_coronal, choose_sagittal, cut, make_case
from myotome.structures import LabelSchema

__all__ = ["write_overview"]

_WINDOW_HU = (-150, 250)
_WIDTH_IN, _DPI = 15.0, 110
_GAP, _TOP, _BOTTOM, _LEGEND = 0.08, 0.62, 0.62, 3.55
_FONT = {"family": "DejaVu Sans"}
_INK, _GREY = "#1b1f24", "#5b6470"
_FILL = 0.38
_OUTLINE = [withStroke(linewidth=2, foreground="black")]


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
    figure = _draw(case, result)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})


def _draw(case: Case, result: CaseResult) -> Figure:
    """Lay the panels out in inches, so that every plane keeps its proportions.

    Columns are the three axial levels (plain above, overlay below), then coronal above sagittal, then the legend.
    """
    levels = choose_axial(case)
    axial = [(z, cut(case, 2, z)) for z in levels]
    lines = [("coronal", cut(case, 1, choose_coronal(case))), ("sagittal", cut(case, 0, choose_sagittal(case)))]
    shape = _size_mm(axial[0][1])
    room = _WIDTH_IN - _LEGEND - 5 * _GAP
    side_width = min(3.4, room / 4)
    width = (room - side_width) / 3
    height = float(np.clip(width * shape[0] / shape[1], 1.9, 4.2))
    total = _TOP + 2 * height + _GAP + _BOTTOM
    figure = Figure(figsize=(_WIDTH_IN, total), facecolor="white")
    FigureCanvasAgg(figure)

    def panel(left: float, top: float, size: tuple[float, float]):
        box = (left / _WIDTH_IN, 1 - (top + size[1]) / total, size[0] / _WIDTH_IN, size[1] / total)
        return figure.add_axes(box, facecolor="black", xticks=[], yticks=[])

    schema = result.label_map.schema
    for column, (z, plane) in enumerate(axial):
        left = _GAP + column * (width + _GAP)
        name = f"slice {case.slice_numbers[z]}"
        _show(panel(left, _TOP, (width, height)), plane, None, name)
        _show(panel(left, _TOP + height + _GAP, (width, height)), plane, schema, "", bar=column == 0)
    for row, (name, plane) in enumerate(lines):
        left = _GAP + 3 * (width + _GAP)
        _show(panel(left, _TOP + row * (height + _GAP), (side_width, height)), plane, schema, name, bar=row == 0)
    _write_title(figure, result, total)
    box = ((_WIDTH_IN - _LEGEND) / _WIDTH_IN, _BOTTOM / total, _LEGEND / _WIDTH_IN, (2 * height + _GAP) / total)
    _write_legend(figure.add_axes(box), result)
    return figure


def _size_mm(plane: Cut) -> tuple[float, float]:
    rows, columns = plane.image.shape
    return rows * plane.spacing_mm[0], columns * plane.spacing_mm[1]


def _show(axes, plane: Cut, schema: LabelSchema | None, name: str, bar: bool = False) -> None:
    """Draw one plane, centred in its panel; with the labels where a schema is given."""
    height_mm, width_mm = _size_mm(plane)
    extent = (0, width_mm, height_mm, 0)
    low, high = _WINDOW_HU
    axes.imshow(plane.image, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    if schema is not None:
        _overlay(axes, plane, schema, extent)
    _fit(axes, width_mm, height_mm)
    for spine in axes.spines.values():
        spine.set_visible(False)
    style = {"color": "white", "fontsize": 9, "transform": axes.transAxes, "path_effects": _OUTLINE, **_FONT}
    for text, (x, y), (across, along) in zip(
        plane.edges,
        ((0.012, 0.5), (0.988, 0.5), (0.5, 0.985), (0.5, 0.015)),
        (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom")),
        strict=True,
    ):
        axes.text(x, y, text, ha=across, va=along, **style)
    if name:
        axes.text(0.015, 0.975, name, ha="left", va="top", **style)
    if bar:
        _draw_scale(axes)


def _fit(axes, width_mm: float, height_mm: float) -> None:
    """Set the limits so that the whole plane is seen, in proportion and centred."""
    figure_width, figure_height = axes.figure.get_size_inches()
    box = axes.get_position()
    ratio = box.width * figure_width / (box.height * figure_height)
    across, along = max(width_mm, height_mm * ratio), max(height_mm, width_mm / ratio)
    axes.set_aspect("auto")
    axes.set_xlim((width_mm - across) / 2, (width_mm + across) / 2)
    axes.set_ylim((height_mm + along) / 2, (height_mm - along) / 2)


def _overlay(axes, plane: Cut, schema: LabelSchema, extent: tuple[float, float, float, float]) -> None:
    colours = np.zeros((256, 4))
    for structure in schema.structures:
        colours[structure.index] = (*(part / 255 for part in structure.colour), _FILL)
    axes.imshow(colours[plane.labels], extent=extent, interpolation="nearest")
    rows, columns = plane.labels.shape
    y = (np.arange(rows) + 0.5) * plane.spacing_mm[0]
    x = (np.arange(columns) + 0.5) * plane.spacing_mm[1]
    for structure in schema.structures:
        mask = plane.labels == structure.index
        if mask.any() and min(mask.shape) > 1:
            colour = [tuple(part / 255 for part in structure.colour)]
            axes.contour(x, y, mask.astype(float), levels=[0.5], colors=colour, linewidths=0.8)


def _draw_scale(axes) -> None:
    """A bar of 5 cm at the lower left."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = left + 0.03 * (right - left), bottom - 0.05 * (bottom - top)
    axes.add_patch(Rectangle((x, y), 50, 0.012 * (bottom - top), color="white", linewidth=0))
    style = {"color": "white", "fontsize": 8.5, "ha": "center", "va": "bottom", "path_effects": _OUTLINE, **_FONT}
    axes.text(x + 25, y - 0.012 * (bottom - top), "5 cm", **style)


def _write_title(figure: Figure, result: CaseResult, total: float) -> None:
    title = f"Muscle on CT: {result.provenance.title}"
    figure.text(_GAP / _WIDTH_IN, 1 - 0.2 / total, title, fontsize=14, color=_INK, va="top", weight="bold")
    bundle = result.provenance.bundle
    by = f"{bundle} {result.provenance.bundle_version}" if bundle != "none" else "label map given"
    text = f"{by}   ·   window 400 / 50 HU   ·   the patient's right is on the left   ·   not for diagnosis"
    figure.text(_GAP / _WIDTH_IN, 0.2 / total, text, fontsize=8.5, color=_GREY, va="bottom")


def _write_legend(axes, result: CaseResult) -> None:
    """Colours, volumes by side, and flags."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    for x, text in ((0.60, "right"), (0.79, "left"), (0.98, "both")):
        axes.text(x, 0.0, text, fontsize=9, color=_GREY, ha="right", va="top")
    y = 0.055
    for structure in result.label_map.schema.structures:
        colour = tuple(part / 255 for part in structure.colour)
        axes.add_patch(Rectangle((0.04, y - 0.004), 0.045, 0.03, facecolor=colour, linewidth=0))
        axes.text(0.11, y, structure.title, fontsize=10, color=_INK, va="top", weight="bold")
        for row, (measure, unit, digits) in enumerate((("volume", "mL", 0), ("density", "HU", 0)), start=1):
            line = y + row * 0.036
            axes.text(0.11, line, f"{measure}, {unit}", fontsize=9, color=_GREY, va="top")
            for x, side in ((0.60, "right"), (0.79, "left"), (0.98, "both")):
                text = _value(result, structure.name, measure, side, digits)
                axes.text(x, line, text, fontsize=9, color=_INK, ha="right", va="top")
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
    lines = [flag.partition(":")[0].replace("_", " ") for flag in result.flags]
    lines = list(dict.fromkeys(lines))
    if any("*" in _value(result, s.name, "volume", "both", 0) for s in result.label_map.schema.structures):
        axes.text(0.04, y, "* cut off by the scan: more than this", fontsize=9, color=_GREY, va="top")
        y += 0.05
    if lines:
        axes.text(0.04, y, "Beware", fontsize=10, color="#a33b00", va="top", weight="bold")
        for line in lines[:6]:
            y += 0.04
            axes.text(0.11, y, line, fontsize=9, color=_INK, va="top")
