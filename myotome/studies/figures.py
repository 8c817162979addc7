"""Figures of the studies, drawn from their scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from myotome.io.atomic import atomic_path
from myotome.structures import read_label_schema

__all__ = ["plot_case_dice", "strip_axes"]

_INK, _GREY = "#1b1f24", "#57606a"


def plot_case_dice(path: Path | str, dice: dict[str, dict[str, float]], truths: dict[str, dict[str, Any]]) -> None:
    """Draw each case's Dice: spread per structure, and against the slice thickness.

    Parameters
    ----------
    dice : Dice per case, per structure of the respiratory schema
    truths : truth row of each case, with ``slice_thickness_mm``

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    structures = [structure for structure in read_label_schema().structures if structure.name in dice]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    spread, thickness = figure.subplots(1, 2)
    boxes = spread.boxplot(
        [list(dice[structure.name].values()) for structure in structures],
        tick_labels=[structure.title for structure in structures],
        patch_artist=True,
        medianprops={"color": _INK},
    )
    for box, structure in zip(boxes["boxes"], structures, strict=True):
        box.set_facecolor(_colour(structure.colour))
        cases = dice[structure.name]
        place = [truths[case]["slice_thickness_mm"] for case in cases]
        thickness.scatter(place, list(cases.values()), s=14, color=_colour(structure.colour), label=structure.title)
    spread.set_ylabel("Dice, raw CT to final label")
    thickness.set_xlabel("slice thickness, mm")
    thickness.legend(frameon=False, fontsize=8)
    for axes in (spread, thickness):
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def strip_axes(axes: Axes) -> None:
    """Take the frame's upper and right edge away, and make its ticks small and grey."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_GREY)


def _colour(rgb: Sequence[int]) -> tuple[float, ...]:
    return tuple(part / 255 for part in rgb)
