"""Panels of an overview: one plane of an image in true proportions, with its labels, edges and scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from myotome.io.atomic import atomic_path
from myotome.measurement import CaseResult
from myotome.report.planes import Cut
from myotome.structures import LabelSchema

__all__ = [
    "AXIAL_VIEW",
    "FONT",
    "GAP_IN",
    "GREY",
    "INK",
    "OUTLINE",
    "describe_maker",
    "overlay_labels",
    "save_figure",
    "show_plane",
    "size_mm",
    "write_beware",
    "write_line",
    "write_title",
]

_DPI = 110
AXIAL_VIEW = "window 400 / 50 HU   ·   the patient's right is on the left"
FONT = {"family": "DejaVu Sans"}
INK = "#1b1f24"
GREY = "#5b6470"
GAP_IN = 0.08  # between panels, and to the left of them
OUTLINE = [withStroke(linewidth=2, foreground="black")]
_WARNING = "#a33b00"
_FILL = 0.38


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure as a PNG; the same figure gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})


def describe_maker(result: CaseResult) -> str:
    """The bundle and its version, or that the label map was given."""
    bundle = result.provenance.bundle
    return f"{bundle} {result.provenance.bundle_version}" if bundle != "none" else "label map given"


def size_mm(plane: Cut) -> tuple[float, float]:
    """Height and width of a plane."""
    rows, columns = plane.image.shape
    return rows * plane.spacing_mm[0], columns * plane.spacing_mm[1]


def show_plane(
    axes: Axes,
    plane: Cut,
    window: tuple[float, float],
    schema: LabelSchema | None = None,
    *,
    name: str = "",
    bar: bool = False,
) -> None:
    """Draw one plane, centred in its panel, on axes in mm from its upper left corner.

    Parameters
    ----------
    window : intensities shown black and white
    schema : of the labels, where they are shown
    name : written into the corner
    bar : with a scale of 5 cm
    """
    height_mm, width_mm = size_mm(plane)
    extent = (0, width_mm, height_mm, 0)
    low, high = window
    axes.imshow(plane.image, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    if schema is not None:
        overlay_labels(axes, plane, schema)
    _fit(axes, width_mm, height_mm)
    for spine in axes.spines.values():
        spine.set_visible(False)
    style = {"color": "white", "fontsize": 9, "transform": axes.transAxes, "path_effects": OUTLINE, **FONT}
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


def overlay_labels(axes: Axes, plane: Cut, schema: LabelSchema, *, fill: float = _FILL, outline: bool = True) -> None:
    """Draw a plane's labels over it, on axes in mm from its upper left corner.

    Parameters
    ----------
    fill : opacity of the labels' areas
    outline : with a line around each label
    """
    height_mm, width_mm = size_mm(plane)
    if fill:
        colours = np.zeros((256, 4))
        for structure in schema.structures:
            colours[structure.index] = (*(part / 255 for part in structure.colour), fill)
        extent = (0, width_mm, height_mm, 0)
        axes.imshow(colours[plane.labels], extent=extent, interpolation="nearest", aspect="auto")
    rows, columns = plane.labels.shape
    y = (np.arange(rows) + 0.5) * plane.spacing_mm[0]
    x = (np.arange(columns) + 0.5) * plane.spacing_mm[1]
    for structure in schema.structures if outline else ():
        mask = plane.labels == structure.index
        if mask.any() and min(mask.shape) > 1:
            colour = [tuple(part / 255 for part in structure.colour)]
            axes.contour(x, y, mask.astype(float), levels=[0.5], colors=colour, linewidths=0.8)


def _draw_scale(axes) -> None:
    """A bar of 5 cm at the lower left."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = left + 0.03 * (right - left), bottom - 0.05 * (bottom - top)
    axes.add_patch(Rectangle((x, y), 50, 0.012 * (bottom - top), color="white", linewidth=0))
    style = {"color": "white", "fontsize": 8.5, "ha": "center", "va": "bottom", "path_effects": OUTLINE, **FONT}
    axes.text(x + 25, y - 0.012 * (bottom - top), "5 cm", **style)


def write_title(figure: Figure, result: CaseResult, subject: str, how: str) -> None:
    """What the picture shows and of whom at the top; who labelled it and how it is shown at the bottom."""
    width, height = figure.get_size_inches()
    title = f"{subject}: {result.provenance.title}"
    figure.text(GAP_IN / width, 1 - 0.2 / height, title, fontsize=14, color=INK, va="top", weight="bold")
    text = f"{describe_maker(result)}   ·   {how}   ·   not for diagnosis"
    figure.text(GAP_IN / width, 0.2 / height, text, fontsize=8.5, color=GREY, va="bottom")


def write_line(axes: Axes, y: float, title: str, value: str, colour: object = None) -> float:
    """One line of a legend, on axes that run from 0 at the top to 1, with its swatch; where the next one begins."""
    if colour is not None:
        axes.add_patch(Rectangle((0.04, y + 0.004), 0.045, 0.03, facecolor=colour, linewidth=0))
    axes.text(0.11 if colour is not None else 0.04, y, title, fontsize=9, color=INK, va="top")
    axes.text(0.98, y, value, fontsize=9, color=INK, va="top", ha="right")
    return y + 0.048


def write_beware(axes: Axes, flags: tuple[str, ...], y: float, most: int = 6) -> None:
    """List flags on axes that run from 0 at the top to 1; nothing without any."""
    lines = list(dict.fromkeys(flag.partition(":")[0].replace("_", " ") for flag in flags))
    if lines:
        axes.text(0.04, y, "Beware", fontsize=10, color=_WARNING, va="top", weight="bold")
        for line in lines[:most]:
            y += 0.04
            axes.text(0.11, y, line, fontsize=9, color=INK, va="top")
