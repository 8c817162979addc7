"""Pictures of the study: ROC curves, calibration, confusion of the grades, and what masks and readers change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myotome.biomarkers.goutallier import GRADES
from myotome.statistics.calibration import compute_calibration_curve
from myotome.statistics.classification import compute_auroc, compute_roc, count_confusion
from myotome.studies.figures import strip_axes
from myotome.studies.goutallier.analysis import take_definition

__all__ = ["draw_calibration", "draw_confusion", "draw_forest", "draw_roc"]

_INK, _LINE = "#1b1f24", "#9aa3ad"
_COLOURS = ("#1f5fa8", "#c2571a", "#3b8c5a", "#8250a6", "#b8860b", "#2b8c9e")


def draw_roc(
    predictions: pd.DataFrame, arms: Mapping[str, str], compared: Mapping[str, str], names: Sequence[str]
) -> Figure:
    """ROC curves of the pooled predictions: the arms on the compared definition, and its arm on every definition.

    Parameters
    ----------
    arms : title of each arm
    compared : ``arm`` and ``definition``; the thin lines are the folds of both
    names : the definitions
    """
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    chosen, definition = compared["arm"], compared["definition"]
    for _, part in _rows(predictions, chosen, definition).groupby("fold"):
        if 0 < part["target"].sum() < len(part):
            left.plot(*compute_roc(part["target"], part["score"])[:2], color=_LINE, linewidth=0.7, zorder=1)
    for colour, (arm, title) in zip(_cycle(len(arms)), arms.items(), strict=True):
        _plot_curve(left, _rows(predictions, arm, definition), title, colour)
    for colour, name in zip(_cycle(len(names)), names, strict=True):
        _plot_curve(right, _rows(predictions, chosen, name), f"Definition {name}", colour)
    left.set_title(f"Definition {definition}, every arm (thin: folds of “{arms[chosen]}”)", fontsize=10)
    right.set_title(f"{arms[chosen]}, every definition", fontsize=10)
    return figure


def _plot_curve(axes: Axes, rows: pd.DataFrame, title: str, colour: str) -> None:
    area = compute_auroc(rows["target"], rows["score"]).estimate
    ends = "" if area.lower is None else f" ({area.lower:.3f} to {area.upper:.3f})"
    false, true, _ = compute_roc(rows["target"], rows["score"])
    axes.plot(false, true, color=colour, linewidth=1.8, label=f"{title}: {area.value:.3f}{ends}")
    decided = rows["decision"] == 1
    point = decided[rows["target"] == 0].mean(), decided[rows["target"] == 1].mean()
    axes.plot(*point, "o", color=colour, markersize=6, markeredgecolor="white")
    axes.plot([0, 1], [0, 1], color=_LINE, linewidth=0.8, linestyle=":")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="sensitivity", aspect="equal")
    axes.legend(frameon=False, fontsize=8, loc="lower right", title="AUROC (95 % interval)", title_fontsize=8)
    strip_axes(axes)


def draw_calibration(predictions: pd.DataFrame, arm: str, names: Sequence[str], bins: int) -> Figure:
    """Predicted probability against what came true, before and after calibration, with the spread of predictions."""
    figure = Figure(figsize=(2.6 * len(names) + 1, 4.2), layout="constrained")
    grid = figure.subplots(2, len(names), sharex=True, squeeze=False, height_ratios=(4, 1))
    for column, name in enumerate(names):
        curve, spread = grid[:, column]
        rows = _rows(predictions, arm, name)
        curve.plot([0, 1], [0, 1], color=_LINE, linewidth=0.8, linestyle=":")
        for source, colour, title in (("raw", _LINE, "as given"), ("probability", _COLOURS[0], "calibrated")):
            parts = compute_calibration_curve(rows["target"], rows[source], bins)
            x, y = [part.mean_probability for part in parts], [part.observed.value for part in parts]
            ends = [[max(0, v - p.observed.lower), max(0, p.observed.upper - v)] for v, p in zip(y, parts, strict=True)]
            curve.errorbar(x, y, np.transpose(ends), fmt="o-", color=colour, markersize=4, linewidth=1, label=title)
        spread.hist(rows["probability"], bins=np.linspace(0, 1, 21), color=_COLOURS[0])
        spread.set(yscale="log", xlabel="predicted probability")
        curve.set(title=f"Definition {name}", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        for axes in (curve, spread):
            strip_axes(axes)
    grid[0, 0].set_ylabel("observed share of positives")
    grid[1, 0].set_ylabel("cases")
    grid[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def draw_confusion(tables: Mapping[str, tuple[np.ndarray, np.ndarray]], axes_titles: tuple[str, str]) -> Figure:
    """Confusion matrices of the five grades, shares by row in colour, counts in numbers.

    Parameters
    ----------
    tables : title to (n,) reference grades and (n,) predicted grades
    axes_titles : of the rows and the columns
    """
    figure = Figure(figsize=(4.2 * len(tables), 4.2), layout="constrained")
    for place, (title, (reference, prediction)) in enumerate(tables.items()):
        axes = figure.add_subplot(1, len(tables), place + 1)
        counts = count_confusion(reference, prediction, len(GRADES))
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            colour = "white" if shares[row, column] > 0.55 else _INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=9, color=colour)
        axes.set_xticks(GRADES, GRADES)
        axes.set_yticks(GRADES, GRADES)
        axes.set(ylabel=axes_titles[0] if place == 0 else "", xlabel=axes_titles[1])
        axes.set_title(title, fontsize=10)
    return figure


def draw_forest(scores: pd.DataFrame, titles: Mapping[str, str], names: Sequence[str]) -> Figure:
    """AUROC and accuracy of each line of ``titles`` (key ``arm|truth``) with the intervals of DeLong and Wilson."""
    figure = Figure(figsize=(11, 1.2 + 0.22 * len(names) * (len(titles) + 1)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, measure, method in zip(panels, ("auroc", "accuracy"), ("DeLong", "Wilson"), strict=True):
        part = scores[(scores["measure"] == measure) & (scores["method"] == method)]
        values = part.set_index(["arm", "truth", "definition"])
        for row, name in enumerate(names):
            for place, (colour, key) in enumerate(zip(_cycle(len(titles)), titles, strict=True)):
                found = values.loc[(*key.split("|"), name)]
                height = -(row * (len(titles) + 1) + place)
                if pd.notna(found["lower"]):
                    axes.plot([found["lower"], found["upper"]], [height, height], color=colour, linewidth=1.6)
                axes.plot(
                    found["value"], height, "o", color=colour, markersize=5, label=titles[key] if not row else None
                )
        ticks = [-(row * (len(titles) + 1) + (len(titles) - 1) / 2) for row in range(len(names))]
        axes.set_yticks(ticks, [f"Definition {name}" for name in names])
        axes.set_xlabel({"auroc": "AUROC", "accuracy": "accuracy"}[measure])
        axes.grid(axis="x", alpha=0.3)
        strip_axes(axes)
    panels[0].legend(frameon=False, fontsize=8, loc="best")
    return figure


def _rows(predictions: pd.DataFrame, arm: str, definition: str) -> pd.DataFrame:
    return take_definition(predictions[predictions["arm"] == arm], definition)


def _cycle(count: int) -> list[str]:
    return [_COLOURS[place % len(_COLOURS)] for place in range(count)]
