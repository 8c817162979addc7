"""Small copies of labelled cases for the simulation: a few slices each, made once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from myotome.errors import InputError
from myotome.geometry import Volume, reorient
from myotome.io import read_label_map, read_volume
from myotome.io.atomic import atomic_path
from myotome.phantoms.thorax import make_scan, make_thorax
from myotome.structures import LabelMap, read_label_schema

__all__ = ["PhantomPool", "ReducedCase", "Reduction", "make_phantom_cases", "read_cases", "reduce_case"]

_BODY_HU = -300.0
_MARGIN_MM = 12.0
_SUB_SLICE_MM = 4.0
_NOISE_KEPT = 0.6
_SAME_SPACING = 0.05


@dataclass(frozen=True)
class Reduction:
    """What a case is reduced to: ``slices`` evenly spread axial slices, ``spacing_mm`` in plane."""

    slices: int = 10
    spacing_mm: float = 3.0
    schema: str = "respiratory_muscle_ct"

    def __post_init__(self) -> None:
        if self.slices < 1 or self.spacing_mm <= 0:
            raise InputError(f"{self.slices} slices of {self.spacing_mm} mm cannot be made: give positive figures.")


@dataclass(frozen=True)
class PhantomPool:
    """Thorax phantoms to draw where there is no data set: ``count`` people of seeds ``seed``, ``seed + 1`` ...

    They are drawn on the coarse grid of the reduction, in slabs of ``thickness_mm``, which is some forty times quicker
    than at the scanner's resolution. Field of view, coverage, contrast agent, kernel, metal, rotation and dose are
    those that :func:`myotome.phantoms.thorax.make_scan` draws for the seed.
    """

    count: int = 200
    seed: int = 700000
    thickness_mm: float = 8.0


@dataclass(frozen=True, eq=False)
class ReducedCase:
    """A case as the simulation sees it.

    ``hu`` is (slices, rows, columns) int16 in HU, ``labels`` is uint8 on the same grid: the oracle's answer.
    """

    case_id: str
    patient: str
    hu: np.ndarray
    labels: np.ndarray


def read_cases(
    folder: Path, reduction: Reduction, cache: Path, progress: Callable[[int, int], None] | None = None
) -> list[ReducedCase]:
    """Every case of a data set's ``datalist.json``, reduced.

    Parameters
    ----------
    folder : holds ``datalist.json`` with rows of ``image``, ``label`` and, where one person has several images,
        ``patient``; without it each image is a patient of its own.
    cache : folder of the reduced copies, by the files' sizes and times and the reduction.

    Raises
    ------
    InputError
        When the list is missing or empty, or an image cannot be read or does not fit its label map.
    """
    from myotome.training.setup import read_datalist

    path = folder / "datalist.json"
    rows = read_datalist(path, "training")
    with suppress(InputError):  # a data set need not hold cases out
        rows += read_datalist(path, "validation")
    cases = []
    for number, row in enumerate(rows):
        image, label = Path(row["image"]), Path(row["label"])
        case_id = image.relative_to(folder).as_posix()
        patient = Path(row["patient"]).name if "patient" in row else case_id
        key = f"{image} {_stamp(image)} {label} {_stamp(label)} {asdict(reduction)}"
        cases.append(_kept_or_made(cache, key, (case_id, patient), lambda i=image, m=label: _read(i, m, reduction)))
        if progress:
            progress(number + 1, len(rows))
    return cases


def make_phantom_cases(
    pool: PhantomPool, reduction: Reduction, cache: Path, progress: Callable[[int, int], None] | None = None
) -> list[ReducedCase]:
    """Draw the phantoms of a pool on the reduction's grid; see :class:`PhantomPool`."""
    cases = []
    for number, seed in enumerate(range(pool.seed, pool.seed + pool.count)):
        key = f"phantom {seed} {pool.thickness_mm} {asdict(reduction)}"
        name = f"case_{seed:06d}"
        cases.append(_kept_or_made(cache, key, (name, name), lambda s=seed: _draw(s, pool, reduction)))
        if progress:
            progress(number + 1, pool.count)
    return cases


