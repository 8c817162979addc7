"""Pictures of the study: agreement, Bland-Altman plots, ROC curves, errors by voltage, repeats, and the ordeal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from myotome.statistics.classification import compute_roc
from myotome.studies.figures import strip_axes
from myotome.studies.qct_agreement.analysis import EVERYBODY
from myotome.studies.qct_agreement.conclusion import REFERENCE_TITLES, TITLES, find_row
from myotome.studies.qct_agreement.jobs import REPEAT, TEST, WHOLE
from myotome.studies.qct_agreement.ordeal import PLAIN_HU

__all__ = ["draw_agreement", "draw_bland_altman", "draw_groups", "draw_ordeal", "draw_repeats", "draw_roc"]

_INK, _GREY, _LINE = "#1b1f24", "#57606a", "#9aa3ad"
# Told apart by colour-blind eyes.
_COLOURS = {"two_tissue": "#0072b2", "multi_tissue": "#d55e00", "hu": "#57606a", PLAIN_HU: "#9aa3ad"}
_OUTCOMES = {"refused": "#0072b2", "flagged": "#56b4e9", "silent": "#d55e00"}


def draw_agreement(
    readings: pd.DataFrame, methods: Sequence[str], reference: str, cutoffs: Sequence[float], youden: dict[str, float]
) -> Figure:
    """Estimate against reference in the test part, a panel per method, with the cut-offs and the line of identity."""
    figure = Figure(figsize=(4.6 * len(methods), 4.4), layout="constrained")
    for axes, method in zip(np.atleast_1d(figure.subplots(1, len(methods), sharey=True)), methods, strict=True):
        rows = _take(readings, method, reference)
        edges = _edges([*rows[reference], *rows["bmd"]])
        for cutoff in cutoffs:
            axes.axvline(cutoff, color=_LINE, linewidth=0.8)
            axes.axhline(cutoff, color=_LINE, linewidth=0.8)
        if youden.get(method) is not None and not pd.isna(youden[method]):
            axes.axhline(youden[method], color=_COLOURS[method], linewidth=1, linestyle="--", label="Youden's cut-off")
            axes.legend(frameon=False, fontsize=8, loc="upper left")
        axes.plot(edges, edges, color=_GREY, linewidth=1, linestyle=":")
        axes.scatter(rows[reference], rows["bmd"], s=11, color=_COLOURS[method], alpha=0.55, linewidths=0)
        axes.set(xlim=edges, ylim=edges, xlabel=f"{REFERENCE_TITLES[reference]}, mg/cm³", aspect="equal")
        axes.set_title(TITLES[method], fontsize=10)
        strip_axes(axes)
    figure.axes[0].set_ylabel("estimate, mg/cm³")
    return figure


def draw_bland_altman(
    readings: pd.DataFrame, agreement: pd.DataFrame, methods: Sequence[str], references: Sequence[str]
) -> Figure:
    """Error against the mean of both: a row per reference, a column per method, with bias, limits and trend."""
    figure = Figure(figsize=(4.6 * len(methods), 3.2 * len(references)), layout="constrained")
    grid = figure.subplots(len(references), len(methods), squeeze=False)
    for line, reference in zip(grid, references, strict=True):
        for axes, method in zip(line, methods, strict=True):
            rows = _take(readings, method, reference)
            means, errors = (rows["bmd"] + rows[reference]) / 2, rows["bmd"] - rows[reference]
            axes.axhline(0, color=_LINE, linewidth=0.8)
            axes.scatter(means, errors, s=10, color=_COLOURS[method], alpha=0.55, linewidths=0)
            where = {"part": TEST, "method": method, "reference": reference, "by": EVERYBODY}
            for measure, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
                found = find_row(agreement, measure=measure, **where)
                if found is not None and not pd.isna(found["value"]):
                    axes.axhline(found["value"], color=_INK, linewidth=1.1, linestyle=style)
            slope = find_row(agreement, measure="slope", **where)
            if slope is not None and not pd.isna(slope["value"]):
                axes.axline(
                    (means.mean(), errors.mean()), slope=slope["value"], color=_INK, linewidth=1.1, linestyle=":"
                )
            axes.set_xlabel(f"mean of estimate and {REFERENCE_TITLES[reference]}, mg/cm³", fontsize=8)
            axes.set_title(TITLES[method], fontsize=10)
            strip_axes(axes)
        line[0].set_ylabel(f"estimate − {REFERENCE_TITLES[reference]}, mg/cm³", fontsize=8)
    return figure


def draw_roc(
    readings: pd.DataFrame, areas: pd.DataFrame, methods: Sequence[str], cutoff_mg_cm3: float, references: Sequence[str]
) -> Figure | None:
    """ROC curves of the test part, a panel per reference below the cut-off; ``None`` where nobody, or everybody, is."""
    known = [name for name in references if find_row(areas, part=TEST, reference=name) is not None]
    if not known:
        return None
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    for axes, reference in zip(np.atleast_1d(figure.subplots(1, len(known))), known, strict=True):
        for method in methods:
            found = find_row(areas, part=TEST, method=method, reference=reference)
            if found is None:
                continue
            rows = _take(readings, method, reference)
            false, true, _ = compute_roc((rows[reference] < cutoff_mg_cm3).astype(int), -rows["bmd"])
            ends = "" if pd.isna(found["lower"]) else f" ({found['lower']:.3f} to {found['upper']:.3f})"
            label = f"{TITLES[method]}: {found['value']:.3f}{ends}"
            axes.plot(false, true, color=_COLOURS[method], linewidth=1.8, label=label)
        axes.plot([0, 1], [0, 1], color=_LINE, linewidth=0.8, linestyle=":")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="sensitivity", aspect="equal")
        axes.legend(frameon=False, fontsize=8, loc="lower right", title="AUROC (95 % interval)", title_fontsize=8)
        axes.set_title(f"osteoporosis by {REFERENCE_TITLES[reference]}", fontsize=10)
        strip_axes(axes)
    return figure


def draw_groups(agreement: pd.DataFrame, methods: Sequence[str], by: str, reference: str) -> Figure | None:
    """Bias and limits of agreement of each subgroup in the test part; ``None`` without subgroups."""
    rows = agreement[(agreement["part"] == TEST) & (agreement["reference"] == reference) & (agreement["by"] == by)]
    groups = list(dict.fromkeys(rows["group"]))
    if not groups:
        return None
    figure = Figure(figsize=(7.6, 1.2 + 0.28 * len(groups) * (len(methods) + 1)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=_LINE, linewidth=0.8)
    for place, group in enumerate(groups):
        for step, method in enumerate(methods):
            height = -(place * (len(methods) + 1) + step)
            where = {"method": method, "group": group}
            found = {name: find_row(rows, measure=name, **where) for name in ("bias", "lower_limit", "upper_limit")}
            if found["bias"] is None:
                continue
            ends = [found[f"{end}_limit"]["value"] for end in ("lower", "upper")]
            axes.plot(ends, [height, height], color=_COLOURS[method], linewidth=1, alpha=0.6)
            inner = [found["bias"]["lower"], found["bias"]["upper"]]
            axes.plot(inner, [height, height], color=_COLOURS[method], linewidth=3.5, solid_capstyle="butt")
            label = TITLES[method] if place == 0 else None
            axes.plot(found["bias"]["value"], height, "o", color=_COLOURS[method], markersize=5, label=label)
    ticks = [-(place * (len(methods) + 1) + (len(methods) - 1) / 2) for place in range(len(groups))]
    axes.set_yticks(ticks, groups)
    axes.set_xlabel(f"estimate − {REFERENCE_TITLES[reference]}, mg/cm³")
    axes.legend(frameon=False, fontsize=8, loc="best")
    axes.grid(axis="x", alpha=0.3)
    strip_axes(axes)
    return figure


def draw_repeats(readings: pd.DataFrame, methods: Sequence[str]) -> Figure | None:
    """By how much each changed scan differs from the whole one of its person; ``None`` without repeats."""
    repeats = readings[readings["part"] == REPEAT]
    whole = repeats[repeats["factor"] == WHOLE].set_index(["patient", "method"])["bmd"]
    changed = repeats[repeats["factor"] != WHOLE]
    steps = list(dict.fromkeys(zip(changed["factor"], changed["step"], strict=True)))
    if not steps:
        return None
    figure = Figure(figsize=(4.6 * len(methods), 1.2 + 0.3 * len(steps)), layout="constrained")
    for axes, method in zip(np.atleast_1d(figure.subplots(1, len(methods), sharey=True)), methods, strict=True):
        axes.axvline(0, color=_LINE, linewidth=0.8)
        for place, (factor, step) in enumerate(steps):
            rows = changed[(changed["method"] == method) & (changed["factor"] == factor) & (changed["step"] == step)]
            before = whole.reindex([(patient, method) for patient in rows["patient"]]).to_numpy(float)
            change = rows["bmd"].to_numpy(float) - before
            axes.scatter(change, np.full(len(change), -place), s=10, color=_COLOURS[method], alpha=0.5, linewidths=0)
        axes.set_title(TITLES[method], fontsize=10)
        axes.set_xlabel("change from the scan as drawn, mg/cm³")
        strip_axes(axes)
    figure.axes[0].set_yticks([-place for place in range(len(steps))], [f"{factor} {step}" for factor, step in steps])
    return figure


def draw_ordeal(ordeal: pd.DataFrame, methods: Sequence[str], titles: dict[str, str]) -> Figure | None:
    """What became of the broken calibrations, a bar per fault and method; ``None`` without any."""
    rows = ordeal[ordeal["fault"].isin(titles) & ordeal["method"].isin(methods)]
    if rows.empty:
        return None
    left = np.zeros(len(rows))
    figure = Figure(figsize=(8, 1.0 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    rows = rows.to_dict("records")
    labels = [f"{titles[row['fault']]}, {TITLES[row['method']]}" for row in rows]
    for outcome, colour in _OUTCOMES.items():
        counts = np.array([row[outcome] for row in rows], float)
        axes.barh(-np.arange(len(rows)), counts, left=left, color=colour, height=0.7, label=outcome)
        left += counts
    axes.set_yticks(-np.arange(len(rows)), labels)
    axes.set_xlabel("scans")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    strip_axes(axes)
    return figure


def _take(readings: pd.DataFrame, method: str, reference: str) -> pd.DataFrame:
    rows = readings[(readings["part"] == TEST) & (readings["method"] == method) & readings["counted"]]
    return rows[rows[reference].notna()]


def _edges(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if len(values) else (0.0, 1.0)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
