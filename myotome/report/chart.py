"""Area along the body as an inline SVG: one line per structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.measurement import CaseResult

__all__ = ["AreaChart", "Line", "hex_colour", "make_area_chart"]

WIDTH, HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 40


@dataclass(frozen=True)
class Line:
    """One structure's line: SVG path data and colour."""

    title: str
    colour: str
    path: str
    largest: str


@dataclass(frozen=True)
class AreaChart:
    """What the template draws: lines, and the ticks ``(position, text)`` of both axes."""

    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def hex_colour(colour: tuple[int, int, int]) -> str:
    """Colour as CSS and SVG write it, such as ``#d64d4d``."""
    return f"#{bytes(colour).hex()}"


def make_area_chart(result: CaseResult, slice_count: int, spacing_mm: float, ascending: bool) -> AreaChart | None:
    """Lay out the area (cm2, both sides) of every structure against the distance from the lowest slice.

    Parameters
    ----------
    slice_count, spacing_mm : of the scan
    ascending : slice indices grow towards the head

    Returns
    -------
    AreaChart or None
        ``None`` when no slice holds a structure.
    """
    areas = {}
    for row in result.measurements:
        if row.measure == "area" and row.side == "both" and row.level is None and row.slice_index is not None:
            areas.setdefault(row.structure, {})[row.slice_index] = row.value
    if not areas:
        return None
    length_cm = max((slice_count - 1) * spacing_mm / 10, 1e-6)
    step = _nice(max(max(found.values()) for found in areas.values()) / 4)
    top = step * int(np.ceil(max(max(found.values()) for found in areas.values()) / step))

    def place(index: int, area: float) -> str:
        rank = index if ascending else slice_count - 1 - index
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * (rank * spacing_mm / 10) / length_cm
        y = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * area / top
        return f"{x:.1f} {y:.1f}"

    lines = []
    for structure in result.label_map.schema.structures:
        found = areas.get(structure.name)
        if found:
            path = _path(found, place, slice_count)
            largest = max(found, key=found.get)
            text = f"largest {found[largest]:.1f} cm² in slice {largest}"
            lines.append(Line(structure.title, hex_colour(structure.colour), path, text))
    x_step = _nice(length_cm / 6)
    x_values = np.arange(0, length_cm + 1e-6, x_step)
    y_values = np.arange(0, top + 1e-6, step)
    across, along = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    x_ticks = tuple((round(_LEFT + across * value / length_cm, 1), f"{value:g}") for value in x_values)
    y_ticks = tuple((round(HEIGHT - _BOTTOM - along * value / top, 1), f"{value:g}") for value in y_values)
    return AreaChart(tuple(lines), x_ticks, y_ticks)


def _path(found: dict[int, float], place, slice_count: int) -> str:
    """Path data that breaks where slices do not hold the structure; a lone slice becomes a short stroke."""
    pieces, previous = [], None
    for index in sorted(found):
        start = previous is None or index != previous + 1
        pieces.append(f"{'M' if start else 'L'}{place(index, found[index])}")
        if start and index + 1 not in found:
            pieces.append("h0.01")
        previous = index
    return " ".join(pieces)


def _nice(value: float) -> float:
    """Smallest of 1, 2, 5, 10 times a power of ten that is at least the value."""
    power = 10.0 ** np.floor(np.log10(value)) if value > 0 else 1.0
    return float(next(power * step for step in (1, 2, 5, 10) if power * step >= value * (1 - 1e-9)))
