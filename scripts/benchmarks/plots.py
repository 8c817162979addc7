"""Pictures of the finished runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.ledger import Ledger
from benchmarks.tables import TITLES, count_slices, group

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_plots"]

_COLOURS = {
    "open": "#8c8c8c",
    "load": "#4c78a8",
    "preprocess": "#72b7b2",
    "network": "#f58518",
    "postprocess": "#e45756",
    "save": "#b279a2",
}
_LATER = "#54a24b"


def draw_plots(ledger: Ledger, folder: Path) -> list[Path]:
    """Draw what was measured into ``folder``; returns the PNG files."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}
    for (source,), some in group(ledger.latest("compare"), "input").items():
        figures[f"compare_{source}"] = _draw_pipelines(some, source)
    if records := ledger.latest("sizes"):
        figures["sizes"] = _draw_growth(records, count_slices, "slices")
    if records := ledger.latest("classes"):
        figures["classes"] = _draw_growth(records, lambda record: record["settings"]["classes"], "classes")
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=130)
    return paths


def _new_figure(record: dict[str, Any], count: int, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    machine = record["machine"]
    origin = f"{machine['processor']}, {machine['cores']} cores, {' '.join(machine['flags'][-3:])}; {record['commit']}"
    figure.supxlabel(origin, fontsize=7, color="#666666")
    return figure, figure.subplots(1, count)


def _draw_pipelines(records: list[dict[str, Any]], source: str) -> Figure:
    """Wall time by stage, and peak memory, a bar per pipeline."""
    groups = group(records, "name")
    figure, (time, memory) = _new_figure(records[0], 2, 1.2 + 0.45 * len(groups))
    stages = list(dict.fromkeys(stage for some in groups.values() for stage in some[0]["result"]["seconds"]))
    labelled: set[str] = set()
    for row, some in enumerate(groups.values()):
        left = 0.0
        for stage in [*[s for s in _COLOURS if s in stages], *[s for s in stages if s not in _COLOURS]]:
            width = median(r["result"]["seconds"].get(stage, 0.0) for r in some)
            label = stage if stage in _COLOURS else "other"
            shown = "_" if label in labelled else label
            time.barh(row, width, left=left, color=_COLOURS.get(stage, _LATER), label=shown)
            labelled.add(label)
            left += width
        wall = median(r["result"]["wall_s"] for r in some)
        time.text(left, row, f" {wall:.1f} s", va="center", fontsize=8)
        above = median(r["result"]["peak_above_imports_mb"] for r in some) / 1024
        memory.barh(row, above, color="#4c78a8")
        memory.text(above, row, f" {above:.2f} GB", va="center", fontsize=8)
    names = [TITLES.get(name, name) for (name,) in groups]
    time.set_yticks(range(len(names)), names)
    memory.set_yticks(range(len(names)), [])
    for axes, title in ((time, f"{source}: wall seconds, median"), (memory, "peak above imports, GB")):
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*time.get_legend_handles_labels(), fontsize=7, frameon=False, loc="outside upper center", ncols=7)
    return figure


def _draw_growth(records: list[dict[str, Any]], read: Callable[[dict[str, Any]], int], name: str) -> Figure:
    """Wall time and peak memory against the number of slices or classes."""
    figure, both = _new_figure(records[0], 2, 3.6)
    fields = (("wall_s", 1, "wall seconds, median"), ("peak_above_imports_mb", 1024, "peak above imports, GB"))
    for axes, (field, unit, title) in zip(both, fields, strict=True):
        for (label,), same in group(records, "name").items():
            places = sorted({read(record) for record in same})
            values = [[r["result"][field] / unit for r in same if read(r) == place] for place in places]
            axes.plot(places, [median(v) for v in values], "o-", label=label)
            axes.fill_between(places, [min(v) for v in values], [max(v) for v in values], alpha=0.2)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    both[0].legend(fontsize=8, frameon=False, loc="upper left")
    return figure
