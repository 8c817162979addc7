"""Pictures of the study: learning curves with the observers' band, Bland-Altman plots, and slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from myotome.studies.figures import strip_axes
from myotome.studies.l3_transfer.analysis import Band, Scoring
from myotome.studies.l3_transfer.cases import L3Slice
from myotome.studies.l3_transfer.conclusion import TITLES
from myotome.studies.l3_transfer.scoring import masks_of

__all__ = ["draw_bland_altman", "draw_curves", "draw_gains", "draw_slices"]

_GREY, _LINE, _BAND = "#57606a", "#9aa3ad", "#c7d0da"
# Told apart by colour-blind eyes, and by their markers in print.
_COLOURS = ("#1b1f24", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#d55e00")
_MARKERS = "os^DvP"
_WINDOW_HU = (-150, 250)
_UNITS = {"sma_cm2": ("SMA", "cm²"), "smd_hu": ("SMD", "HU"), "smi_cm2_m2": ("SMI", "cm²/m²")}


def draw_curves(summary: pd.DataFrame, bands: Mapping[str, Band], scoring: Scoring) -> Figure:
    """DSC and RMS-DTA against n, a line per source with the interval of resampled patients, over the band."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = (("dice", scoring.overlap, "DSC"), ("rms_dta_mm", scoring.distance, "RMS-DTA, mm"))
    for axes, (column, measure, title) in zip(panels, titles, strict=True):
        band = bands[column]
        axes.axhspan(
            band.low, band.high, color=_BAND, alpha=0.55, linewidth=0, label="observers, lowest to highest mean"
        )
        axes.axhline(band.mean, color=_GREY, linewidth=1, linestyle=":")
        part = summary[(summary["measure"] == measure) & (summary["over"] == "pooled")]
        for source, rows in part.groupby("source", sort=False):
            colour, marker = _style(source)
            rows = rows.sort_values("n")
            sides = [(rows["value"] - rows["lower"]).clip(lower=0), (rows["upper"] - rows["value"]).clip(lower=0)]
            axes.errorbar(rows["n"], rows["value"], np.array(sides), fmt=f"{marker}-", color=colour, markersize=5,
                          linewidth=1.5, capsize=2, label=TITLES[source])  # fmt: skip
        axes.set_xscale("log")
        ticks = sorted(part["n"].unique())
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel="annotated slices to train with, n", ylabel=title)
        axes.grid(axis="y", alpha=0.3)
        strip_axes(axes)
    panels[0].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def draw_gains(comparisons: pd.DataFrame, scoring: Scoring) -> Figure:
    """Gain in DSC over scratch, a row per source and n, with its interval; filled where it is beyond chance."""
    rows = comparisons[comparisons["measure"] == scoring.overlap].sort_values(["n", "source"])
    figure = Figure(figsize=(8, 1.2 + 0.26 * max(1, len(rows))), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows.to_dict("records")):
        colour, marker = _style(row["source"])
        axes.plot([row["lower"], row["upper"]], [-place, -place], color=colour, linewidth=1.6)
        axes.plot(row["value"], -place, marker, color=colour, markersize=6, markeredgecolor=colour,
                  markerfacecolor=colour if row["p_holm"] <= 0.05 else "white")  # fmt: skip
    axes.axvline(0, color=_LINE, linewidth=0.8)
    labels = [f"n = {row['n']}: {TITLES[row['source']]}" for row in rows.to_dict("records")]
    axes.set_yticks([-place for place in range(len(rows))], labels)
    axes.set_xlabel("DSC, the source less scratch, on the same patients")
    axes.grid(axis="x", alpha=0.3)
    strip_axes(axes)
    return figure


def draw_bland_altman(scores: pd.DataFrame, agreement: pd.DataFrame, source: str, sizes: Sequence[int]) -> Figure:
    """Bland-Altman plots of one source: a row per measure, a column per n, with bias and limits of agreement."""
    measures = [name for name in _UNITS if scores[name].notna().any()]
    figure = Figure(figsize=(3.4 * len(sizes) + 0.6, 2.5 * len(measures)), layout="constrained")
    grid = figure.subplots(len(measures), len(sizes), squeeze=False, sharey="row")
    first = scores[(scores["source"] == source) & (scores["repeat"] == scores["repeat"].min())]
    found = agreement[agreement["source"] == source].set_index(["measure", "n"])
    for row, name in enumerate(measures):
        title, unit = _UNITS[name]
        for column, n in enumerate(sizes):
            axes = grid[row, column]
            part = first[first["n"] == n]
            a, b = (part[key].to_numpy(float) for key in (f"reference_{name}", name))
            axes.axhline(0, color=_LINE, linewidth=0.8)
            axes.scatter((a + b) / 2, b - a, s=10, color=_COLOURS[1], alpha=0.6, linewidths=0)
            lines = found.loc[name, n]
            for key, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
                if pd.notna(lines[key]):
                    axes.axhline(lines[key], color=_COLOURS[5], linewidth=1.2, linestyle=style)
            axes.set_xlabel(f"{title}, mean of both, {unit}", fontsize=8)
            if row == 0:
                axes.set_title(f"n = {n}", fontsize=10)
            strip_axes(axes)
        grid[row, 0].set_ylabel(f"{title}: network − reference, {unit}", fontsize=8)
    return figure


def draw_slices(shown: Sequence[tuple[str, L3Slice, np.ndarray]], structure: str) -> Figure:
    """Slices with two contours: the reference (light) and the network (dark), side by side.

    Parameters
    ----------
    shown : of each slice a title, the slice, and the network's labels
    """
    figure = Figure(figsize=(4.2 * len(shown), 4.2), layout="constrained")
    for axes, (title, item, label) in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        picture, reference, prediction = (
            _upright(item, array)
            for array in (item.density_hu, masks_of(item.label)[structure], masks_of(label)[structure])
        )
        axes.imshow(picture, cmap="gray", vmin=_WINDOW_HU[0], vmax=_WINDOW_HU[1], aspect=_aspect(item))
        for mask, colour in ((reference, "#ffd166"), (prediction, "#06d6f2")):
            if mask.any():
                axes.contour(mask.astype(float), [0.5], colors=[colour], linewidths=0.9)
        box = np.argwhere(picture > -300)
        if len(box):
            (top, left), (bottom, right) = box.min(axis=0), box.max(axis=0)
            axes.set(xlim=(left - 4, right + 4), ylim=(bottom + 4, top - 4))
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    return figure


def _upright(item: L3Slice, array: np.ndarray) -> np.ndarray:
    """A slice as radiologists look at it: anterior on top, the patient's right on the left."""
    grid = item.volume.grid
    axes = [axis for axis in range(3) if axis != grid.axis("IS")]
    codes = [grid.axis_codes[axis] for axis in axes]
    if codes[0] in "RL":  # first axis runs across: make it the columns
        array, codes = array.T, codes[::-1]
    if codes[0] == "A":
        array = array[::-1]
    return array[:, ::-1] if codes[1] == "R" else array


def _aspect(item: L3Slice) -> float:
    grid = item.volume.grid
    axes = [axis for axis in range(3) if axis != grid.axis("IS")]
    across = item.spacing_mm[0] if grid.axis_codes[axes[0]] in "RL" else item.spacing_mm[1]
    along = item.spacing_mm[1] if grid.axis_codes[axes[0]] in "RL" else item.spacing_mm[0]
    return along / across


def _style(source: str) -> tuple[str, str]:
    place = list(TITLES).index(source)
    return _COLOURS[place], _MARKERS[place]
