"""A shoulder MR of boxes whose every measure is known: bones left and right of the muscle, a fossa over it."""

from __future__ import annotations

import numpy as np

from myotome.geometry import Acquisition, Grid, Volume
from myotome.structures import LabelMap, read_label_schema

SCHEMA = read_label_schema("supraspinatus_mri")
SPACING_MM, STEP_MM = 0.8, 4.0
MUSCLE, FAT, BONE, AIR = 120, 700, 400, 5
# (columns, rows): columns run to the back, rows to the feet
BOXES = {
    1: (slice(40, 70), slice(50, 75)),  # the muscle
    2: (slice(40, 70), slice(42, 50)),  # the rest of the fossa, above it
    3: (slice(72, 80), slice(40, 80)),  # the scapular spine, behind it
    4: (slice(30, 38), slice(40, 70)),  # the coracoid process, in front of it
}
MUSCLE_CM2 = 30 * 25 * SPACING_MM**2 / 100
FOSSA_CM2 = 30 * 33 * SPACING_MM**2 / 100


def make_affine(turn_degrees: float = 25.0) -> np.ndarray:
    """Columns to the back, rows to the feet, slices to the right, turned about the vertical from sagittal."""
    angle = np.radians(turn_degrees)
    affine = np.eye(4)
    affine[:3, 0] = SPACING_MM * np.array([np.sin(angle), -np.cos(angle), 0])
    affine[:3, 1] = SPACING_MM * np.array([0, 0, -1])
    affine[:3, 2] = STEP_MM * np.array([np.cos(angle), np.sin(angle), 0])
    affine[:3, 3] = (100, 40, 60)
    return affine


def make_shoulder_case(
    slices: int = 1, y_view: int = 0, fat_columns: int = 3, noise: float = 6.0, turn_degrees: float = 25.0
) -> tuple[Volume, LabelMap]:
    """An image of 128 x 128 pixels of 0.8 mm and its label map; ``fat_columns`` of the muscle's 30 columns are fat."""
    rng = np.random.default_rng(1)
    image = np.full((128, 128, slices), AIR, np.float64)
    image[15:110, 20:115] = MUSCLE
    image[15:110, 20:36] = FAT
    labels = np.zeros(image.shape, np.uint8)
    for label, box in BOXES.items():
        labels[*box, y_view] = label
    image[labels == 2] = FAT
    image[labels > 2] = BONE
    for place in range(fat_columns):
        column = 44 + 6 * (place % 4) + place // 4
        image[column, BOXES[1][1], y_view] = FAT
    image = np.clip(np.rint(image + rng.normal(0, noise, image.shape)), 0, None).astype(np.int16)
    grid = Grid(image.shape, make_affine(turn_degrees))
    acquisition = Acquisition(
        subject_id="S-6",
        series_description="T2 OBL SAG",
        body_part="SHOULDER",
        weighting="T2",
        fat_suppressed=False,
        slice_thickness_mm=STEP_MM,
        echo_time_ms=80.0,
        repetition_time_ms=3500.0,
    )
    return Volume(image, grid, "MR", acquisition), LabelMap(labels, grid, SCHEMA)
