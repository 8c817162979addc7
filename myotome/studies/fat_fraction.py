"""The fat fraction of one contrast against a known one: of phantoms, and of water and fat measured apart (Dixon).

The published Dixon data have water and fat on grids whose headers disagree (one has lost its origin), though the voxels
are the same ones: the images are combined by voxel index, once shape and spacing agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt

from myotome.biomarkers.fat_fraction import FatFraction, estimate_fat_fraction
from myotome.biomarkers.goutallier import GRADES
from myotome.biomarkers.rotator_cuff import measure_supraspinatus
from myotome.biomarkers.tissue_levels import REACH_MM
from myotome.errors import InputError
from myotome.geometry import Volume
from myotome.io.nifti import read_nifti
from myotome.phantoms.shoulder import make_shoulder
from myotome.report.comparisons import Comparison
from myotome.structures import LabelMap

__all__ = [
    "CONTRASTS",
    "DIXON_NOTE",
    "DixonCase",
    "compare_dixon",
    "compare_phantoms",
    "make_dixon_comparisons",
    "make_phantom_comparisons",
    "read_dixon_case",
    "summarise_phantoms",
]

CONTRASTS: Mapping[str, float] = {"in phase": 1.0, "three quarters of the fat": 0.75}
"""Images made of water + factor x fat: the in-phase gradient echo, and one in which fat is less bright."""

DIXON_NOTE = (
    "Every slice of a muscle counts as a case here, and slices of one person are alike: intervals are too narrow."
)

PARASPINAL = {1: "right erector spinae", 2: "right multifidus", 3: "left multifidus", 4: "left erector spinae"}

_SPACING_TOLERANCE = 0.01
_SMALLEST_AREA_CM2 = 1.5
_PURE_FAT, _PURE_WATER = 0.9, 0.05


@dataclass(frozen=True, eq=False)
class DixonCase:
    """Water and fat signal and muscle labels of one person, (x, y, slice) each, and the pixel spacing in a slice."""

    water: np.ndarray
    fat: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float]


def read_dixon_case(folder: Path) -> DixonCase:
    """Read the water image, the fat image and the labels of a folder, each found by the word in its name.

    Raises
    ------
    InputError
        When one of the three is lacking or there are several, or shape or spacing differ.
    """
    images = {word: read_nifti(_find(folder, word), modality="MR") for word in ("water", "fat", "labels")}
    reference = images["water"]
    for word, image in images.items():
        if image.grid.shape != reference.grid.shape:
            raise InputError(
                f"'{word}' has {image.grid.shape} voxels and 'water' {reference.grid.shape}: they are combined voxel "
                "by voxel, so give images of one acquisition."
            )
        if not np.allclose(image.grid.spacing_mm, reference.grid.spacing_mm, rtol=_SPACING_TOLERANCE):
            raise InputError(f"'{word}' and 'water' differ in voxel spacing: give images of one acquisition.")
    water, fat, labels = (images[word].array for word in ("water", "fat", "labels"))
    return DixonCase(water.astype(float), fat.astype(float), labels.astype(int), reference.grid.spacing_mm[:2])


def _find(folder: Path, word: str) -> Path:
    found = [path for path in sorted(Path(folder).glob("*.nii*")) if word in path.name.lower()]
    if len(found) != 1:
        raise InputError(
            f"'{folder}' has {len(found)} NIfTI files named '{word}': it needs one of each: water, fat, labels."
        )
    return found[0]


def compare_dixon(case: DixonCase) -> pd.DataFrame:
    """The fat fraction of every muscle in every slice, by Dixon and from one contrast.

    Two definitions are compared. ``signal``: Dixon's fat / (water + fat), the share of the muscle's signal that is
    fat's, with water and fat as bright as they are in the image. ``tissue``: the share of its area, for which both
    signals are first divided by those of pure fat and of lean muscle in the same slice.

    Returns
    -------
    DataFrame
        One row per muscle, slice and contrast of `CONTRASTS`: muscle, slice, contrast, area_cm2, reference_signal,
        reference_tissue, signal, tissue, otsu (%; NaN where the estimate is refused), flags. Cuts below 1.5 cm2 are
        left out.
    """
    return pd.DataFrame(list(_measure(case)))


def _measure(case: DixonCase) -> Iterator[dict[str, object]]:
    pixel_cm2 = case.spacing_mm[0] * case.spacing_mm[1] / 100
    for index in range(case.labels.shape[2]):
        water, fat, labels = case.water[..., index], case.fat[..., index], case.labels[..., index]
        pure = _pure_signals(water, fat, labels > 0, case.spacing_mm)
        for label in sorted(set(np.unique(labels)) - {0}):
            mask = labels == label
            if mask.sum() * pixel_cm2 < _SMALLEST_AREA_CM2:
                continue
            for contrast, factor in CONTRASTS.items():
                estimate = estimate_fat_fraction(water + factor * fat, mask, case.spacing_mm)
                yield {
                    "muscle": PARASPINAL.get(int(label), f"muscle {label}"),
                    "slice": index,
                    "contrast": contrast,
                    "area_cm2": float(mask.sum()) * pixel_cm2,
                    "reference_signal": _share(factor * fat[mask].sum(), water[mask].sum()),
                    "reference_tissue": _share(fat[mask].sum() / pure[1], water[mask].sum() / pure[0]),
                    "signal": _signal_share(estimate),
                    "tissue": np.nan if estimate.percent is None else estimate.percent,
                    "otsu": np.nan if estimate.otsu_percent is None else estimate.otsu_percent,
                    "flags": " ".join(estimate.flags),
                }


def _pure_signals(
    water: np.ndarray, fat: np.ndarray, muscles: np.ndarray, spacing_mm: tuple[float, float]
) -> tuple[float, float]:
    """Water signal of lean muscle, and fat signal of pure fat near the muscles, in one slice."""
    total = water + fat
    share = fat / np.maximum(total, 1e-9)
    near = distance_transform_edt(~muscles, sampling=spacing_mm) <= REACH_MM
    bright = total > 0.3 * np.median(total[muscles])
    lean = muscles & (share < _PURE_WATER)
    pure = near & bright & (share > _PURE_FAT)
    return float(np.median(water[lean])), float(np.median(fat[pure]))


def _share(fat: float, water: float) -> float:
    return 100 * float(fat / (fat + water))


def _signal_share(estimate: FatFraction) -> float:
    """The estimated share of area as a share of signal."""
    if estimate.percent is None:
        return np.nan
    fat = estimate.percent * estimate.fat_level
    return 100 * fat / (fat + (100 - estimate.percent) * estimate.muscle_level)


def make_dixon_comparisons(table: pd.DataFrame) -> list[Comparison]:
    """Dixon (A) against one contrast (B): by signal and by tissue for each contrast, in subgroups by muscle."""
    comparisons = []
    for contrast, rows in table.groupby("contrast", sort=False):
        ids = tuple(f"{row.muscle}, slice {row.slice}" for row in rows.itertuples())
        for measure in ("signal", "tissue"):
            comparisons.append(
                Comparison(
                    measure=f"fat fraction of the {measure}, {contrast}",
                    unit="%",
                    case_ids=ids,
                    a=rows[f"reference_{measure}"].to_numpy(),
                    b=rows[measure].to_numpy(),
                    groups=tuple(rows["muscle"]),
                    a_name="Dixon",
                    b_name="one contrast",
                )
            )
    return comparisons


def compare_phantoms(
    count: int,
    seed: int,
    advance: Callable[[int, int, str], None] | None = None,
    segment: Callable[[Volume], LabelMap] | None = None,
) -> pd.DataFrame:
    """The fat fraction of shoulder phantoms, every grade equally often.

    Parameters
    ----------
    count, seed : how many, and the seed of the first
    advance : called with how many are done, how many there are, and of what
    segment : draws the contour that is measured, such as `Segmenter.segment`; the true one when ``None``

    Returns
    -------
    DataFrame
        One row per phantom: seed, grade, sequence, reference, fat_fraction, lower, upper, otsu (%; NaN where the
        measurement is refused), flags.
    """
    rows = []
    for index in range(count):
        case = make_shoulder(seed + index, grade=GRADES[index % len(GRADES)])
        measurements, _ = measure_supraspinatus(case.volume, segment(case.volume) if segment else case.label_map)
        mixture, otsu = (
            next(row for row in measurements if row.measure == name) for name in ("fat_fraction", "fat_fraction_otsu")
        )
        numbers = {"fat_fraction": mixture.value, "lower": mixture.lower, "upper": mixture.upper, "otsu": otsu.value}
        rows.append(
            {
                "seed": seed + index,
                "grade": case.truth["grade"],
                "sequence": case.truth["sequence"],
                "reference": case.truth["fat_percent"],
                **{name: np.nan if value is None else value for name, value in numbers.items()},
                "flags": " ".join(mixture.flags),
            }
        )
        if advance:
            advance(index + 1, count, "phantoms")
    return pd.DataFrame(rows)


def make_phantom_comparisons(table: pd.DataFrame) -> list[Comparison]:
    """Truth (A) against both estimates (B), in subgroups by grade."""
    return [
        Comparison(
            measure=measure,
            unit="%",
            case_ids=tuple(str(seed) for seed in table["seed"]),
            a=table["reference"].to_numpy(),
            b=table[column].to_numpy(),
            groups=tuple(f"grade {grade}" for grade in table["grade"]),
            a_name="truth",
            b_name="estimate",
        )
        for column, measure in (
            ("fat_fraction", "fat fraction by Gaussian mixture"),
            ("otsu", "fat fraction by Otsu's threshold"),
        )
    ]


def summarise_phantoms(table: pd.DataFrame) -> list[str]:
    """Sentences: mean absolute error by sequence, how often the interval held the truth, and how many were refused."""
    given = table[table["fat_fraction"].notna()]
    if given.empty:
        return ["No fat fraction could be given."]
    error = (given["fat_fraction"] - given["reference"]).abs()
    by_sequence = ", ".join(
        f"{name} {part.mean():.2f} (n = {len(part)})" for name, part in error.groupby(given["sequence"])
    )
    held = given["reference"].between(given["lower"], given["upper"]).mean()
    return [
        f"Mean absolute error {error.mean():.2f} points over {len(given)} phantoms: {by_sequence}; "
        f"largest {error.max():.1f}.",
        f"The interval held the true value in {100 * held:.1f} % of them.",
        f"{len(table) - len(given)} of {len(table)} were refused (fat suppressed, not told from muscle, or no muscle).",
    ]
