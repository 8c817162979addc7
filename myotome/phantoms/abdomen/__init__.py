"""Abdominal digital reference objects: a sampled person, drawn, then scanned at L3 or whole, with the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from myotome.geometry import Acquisition, Grid, Volume
from myotome.phantoms.abdomen.acquisition import AbdomenScan, make_abdomen_scan
from myotome.phantoms.abdomen.drawing import SectionDrawer
from myotome.phantoms.abdomen.person import AbdomenPerson, make_abdomen_person
from myotome.phantoms.abdomen.truth import measure_drawing, measure_labels
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
    "AbdomenCase",
    "AbdomenPerson",
    "AbdomenScan",
    "make_abdomen",
    "make_abdomen_person",
    "make_abdomen_scan",
]


@dataclass(frozen=True, eq=False)
class AbdomenCase:
    """An image, its true label map on the same grid (zero but in the middle slice of L3), and a row of what is true.

    ``truth["sma_cm2"]``, ``smd_hu`` and their kin are what a perfect reader measures: the true label map on the image
    without noise. The same names ending in ``_tissue_cm2`` and ``_tissue_hu`` are of the tissue as it was drawn,
    before partial volume and blur. All are None where L3 is not in the field.
    """

    volume: Volume
    label_map: LabelMap
    truth: dict[str, Any]


def make_abdomen(
    seed: int, scan: AbdomenScan | None = None, progress: Callable[[float], None] | None = None
) -> AbdomenCase:
    """Draw and scan one person.

    Parameters
    ----------
    seed : of the person, and of the scan when none is given.
    scan : the acquisition; one slice in the middle of L3 from the whole range by default.
    progress : called with the share done.
    """
    scan = scan or make_abdomen_scan(seed)
    drawer = SectionDrawer(seed, scan)
    heights = _slice_heights(drawer, scan)
    l3_z, half = drawer.spine["L3"] + scan.shift_mm, scan.slice_thickness_mm / 2
    nearest = int(np.argmin(np.abs(heights - l3_z)))
    l3_slice = nearest if abs(heights[nearest] - l3_z) <= half + 1e-6 else None
    image = np.empty((scan.matrix, scan.matrix, len(heights)), dtype=np.int16)
    labels = np.zeros(image.shape, dtype=np.uint8)
    rng, field = np.random.default_rng((seed, 307)), field_mask(scan)
    shading = make_shading(scan, scan.shading_hu, rng)
    table = draw_table(scan, drawer.back_mm, np.random.default_rng((drawer.person.seed, 311)))
    drawn: dict[str, float | None] = dict.fromkeys(measure_drawing(None, scan.in_plane_mm))
    for index, height in enumerate(heights):
        step = scan.sub_slice_mm if index == l3_slice else scan.other_sub_slice_mm
        section = drawer.draw_slab(float(height), scan.slice_thickness_mm, step)
        clean = blur(lay_over(table, section.hu, drawer.box), scan)
        if index == l3_slice:
            labels[(*drawer.box, index)] = _majority(section.shares * field[drawer.box])
            drawn = measure_drawing(section, scan.in_plane_mm, field[drawer.box])
            drawn |= measure_labels(labels[:, :, index], clean, scan.in_plane_mm)
        implant = np.argwhere(section.hu > 2800)
        if len(implant):
            at = implant[rng.integers(len(implant))] + [part.start for part in drawer.box]
            clean = add_metal(clean, (int(at[0]), int(at[1])), rng)
        noisy = add_noise(clean + shading, scan, 1.0 if scan.metal else 0.5, rng)
        image[:, :, index] = np.clip(np.rint(np.where(field, noisy, PADDING_HU)), -1024, 3071)
        if progress:
            progress((index + 1) / len(heights))
    grid = Grid(image.shape, make_affine(scan, float(heights[0])))
    truth = {**_describe(drawer, scan, heights), **drawn, "l3_slice": l3_slice}
    truth["l3_z_mm"] = drawer.spine["L3"] if l3_slice is not None else None
    volume = Volume(image, grid, "CT", _describe_acquisition(drawer.person, scan))
    return AbdomenCase(volume, LabelMap(labels, grid, read_label_schema("l3_muscle_ct")), truth)


def _slice_heights(drawer: SectionDrawer, scan: AbdomenScan) -> np.ndarray:
    """Patient z of the middle of each slice, from the feet up."""
    if not scan.volume:
        return np.array([drawer.spine["L3"] + scan.shift_mm])
    return np.arange(drawer.spine.to_z(scan.bottom), drawer.spine.to_z(scan.top), scan.slice_thickness_mm)


def _majority(shares: np.ndarray) -> np.ndarray:
    """Label of the largest share: muscle and the fat in it count together against the rest, then against each other."""
    flesh = shares[0] + shares[3]
    candidates = np.stack((1 - shares.sum(axis=0), flesh, shares[1], shares[2]))
    best = candidates.argmax(axis=0)
    return np.where((best == 1) & (shares[3] > shares[0]), 4, best).astype(np.uint8)


def _describe(drawer: SectionDrawer, scan: AbdomenScan, heights: np.ndarray) -> dict[str, Any]:
    person, half = drawer.person, scan.slice_thickness_mm / 2
    low, high = float(heights[0]) - half, float(heights[-1]) + half
    levels = {
        name: round(float(z), 3)
        for name, z in zip(drawer.spine.names, drawer.spine.z_mm, strict=True)
        if name != "S3" and (low <= z <= high if scan.volume else name == "L3")
    }
    return {
        "seed": person.seed,
        "sex": person.sex,
        "age_years": person.age_years,
        "height_m": person.height_m,
        "bmi": person.bmi_kg_m2,
        "condition": person.condition,
        "lumbar_count": person.lumbar_count,
        "level_z_mm": levels,
        "contrast": scan.contrast,
        "tube_voltage_kv": scan.tube_voltage_kv,
        "slice_thickness_mm": scan.slice_thickness_mm,
        "in_plane_mm": scan.in_plane_mm,
        "noise_hu": scan.noise_hu,
        "sharpening": scan.sharpening,
        "metal": scan.metal,
        "field_mm": scan.field_mm,
    }


def _describe_acquisition(person: AbdomenPerson, scan: AbdomenScan) -> Acquisition:
    return Acquisition(
        subject_id=f"PHANTOM-{person.seed:06d}",
        series_description="phantom abdomen" + ("" if scan.contrast == "none" else f", {scan.contrast} phase"),
        tube_voltage_kv=scan.tube_voltage_kv,
        kernel="SHARP" if scan.sharpening else "STANDARD",
        slice_thickness_mm=scan.slice_thickness_mm,
        contrast_agent=None if scan.contrast == "none" else "synthetic",
        manufacturer="Myotome phantom",
        height_m=round(person.height_m, 2),
        sex=person.sex,
        reconstruction_diameter_mm=scan.field_mm or scan.matrix * scan.in_plane_mm,
        body_part="ABDOMEN",
    )
