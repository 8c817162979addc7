"""The thumbnail: one axial and one coronal plane with the label map, small enough for thousands on a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import label as label_components

from myotome.geometry import Volume, reorient
from myotome.io.atomic import atomic_path
from myotome.measurement import CaseResult
from myotome.report.planes import Case, Cut, choose_coronal, cut
from myotome.structures import LabelSchema

__all__ = ["THUMBNAIL_SIZE", "Tile", "write_thumbnail", "write_tiles"]

THUMBNAIL_SIZE = (288, 128)  # columns, rows

_AXIAL_COLUMNS = 176
_LARGEST_BYTES = 6000
_QUALITIES = (62, 50, 40, 30, 20, 10, 0)
_WINDOW_HU = (-150, 250)
_FILL = 0.5
_BODY_HU = -500
_MARGIN_MM = 8.0
_COARSE_MM = 5.0


@dataclass(frozen=True)
class Tile:
    """One plane of a thumbnail, and how wide a room it is centred in; without ``labelled`` its labels are not shown."""

    plane: Cut
    width: int
    window: tuple[float, float]
    labelled: bool = True


def write_tiles(path: Path | str, tiles: Sequence[Tile], schema: LabelSchema) -> None:
    """Write planes side by side as one WebP of at most 6000 bytes; the same planes give the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    picture, colours, left = Image.new("RGB", THUMBNAIL_SIZE), _colours(schema), 0
    rows = THUMBNAIL_SIZE[1]
    for tile in tiles:
        painted = _paint(tile, colours, (tile.width, rows))
        picture.paste(painted, (left + (tile.width - painted.width) // 2, (rows - painted.height) // 2))
        left += tile.width
    data = _encode(picture)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_thumbnail(path: Path | str, volume: Volume, result: CaseResult) -> None:
    """Write one small WebP: the axial and the coronal plane that show most structures, the labels over them.

    288 x 128 pixels and at most 6000 bytes; window 400/50 HU, the patient's right on the viewer's left, true
    proportions in mm. No text is drawn and no metadata is written. Without labels, planes through the middle. The same
    input gives the same bytes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    image, affine = reorient(volume.array, volume.grid.affine)
    labels, _ = reorient(result.label_map.array, volume.grid.affine)
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    whole = Case(image, labels, spacing, np.arange(image.shape[2]))
    z, y = _choose_planes(whole)
    axial, coronal = (_crop(cut(whole, axis, index)) for axis, index in ((2, z), (1, y)))
    tiles = Tile(axial, _AXIAL_COLUMNS, _WINDOW_HU), Tile(coronal, THUMBNAIL_SIZE[0] - _AXIAL_COLUMNS, _WINDOW_HU)
    write_tiles(path, tiles, result.label_map.schema)


def _choose_planes(whole: Case) -> tuple[int, int]:
    """Indices of the slice and of the coronal plane with most structures, from voxels at most 5 mm apart."""
    steps = [max(1, int(_COARSE_MM / step)) for step in whole.spacing_mm]
    labels = np.ascontiguousarray(whole.labels[:: steps[0], :: steps[1], :: steps[2]])
    coarse = Case(labels, labels, whole.spacing_mm, whole.slice_numbers)
    # A slice is chosen as a coronal plane is, with the two axes exchanged.
    lying = np.swapaxes(labels, 1, 2)
    z = choose_coronal(Case(lying, lying, whole.spacing_mm, whole.slice_numbers))
    return z * steps[2], choose_coronal(coarse) * steps[1]


def _crop(plane: Cut) -> Cut:
    """The plane's largest object denser than -500 HU and all labels, with a margin of 8 mm."""
    shown = plane.labels[::2, ::2] > 0
    components, count = label_components(plane.image[::2, ::2] > _BODY_HU)
    if count:
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        shown |= components == np.argmax(sizes)
    box = []
    for axis, step in enumerate(plane.spacing_mm):
        used = np.flatnonzero(shown.any(axis=1 - axis))
        margin = int(np.ceil(_MARGIN_MM / step))
        low, high = (2 * used[0], 2 * used[-1] + 1) if used.size else (0, plane.image.shape[axis] - 1)
        box.append(slice(max(0, low - margin), high + margin + 1))
    return Cut(plane.image[*box], plane.labels[*box], plane.spacing_mm, plane.edges)


def _colours(schema: LabelSchema) -> np.ndarray:
    """(256, 3) colours by label; black where there is none."""
    colours = np.zeros((256, 3), np.float32)
    for structure in schema.structures:
        colours[structure.index] = structure.colour
    return colours


def _paint(tile: Tile, colours: np.ndarray, room: tuple[int, int]) -> Image.Image:
    """The plane in its window with the labels blended over it, as large as fits the room in true proportions."""
    plane, (low, high) = tile.plane, tile.window
    grey = ((np.clip(plane.image, low, high) - low) * (255 / (high - low))).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    labelled = (plane.labels > 0) & tile.labelled
    blended = (1 - _FILL) * grey[labelled][:, None] + _FILL * colours[plane.labels[labelled]]
    rgb[labelled] = blended.astype(np.uint8)
    height_mm, width_mm = (size * step for size, step in zip(plane.image.shape, plane.spacing_mm, strict=True))
    scale = min(room[0] / width_mm, room[1] / height_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    return Image.fromarray(rgb).resize(size, Image.Resampling.BOX)


def _encode(picture: Image.Image) -> bytes:
    """WebP of the best quality that fits 6000 bytes."""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, format="WEBP", quality=quality, method=4)
        if buffer.tell() <= _LARGEST_BYTES:
            break
    return buffer.getvalue()
