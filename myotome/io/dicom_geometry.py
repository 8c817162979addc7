"""The geometry gate: slices form one regular, unsheared volume, or a sentence says why they do not."""

from __future__ import annotations

import numpy as np

from myotome.errors import GeometryError
from myotome.io.dicom_files import Frame, find_value

__all__ = ["arrange_frames"]

_DIRECTION_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 1e-3
_SAME_PLACE_MM = 0.01
_SIDEWAYS_MM = 0.1
_STEP_TOLERANCE = 0.05
_STEP_ROUNDING_MM = 0.1
_TILT_DEGREES = 0.05


def _check_alike(frames: list[Frame]) -> None:
    """Every slice has a place, and all have one size, spacing and orientation."""
    if any(frame.position is None or frame.orientation is None or frame.spacing_mm is None for frame in frames):
        count = sum(f.position is None or f.orientation is None or f.spacing_mm is None for f in frames)
        raise GeometryError(
            f"{count} of {len(frames)} slices do not say where they lie (image position, orientation or pixel spacing "
            "is missing): export the series again from its source."
        )
    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) > 1 or min(shapes[0]) < 1:
        sizes = " and ".join(f"{rows} x {columns}" for rows, columns in shapes)
        raise GeometryError(f"the series mixes slices of {sizes} pixels: give a series whose slices have one size.")
    spacings = np.array([frame.spacing_mm for frame in frames])
    if spacings.min() <= 0:
        raise GeometryError("the pixel spacing is zero or negative: export the series again from its source.")
    if np.abs(spacings / spacings[0] - 1).max() > _SPACING_TOLERANCE:
        raise GeometryError(
            f"the series mixes pixel spacings from {spacings.min():.4g} to {spacings.max():.4g} mm: "
            "give a series whose slices were reconstructed alike."
        )
    orientations = np.array([frame.orientation for frame in frames])
    if np.abs(orientations - orientations[0]).max() > _DIRECTION_TOLERANCE:
        raise GeometryError(
            "the series mixes slices of different orientation (a localizer or a reformat among them?): "
            "give a series whose slices are parallel."
        )
    row, column = orientations[0]
    lengths = np.linalg.norm(orientations[0], axis=1)
    if np.abs(lengths - 1).max() > _DIRECTION_TOLERANCE or abs(row @ column) > _DIRECTION_TOLERANCE:
        raise GeometryError("the slices' rows and columns are not perpendicular: export the series again.")


def _tilt_refusal(degrees: float) -> GeometryError:
    return GeometryError(
        f"the gantry was tilted by {abs(degrees):.1f} degrees, so the slices do not lie straight above each other: "
        "resample the series to a straight grid, or scan without tilt."
    )


def _check_duplicates(frames: list[Frame], positions: np.ndarray) -> None:
    same = np.flatnonzero(np.linalg.norm(np.diff(positions, axis=0), axis=1) < _SAME_PLACE_MM)
    if not len(same):
        return
    copied = sum(frames[i].header.get("SOPInstanceUID") == frames[i + 1].header.get("SOPInstanceUID") for i in same)
    place = f"at {positions[same[0]] @ (0, 0, 1):.1f} mm"
    if copied == len(same) and frames[same[0]].path != frames[same[0] + 1].path:
        raise GeometryError(
            f"{len(same)} duplicated slices: the same image is there twice (first {place}); remove the copies."
        )
    raise GeometryError(
        f"{len(same)} duplicated slices: different images lie at one position (first {place}), as when a series holds "
        "several phases; give one phase."
    )