def reduce_case(volume: Volume, label_map: LabelMap, reduction: Reduction) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spread slices of a case, cropped to the body and averaged down in plane.

    A pixel's label is the structure (or background) with the largest share of it.

    Returns
    -------
    hu : (slices, rows, columns) int16; labels : the same shape, uint8
    """
    image, affine = reorient(volume.array, volume.grid.affine)
    labels, _ = reorient(label_map.array, label_map.grid.affine)
    spacing = np.linalg.norm(affine[:2, :2], axis=0)
    depth = image.shape[2]
    chosen = np.unique(((np.arange(reduction.slices) + 0.5) * depth / reduction.slices).astype(int))
    image, labels = image[..., chosen], labels[..., chosen]
    box = _body_box(image, spacing)
    image, labels = np.moveaxis(image[box], 2, 0), np.moveaxis(labels[box], 2, 0)
    hu = _resample(image.astype(np.float32), spacing, reduction.spacing_mm)
    best = _resample((labels == 0).astype(np.float32), spacing, reduction.spacing_mm)
    found = np.zeros(hu.shape, np.uint8)
    for structure in label_map.schema.structures:
        share = _resample((labels == structure.index).astype(np.float32), spacing, reduction.spacing_mm)
        larger = share > best
        found[larger], best[larger] = structure.index, share[larger]
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16), found


def _read(image: Path, label: Path, reduction: Reduction) -> tuple[np.ndarray, np.ndarray]:
    volume = read_volume(image)
    label_map = read_label_map(label, read_label_schema(reduction.schema))
    if not volume.grid.same_as(label_map.grid):
        raise InputError(f"{label} is not on the grid of {image}: bring it there first.")
    return reduce_case(volume, label_map, reduction)


def _draw(seed: int, pool: PhantomPool, reduction: Reduction) -> tuple[np.ndarray, np.ndarray]:
    """One phantom on a coarse grid. Averaging the fine noise over a coarse pixel would keep some 0.6 of it."""
    fine = make_scan(seed)
    scan = replace(
        fine,
        in_plane_mm=reduction.spacing_mm,
        matrix=round(fine.matrix * fine.in_plane_mm / reduction.spacing_mm),
        slice_thickness_mm=pool.thickness_mm,
        sub_slice_mm=_SUB_SLICE_MM,
        noise_hu=fine.noise_hu * _NOISE_KEPT * np.sqrt(pool.thickness_mm / fine.slice_thickness_mm),
    )
    case = make_thorax(seed, scan)
    return reduce_case(case.volume, case.label_map, reduction)


def _kept_or_made(
    cache: Path, key: str, names: tuple[str, str], make: Callable[[], tuple[np.ndarray, np.ndarray]]
) -> ReducedCase:
    path = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    if not path.is_file():
        hu, labels = make()
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, hu=hu, labels=labels)
    with np.load(path) as kept:
        return ReducedCase(*names, kept["hu"], kept["labels"])


def _stamp(path: Path) -> str:
    """Size and time of a file, or of the files in a folder: changes when the data do."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return " ".join(f"{file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
    except OSError as error:
        raise InputError(f"{path} is listed but cannot be read ({error.strerror}): make the data again.") from error


def _body_box(image: np.ndarray, spacing_mm: Sequence[float]) -> tuple[slice, slice]:
    """In-plane box of the body in (X, Y, Z), with a margin. Rows with less than 1 % of tissue are no body."""
    tissue = (image > _BODY_HU).mean(axis=2)
    box = []
    for axis in (0, 1):
        inside = np.flatnonzero(tissue.mean(axis=1 - axis) > 0.01)
        size, margin = image.shape[axis], round(_MARGIN_MM / spacing_mm[axis])
        first, last = (inside[0], inside[-1]) if len(inside) else (0, size - 1)
        box.append(slice(max(0, first - margin), min(size, last + 1 + margin)))
    return box[0], box[1]


def _resample(planes: np.ndarray, spacing_mm: Sequence[float], target_mm: float) -> np.ndarray:
    """Planes (S, X, Y) at another in-plane spacing, smoothed first so that no detail folds over."""
    factor = target_mm / np.asarray(spacing_mm, dtype=float)
    if np.all(np.abs(factor - 1) < _SAME_SPACING):
        return planes
    shape = tuple(max(1, round(size / step)) for size, step in zip(planes.shape[1:], factor, strict=True))
    sigma = [0.0, *(0.4 * max(step - 1, 0) for step in factor)]
    smooth = gaussian_filter(planes, sigma)
    offset = [0.0, *(0.5 * step - 0.5 for step in factor)]
    matrix = [1.0, *factor]
    return affine_transform(smooth, matrix, offset, (len(planes), *shape), order=1, mode="nearest", prefilter=False)
