"""The curves of a simulation as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from myotome.active_learning.curves import TARGET_SHARE, Curves, find_interval_of_mean
from myotome.io.atomic import atomic_path

__all__ = ["COLOURS", "plot_curves"]

COLOURS = {
    "random": "#8c959f",
    "foreground_random": "#1b1f24",
    "diverse": "#2f8f5b",
    "entropy": "#c98a00",
    "claspe": "#3f6fc4",
    "measurement": "#c23b3b",
}


def plot_curves(path: Path | str, curves: Curves) -> None:
    """Draw Dice and volume error against labelled cases and corrected voxels: mean and 95 % interval over seeds.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    figure = Figure(figsize=(12, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharey="row", sharex="col")
    target = TARGET_SHARE * curves.full_data_dice.mean()
    for name in curves.strategies:
        labelled = np.array(curves.labelled, dtype=float)
        voxels = curves.corrected_voxels[name].mean(axis=0) / 1000
        for row, scores in enumerate((curves.dice[name], curves.volume_error[name])):
            _draw(axes[row, 0], labelled, scores, name)
            _draw(axes[row, 1], voxels, scores, name)
    for panel in axes[0]:
        panel.axhline(target, color="#57606a", linestyle="--", linewidth=1)
        panel.axhline(curves.full_data_dice.mean(), color="#57606a", linewidth=1)
        panel.annotate(
            "95 % of full-data Dice", (1, target), xycoords=("axes fraction", "data"), ha="right", va="bottom"
        )
    for panel in axes[1]:
        panel.axhline(curves.full_data_volume_error.mean(), color="#57606a", linewidth=1)
    axes[0, 0].set_ylabel("Dice, mean of structures")
    axes[1, 0].set_ylabel("volume error, % (mean of structures)")
    axes[1, 0].set_xlabel("labelled cases")
    axes[1, 1].set_xlabel("voxels corrected, thousands")
    axes[0, 0].set_xscale("log")
    axes[1, 0].set_xticks(curves.labelled, [str(count) for count in curves.labelled])
    axes[1, 0].minorticks_off()
    axes[0, 1].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.02))
    for panel in axes.flat:
        panel.grid(axis="y", alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def _draw(panel: Axes, places: np.ndarray, scores: np.ndarray, name: str) -> None:
    """Mean over seeds with its bootstrap interval; ``scores`` is (seeds, rounds)."""
    low, high = find_interval_of_mean(scores)
    colour = COLOURS.get(name, "#57606a")
    panel.plot(places, scores.mean(axis=0), color=colour, label=name, marker="o", markersize=3.5, linewidth=1.8)
    panel.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)
