"""An abdomen of boxes whose every area is known: muscle, low muscle, fat between muscles, fat under skin and inside."""

from __future__ import annotations

import numpy as np

from myotome.geometry import Acquisition, Grid, Volume
from myotome.structures import LabelMap, read_label_schema

SCHEMA = read_label_schema("l3_muscle_ct")
PIXEL_CM2 = 0.16
# Pixels of a labelled slice: of the compartment 145 at 50 HU and 40 at 10, 6 at 0 in the fat's label, 34 of fat.
NAMA, LAMA, IMAT, SUBCUTANEOUS, VISCERAL = 145, 46, 34, 900, 290
SMA_CM2 = (NAMA + LAMA) * PIXEL_CM2
SMD_HU = (145 * 50 + 40 * 10 + 6 * 0) / 191


def make_abdomen_case(
    slices: int = 7, labelled: tuple[int, ...] = (3,), hu: int = 50, acquisition: Acquisition | None = None
) -> tuple[Volume, LabelMap]:
    """Boxes of 4 x 4 x 5 mm, RAS; ``hu`` is that of normal muscle. The same in every slice, labelled in some."""
    image = np.full((80, 60), -1000, np.int16)
    labels = np.zeros(image.shape, np.uint8)
    image[10:70, 8:52] = -20  # skin and organs
    image[15:65, 10:28], labels[15:65, 10:28] = -100, 2
    image[15:45, 40:50], labels[15:45, 40:50] = -110, 3
    image[15:25, 40], labels[15:25, 40] = 20, 3  # a vessel in the label: no fat
    image[20:40, 30:40], labels[20:40, 30:40] = hu, 1
    image[20:40, 30:32] = 10
    image[20:30, 33] = -60
    image[20:25, 35] = 200
    image[45:60, 30:32], labels[45:60, 30:32] = -90, 4
    image[45:51, 30] = 0
    image[42:44, 30:36] = 400  # bone
    stack = np.repeat(image[..., None], slices, axis=2)
    labelled_stack = np.zeros(stack.shape, np.uint8)
    for index in labelled:
        labelled_stack[..., index] = labels
    affine = np.diag([4.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = (-158, -118, 100)
    grid = Grid(stack.shape, affine)
    return Volume(stack, grid, "CT", acquisition or Acquisition()), LabelMap(labelled_stack, grid, SCHEMA)
