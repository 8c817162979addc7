"""Pictures of the study: the flow of people, heat maps, forest plots, and every pair as points with a line."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from myotome.studies.pft.join import Step
from myotome.studies.pft.settings import MuscleMeasure, Settings

__all__ = ["draw_flow", "draw_forest", "draw_heat_map", "draw_scatter"]

_INK, _GREY, _LINE = "#1b1f24", "#57606a", "#9aa3ad"
_MEN, _WOMEN = "#1f5fa8", "#c2571a"
_MOST_POINTS = 1500


def draw_flow(steps: Sequence[Step]) -> Figure:
    """The STROBE-like diagram: scans on the left, tests on the right, what left beside each box, the analysed below."""
    scans, usable, patients, tests, analysed = steps
    figure = Figure(figsize=(11, 5.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 110), ylim=(6, 62))
    axes.axis("off")
    places = {scans: (16, 56), usable: (16, 42), patients: (16, 28), tests: (66, 56), analysed: (41, 12)}
    for step, centre in places.items():
        _put_box(axes, step, centre, strong=step is analysed)
        if step.left:
            _put_losses(axes, step, (centre[0] + 14, centre[1]), "Not used" if step is tests else "Left out")
    ways = (((16, 52.2), (16, 45.8)), ((16, 38.2), (16, 31.8)), ((16, 24.2), (35, 15.8)), ((66, 52.2), (47, 15.8)))
    for start, end in ways:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": _GREY, "linewidth": 1.2})
    return figure


def _put_box(axes, step: Step, centre: tuple[float, float], strong: bool = False) -> None:
    text = f"{step.title}\n{step.count:,} {step.unit}"
    style = {
        "boxstyle": "round,pad=0.6",
        "facecolor": "#eef4fb" if strong else "white",
        "edgecolor": _INK if strong else _LINE,
    }
    axes.text(
        *centre,
        text,
        ha="center",
        va="center",
        fontsize=10.5,
        color=_INK,
        bbox=style,
        weight="bold" if strong else "normal",
    )


def _put_losses(axes, step: Step, corner: tuple[float, float], heading: str) -> None:
    if not step.left:
        return
    lines = [f"{heading}: {sum(count for _, count in step.left):,}"]
    for reason, count in step.left:
        lines += textwrap.wrap(f"{reason}: {count:,}", 38, initial_indent="  ", subsequent_indent="     ")
    style = {"boxstyle": "round,pad=0.5", "facecolor": "#f6f8fa", "edgecolor": _LINE}
    axes.text(*corner, "\n".join(lines), ha="left", va="center", fontsize=9, color=_GREY, bbox=style, linespacing=1.35)


def draw_heat_map(table: pd.DataFrame, settings: Settings) -> Figure:
    """Raw, partial and z-score correlations: muscle measures down, lung function across; a dot is a discovery."""
    kinds = {"raw": "Raw r", "partial": "Partial r\n(age, sex, height)", "z_score": "r with the z-score"}
    figure = Figure(figsize=(11.5, 4.4), layout="constrained")
    names = [(muscle, measure) for measure in settings.muscle_measures for muscle in settings.muscles]
    for place, (kind, title) in enumerate(kinds.items()):
        axes = figure.add_subplot(1, 3, place + 1)
        lungs = [lung for lung in settings.lung_function if kind != "z_score" or lung.z]
        part = table[table["kind"] == kind].set_index(["muscle", "measure", "lung_function"])
        grid = np.array([[part.loc[(m, k.name, lung.name), "r"] for lung in lungs] for m, k in names], dtype=float)
        picture = axes.imshow(np.ma.masked_invalid(grid), cmap="RdBu_r", vmin=-0.8, vmax=0.8, aspect="auto")
        for row, (muscle, measure) in enumerate(names):
            for column, lung in enumerate(lungs):
                found = part.loc[(muscle, measure.name, lung.name), "discovery"]
                value = grid[row, column]
                text = "–" if np.isnan(value) else f"{value:.2f}{' •' if found else ''}"
                colour = "white" if abs(value) > 0.5 else _INK
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(lungs)), [lung.title for lung in lungs], fontsize=8, rotation=30)
        labels = [f"{muscle.replace('_', ' ')} {measure.title}" for muscle, measure in names]
        axes.set_yticks(range(len(names)), labels if place == 0 else [""] * len(names), fontsize=8.5)
        axes.set_title(title, fontsize=10, color=_INK)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.colorbar(picture, ax=figure.axes, shrink=0.8, label="r")
    return figure


def draw_forest(table: pd.DataFrame, settings: Settings) -> Figure:
    """Partial correlations with intervals, as measured and corrected for error, one panel per muscle measure."""
    part = table[table["kind"] == "partial"].set_index(["muscle", "measure", "lung_function"])
    count = len(settings.muscles) * len(settings.lung_function)
    figure = Figure(figsize=(11.5, 0.27 * count + 1.6), layout="constrained")
    panels = figure.subplots(1, len(settings.muscle_measures), sharey=True, squeeze=False)[0]
    names = [(muscle, lung) for muscle in settings.muscles for lung in settings.lung_function]
    for axes, measure in zip(panels, settings.muscle_measures, strict=True):
        for row, (muscle, lung) in enumerate(names):
            found = part.loc[(muscle, measure.name, lung.name)]
            _put_interval(axes, row - 0.14, found[["r", "lower", "upper"]], _INK, "o")
            _put_interval(axes, row + 0.18, found[["corrected_r", "corrected_lower", "corrected_upper"]], _WOMEN, "D")
        axes.axvline(0, color=_GREY, linewidth=0.8)
        for edge in range(len(settings.lung_function), count, len(settings.lung_function)):
            axes.axhline(edge - 0.5, color=_LINE, linewidth=0.6)
        axes.set_title(f"Muscle {measure.title}", fontsize=10)
        axes.set_xlabel("partial r given age, sex and height", fontsize=9)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    labels = [f"{muscle.replace('_', ' ')} – {lung.title}" for muscle, lung in names]
    panels[0].set_yticks(range(count), labels, fontsize=8.5)
    panels[0].set_ylim(count - 0.4, -0.6)
    panels[0].plot([], [], "o", color=_INK, markersize=4, label="as measured")
    panels[0].plot([], [], "D", color=_WOMEN, markersize=4, label="corrected for measurement error")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _put_interval(axes, height: float, parts: pd.Series, colour: str, marker: str) -> None:
    value, low, high = parts.astype(float)
    if np.isfinite(value):
        axes.plot([low, high], [height, height], color=colour, linewidth=1.4)
        axes.plot([value], [height], marker, color=colour, markersize=4)


def draw_scatter(people: pd.DataFrame, table: pd.DataFrame, measure: MuscleMeasure, settings: Settings) -> Figure:
    """Every muscle against every lung function for one muscle measure, with the lines of men and women.

    Of more than 1,500 people a seeded choice is drawn; lines are of all of them.
    """
    rows, columns = len(settings.muscles), len(settings.lung_function)
    figure = Figure(figsize=(2.15 * columns, 2.05 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    raw = table[table["kind"] == "raw"].set_index(["muscle", "measure", "lung_function"])
    chosen = people.sample(min(_MOST_POINTS, len(people)), random_state=1)
    for row, muscle in enumerate(settings.muscles):
        for column, lung in enumerate(settings.lung_function):
            axes, name = grid[row, column], f"{muscle}.{measure.name}"
            for sex, colour in (("M", _MEN), ("F", _WOMEN)):
                points = chosen[chosen["sex"] == sex]
                axes.plot(points[name], points[lung.name], ".", color=colour, markersize=2, alpha=0.35, rasterized=True)
                _put_line(axes, people.loc[people["sex"] == sex, [name, lung.name]].dropna(), colour)
            estimate = raw.loc[(muscle, measure.name, lung.name)]
            text = "too few" if pd.isna(estimate["r"]) else f"r = {estimate['r']:.2f}, n = {estimate['n']:,}"
            axes.set_title(text, fontsize=8, color=_GREY)
            axes.tick_params(labelsize=6.5, length=2)
            axes.spines[["top", "right"]].set_visible(False)
            if row == rows - 1:
                axes.set_xlabel(f"{measure.title}, {measure.unit}", fontsize=8)
            unit = f", {lung.unit}" if lung.unit else ""
            axes.set_ylabel(f"{lung.title}{unit}", fontsize=8)
        grid[row, 0].annotate(
            muscle.replace("_", " "),
            (-0.62, 0.5),
            xycoords="axes fraction",
            rotation=90,
            va="center",
            fontsize=10,
            weight="bold",
        )
    for sex, colour in (("men", _MEN), ("women", _WOMEN)):
        grid[0, 0].plot([], [], color=colour, label=sex)
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def _put_line(axes, points: pd.DataFrame, colour: str) -> None:
    x, y = points.to_numpy(dtype=float).T
    if len(x) > 2 and x.std() > 0:
        ends = np.quantile(x, (0.005, 0.995))
        slope, offset = np.polyfit(x, y, 1)
        axes.plot(ends, slope * ends + offset, color=colour, linewidth=1.6)
