"""What a simulation leaves behind: tables, curves and one page that says what follows from them."""

from __future__ import annotations

import base64
import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from myotome import __version__
from myotome.active_learning.curves import (
    Comparison,
    Curves,
    Estimate,
    compare,
    conclude,
    find_interval_of_mean,
    make_curves,
)
from myotome.active_learning.figures import COLOURS, plot_curves
from myotome.active_learning.simulation import RoundRecord, Study
from myotome.active_learning.strategies import STRATEGIES
from myotome.io.atomic import atomic_path
from myotome.report.pages import render_page, write_page

__all__ = ["write_results"]

# (name in summary.csv, attribute of Curves)
_SERIES = ("dice", "volume_error", "density_error_hu", "corrected_voxels")


def write_results(
    output: Path, study: Study, records: list[RoundRecord], settings: dict[str, Any], source: str
) -> list[str]:
    """Write ``summary.csv``, ``summary.json``, ``curves.png`` and ``report.html``; returns the conclusion's sentences.

    Parameters
    ----------
    settings : what the study was run with, for the record.
    source : the data in words, such as "200 synthetic thorax phantoms".

    Raises
    ------
    InputError
        When a record is missing.
    OutputError
        When a file cannot be written.
    """
    curves = make_curves(records, study.plan)
    comparisons = compare(curves)
    conclusion = conclude(comparisons, curves.seed_count)
    _write_table(output / "summary.csv", curves)
    summary = {
        "data": source,
        "cases": {"pool": len(study.pool), "test": len(study.test)},
        "full_data_dice": float(curves.full_data_dice.mean()),
        "full_data_volume_error_percent": float(curves.full_data_volume_error.mean()),
        "strategies": [_plain(comparison) for comparison in comparisons],
        "conclusion": conclusion,
        "settings": settings,
        "software": {"myotome": __version__, "numpy": np.__version__},
    }
    with atomic_path(output / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    plot_curves(output / "curves.png", curves)
    page = _render(output / "curves.png", study, curves, comparisons, {"conclusion": conclusion, "source": source})
    write_page(output / "report.html", page)
    return conclusion


def _write_table(path: Path, curves: Curves) -> None:
    """One row per strategy and number of labelled cases: mean over seeds and its 95 % interval."""
    columns = ["strategy", "labelled"] + [f"{name}{end}" for name in _SERIES for end in ("", "_low", "_high")]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for strategy in curves.strategies:
            for turn, labelled in enumerate(curves.labelled):
                row: list[Any] = [strategy, labelled]
                for name in _SERIES:
                    values = getattr(curves, name)[strategy][:, turn]
                    low, high = find_interval_of_mean(values)
                    row += [f"{figure:.6g}" if np.isfinite(figure) else "" for figure in (values.mean(), low, high)]
                writer.writerow(row)


def _plain(comparison: Comparison) -> dict[str, Any]:
    """As JSON writes it: what was not reached is ``None``."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(part) for key, part in value.items()}
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return clean(asdict(comparison))


def _render(picture: Path, study: Study, curves: Curves, comparisons: list[Comparison], texts: dict[str, Any]) -> str:
    last = curves.labelled[-1]
    rows = [
        {
            "name": row.strategy,
            "colour": COLOURS.get(row.strategy, "#57606a"),
            "description": STRATEGIES[row.strategy].description,
            "cells": (
                _words(row.labels_needed, 1, f"over {last}"),
                _words(row.voxels_needed, 0, "not reached", 1000),
                _words(row.ratio_to_random, 2, "not reached"),
                _words(row.ratio_to_foreground_random, 2, "not reached"),
                _words(row.dice_gain, 4),
                _words(row.volume_error_gain, 2),
                _words(row.last_dice, 4),
            ),
        }
        for row in comparisons
    ]
    return render_page(
        "simulation.html.j2",
        rows=rows,
        picture=base64.b64encode(picture.read_bytes()).decode("ascii"),
        pool=len(study.pool),
        test=len(study.test),
        seeds=study.plan.seeds,
        labelled=", ".join(str(count) for count in curves.labelled),
        structures=", ".join(name.replace("_", " ") for name in study.structures),
        full_dice=f"{curves.full_data_dice.mean():.4f}",
        full_error=f"{curves.full_data_volume_error.mean():.1f}",
        budget=study.plan.full_data_budget,
        version=__version__,
        **texts,
    )


def _words(estimate: Estimate | None, digits: int, missing: str = "–", divisor: float = 1) -> str:
    """A figure and its interval; ``missing`` stands for a bound that was not reached."""
    if estimate is None:
        return "–"
    figures = (estimate.value, estimate.low, estimate.high)
    value, low, high = (f"{part / divisor:.{digits}f}" if np.isfinite(part) else missing for part in figures)
    return value if value == low == high else f"{value} ({low} to {high})"
