"""Thorax digital reference objects: a sampled person, drawn, then scanned, with the truth of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from myotome.geometry import Acquisition, Grid, Volume
from myotome.phantoms.ct_scan import PADDING_HU, add_metal, add_noise, blur, field_mask, resample_in_plane
from myotome.phantoms.thorax.acquisition import Scan, make_scan
from myotome.phantoms.thorax.anatomy import Thorax
from myotome.phantoms.thorax.lung_function import PARTIAL_CORRELATION, make_lung_function
from myotome.phantoms.thorax.person import Person, make_person
from myotome.phantoms.thorax.rendering import SliceRenderer
from myotome.structures import LabelMap, read_label_schema

__all__ = [
    "PARTIAL_CORRELATION",
    "Person",
    "Scan",
    "ThoraxCase",
    "make_ideal_thorax",
    "make_lung_function",
    "make_person",
    "make_scan",
    "make_thorax",
    "measure_anatomy",
]

_CONTRAST_HU = {"none": (0.0, 0.0, 0.0), "venous": (110.0, 50.0, 6.0), "arterial": (240.0, 25.0, 3.0)}
_MARGIN_MM = 24.0


@dataclass(frozen=True, eq=False)
class ThoraxCase:
    """An image, its true label map on the same grid, and a row of what is true of the person and the scan.

    ``truth`` holds, per structure, the super-sampled ``<name>_volume_ml`` in the scanned field, ``<name>_mean_hu`` of
    the noise-free tissue inside the contour and ``<name>_fat_percent``; areas at T4 and T12; lung function; and how the
    person and the scan were drawn.
    """

    volume: Volume
    label_map: LabelMap
    truth: dict[str, Any]


def make_thorax(
    seed: int, scan: Scan | None = None, spread: float = 1.0, progress: Callable[[float], None] | None = None
) -> ThoraxCase:
    """Draw and scan one person.

    Parameters
    ----------
    seed : seed of the person, and of the scan when none is given.
    scan : the acquisition; sampled from the whole range by default.
    spread : 1 for plausible people, above 1 for people beyond the plausible.
    progress : called with the share done.
    """
    scan = scan or make_scan(seed)
    person = _with_contrast(make_person(seed, spread), scan.contrast)
    thorax = Thorax(person)
    rng = np.random.default_rng((seed, 97))
    x, y = _drawn_grid(person, scan.in_plane_mm)
    renderer = SliceRenderer(thorax, x, y, table=scan.table)
    height, thickness = person.thorax_height, scan.slice_thickness_mm
    heights = np.arange(scan.bottom * height, scan.top * height, thickness)
    field = field_mask(scan)
    metal_at = (int(scan.matrix * rng.uniform(0.3, 0.7)), int(scan.matrix * rng.uniform(0.6, 0.7)))
    metal_from = int(len(heights) * rng.uniform(0.4, 0.8))
    image = np.empty((scan.matrix, scan.matrix, len(heights)), dtype=np.int16)
    labels = np.empty(image.shape, dtype=np.uint8)
    tally = _Tally(scan.in_plane_mm**2 * thickness / 1000)
    for index, low in enumerate(heights):
        hu, shares = _draw_slab(renderer, low, thickness, scan.sub_slice_mm)
        hu, *shares = resample_in_plane(np.concatenate((hu[None] + 1000, shares)), scan, (x[0], y[0]), 0.0)
        hu = hu - 1000
        shares = np.stack(shares) * field
        tally.add(shares, hu)
        hu = blur(hu, scan)
        if scan.metal and metal_from <= index < metal_from + max(1, round(12 / thickness)):
            hu = add_metal(hu, metal_at, rng)
        hu = add_noise(hu, scan, float(low > 0.82 * height), rng)
        image[:, :, index] = np.clip(np.rint(np.where(field, hu, PADDING_HU)), -1024, 3071)
        labels[:, :, index] = _majority(shares)
        if progress:
            progress((index + 1) / len(heights))
    grid = _image_grid(scan, image.shape, float(heights[0]) + thickness / 2)
    truth = {**_describe(person, scan, seed), **tally.rows(), **_areas(thorax, renderer), **make_lung_function(person)}
    acquisition = Acquisition(
        subject_id=f"PHANTOM-{seed:06d}",
        series_description="phantom thorax" + ("" if scan.contrast == "none" else f", {scan.contrast} phase"),
        tube_voltage_kv=120.0,
        kernel="SHARP" if scan.sharpening else "STANDARD",
        slice_thickness_mm=thickness,
        contrast_agent=None if scan.contrast == "none" else "synthetic",
        manufacturer="Myotome phantom",
        height_m=round(person.height_m, 2),
        reconstruction_diameter_mm=scan.field_mm or scan.matrix * scan.in_plane_mm,
    )
    return ThoraxCase(Volume(image, grid, "CT", acquisition), LabelMap(labels, grid, read_label_schema()), truth)


def make_ideal_thorax(
    seed: int, spread: float, spacing_mm: tuple[float, float] = (0.8, 1.5)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a part of one person without scanning: what the training transforms turn into many acquisitions.

    The part is 40 % of the thorax's height, anywhere from the pelvis (one person in four) to the shoulders: more
    people for the same drawing time, and more to learn from.

    Returns
    -------
    hu : (X, Y, Z) int16; labels : (X, Y, Z) uint8; affine : (4, 4) RAS+ mm
    """
    rng = np.random.default_rng((seed, 101))
    contrast = str(rng.choice(["none", "venous", "arterial"], p=[0.55, 0.25, 0.2]))
    person = _with_contrast(make_person(seed, spread), contrast)
    in_plane, step = spacing_mm
    x, y = _drawn_grid(person, in_plane)
    renderer = SliceRenderer(Thorax(person), x, y, table=bool(rng.random() < 0.7))
    bottom = rng.uniform(-1.0, -0.16) if seed % 4 == 0 else rng.uniform(-0.16, 0.69)
    heights = np.arange(bottom * person.thorax_height, (bottom + 0.40) * person.thorax_height, step)
    hu = np.empty((len(x), len(y), len(heights)), dtype=np.int16)
    labels = np.empty(hu.shape, dtype=np.uint8)
    for index, z in enumerate(heights):
        plane, shares = renderer.render(float(z))
        hu[:, :, index] = np.clip(np.rint(plane), -1024, 3071)
        labels[:, :, index] = _majority(shares)
    affine = np.diag([in_plane, in_plane, step, 1.0])
    affine[:3, 3] = x[0], y[0], heights[0]
    return hu, labels, affine


