"""Shoulder digital reference objects: a sampled shoulder, drawn at the Y-view, then scanned, with the truth of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from myotome.geometry import Acquisition, Grid, Volume
from myotome.phantoms.canvas import Canvas
from myotome.phantoms.infiltration import Texture
from myotome.phantoms.mr_scan import acquire
from myotome.phantoms.mr_signals import compute_signals
from myotome.phantoms.shoulder.acquisition import ShoulderScan, make_sensitivity, make_shoulder_scan
from myotome.phantoms.shoulder.anatomy import ShoulderAnatomy
from myotome.phantoms.shoulder.drawing import Section, draw_scapula
from myotome.phantoms.shoulder.goutallier import FAT_RANGES_PERCENT, GRADE_COUNTS, grade_from_fat
from myotome.phantoms.shoulder.painting import Painting
from myotome.phantoms.shoulder.person import ShoulderPerson, make_shoulder_person
from myotome.phantoms.shoulder.rater import rate
from myotome.phantoms.shoulder.surroundings import draw_surroundings
from myotome.phantoms.shoulder.tissues import TISSUES
from myotome.structures import LabelMap, read_label_schema

__all__ = [
    "FAT_RANGES_PERCENT",
    "GRADE_COUNTS",
    "ShoulderCase",
    "ShoulderPerson",
    "ShoulderScan",
    "grade_from_fat",
    "make_shoulder",
    "make_shoulder_person",
    "make_shoulder_scan",
    "rate",
]

_SUPERSAMPLING = 2
# Where a slice near the Y-view is drawn, as shares of its thickness; others are drawn in the middle.
_PLANES, _PLANES_WITHIN_MM = (-0.25, 0.25), 8.0
_MEDIAL_SHARE = 0.42  # of a volume's sections that lie between the spine of the back and the Y-view


@dataclass(frozen=True, eq=False)
class ShoulderCase:
    """An MR image, its true label map on the same grid, and a row of what is true of the shoulder and the scan.

    ``truth["fat_percent"]`` is the area of fat inside the muscle's contour in the Y-view as it was drawn, with shares
    of pixels counted as shares; the grade follows from it.
    """

    volume: Volume
    label_map: LabelMap
    truth: dict[str, Any]


def make_shoulder(
    seed: int,
    scan: ShoulderScan | None = None,
    grade: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> ShoulderCase:
    """Draw and scan one shoulder.

    Parameters
    ----------
    seed : of the person, and of the scan when none is given.
    scan : the acquisition; sampled from the whole range by default, the Y-view alone.
    grade : Goutallier grade (0-4) of the supraspinatus; by default as frequent as in the paper.
    progress : called with the share done.
    """
    scan = scan or make_shoulder_scan(seed)
    person = make_shoulder_person(seed, grade)
    places = _section_places(scan, person.side)
    y_view = int(np.argmin(np.abs(places)))
    image = np.empty((scan.matrix, scan.matrix, scan.slices), dtype=np.uint16)
    labels = np.zeros(image.shape, dtype=np.uint8)
    sensitivity, draw = make_sensitivity(scan, seed), _start_drawing(scan, person, seed)
    for index, place in enumerate(places):
        planes = draw(float(place))
        water, fat = (_mean_plane(planes, name) for name in ("water", "fat"))
        image[:, :, index] = acquire(water, fat, scan, sensitivity, np.random.default_rng((seed, 41, index)))
        if index == y_view:
            labels[:, :, index] = _majority(_mean_plane(planes, "shares"))
            drawn = _measure(planes)
        if progress:
            progress((index + 1) / scan.slices)
    grid = Grid(image.shape, _make_affine(scan, person.side, y_view))
    volume = Volume(image, grid, "MR", _describe_acquisition(scan, seed))
    truth = {**_describe(person, scan, seed, y_view), **drawn}
    truth["rated_grade"] = rate(truth["fat_percent"], seed)
    return ShoulderCase(volume, LabelMap(labels, grid, read_label_schema("supraspinatus_mri")), truth)


def _start_drawing(scan: ShoulderScan, person: ShoulderPerson, seed: int) -> Callable[[float], list[Section]]:
    """What draws the planes of one slice, given its distance from the Y-view in mm."""
    anatomy, texture, canvas = ShoulderAnatomy(person, seed), Texture(seed), _make_canvas(scan)
    signals = compute_signals(TISSUES, scan, np.random.default_rng((seed, 37)))

    def draw(place: float) -> list[Section]:
        painting = Painting(canvas, signals, texture, place)
        draw_surroundings(painting, anatomy)
        parts = _PLANES if abs(place) < _PLANES_WITHIN_MM else (0.0,)
        return [draw_scapula(painting.copy(place + part * scan.thickness_mm), anatomy) for part in parts]

    return draw


def _make_canvas(scan: ShoulderScan) -> Canvas:
    """The plane that is drawn: finer than the image, with the Y above the middle of the field."""
    count = scan.matrix * _SUPERSAMPLING
    axis = (np.arange(count) - (count - 1) / 2) * scan.spacing_mm / _SUPERSAMPLING
    return Canvas(axis + scan.offset_mm[0], axis + 12.0 + scan.offset_mm[1])


def _section_places(scan: ShoulderScan, side: str) -> np.ndarray:
    """Distance of each slice from the Y-view towards the arm; slices run from the patient's left to the right."""
    step = scan.thickness_mm + scan.gap_mm
    places = (np.arange(scan.slices) - round(_MEDIAL_SHARE * (scan.slices - 1))) * step
    return places if side == "R" else places[::-1]


