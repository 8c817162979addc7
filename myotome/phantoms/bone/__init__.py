"""Bone digital reference objects: people with vertebrae of known density, scanned by chest CT of low dose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from myotome.geometry import Acquisition, Grid, Volume
from myotome.phantoms.bone.acquisition import SCANNERS, BoneScan, make_bone_scan
from myotome.phantoms.bone.calibration_rods import QCT_PHANTOMS, SLAB_MM, describe_rods, draw_rods
from myotome.phantoms.bone.drawing import BoneDrawer
from myotome.phantoms.bone.person import LEVELS, OSTEOPOROSIS_MG_CM3, BonePerson, make_bone_person
from myotome.phantoms.ct_scan import (
    PADDING_HU,
    add_metal,
    add_noise,
    blur,
    draw_table,
    field_mask,
    lay_over,
    make_affine,
    make_shading,
)
from myotome.structures import LabelMap, read_label_schema

__all__ = [
    "LEVELS",
    "OSTEOPOROSIS_MG_CM3",
    "QCT_PHANTOMS",
    "SCANNERS",
    "BoneCase",
    "BonePerson",
    "BoneScan",
    "make_bone",
    "make_bone_person",
    "make_bone_scan",
]


@dataclass(frozen=True, eq=False)
class BoneCase:
    """An image, its true label map (schema ``bone_density_ct``) on the same grid, and a row of what is true.

    ``truth["bmd_mg_cm3"]`` is the mean K2HPO4-equivalent density of trabecular bone over ``truth["reference_levels"]``
    (L1 and L2; the next lumbar ones where one of them is fractured): what QCT of the lumbar spine at 120 kV finds.
    It belongs to the person: dose, voltage, scanner and field do not change it. ``truth["levels"]`` holds the labelled
    vertebrae that the field shows, each with its own density, z of its middle, whether it is ``whole`` in the field,
    lost height and thickness of its shell. ``truth["qct_phantom"]`` is the kind of the calibration phantom and its rods
    (density, place in patient mm, radius, and the HU that this scanner shows), None without one.
    """

    volume: Volume
    label_map: LabelMap
    truth: dict[str, Any]


def make_bone(seed: int, scan: BoneScan | None = None, progress: Callable[[float], None] | None = None) -> BoneCase:
    """Draw and scan one person.

    Parameters
    ----------
    seed : of the person, and of the scan when none is given. The same seed with another scan is the same person again.
    scan : the acquisition; one from the whole range by default.
    progress : called with the share done.
    """
    scan = scan or make_bone_scan(seed)
    drawer = BoneDrawer(seed, scan)
    heights = _slice_heights(drawer, scan)
    schema = read_label_schema("bone_density_ct")
    rods = []
    if scan.qct_phantom:
        rods = describe_rods(scan.qct_phantom, drawer.find_lumbar_back_mm(scan.bottom), drawer.energy_kev)
    background = _draw_background(scan, drawer, rods)
    image = np.empty((scan.matrix, scan.matrix, len(heights)), dtype=np.int16)
    labels = np.zeros(image.shape, dtype=np.uint8)
    empty, field = background < -900, field_mask(scan)
    rng = np.random.default_rng((seed, 419, scan.acquisition_seed))
    shading = make_shading(scan, scan.shading_hu, rng) - scan.cupping_hu * _make_cup(drawer, scan)
    for index, height in enumerate(heights):
        painting = drawer.paint(float(height))
        plane = np.where(empty, schema["air"].index, 0).astype(np.uint8)
        plane[drawer.box] = painting.label_map(schema, ~empty[drawer.box])
        labels[:, :, index] = plane * field
        clean = blur(lay_over(background, painting.hu, drawer.box), scan)
        clean = _add_streaks(clean, painting.hu, drawer, rng) + shading * (clean > -900)
        shown = scan.hu_slope * add_noise(clean, scan, 0.5, rng) + scan.hu_offset
        image[:, :, index] = np.clip(np.rint(np.where(field, shown, PADDING_HU)), -1024, 3071)
        if progress:
            progress((index + 1) / len(heights))
    grid = Grid(image.shape, make_affine(scan, float(heights[0])))
    truth = {**_describe(drawer, scan), "levels": _describe_levels(drawer, scan, heights)}
    truth["qct_phantom"] = _describe_phantom(scan, rods)
    volume = Volume(image, grid, "CT", _describe_acquisition(drawer, scan))
    return BoneCase(volume, LabelMap(labels, grid, schema), truth)


def _slice_heights(drawer: BoneDrawer, scan: BoneScan) -> np.ndarray:
    """Patient z of the middle of each slice, from the feet up."""
    low, high = (drawer.spine.to_z(u) + scan.shift_mm for u in (scan.bottom, scan.top))
    return np.arange(low, high, scan.slice_thickness_mm)


def _draw_background(scan: BoneScan, drawer: BoneDrawer, rods: list[dict[str, float]]) -> np.ndarray:
    """Air, the table, and above it the calibration phantom, which the person lies on."""
    rng = np.random.default_rng((drawer.owner.seed, 439))
    rest_mm = rods[0]["y_mm"] - SLAB_MM / 2 if rods else drawer.back_mm
    plane = draw_table(scan, rest_mm, rng)
    if rods:
        draw_rods(plane, scan, rods, drawer.energy_kev)
    return plane


def _make_cup(drawer: BoneDrawer, scan: BoneScan) -> np.ndarray:
    """1 in the middle of the body, 0 from its edge outwards (X, Y)."""
    columns, rows = drawer.box
    x, y = np.ogrid[: scan.matrix, : scan.matrix]
    square = 0.0
    for axis, part in ((x, columns), (y, rows)):
        middle, half = 0.5 * (part.start + part.stop - 1), 0.5 * (part.stop - part.start)
        square = square + ((axis - middle) / (0.85 * half)) ** 2
    return np.clip(1 - square, 0, None).astype(np.float32)


def _add_streaks(clean: np.ndarray, drawn: np.ndarray, drawer: BoneDrawer, rng: np.random.Generator) -> np.ndarray:
    """The rays that drawn metal throws."""
    metal = np.argwhere(drawn > 2800)
    if not len(metal):
        return clean
    at = metal[rng.integers(len(metal))] + [part.start for part in drawer.box]
    return add_metal(clean, (int(at[0]), int(at[1])), rng, 1.5)


def _describe(drawer: BoneDrawer, scan: BoneScan) -> dict[str, Any]:
    owner, body = drawer.owner, drawer.person
    bmd = round(owner.bmd_mg_cm3, 3)
    return {
        "seed": owner.seed,
        "sex": body.sex,
        "age_years": body.age_years,
        "height_m": body.height_m,
        "bmi": body.bmi_kg_m2,
        "condition": body.condition,
        "lumbar_count": body.lumbar_count,
        "bmd_mg_cm3": bmd,
        "reference_levels": list(owner.reference_levels),
        "osteoporosis": bmd < OSTEOPOROSIS_MG_CM3,
        "fractured": [name for name in LEVELS if owner.vertebrae[name].height_loss_percent > 20],
        "tube_voltage_kv": scan.tube_voltage_kv,
        "effective_kev": round(drawer.energy_kev, 3),
        "contrast": scan.contrast,
        "kernel": _name_kernel(scan),
        "slice_thickness_mm": scan.slice_thickness_mm,
        "in_plane_mm": scan.in_plane_mm,
        "noise_hu": scan.noise_hu,
        "scanner": scan.scanner,
        "hu_offset": scan.hu_offset,
        "hu_slope": scan.hu_slope,
        "cupping_hu": scan.cupping_hu,
        "metal": scan.metal or body.condition == "spinal_implant",
        "field_mm": scan.field_mm,
        "acquisition_seed": scan.acquisition_seed,
    }


def _describe_levels(drawer: BoneDrawer, scan: BoneScan, heights: np.ndarray) -> dict[str, dict[str, Any]]:
    """The labelled vertebrae of which the field shows anything."""
    half = scan.slice_thickness_mm / 2
    low, high = float(heights[0]) - half, float(heights[-1]) + half
    levels = {}
    for name, z, reach in zip(drawer.spine.names, drawer.spine.z_mm, drawer.spine.half_mm, strict=True):
        if name in LEVELS and z - reach < high and z + reach > low:
            vertebra = drawer.owner.vertebrae[name]
            levels[name] = {
                "bmd_mg_cm3": round(vertebra.bmd_mg_cm3, 3),
                "z_mm": round(float(z), 3),
                "whole": bool(z - reach >= low and z + reach <= high),
                "height_loss_percent": round(vertebra.height_loss_percent, 2),
                "cortex_mm": round(vertebra.cortex_mm, 3),
            }
    return levels


def _describe_phantom(scan: BoneScan, rods: list[dict[str, float]]) -> dict[str, Any] | None:
    if not rods:
        return None
    shown = [{**rod, "hu": round(scan.hu_slope * rod["hu"] + scan.hu_offset, 3)} for rod in rods]
    return {"kind": scan.qct_phantom, "rods": shown}


def _name_kernel(scan: BoneScan) -> str:
    return "SHARP" if scan.sharpening else "STANDARD"


def _describe_acquisition(drawer: BoneDrawer, scan: BoneScan) -> Acquisition:
    return Acquisition(
        subject_id=f"PHANTOM-{drawer.owner.seed:06d}",
        series_description="phantom chest" + ("" if scan.contrast == "none" else f", {scan.contrast} phase"),
        tube_voltage_kv=scan.tube_voltage_kv,
        kernel=_name_kernel(scan),
        slice_thickness_mm=scan.slice_thickness_mm,
        contrast_agent=None if scan.contrast == "none" else "synthetic",
        manufacturer=f"Myotome phantom {scan.scanner}",
        height_m=round(drawer.person.height_m, 2),
        sex=drawer.person.sex,
        reconstruction_diameter_mm=scan.field_mm or scan.matrix * scan.in_plane_mm,
        body_part="CHEST",
    )
