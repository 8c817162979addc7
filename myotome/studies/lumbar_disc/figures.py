"""Pictures of the study: the scores of each split beside the paper's, and what the leak is worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from myotome.studies.figures import strip_axes
from myotome.studies.lumbar_disc.analysis import MEASURES, OVER

__all__ = ["draw_leak", "draw_scores"]

# Colour, marker and place beside the row: told apart by colour-blind eyes, and by their markers in print.
_STYLES = (("#0072b2", "o", -0.14), ("#d55e00", "s", 0.14))
_LINE, _PAPER = "#9aa3ad", "#1b1f24"
_SHARES = [name for name in MEASURES if name != "hd95_mm"]


def draw_scores(scores: pd.DataFrame, paper: Mapping[str, float]) -> Figure:
    """Every score between 0 and 1 of each split, with its interval; a bar where the paper has one.

    Parameters
    ----------
    scores : ``measure``, ``split``, ``value``, ``lower`` and ``upper``
    paper : the paper's figure of a measure
    """
    figure = Figure(figsize=(8, 1.0 + 0.34 * len(_SHARES)), layout="constrained")
    axes = figure.subplots()
    for (split, part), style in zip(scores.groupby("split", sort=False), _STYLES, strict=False):
        _plot_rows(axes, part.set_index("measure").reindex(_SHARES), style, f"by {split}")
    given = [place for place, name in enumerate(_SHARES) if name in paper]
    axes.plot([paper[_SHARES[place]] for place in given], given, "|", color=_PAPER, markersize=20, label="paper")
    _name_rows(axes, _SHARES)
    axes.set_xlabel("score, with its 95 % interval")
    figure.legend(frameon=False, fontsize=8, loc="outside upper right", ncols=3, markerscale=0.6)
    return figure


def draw_leak(leak: pd.DataFrame) -> Figure:
    """Split by image less split by patient, of the scores between 0 and 1, with its interval.

    Parameters
    ----------
    leak : ``measure``, ``over`` (``all`` or ``shared``), ``value``, ``lower`` and ``upper``
    """
    names = [name for name in _SHARES if name in set(leak["measure"])]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    for (over, title), style in zip(OVER.items(), _STYLES, strict=True):
        part = leak[leak["over"] == over].set_index("measure").reindex(names)
        _plot_rows(axes, part, style, title)
    axes.axvline(0, color=_LINE, linewidth=0.8)
    _name_rows(axes, names)
    axes.set_xlabel("split by image less split by patient, with its 95 % interval")
    figure.legend(frameon=False, fontsize=8, loc="outside upper right", ncols=2)
    return figure


def _plot_rows(axes: Axes, rows: pd.DataFrame, style: tuple[str, str, float], label: str) -> None:
    colour, marker, shift = style
    places = np.arange(len(rows)) + shift
    sides = np.array([rows["value"] - rows["lower"], rows["upper"] - rows["value"]]).clip(min=0)
    axes.errorbar(rows["value"], places, xerr=np.nan_to_num(sides), fmt=marker, color=colour, markersize=5,
                  linewidth=1.5, label=label)  # fmt: skip


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [MEASURES[name] for name in names])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    strip_axes(axes)