def _make_affine(scan: ShoulderScan, side: str, y_view: int) -> np.ndarray:
    """Columns to the back, rows to the feet, slices to the patient's right, turned to face the glenoid."""
    sign = 1.0 if side == "R" else -1.0
    turn, tilt = np.deg2rad(scan.obliquity_deg), np.deg2rad(scan.tilt_deg)
    across = np.array([np.cos(turn), sign * np.sin(turn), 0.0])
    front = np.array([-sign * np.sin(turn), np.cos(turn), 0.0])
    down = np.array([0.0, 0.0, -1.0]) * np.cos(tilt) + across * np.sin(tilt)
    through = np.cross(-front, down)
    affine = np.eye(4)
    affine[:3, 0] = -front * scan.spacing_mm
    affine[:3, 1] = down * scan.spacing_mm
    affine[:3, 2] = through * (scan.thickness_mm + scan.gap_mm)
    middle = np.array([sign * 130.0, -15.0, 0.0])
    affine[:3, 3] = middle - affine[:3, :3] @ np.array([(scan.matrix - 1) / 2, (scan.matrix - 1) / 2, y_view])
    return affine


def _mean_plane(planes: list[Section], name: str) -> np.ndarray:
    """Mean over planes, and over the drawn pixels of each image pixel along the last two axes."""
    step, total = _SUPERSAMPLING, 0
    for plane in planes:
        drawn = getattr(plane, name)
        total = total + sum(drawn[..., i::step, j::step] for i in range(step) for j in range(step))
    return total / np.float32(step**2 * len(planes))


def _majority(shares: np.ndarray) -> np.ndarray:
    """Label of the largest share, background included: (4, X, Y) to (X, Y) uint8."""
    best = shares.argmax(axis=0)
    return np.where(shares.max(axis=0) > 1 - shares.sum(axis=0), best + 1, 0).astype(np.uint8)


def _measure(planes: list[Section]) -> dict[str, Any]:
    """Truth of the drawn Y-view, over all planes through its thickness."""
    muscle = sum(plane.muscle_mm2 for plane in planes)
    fossa = sum(plane.fossa_mm2 for plane in planes)
    fat_percent = 100 * sum(plane.intramuscular_fat_mm2 for plane in planes) / muscle
    heights = [plane.above_tangent_mm for plane in planes]
    above = None if None in heights else float(np.mean(heights))
    return {
        "grade": grade_from_fat(fat_percent),
        "fat_percent": fat_percent,
        "muscle_cm2": muscle / len(planes) / 100,
        "fossa_cm2": fossa / len(planes) / 100,
        "occupation_ratio_percent": 100 * muscle / fossa,
        "height_above_tangent_mm": above,
        "tangent_sign": None if above is None else above <= 0,
    }


def _describe(person: ShoulderPerson, scan: ShoulderScan, seed: int, y_view: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "side": person.side,
        "sex": person.sex,
        "age_years": person.age_years,
        "retracted": person.retracted,
        "y_view_slice": y_view,
        "sequence": scan.sequence,
        "fat_suppressed": scan.fat_suppression > 0,
        "field_t": scan.field_t,
        "vendor": scan.vendor,
        "spacing_mm": scan.spacing_mm,
        "thickness_mm": scan.thickness_mm,
        "noise": scan.noise,
        "bias": scan.bias,
        "motion": scan.motion,
        "chemical_shift_px": scan.chemical_shift_px,
    }


def _describe_acquisition(scan: ShoulderScan, seed: int) -> Acquisition:
    suppressed = scan.fat_suppression > 0
    return Acquisition(
        subject_id=f"PHANTOM-{seed:06d}",
        series_description=f"{scan.sequence} OBL SAG{' FS' if suppressed else ''}",
        slice_thickness_mm=scan.thickness_mm,
        manufacturer="Myotome phantom",
        body_part="SHOULDER",
        weighting=scan.sequence,
        fat_suppressed=suppressed,
        echo_time_ms=round(scan.te_ms, 2),
        repetition_time_ms=round(scan.tr_ms, 2),
        field_strength_t=scan.field_t,
    )
