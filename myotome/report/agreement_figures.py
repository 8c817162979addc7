"""The picture of a comparison: each case's two values against the line of identity, and Bland and Altman's plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from myotome.report.comparisons import Agreement, Comparison, format_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from myotome.statistics.agreement import BlandAltman

__all__ = ["draw_agreement", "format_number", "pick_decimals"]

_INK, _GREY = "#1b1f24", "#57606a"
_BIAS, _LIMIT = "#8f3400", "#3f6fc4"
# Told apart by colour-blind eyes, and in print: Okabe and Ito's, less the yellow that white paper swallows.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#1b1f24")
_MARKERS = "os^Dvp*"


def pick_decimals(spread: float) -> int:
    """Decimals that show a quantity of this spread to three digits, 0 to 6."""
    if not np.isfinite(spread) or spread <= 0:
        return 1
    return int(np.clip(2 - np.floor(np.log10(spread)), 0, 6))


def format_number(value: float | None, decimals: int) -> str:
    """A number with a true minus sign, an empty text for ``None``; what rounds to 0 has no sign."""
    if value is None:
        return ""
    text = f"{value:.{decimals}f}"
    return f"−{text[1:]}" if text.startswith("-") and float(text) else text.lstrip("-")


def draw_agreement(agreement: Agreement) -> Figure:
    """Scatter with identity and Deming line, and Bland-Altman plot, of a comparison with `Agreement.bland_altman`."""
    comparison = agreement.comparison.take(agreement.comparison.complete)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    scatter, plot = figure.subplots(1, 2, width_ratios=(1, 1.3))
    _draw_scatter(scatter, comparison, agreement)
    _draw_bland_altman(plot, comparison, agreement)
    for axes in (scatter, plot):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_GREY, labelsize=9)
    return figure


def _draw_scatter(axes: Axes, comparison: Comparison, agreement: Agreement) -> None:
    edges = _find_edges([*comparison.a, *comparison.b])
    axes.plot(edges, edges, color=_GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1, label="a = b")
    if agreement.deming is not None:
        slope, intercept = agreement.deming.slope.value, agreement.deming.intercept.value
        axes.axline((0, intercept), slope=slope, color=_BIAS, linewidth=1.4, zorder=3, label="Deming line")
    _draw_cases(axes, comparison.a, comparison.b, comparison)
    axes.set_xlim(edges)
    axes.set_ylim(edges)
    axes.set_aspect("equal", adjustable="box")
    unit = format_unit(comparison.unit)
    axes.set_xlabel(_with_unit(f"a: {_short(comparison.a_name)}", unit))
    axes.set_ylabel(_with_unit(f"b: {_short(comparison.b_name)}", unit))
    axes.legend(frameon=False, fontsize=8, loc="upper left", borderaxespad=0.2, handletextpad=0.5)


def _draw_bland_altman(axes: Axes, comparison: Comparison, agreement: Agreement) -> None:
    bland, unit = agreement.bland_altman, format_unit(comparison.unit)
    means, differences = (comparison.a + comparison.b) / 2, comparison.b - comparison.a
    # The limits' intervals are shown whole, unless there are so few cases that they would fill the plot.
    low, high = bland.lower_limit, bland.upper_limit
    limits = max(low.lower, low.value - bland.sd), min(high.upper, high.value + bland.sd)
    axes.set_xlim(_find_edges(means))
    axes.set_ylim(_find_edges([*differences, *limits, 0.0]))
    axes.axhline(0, color=_GREY, linewidth=0.8, zorder=1)
    _draw_limits(axes, bland)
    if bland.line is not None and bland.sd > 0:
        ends = np.array([means.min(), means.max()])
        heights = bland.line.intercept.value + bland.line.slope.value * ends
        axes.plot(ends, heights, color="white", linewidth=3.5, alpha=0.8, zorder=4)
        axes.plot(ends, heights, color=_INK, linewidth=1.8, linestyle=":", zorder=5)
    _draw_cases(axes, means, differences, comparison)
    axes.set_xlabel(_with_unit("mean of a and b", unit))
    axes.set_ylabel(_with_unit("difference b − a", unit))


def _draw_limits(axes: Axes, bland: BlandAltman) -> None:
    """Bias and limits with their intervals, and their values at the right edge."""
    solid, dashed = "-", (0, (5, 2))
    lines = (
        ("lower limit", bland.lower_limit, _LIMIT, dashed),
        ("bias", bland.bias, _BIAS, solid),
        ("upper limit", bland.upper_limit, _LIMIT, dashed),
    )
    bottom, top = axes.get_ylim()
    heights = _spread_labels([estimate.value for _, estimate, _, _ in lines], 0.1 * (top - bottom))
    decimals = pick_decimals(bland.sd)
    for height, (name, estimate, colour, style) in zip(heights, lines, strict=True):
        axes.axhspan(estimate.lower, estimate.upper, color=colour, alpha=0.13, linewidth=0, zorder=0)
        axes.axhline(estimate.value, color=colour, linewidth=1.5, linestyle=style, zorder=3)
        axes.text(1.012, height, f"{name}\n{format_number(estimate.value, decimals)}", va="center", fontsize=8.5,
                  color=colour, transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set_ylim(bottom, top)


def _draw_cases(axes: Axes, x: np.ndarray, y: np.ndarray, comparison: Comparison) -> None:
    """Points, by subgroup when there are some; fainter and smaller the more there are."""
    style = {"s": float(np.clip(9000 / len(x), 9, 30)), "alpha": float(np.clip(15 / np.sqrt(len(x)), 0.25, 0.85)),
             "linewidths": 0, "zorder": 2}  # fmt: skip
    if not comparison.groups:
        axes.scatter(x, y, color=_COLOURS[0], **style)
        return
    groups = np.array(comparison.groups)
    for place, name in enumerate(comparison.group_names):
        chosen = groups == name
        colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[(place + place // len(_COLOURS)) % len(_MARKERS)]
        axes.scatter(x[chosen], y[chosen], color=colour, marker=marker, label=_short(name), **style)


def _find_edges(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that shows all values; of some length even if all are equal but for rounding."""
    low, high = float(min(values)), float(max(values))
    least = 1e-6 * max(abs(low), abs(high)) or 1.0
    margin = max(0.04 * (high - low), least)
    return low - margin, high + margin


def _spread_labels(values: Sequence[float], least: float) -> list[float]:
    """Heights of three labels beside ascending lines, at least so far apart."""
    low, middle, high = values
    return [min(low, middle - least), middle, max(high, middle + least)]


def _short(name: str, most: int = 32) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _with_unit(text: str, unit: str) -> str:
    return f"{text}, {unit}" if unit else text
