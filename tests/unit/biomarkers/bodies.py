"""A small synthetic trunk whose mid-sagittal plane and muscles are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from myotome.biomarkers import MidsagittalPlane
from myotome.geometry import Grid, Volume, reorient
from myotome.structures import LabelMap, read_label_schema

SHAPE, SPACING = (120, 90, 24), (3.0, 3.0, 8.0)


@dataclass(frozen=True)
class Body:
    """Where the body lies (mm, degrees) and what is wrong with it."""

    x_mm: float = 0.0
    rotation_deg: float = 0.0
    lean: float = 0.0
    right_share: float = 1.0
    lost_pectoralis: str = ""
    field_right_mm: float = 1e9

    @property
    def plane(self) -> MidsagittalPlane:
        slope = float(np.tan(np.radians(self.rotation_deg)))
        return MidsagittalPlane(self.x_mm, self.lean, -slope)


def make_grid(codes: str = "RAS") -> Grid:
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -(np.array(SHAPE) - 1) / 2 * SPACING
    _, affine = reorient(np.empty(SHAPE, bool), affine, codes)
    names = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    return Grid(tuple(SHAPE[names[code]] for code in codes), affine)


def make_body(body: Body | None = None, codes: str = "RAS") -> tuple[Volume, LabelMap, np.ndarray]:
    """Volume, label map, and the true side of every voxel (positive on the right), in body coordinates u, v.

    Ellipse of fat; ribs; a vertebra; pectoralis plates in front, erector spinae ellipses behind, intercostal band.
    """
    body = body or Body()
    grid = make_grid(codes)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index @ grid.affine[:3, :3].T + grid.affine[:3, 3], -1, 0)
    angle = np.radians(body.rotation_deg)
    shifted = x - body.x_mm - body.lean * z
    u, v = np.cos(angle) * shifted + np.sin(angle) * y, -np.sin(angle) * shifted + np.cos(angle) * y
    density, labels = np.full(grid.shape, -1000, np.int16), np.zeros(grid.shape, np.uint8)

    def inside(cu: float, cv: float, ru: float, rv: float) -> np.ndarray:
        return ((u - cu) / ru) ** 2 + ((v - cv) / rv) ** 2 <= 1

    density[inside(0, 0, 165, 122)] = -100
    wall = inside(0, 0, 135, 90) & ~inside(0, 0, 120, 75)
    density[wall], labels[wall] = 60, 3
    ribs = wall & (np.mod(np.arctan2(v, np.abs(u)) * 8 + z / 10, 2) < 0.8)
    density[ribs], labels[ribs] = 500, 0
    density[inside(0, 0, 120, 75)] = -850
    density[inside(0, -70, 20, 18)] = 300
    for side in (1, -1):
        share = body.right_share if side == 1 else 1.0
        spinae = inside(side * 32, -92, 26 * np.sqrt(share), 14 * np.sqrt(share))
        density[spinae], labels[spinae] = 50, 2
        if body.lost_pectoralis != ("right" if side == 1 else "left"):
            plate = (side * u > 12) & (side * u < 80) & (v > 88) & (v < 104) & inside(0, 0, 155, 106)
            density[plate], labels[plate] = 40, 1
    beyond = x > body.field_right_mm
    density[beyond], labels[beyond] = -2000, 0
    return Volume(density, grid), LabelMap(labels, grid, read_label_schema()), u
