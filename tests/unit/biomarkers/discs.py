"""Lumbar discs drawn as boxes, whose size, height and signal are known: sagittal or axial."""

from __future__ import annotations

import numpy as np

from myotome.geometry import Acquisition, Grid, Volume, reorient
from myotome.structures import LabelMap, read_label_schema

SCHEMA = read_label_schema("lumbar_disc_mr")
NAMES = ("disc_l1_l2", "disc_l2_l3", "disc_l3_l4", "disc_l4_l5", "disc_l5_s1")
ACROSS_MM, AP_MM, HEIGHT_MM = 48.0, 36.0, 10.0
BETWEEN_MM = 30.0
BACKGROUND, DISC, FLUID = 40, 90, 200


def draw_sagittal(
    spacing_mm=(4.0, 0.5, 0.5), codes="RAS", wedge_mm=0.0, turn_degrees=0.0, fluid=FLUID, weighting="T2"
) -> tuple[Volume, LabelMap]:
    """Five discs of 48 x 36 x 10 mm, 30 mm apart, with a column of fluid 12 mm deep 2 mm behind them.

    The height grows by ``wedge_mm`` from 10 mm less half of it behind to 10 mm more half of it in front. Each disc is
    turned by ``turn_degrees`` around the axis from left to right.
    """
    shape = tuple(round(size / step) for size, step in zip((80.0, 90.0, 180.0), spacing_mm, strict=True))
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -np.array([40.0, 45.0, 90.0]) + np.array(spacing_mm) / 2
    x, y, z = (
        np.arange(size).reshape(np.roll((-1, 1, 1), axis)) * spacing_mm[axis] + affine[axis, 3]
        for axis, size in enumerate(shape)
    )
    image = np.full(shape, BACKGROUND, np.int16)
    image[np.broadcast_to((y < -AP_MM / 2 - 2) & (y > -AP_MM / 2 - 14) & (np.abs(x) < 8), shape)] = fluid
    labels = np.zeros(shape, np.uint8)
    turn = np.radians(turn_degrees)
    for place in range(5):
        level = (2 - place) * BETWEEN_MM
        along = y * np.cos(turn) + (z - level) * np.sin(turn)
        up = (z - level) * np.cos(turn) - y * np.sin(turn)
        height = HEIGHT_MM + wedge_mm * along / AP_MM
        inside = (np.abs(along) < AP_MM / 2) & (np.abs(up) < height / 2) & (np.abs(x) < ACROSS_MM / 2)
        labels[inside], image[inside] = place + 1, DISC
    image, turned = reorient(image, affine, codes)
    labels, _ = reorient(labels, affine, codes)
    grid = Grid(image.shape, turned)
    acquisition = Acquisition(weighting=weighting, body_part="LSPINE")
    return (
        Volume(np.ascontiguousarray(image), grid, "MR", acquisition),
        LabelMap(np.ascontiguousarray(labels), grid, SCHEMA),
    )


def draw_axial(slices=1, labelled=(0,), turn_degrees=0.0, half_mm=(24.0, 17.0)) -> tuple[Volume, LabelMap]:
    """An ellipse of 48 x 34 mm in the chosen slices, 0.5 mm in plane and 4 mm across."""
    spacing_mm, shape = (0.5, 0.5, 4.0), (160, 140, slices)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (-39.75, -34.75, 0)
    x, y = (
        np.arange(shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1)) * 0.5 + affine[axis, 3] for axis in (0, 1)
    )
    turn = np.radians(turn_degrees)
    across, front = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    disc = (across / half_mm[0]) ** 2 + (front / half_mm[1]) ** 2 < 1
    labels = np.zeros(shape, np.uint8)
    for index in labelled:
        labels[disc, index] = 6
    grid = Grid(shape, affine)
    image = np.where(labels > 0, DISC, BACKGROUND).astype(np.int16)
    return Volume(image, grid, "MR", Acquisition(weighting="T2")), LabelMap(labels, grid, SCHEMA)
