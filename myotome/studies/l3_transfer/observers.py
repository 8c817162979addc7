"""The band that people reach: simulated observers whose contours leave the reference, or real readers' masks.

A simulated observer moves the outline of the muscle compartment along its normal by

    d(x) = m + s_o(angle of x) + e_oc(x)                  mm, outward

in which m is common to all: who lets the HU range decide draws in the fat rather than in the muscle. s_o is the
observer's habit, the same in every case: an offset and the first two harmonics of the angle about the outline's
centre, with an SD of ``systematic_mm`` over observers at every angle. e_oc is drawn anew for every case: a smooth field
with an SD of ``random_mm`` and a correlation length of ``correlation_mm``. Inside the outline fat stays fat, as the HU
range has it: fat of the reference becomes label 4, all else label 1.

The deviations of configs/studies/l3_transfer.yaml were set on phantoms so that observers' SMA differ nearly as two
readers' did: 95 % limits of agreement of -9.9 to 7.6 cm2, ICC 0.990, at L3 in 116 adults (BMC Musculoskelet Disord
2022; doi 10.1186/s12891-022-05032-2), which is an SD of 3.2 cm2 for one reader. Three radiologists who measured 29
patients twice (mean SMA 156 cm2) were 0.98 cm2 from themselves on average (Perthen et al., Eur J Radiol 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt, zoom

from myotome.errors import InputError
from myotome.io import read_label_map
from myotome.structures import read_label_schema
from myotome.studies.l3_transfer.cases import SCHEMA, L3Slice
from myotome.studies.l3_transfer.scoring import masks_of, score_slice
from myotome.studies.l3_transfer.settings import ObserverModel

__all__ = ["Outline", "draw_observer", "find_margin_mm", "read_readers", "score_observers", "simulate_observers"]

Progress = Callable[[int, int, str], None]
Reading = tuple[str, L3Slice, np.ndarray]
"""Observer, slice, and (rows, columns) labels."""

_MUSCLE, _FATS, _FAT_BETWEEN = 1, (2, 3, 4), 4
_MARGIN_SD = 5.0


class Outline:
    """The muscle compartment of a slice, and how far every pixel near it is from its outline.

    ``signed_mm`` is negative inside; it is that of pixels' centres, and the outline lies between pixels.
    """

    def __init__(self, item: L3Slice, margin_mm: float) -> None:
        compartment = masks_of(item.label)["muscle_compartment"]
        self.item = item
        self.box = _box(compartment, item.spacing_mm, margin_mm) if compartment.any() else None
        if self.box is None:
            return
        self.mask = compartment[self.box]
        half = min(item.spacing_mm) / 2
        outside = distance_transform_edt(~self.mask, sampling=item.spacing_mm)
        inside = distance_transform_edt(self.mask, sampling=item.spacing_mm)
        self.signed_mm = np.where(self.mask, half - inside, outside - half)


def draw_observer(outline: Outline, model: ObserverModel, observer: int, case: int) -> np.ndarray:
    """Labels, (rows, columns) uint8, that a simulated observer draws in a slice; none where nothing is labelled.

    Parameters
    ----------
    observer, case : numbers that seed the observer's habit and the case's deviation
    """
    item, drawn = outline.item, np.zeros_like(outline.item.label)
    if outline.box is None:
        return drawn
    moved = model.outward_mm + _habit(outline.mask, item.spacing_mm, model, observer)
    moved = moved + _deviation(outline.mask.shape, item.spacing_mm, model, (observer, case))
    fat = np.isin(item.label[outline.box], _FATS)
    drawn[outline.box] = np.where(outline.signed_mm <= moved, np.where(fat, _FAT_BETWEEN, _MUSCLE), 0)
    return drawn


def find_margin_mm(model: ObserverModel) -> float:
    """How far from the reference an observer may get, but for one contour in millions."""
    return model.outward_mm + _MARGIN_SD * (model.systematic_mm + model.random_mm) + 1


def _box(mask: np.ndarray, spacing_mm: tuple[float, float], margin_mm: float) -> tuple[slice, slice]:
    edges = []
    for axis in (0, 1):
        used, margin = np.flatnonzero(mask.any(axis=1 - axis)), int(np.ceil(margin_mm / spacing_mm[axis]))
        edges.append(slice(max(0, int(used[0]) - margin), int(used[-1]) + 1 + margin))
    return edges[0], edges[1]


def _habit(mask: np.ndarray, spacing_mm: tuple[float, float], model: ObserverModel, observer: int) -> np.ndarray:
    """s_o: half of the variance is the offset, a quarter each of the harmonics."""
    rng = np.random.default_rng((model.seed, observer))
    offset, parts = rng.standard_normal(), rng.standard_normal((2, 2))
    places = [(np.arange(size) - np.average(np.arange(size), weights=mask.sum(axis=1 - axis))) * spacing_mm[axis]
              for axis, size in enumerate(mask.shape)]  # fmt: skip
    angle = np.arctan2(places[0][:, None], places[1][None, :])
    waves = sum(a * np.cos(k * angle) + b * np.sin(k * angle) for k, (a, b) in enumerate(parts, start=1))
    return model.systematic_mm * (np.sqrt(0.5) * offset + 0.5 * waves)


def _deviation(
    shape: tuple[int, ...], spacing_mm: tuple[float, float], model: ObserverModel, seed: tuple[int, int]
) -> np.ndarray:
    """e_oc: values at the nodes of a grid of the correlation length, and a cubic spline between them."""
    rng = np.random.default_rng((model.seed, *seed))
    nodes = [int(np.ceil(size * step / model.correlation_mm)) + 2 for size, step in zip(shape, spacing_mm, strict=True)]
    values = rng.standard_normal(nodes)
    fine = zoom(values, [size / node for size, node in zip(shape, nodes, strict=True)], order=3)
    return model.random_mm * fine / max(float(fine.std()), 1e-9)


def simulate_observers(
    slices: Sequence[L3Slice], model: ObserverModel, progress: Progress | None = None
) -> Iterator[Reading]:
    """What every simulated observer draws in every slice, slice by slice."""
    for case, item in enumerate(slices):
        outline = Outline(item, find_margin_mm(model))
        for observer in range(model.count):
            yield f"observer {observer + 1}", item, draw_observer(outline, model, observer, case)
        if progress:
            progress(case + 1, len(slices), "observers")


def read_readers(folder: Path, slices: Sequence[L3Slice]) -> list[Reading]:
    """Real readers' masks: a folder per reader, in it one NIfTI file per case, named by the case.

    Labels are those of the schema, or 1 alone for muscle. Readers may have drawn some of the cases, all the same ones,
    at least three.

    Raises
    ------
    InputError
        When there are fewer than two readers, a file names no case, readers have drawn different cases, or a mask is
        not on its image's grid.
    """
    known = {item.case: item for item in slices}
    if not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder: give one with a folder per reader.")
    readers = {path.name: sorted(path.glob("*.nii*")) for path in sorted(folder.iterdir()) if path.is_dir()}
    if len(readers) < 2:
        raise InputError(f"'{folder}' has {len(readers)} readers: give a folder each of two or more.")
    drawn = {name: {path.name.split(".nii")[0]: path for path in paths} for name, paths in readers.items()}
    for name, files in drawn.items():
        strange = sorted(set(files) - set(known))
        if strange:
            raise InputError(
                f"reader '{name}' has a mask '{strange[0]}', which is no case of the study (such as "
                f"'{next(iter(known))}'): name the files by the cases."
            )
    first, files = next(iter(drawn.items()))
    if len(files) < 3:
        raise InputError(f"reader '{first}' has {len(files)} masks: give those of three cases or more.")
    for name, others in drawn.items():
        lone = sorted(set(files) ^ set(others))
        if lone:
            raise InputError(
                f"only one of the readers '{first}' and '{name}' has a mask of case '{lone[0]}': give the same cases "
                "of every reader."
            )
    return [
        (name, known[case], _read_mask(path, name, known[case]))
        for name, files in drawn.items()
        for case, path in sorted(files.items())
    ]


def _read_mask(path: Path, reader: str, item: L3Slice) -> np.ndarray:
    label_map = read_label_map(path, read_label_schema(SCHEMA))
    if not item.volume.grid.same_as(label_map.grid):
        raise InputError(f"reader '{reader}': '{path.name}' is not on its image's grid: draw on the image itself.")
    return np.take(label_map.array, item.index, axis=item.volume.grid.axis("IS"))


def score_observers(readings: Iterable[Reading]) -> pd.DataFrame:
    """Scores of every observer and case: ``observer``, ``case`` and the columns of `score_slice`."""
    rows = [{"observer": name, "case": item.case, **score_slice(item, label)} for name, item, label in readings]
    return pd.DataFrame(rows).sort_values("observer", key=_in_number_order, kind="stable", ignore_index=True)


def _in_number_order(names: pd.Series) -> pd.Series:
    """So that observer 10 comes after observer 9."""
    return names.str.replace(r"\d+", lambda found: found[0].zfill(6), regex=True)
