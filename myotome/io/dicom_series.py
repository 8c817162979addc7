"""DICOM series in: the right series of a folder, through the geometry gate, as a volume in Hounsfield units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from myotome.errors import GeometryError, InputError
from myotome.geometry import Acquisition, Grid, Volume
from myotome.io.dicom_contrast import is_fat_suppressed, read_body_part, read_weighting
from myotome.io.dicom_files import IMAGE_CLASSES, Frame, find_value, iter_headers, make_frames, read_frames
from myotome.io.dicom_geometry import arrange_frames
from myotome.io.dicom_kernels import is_sharp_kernel
from myotome.io.dicom_writing import write_dicom_series

__all__ = ["SeriesWish", "read_dicom_file", "read_dicom_files", "read_dicom_series", "write_dicom_series"]

_FEWEST_SLICES = {"CT": 3, "MR": 1}
_PICTURE_CLASSES = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture and its kin begin with this
_CONTRAST_WORDS = ("SeriesDescription", "ProtocolName", "SequenceName", "ScanOptions", "PulseSequenceName")
_HOUNSFIELD_TYPES = ("", "HU", "US", "HU_MOD")
_FEW_BITS = 8
_HEIGHT_RANGE_M = (0.5, 2.5)
_WORLD_AXES = {"LR": 0, "PA": 1, "IS": 2}
# Cosine that the slices' normal has with its direction. Oblique sagittal slices follow the glenoid, 35 degrees or more.
_NEAR_ENOUGH = {"LR": 0.7, "PA": 0.7, "IS": 0.8}
_DERIVED_WORDS = {
    "SECONDARY",
    "DERIVED",
    "REFORMATTED",
    "MPR",
    "MIP",
    "MINIP",
    "PROJECTION IMAGE",
    "AVERAGE",
    "CSAMANIP",
}


@dataclass(frozen=True, eq=False)
class _Series:
    """One series: its slices, and, once it has been through the gate, their order and place or the refusal."""

    uid: str
    frames: list[Frame]
    affine: np.ndarray | None = None
    refusal: InputError | None = None

    @property
    def header(self) -> Dataset:
        return self.frames[0].header

    @property
    def description(self) -> str:
        return _text(self.header.get("SeriesDescription")) or "no description"

    def __str__(self) -> str:
        number = _text(self.header.get("SeriesNumber")) or "?"
        return f"series {number} '{self.description}' ({len(self.frames)} slices)"


@dataclass(frozen=True)
class SeriesWish:
    """Which series of a folder is wanted.

    Parameters
    ----------
    modality : ``"CT"`` or ``"MR"``; ``None`` takes what is there, CT before MR
    across : the direction that the slices follow each other in, such as ``"IS"`` for axial ones; a preference
    series_uid : the one to take, where it is known
    single_slice : a CT of one or two slices is taken, too
    """

    modality: str | None = "CT"
    across: str = "IS"
    series_uid: str | None = None
    single_slice: bool = False


def read_dicom_series(
    folder: Path | str,
    *,
    series_uid: str | None = None,
    modality: str | None = "CT",
    across: str = "IS",
    single_slice: bool = False,
) -> Volume:
    """Read one series from a folder: files at any depth, told by content, in any order, compressed or multi-frame.

    Where several series of the modality are there, and `series_uid` does not name one, the first that differs decides:
    a sound geometry before a faulty one, original before derived, the wanted orientation before others, a soft or
    standard kernel before a sharp one, fat that is bright before fat that is suppressed, longer coverage (by over
    5 mm), thinner slice distance. Two series that tie are refused, and so are series of two patients or studies. What
    was chosen and left out is in ``acquisition.flags`` (``series_chosen:...``, ``series_left_out:...``).

    A CT has three slices or more, unless a single one is wanted, and says how its values become Hounsfield units. An
    MR image may be one slice; its values are taken as they are, and the flag ``eight_bit`` says that it holds 256
    values at most.

    Parameters
    ----------
    modality, across, series_uid, single_slice : as `SeriesWish` takes them

    Returns
    -------
    Volume
        Array axes (column, row, slice), RAS+ affine; int16 where the rescale keeps whole numbers, else float32.
        ``acquisition.headers`` has one data set per slice, or one in all for an enhanced multi-frame file.

    Raises
    ------
    InputError
        No DICOM, no series of the modality, only localizers, no rescale, several equal series, undecodable pixels.
    GeometryError
        The slices are not one regular, straight volume (see `arrange_frames`).
    """
    folder = Path(folder)
    return _read(folder.name, iter_headers(folder), SeriesWish(modality, across, series_uid, single_slice))


def read_dicom_file(
    path: Path | str,
    *,
    series_uid: str | None = None,
    modality: str | None = "CT",
    across: str = "IS",
    single_slice: bool = False,
) -> Volume:
    """Read one DICOM file: the volume it holds when it is multi-frame, else the whole series it is a slice of.

    The other slices are looked for in its folder. Raises as `read_dicom_series`.
    """
    path = Path(path)
    headers = list(iter_headers(path))
    header = headers[0][1]
    wanted = IMAGE_CLASSES[modality] if modality else set.union(*IMAGE_CLASSES.values())
    if int(header.get("NumberOfFrames") or 1) == 1 and header.get("SOPClassUID") in wanted:
        uid = series_uid or str(header.get("SeriesInstanceUID") or "")
        return read_dicom_series(
            path.parent, series_uid=uid, modality=modality, across=across, single_slice=single_slice
        )
    return _read(path.name, headers, SeriesWish(modality, across, series_uid, single_slice))


def read_dicom_files(paths: Iterable[Path | str], wish: SeriesWish | None = None, *, name: str = "the study") -> Volume:
    """Read one series from these files, which may lie anywhere. Chooses and raises as `read_dicom_series`.

    Parameters
    ----------
    wish : which series; a CT's when ``None``
    name : what a refusal calls them
    """
    headers = chain.from_iterable(iter_headers(Path(path)) for path in paths)
    return _read(name, headers, wish or SeriesWish())


def _read(name: str, headers: Iterable[tuple[Path, Dataset]], wish: SeriesWish) -> Volume:
    modality = wish.modality
    if modality is None:
        headers = list(headers)
        modality = _modality_of(header for _, header in headers)
    fewest = 1 if wish.single_slice else _FEWEST_SLICES[modality]
    every = _find_series(name, headers, modality, fewest)
    chosen = _select(every, wish)
    if chosen.refusal is not None:
        raise chosen.refusal
    _check_values(chosen, modality)
    array = _read_array(chosen.frames)
    flags = [*_choice_flags(chosen, every), *_header_flags(chosen, modality)]
    acquisition = replace(_read_acquisition(chosen), flags=tuple(flags))
    return Volume(array, Grid(array.shape, chosen.affine), modality, acquisition)


def _modality_of(headers: Iterable[Dataset]) -> str:
    classes = {header.get("SOPClassUID") for header in headers}
    return next((name for name, wanted in IMAGE_CLASSES.items() if classes & wanted), "CT")


def _text(value: Any) -> str:
    if value is None:
        return ""
    words = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return "/".join(str(word).strip() for word in words)


def _find_series(name: str, headers: Iterable[tuple[Path, Dataset]], modality: str, fewest: int) -> list[_Series]:
    """Every series of the modality with enough slices, each through the gate."""
    groups: dict[str, list[Frame]] = {}
    others: Counter[str] = Counter()
    localizers = 0
    for path, header in headers:
        if header.get("SOPClassUID") not in IMAGE_CLASSES[modality]:
            if str(header.get("SOPClassUID") or "").startswith(_PICTURE_CLASSES):
                others["screenshot"] += 1
            elif "Rows" in header:
                others[str(header.get("Modality") or "unknown")] += 1
            else:
                others["no image"] += 1
            continue
        for frame in make_frames(path, header):
            if "LOCALIZER" in frame.image_type:
                localizers += 1
            else:
                groups.setdefault(str(header.get("SeriesInstanceUID") or ""), []).append(frame)
    series = [_Series(uid, frames) for uid, frames in groups.items() if len(frames) >= fewest]
    if not series:
        raise _nothing_to_read(name, (modality, fewest), groups, others, localizers)
    return [_through_gate(one) for one in series]


def _nothing_to_read(
    name: str, wanted: tuple[str, int], groups: dict[str, list[Frame]], others: Counter[str], localizers: int
) -> InputError:
    modality, fewest = wanted
    if groups or localizers:
        count = localizers or max(len(frames) for frames in groups.values())
        needed = f"at least {fewest} parallel slices are needed): give the axial series itself."
        if fewest == 1:
            needed = "one slice or more is needed): give the series itself."
        return InputError(f"'{name}' holds only a localizer or too few slices ({count} images, {needed}")
    if set(others) == {"screenshot"}:
        return InputError(
            f"'{name}' holds screenshots (secondary captures), whose values are not the scanner's: "
            f"give the original {modality} series."
        )
    images = [f"{count} of modality {kind}" for kind, count in others.items() if kind != "no image"]
    if images:
        return InputError(f"'{name}' holds no {modality} images but {', '.join(images)}: give a {modality} series.")
    if others:
        return InputError(f"'{name}' holds DICOM files without images (reports?): give a {modality} series.")
    return InputError(f"there is no DICOM file in '{name}': give the folder that holds the {modality} series.")


def _through_gate(series: _Series) -> _Series:
    try:
        frames, affine = arrange_frames(series.frames)
    except GeometryError as error:
        return replace(series, refusal=GeometryError(f"{series}: {error}"))
    return replace(series, frames=frames, affine=affine)


def _contrast_words(header: Dataset) -> str:
    return " ".join(_text(find_value(header, keyword, 0)) for keyword in _CONTRAST_WORDS)


def _rank(series: _Series, across: str) -> tuple:
    """Sort key, best first."""
    derived = any(set(frame.image_type) & _DERIVED_WORDS for frame in series.frames)
    sharp = is_sharp_kernel(_text(find_value(series.header, "ConvolutionKernel", 0)))
    dark_fat = series.header.get("Modality") == "MR" and is_fat_suppressed(_contrast_words(series.header))
    if series.affine is None:
        return True, derived, False, sharp, dark_fat, -len(series.frames), 0
    normal = series.affine[:3, 2]
    step_mm = float(np.linalg.norm(normal))
    as_wanted = abs(normal[_WORLD_AXES[across]]) > _NEAR_ENOUGH[across] * step_mm
    coverage_mm = step_mm * len(series.frames)
    return False, derived, not as_wanted, sharp, dark_fat, -round(coverage_mm / 5), round(step_mm, 1)


def _select(every: list[_Series], wish: SeriesWish) -> _Series:
    series_uid = wish.series_uid
    listing = "; ".join(f"{one} {one.uid}" for one in every)
    how = "choose one by its series UID (--series-uid)"
    if series_uid is not None:
        for one in every:
            if one.uid == series_uid:
                return one
        raise InputError(f"there is no series {series_uid} to measure here: {how}: {listing}.")
    sources = {(_text(one.header.get("PatientID")), _text(one.header.get("StudyInstanceUID"))) for one in every}
    if len(sources) > 1:
        raise InputError(f"the folder holds {len(sources)} studies: give one study, or {how}: {listing}.")
    ranked = sorted(every, key=lambda one: _rank(one, wish.across))
    best = [one for one in ranked if _rank(one, wish.across) == _rank(ranked[0], wish.across)]
    if len(best) > 1 and best[0].refusal is None:
        raise InputError(f"the folder holds {len(best)} series that could be measured: {how}: {listing}.")
    return best[0]


def _check_values(series: _Series, modality: str) -> None:
    """A CT says how its stored values become Hounsfield units."""
    if modality != "CT":
        return
    if any(not frame.slope or frame.intercept is None for frame in series.frames):
        raise InputError(
            f"{series} has no rescale slope and intercept, so its values are not Hounsfield units: "
            "export it again from the scanner or the archive."
        )
    kinds = {frame.rescale_type for frame in series.frames} - set(_HOUNSFIELD_TYPES)
    if kinds:
        raise InputError(
            f"{series} holds {', '.join(sorted(kinds))} values, not Hounsfield units (a spectral or material map?): "
            "give the plain CT series."
        )


def _read_array(frames: list[Frame]) -> np.ndarray:
    """(columns, rows, slices) array in units: one pass over the slices, never a float64 volume."""
    rows, columns = frames[0].shape
    slopes = np.array([1.0 if frame.slope is None else frame.slope for frame in frames])
    intercepts = np.array([frame.intercept or 0.0 for frame in frames])
    whole = bool((slopes % 1 == 0).all() and (intercepts % 1 == 0).all())
    array = np.empty((len(frames), rows, columns), np.int16 if whole else np.float32)
    for k, stored in enumerate(read_frames(frames)):
        if array.dtype == np.int16 and stored.dtype.kind in "iu":
            values = stored.astype(np.int32) * int(slopes[k]) + int(intercepts[k])
            if values.min() < -32768 or values.max() > 32767:
                array = array.astype(np.float32)
        else:
            values = stored * np.float32(slopes[k]) + np.float32(intercepts[k])
        array[k] = values
    return array.transpose(2, 1, 0)


def _clean(text: str) -> str:
    return " ".join("".join(" " if character in ";|,\n\r\t" else character for character in text).split())


def _choice_flags(chosen: _Series, every: list[_Series]) -> list[str]:
    others = [one for one in every if one is not chosen]
    if not others:
        return []
    flags = [f"series_chosen:{_clean(str(chosen))}"]
    return flags + [f"series_left_out:{_clean(str(one))}{' faulty geometry' * bool(one.refusal)}" for one in others]


def _header_flags(series: _Series, modality: str) -> list[str]:
    """What the header warns of: slices that do not touch, numbers that skip, lossy compression, few grey levels."""
    flags = []
    thickness_mm = _number(find_value(series.header, "SliceThickness", 0))
    step_mm = float(np.linalg.norm(series.affine[:3, 2]))
    if modality == "MR" and int(series.header.get("BitsStored") or 16) <= _FEW_BITS:
        flags.append("eight_bit")
    # Gaps between MR slices are customary; where one slice is measured they cost nothing.
    if modality == "CT" and thickness_mm and thickness_mm < 0.95 * step_mm:
        flags.append("gap_between_slices")
    numbers = [frame.header.get("InstanceNumber") for frame in series.frames]
    if len({frame.path for frame in series.frames}) == len(numbers) and all(number is not None for number in numbers):
        values = np.unique([int(number) for number in numbers])
        if len(values) == len(numbers) and values[-1] - values[0] >= len(numbers):
            flags.append("instance_numbers_skip")
    if any(frame.header.get("LossyImageCompression") == "01" for frame in series.frames):
        flags.append("lossy_compression")
    return flags


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _read_acquisition(series: _Series) -> Acquisition:
    header = series.header

    def text(keyword: str) -> str | None:
        return _text(find_value(header, keyword, 0)) or None

    def number(keyword: str) -> float | None:
        return _number(find_value(header, keyword, 0))

    height_m = _number(header.get("PatientSize"))
    if height_m is not None and not _HEIGHT_RANGE_M[0] <= height_m <= _HEIGHT_RANGE_M[1]:
        height_m = None
    words, body_words = _contrast_words(header), text("BodyPartExamined") or ""
    echo_ms = number("EffectiveEchoTime") or number("EchoTime")
    mr = find_value(header, "Modality") == "MR"
    one_per_file = len({frame.path for frame in series.frames}) == len(series.frames)
    headers = [frame.header for frame in series.frames] if one_per_file else [*_distinct_headers(series.frames)]
    return Acquisition(
        subject_id=text("PatientID"),
        study_uid=text("StudyInstanceUID"),
        series_uid=series.uid or None,
        series_description=text("SeriesDescription"),
        tube_voltage_kv=number("KVP"),
        kernel=text("ConvolutionKernel"),
        slice_thickness_mm=number("SliceThickness"),
        contrast_agent=text("ContrastBolusAgent"),
        manufacturer=text("Manufacturer"),
        height_m=height_m,
        sex=sex if (sex := str(header.get("PatientSex") or "")) in ("M", "F") else None,
        reconstruction_diameter_mm=number("ReconstructionDiameter"),
        body_part=read_body_part(body_words),
        weighting=read_weighting(words, echo_ms, number("RepetitionTime")) if mr else None,
        fat_suppressed=is_fat_suppressed(words) if mr and words.strip() else None,
        echo_time_ms=echo_ms,
        repetition_time_ms=number("RepetitionTime"),
        field_strength_t=number("MagneticFieldStrength"),
        headers=tuple(headers),
    )


def _distinct_headers(frames: list[Frame]) -> list[Dataset]:
    return list({frame.path: frame.header for frame in frames}.values())
