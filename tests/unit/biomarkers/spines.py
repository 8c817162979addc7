"""A trunk of plain shapes whose bone has a known density: what every calibration has to give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from myotome.attenuation import compute_hu, compute_k2hpo4_slope
from myotome.biomarkers.bone_density import read_bone_density_settings
from myotome.geometry import Acquisition, Grid, Volume
from myotome.structures import LabelMap, read_label_schema

SPACING = (1.5, 1.5, 3.0)
SHAPE = (150, 120)
STEP_MM, BODY_MM = 30.0, 21.0
WATER_DIAMETER_CM = 16.9
"""Of the plain trunk: 157 cm2 of soft tissue and 70 cm2 of fat around it."""
SETTINGS = replace(
    read_bone_density_settings().uncorrected(),
    method="two_tissue",
    energy=replace(read_bone_density_settings().energy, diameter_cm=WATER_DIAMETER_CM),
)
"""The shipped ones with two tissues and without what training gave, for people of this size: 120 kV is 68 keV here."""
LEVELS = ("T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3")


@dataclass(frozen=True)
class Spine:
    """What is drawn: densities by level in mg/cm3 of K2HPO4, the beam, the scanner's scale and noise, and faults.

    ``tissue_hu`` replaces the true HU of tissues, ``crushed`` takes a share off the front height of levels, and
    ``left_out`` are structures that are not labelled.
    """

    bmd: Mapping[str, float] = field(default_factory=lambda: {"T12": 150.0, "L1": 130.0, "L2": 110.0})
    energy_kev: float = 68.0
    scale: float = 1.0
    offset_hu: float = 0.0
    noise_hu: float = 0.0
    tissue_hu: Mapping[str, float] = field(default_factory=dict)
    crushed: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    metal: bool = False
    cut: bool = False
    seed: int = 1


def true_hu(energy_kev: float) -> dict[str, float]:
    """HU of the reference tissues by their composition, at one energy."""
    tissues = read_bone_density_settings().references.tissues
    return {
        name: float(compute_hu({tissue.material: tissue.density_g_cm3}, energy_kev)) for name, tissue in tissues.items()
    }


def make_spine(spine: Spine | None = None, **acquisition) -> tuple[Volume, LabelMap]:
    """CT and label map in RAS order; the header says 120 kV unless told otherwise."""
    spine = spine or Spine()
    schema = read_label_schema("bone_density_ct")
    levels = [level for level in LEVELS if level in spine.bmd]
    margin = 0.0 if spine.cut else 12.0
    depth = round((len(levels) * STEP_MM + 2 * margin - (12.0 if spine.cut else 0.0)) / SPACING[2])
    shape = (*SHAPE, depth)
    x, y, z = (
        (np.arange(size).reshape([-1 if axis == place else 1 for place in range(3)]) * step)
        for axis, (size, step) in enumerate(zip(shape, SPACING, strict=True))
    )
    x = x - x.mean()
    hu = true_hu(spine.energy_kev) | dict(spine.tissue_hu)
    image = np.full(shape, hu["air"], np.float32)
    labels = np.zeros(shape, np.uint8)
    in_body = np.hypot(x / 100, (y - 88) / 72) <= 1
    fatless = np.hypot(x / 86, (y - 88) / 58) <= 1
    everywhere = np.ones_like(z, bool)

    def paint(where: np.ndarray, value: float, name: str | None) -> None:
        where = np.broadcast_to(where, shape)
        image[where] = value
        labels[where] = 0 if name is None or name in spine.left_out else schema[name].index

    paint((np.hypot(x / 107, (y - 88) / 79) > 1) & everywhere, hu["air"], "air")
    paint(in_body & ~fatless & everywhere, hu["fat"], "subcutaneous_fat")
    paint(fatless & everywhere, 20.0, None)
    paint((np.hypot((np.abs(x) - 34) / 20, (y - 48) / 13) <= 1) & everywhere, hu["muscle"], "erector_spinae")
    paint((np.hypot(x + 22, y - 108) <= 10) & everywhere, hu["blood"], "aorta")
    paint((np.hypot(np.abs(x) - 17, y - 66) <= 4) & everywhere, hu["cortical_bone"], "cortical_bone")
    slope = float(compute_k2hpo4_slope(spine.energy_kev))
    for number, level in enumerate(reversed(levels)):
        middle = margin + STEP_MM * (number + 0.5) - (12.0 if spine.cut else 0.0)
        outline, core = (np.hypot(x / (21 - rim), (y - 88) / (16 - rim)) <= 1 for rim in (0, 1.6))
        lost = spine.crushed.get(level, 0.0) * np.clip((y - 78) / 16, 0, 1)
        top = middle + BODY_MM / 2 - lost * BODY_MM
        height = (z >= middle - BODY_MM / 2) & (z < top)
        name = f"vertebral_body_{level.lower()}"
        paint(outline & height, 600.0, name)
        inner = (z >= middle - BODY_MM / 2 + 2) & (z < top - 2)
        paint(core & inner, spine.bmd[level] * slope, name)
    if spine.metal:
        screw = (np.hypot(x - 17, y - 66) <= 4) & (z > depth * SPACING[2] / 2)
        image[np.broadcast_to(screw, shape)] = 3071
    image = spine.offset_hu + spine.scale * image
    if spine.noise_hu:
        image = image + np.random.default_rng(spine.seed).normal(0, spine.noise_hu, shape).astype(np.float32)
    affine = np.diag([*SPACING, 1.0])
    grid = Grid(shape, affine)
    facts = {"tube_voltage_kv": 120.0, "kernel": "Br40", "slice_thickness_mm": 3.0} | acquisition
    volume = Volume(np.rint(image).astype(np.float32), grid, "CT", Acquisition(**facts))
    return volume, LabelMap(labels, grid, schema)
