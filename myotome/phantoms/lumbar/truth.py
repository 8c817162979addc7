"""What is true of a drawn disc: its cuts, measured on the shape itself and not on an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from myotome.phantoms.canvas import Canvas
from myotome.phantoms.lumbar.plane import Plane
from myotome.phantoms.lumbar.solids import DiscSolid

__all__ = ["describe_disc", "measure_axial_cut", "measure_sagittal_cut"]

_PIXEL_MM = 0.25
# Where heights are taken, as shares of the diameter from the front, and how wide the window is.
_PLACES = {"anterior_height_mm": 0.15, "middle_height_mm": 0.5, "posterior_height_mm": 0.85}
_WINDOW = 0.1


def measure_sagittal_cut(disc: DiscSolid) -> dict[str, float]:
    """Area, front-to-back diameter and heights in the sagittal plane through the disc's middle.

    The diameter is the extent along the main axis of the cut. A height is the area within a window of 10 % of that
    diameter over the window's width; the windows' middles lie at 15, 50 and 85 % from the front.
    """
    along, across = _points(disc, disc.axes.forward, disc.axes.up)
    cosine, sine = _main_axis(along, across)
    place = along * cosine + across * sine
    diameter = float(np.ptp(place)) + _PIXEL_MM
    share = (place.max() - place) / diameter
    window = _WINDOW * diameter
    heights = {
        name: float((np.abs(share - middle) < _WINDOW / 2).sum()) * _PIXEL_MM**2 / window
        for name, middle in _PLACES.items()
    }
    return {"area_mm2": along.size * _PIXEL_MM**2, "ap_mm": diameter, **heights}


def measure_axial_cut(disc: DiscSolid) -> dict[str, float]:
    """Area, and diameters front to back and side to side, in the plane midway between the end plates."""
    along, across = _points(disc, disc.axes.forward, disc.axes.right)
    return {
        "area_mm2": along.size * _PIXEL_MM**2,
        "ap_mm": float(np.ptp(along)) + _PIXEL_MM,
        "transverse_mm": float(np.ptp(across)) + _PIXEL_MM,
    }


def describe_disc(disc: DiscSolid, plane: str) -> dict[str, Any]:
    """The truth of one disc; ``area_mm2`` and ``ap_mm`` are those of the cut along the scan's plane."""
    axial, sagittal = measure_axial_cut(disc), measure_sagittal_cut(disc)
    heights = {name: value for name, value in sagittal.items() if name in _PLACES}
    cut = axial if plane == "axial" else sagittal
    state = disc.state
    lengths = {"area_mm2": cut["area_mm2"], "ap_mm": cut["ap_mm"], "transverse_mm": axial["transverse_mm"], **heights}
    return {
        "pfirrmann": state.pfirrmann,
        "herniation": state.herniation,
        "reach_mm": round(state.reach_mm, 3),
        **{name: round(value, 3) for name, value in lengths.items()},
    }


def _points(disc: DiscSolid, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (mm, along two directions) of the fine pixels inside the disc, in the plane through its middle."""
    axis = np.arange(-disc.reach_mm, disc.reach_mm, _PIXEL_MM)
    canvas = Canvas(axis, axis)
    section = disc.cut(Plane(canvas, disc.centre, first, second))
    rows, columns = np.nonzero(section.shape.depth_mm > 0)
    return canvas.x[section.shape.box[0]][rows], canvas.y[section.shape.box[1]][columns]


def _main_axis(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Direction of the greatest spread, pointing forward."""
    _, vectors = np.linalg.eigh(np.cov(np.stack((x, y)).astype(np.float64)))
    direction = vectors[:, 1] * (1 if vectors[0, 1] > 0 else -1)
    return float(direction[0]), float(direction[1])
