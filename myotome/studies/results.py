"""What the studies' folders have in common: a page, a summary for machines, and every table as CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from myotome.io.atomic import atomic_path
from myotome.report.pages import write_page, write_pdf

__all__ = ["format_figure", "write_results"]


def format_figure(
    row: Mapping[str, Any] | None, digits: int = 4, names: tuple[str, str, str] = ("value", "lower", "upper")
) -> str:
    """A value with its interval, as ``0.9731 (0.9500 to 0.9860)``; a dash for none.

    Parameters
    ----------
    row : what holds the value and the ends of its interval under ``names``; ``None`` and NaN are missing
    """
    if row is None or pd.isna(row[names[0]]):
        return "–"
    words, ends = f"{row[names[0]]:.{digits}f}", [row[name] for name in names[1:]]
    return words if any(pd.isna(end) for end in ends) else f"{words} ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"


def write_results(output: Path, page: str, summary: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> None:
    """Write ``report.html``, ``report.pdf`` (where Pango is installed), ``summary.json`` and ``NAME.csv`` per table.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    with atomic_path(output / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    for name, table in tables.items():
        with atomic_path(output / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    write_page(output / "report.html", page)
    write_pdf(output / "report.pdf", page)