def _check_sideways(frames: list[Frame], positions: np.ndarray, normal: np.ndarray) -> None:
    """The slices are stacked along their normal."""
    offsets = positions - positions[0]
    along = offsets @ normal
    aside = offsets - along[:, None] * normal
    length = np.linalg.norm(offsets[-1])
    if np.linalg.norm(aside, axis=1).max() > max(_SIDEWAYS_MM, _DIRECTION_TOLERANCE * length):
        share = offsets @ offsets[-1] / length**2
        if np.linalg.norm(offsets - share[:, None] * offsets[-1], axis=1).max() > max(_SIDEWAYS_MM, 1e-3 * length):
            raise GeometryError(
                "some slices are shifted sideways against the others: "
                "give a series whose slices share one field of view."
            )
        raise _tilt_refusal(np.degrees(np.arctan2(np.linalg.norm(aside[-1]), abs(along[-1]))))
    stated = [float(frame.header.get("GantryDetectorTilt") or 0) for frame in frames]
    tilt = max(stated, key=abs)
    straight = np.abs(np.abs(frames[0].orientation)).max(axis=1).min() > 1 - 1e-6
    if abs(tilt) > _TILT_DEGREES and straight:
        raise _tilt_refusal(tilt)


def _check_steps(along: np.ndarray, heights: np.ndarray, thickness_mm: float) -> float:
    """The slices follow each other evenly; the distance between neighbours in mm, or the thickness of one alone."""
    if len(along) == 1:
        return thickness_mm
    steps = np.diff(along)
    step = float(np.median(steps))
    gaps = np.flatnonzero(steps > 1.5 * step)
    skipped = np.rint(steps[gaps] / step).astype(int) - 1
    whole = np.abs(steps[gaps] / (skipped + 1) - step) <= max(_STEP_ROUNDING_MM, _STEP_TOLERANCE * step)
    if len(gaps) and whole.all() and len(gaps) <= max(1, len(steps) // 4):
        places = ", ".join(f"{heights[i]:.1f} and {heights[i + 1]:.1f} mm" for i in gaps[:3])
        count = int(skipped.sum())
        raise GeometryError(
            f"{count} {'slice is' if count == 1 else 'slices are'} missing of {len(along) + count} (between {places}"
            f"{', ...' if len(gaps) > 3 else ''}): copy the whole series again."
        )
    even, start = np.polyfit(np.arange(len(along)), along - along[0], 1)
    drift = np.abs(along - along[0] - start - even * np.arange(len(along))).max()
    if drift > max(_STEP_ROUNDING_MM, _STEP_TOLERANCE * even):
        raise GeometryError(
            f"the slices are unevenly spaced, {steps.min():.3g} to {steps.max():.3g} mm apart (missing slices, or two "
            "scans in one series?): give a series with one slice distance."
        )
    return round(float(even), 6)


def _thickness_mm(frame: Frame) -> float:
    try:
        thickness_mm = float(find_value(frame.header, "SliceThickness", frame.index) or 0)
    except (TypeError, ValueError):
        thickness_mm = 0.0
    return thickness_mm if np.isfinite(thickness_mm) and thickness_mm > 0 else 1.0


def arrange_frames(frames: list[Frame]) -> tuple[list[Frame], np.ndarray]:
    """Put the slices of a series in order along their normal and find their place in the patient.

    Parameters
    ----------
    frames : slices of one series, in any order; one alone is as thick as its header says, or else 1 mm

    Returns
    -------
    frames : in order
    affine : (4, 4) array, index (column, row, slice) to RAS+ millimetres

    Raises
    ------
    GeometryError
        For slices without a place, of mixed size, spacing or orientation, duplicated, missing, unevenly spaced,
        shifted sideways or from a tilted gantry.
    """
    _check_alike(frames)
    row, column = frames[0].orientation
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    normal = np.cross(row, column)
    positions = np.array([frame.position for frame in frames])
    order = np.lexsort((*positions.T, np.round(positions @ normal, 3)))
    frames, positions = [frames[i] for i in order], positions[order]
    _check_duplicates(frames, positions)
    _check_sideways(frames, positions, normal)
    step_mm = _check_steps(positions @ normal, positions[:, np.argmax(np.abs(normal))], _thickness_mm(frames[0]))
    affine = np.eye(4)
    between_rows, between_columns = frames[0].spacing_mm
    affine[:3, 0] = row * between_columns
    affine[:3, 1] = column * between_rows
    affine[:3, 2] = normal * step_mm
    affine[:3, 3] = positions[0]
    return frames, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