def measure_anatomy(seed: int, in_plane_mm: float = 1.0) -> dict[str, Any]:
    """Sex, cross-sections and density of one person at T4 and T12, without scanning: what published ranges state."""
    person = make_person(seed)
    thorax = Thorax(person)
    renderer = SliceRenderer(thorax, *_drawn_grid(person, in_plane_mm), table=False)
    return {"seed": seed, "sex": person.sex, **_areas(thorax, renderer)}


class _Tally:
    """Super-sampled volume, mean intensity and fat share of each structure."""

    def __init__(self, voxel_ml: float) -> None:
        self.voxel_ml = voxel_ml
        self.sums = np.zeros((3, 4))

    def add(self, shares: np.ndarray, hu: np.ndarray) -> None:
        self.sums[0] += shares.sum(axis=(1, 2))
        self.sums[1] += (shares * hu).sum(axis=(1, 2))
        self.sums[2] += (shares * (hu < -30)).sum(axis=(1, 2))

    def rows(self) -> dict[str, float | None]:
        rows: dict[str, float | None] = {}
        for structure in read_label_schema().structures:
            count, hu, fat = self.sums[:, structure.index - 1]
            present = count * self.voxel_ml > 0.01
            rows[f"{structure.name}_volume_ml"] = float(count * self.voxel_ml)
            rows[f"{structure.name}_mean_hu"] = float(hu / count) if present else None
            rows[f"{structure.name}_fat_percent"] = float(100 * fat / count) if present else None
        return rows


def _with_contrast(person: Person, phase: str) -> Person:
    blood, organ, muscle = _CONTRAST_HU[phase]
    return replace(
        person,
        blood_hu=person.blood_hu + blood,
        organ_hu=person.organ_hu + organ,
        muscle_hu=person.muscle_hu + muscle,
    )


def _drawn_grid(person: Person, in_plane_mm: float) -> tuple[np.ndarray, np.ndarray]:
    across = person.half_width + 2.2 * person.fat + 95
    deep = person.depth / 2 + 2.2 * person.fat + person.breast + 75
    return (
        np.arange(-across, across + in_plane_mm, in_plane_mm),
        np.arange(-deep, deep + in_plane_mm, in_plane_mm),
    )


def _draw_slab(renderer: SliceRenderer, low: float, thickness: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the planes drawn through one slice."""
    count = max(1, round(thickness / step))
    hu, shares = renderer.render(low + thickness * 0.5 / count)
    for part in range(1, count):
        more_hu, more_shares = renderer.render(low + thickness * (part + 0.5) / count)
        hu, shares = hu + more_hu, shares + more_shares
    return hu / count, shares / count


def _majority(shares: np.ndarray) -> np.ndarray:
    """Label of the largest share, background included: (4, X, Y) to (X, Y) uint8."""
    background = 1 - shares.sum(axis=0)
    best = shares.argmax(axis=0)
    return np.where(shares.max(axis=0) > background, best + 1, 0).astype(np.uint8)


def _image_grid(scan: Scan, shape: tuple[int, ...], z_mm: float) -> Grid:
    half = (scan.matrix - 1) / 2 * scan.in_plane_mm
    affine = np.diag([scan.in_plane_mm, scan.in_plane_mm, scan.slice_thickness_mm, 1.0])
    affine[:3, 3] = -half, -half, z_mm
    return Grid(shape, affine)


def _describe(person: Person, scan: Scan, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "sex": person.sex,
        "age_years": person.age_years,
        "height_m": person.height_m,
        "bmi_kg_m2": person.bmi_kg_m2,
        "muscle_z": person.muscle_z,
        "disease": person.disease,
        "slice_thickness_mm": scan.slice_thickness_mm,
        "in_plane_mm": scan.in_plane_mm,
        "noise_hu": scan.noise_hu,
        "sharpening": scan.sharpening,
        "contrast": scan.contrast,
        "metal": scan.metal,
        "field_mm": scan.field_mm,
    }


def _areas(thorax: Thorax, renderer: SliceRenderer) -> dict[str, float]:
    """Cross-sections (cm2) through the middle of T4 and T12, whole and per respiratory muscle, and their density (HU).

    The density is the mean of the pure muscle voxels of -29..150 HU, as it is read on a patient.
    """
    pixel_cm2 = renderer.pixel**2 / 100
    rows = {}
    for level in (4, 12):
        hu, shares = renderer.render(thorax.level_z(level))
        areas = shares.sum(axis=(1, 2)) * pixel_cm2
        pure = hu[(shares.sum(axis=0) > 0.99) & (hu >= -29) & (hu <= 150)]
        rows[f"t{level}_muscle_cm2"] = float(areas.sum())
        rows[f"t{level}_density_hu"] = float(pure.mean())
        for structure in read_label_schema().structures[:3]:
            rows[f"t{level}_{structure.name}_cm2"] = float(areas[structure.index - 1])
    return rows
