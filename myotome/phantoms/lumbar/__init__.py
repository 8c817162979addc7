"""Lumbar digital reference objects: a sampled spine, drawn in sagittal or axial slices, then scanned, with truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from myotome.geometry import Acquisition, Grid, Volume
from myotome.phantoms.lumbar.acquisition import (
    AXIAL_LEVELS,
    PLANES,
    LumbarScan,
    make_lumbar_scan,
    make_sensitivity,
)
from myotome.phantoms.lumbar.drawing import LumbarDrawer
from myotome.phantoms.lumbar.person import DISCS, HERNIATIONS, LEVELS, DiscState, LumbarPerson, make_lumbar_person
from myotome.phantoms.lumbar.placing import Stack, make_resampling
from myotome.phantoms.lumbar.surroundings import fascia_depth
from myotome.phantoms.lumbar.tissues import make_tissues
from myotome.phantoms.lumbar.truth import describe_disc
from myotome.phantoms.mr_scan import acquire
from myotome.phantoms.mr_signals import compute_signals
from myotome.structures import LabelMap, read_label_schema

__all__ = [
    "AXIAL_LEVELS",
    "DISCS",
    "HERNIATIONS",
    "LEVELS",
    "PLANES",
    "DiscState",
    "LumbarCase",
    "LumbarPerson",
    "LumbarScan",
    "make_lumbar",
    "make_lumbar_person",
    "make_lumbar_scan",
]

_SCHEMA = "lumbar_disc_mr"
_AXIAL_LABEL = 6
_FULL_ENOUGH = 0.5


@dataclass(frozen=True, eq=False)
class LumbarCase:
    """An MR image, its true label map on the same grid, and a row of what is true of the person and the scan.

    A sagittal scan has labels 1 to 5, from L1-L2 down to L5-S1; discs above L1-L2 are drawn and have none. An axial
    stack has label 6. ``truth["discs"]`` holds for each disc in the scan what was drawn, measured on the shape itself
    (see `myotome.phantoms.lumbar.truth`), and ``signal_per_csf``: its mean signal in the slice through its middle,
    before coil and noise, over that of the fluid in the sac.
    """

    volume: Volume
    label_map: LabelMap
    truth: dict[str, Any]


def make_lumbar(
    seed: int, scan: LumbarScan | None = None, progress: Callable[[float], None] | None = None
) -> LumbarCase:
    """Draw and scan one person.

    Parameters
    ----------
    seed : of the person, and of the scan when none is given.
    scan : the acquisition; a sagittal one from the whole range by default.
    progress : called with the share done.
    """
    scan = scan or make_lumbar_scan(seed)
    person = make_lumbar_person(seed)
    signals = compute_signals(make_tissues(person), scan, np.random.default_rng((seed, 443)))
    drawer = LumbarDrawer(person, signals, scan.saturation)
    stack = Stack(scan, drawer.spine, drawer.discs[scan.level])
    shown = LEVELS if scan.plane == "sagittal" else (scan.level,)
    discs = {name: describe_disc(drawer.discs[name], scan.plane) for name in shown}
    middles = {name: stack.nearest(drawer.discs[name].centre) for name in shown}
    image = np.empty((scan.matrix, scan.matrix, scan.slices), dtype=np.uint16)
    shares = np.empty((len(shown), *image.shape), dtype=np.float32)
    for index in range(scan.slices):
        section = _draw_slice(drawer, stack, index)
        image[:, :, index] = _acquire_slice(section, drawer, stack, index)
        for place, name in enumerate(shown):
            shares[place, :, :, index] = share = section.shares[LEVELS.index(name)]
            if index == middles[name]:
                discs[name]["signal_per_csf"] = _signal(share, section.water + section.fat, signals["csf"].water)
        if progress:
            progress((index + 1) / scan.slices)
    grid = stack.grid()
    if scan.isotropic_mm:
        image, shares, grid = _interpolate(image, shares, stack)
    label_map = LabelMap(_majority(shares, scan.plane), grid, read_label_schema(_SCHEMA))
    volume = Volume(image, grid, "MR", _describe_acquisition(scan, person))
    return LumbarCase(volume, label_map, {**_describe(person, scan, grid), "discs": discs})


class _Section(NamedTuple):
    """A slice before the scan: (X, Y) water and fat, (levels, X, Y) shares of the discs."""

    water: np.ndarray
    fat: np.ndarray
    shares: np.ndarray


def _draw_slice(drawer: LumbarDrawer, stack: Stack, index: int) -> _Section:
    """Means over the planes that stand for the slice's thickness."""
    paintings = [drawer.draw(plane) for plane in stack.planes(index)]
    return _Section(*(np.mean([getattr(one, name) for one in paintings], axis=0) for name in _Section._fields))


def _acquire_slice(section: _Section, drawer: LumbarDrawer, stack: Stack, index: int) -> np.ndarray:
    """The image of one slice (X, Y) uint16; noise differs from slice to slice and from level to level."""
    scan, seed = stack.scan, drawer.person.seed
    sensitivity = make_sensitivity(scan, stack.plane(index), _back(drawer), seed)
    rng = np.random.default_rng((seed, 449, LEVELS.index(scan.level), index))
    return acquire(section.water, section.fat, scan, sensitivity, rng)


def _back(drawer: LumbarDrawer) -> float:
    """y of the back's skin at L3."""
    spine = drawer.spine
    z = float(spine["L3"].centre[2])
    return spine.at(spine.wall_mm - fascia_depth(spine), z) - drawer.person.back_fat_mm


def _signal(share: np.ndarray, signal: np.ndarray, fluid: float) -> float | None:
    """Mean signal of the pixels that are mostly disc, over the fluid's; None where the slice shows none."""
    inside = share > 0.5
    return round(float(signal[inside].mean()) / fluid, 4) if inside.any() else None


def _interpolate(image: np.ndarray, shares: np.ndarray, stack: Stack) -> tuple[np.ndarray, np.ndarray, Grid]:
    """The scan on even voxels: the image by cubic weights, the discs' shares by linear ones."""
    scan, grid = stack.scan, stack.even_grid()
    sizes = zip(image.shape, (scan.spacing_mm, scan.spacing_mm, scan.step_mm), grid.shape, strict=True)
    ways = [(count, step, wanted, scan.isotropic_mm) for count, step, wanted in sizes]

    def turn(array: np.ndarray, cubic: bool) -> np.ndarray:
        first, second, third = (make_resampling(*way, cubic) for way in ways)
        rows, columns = (np.flatnonzero(array.any(axis=axes)) for axes in ((1, 2), (0, 2)))
        array = array[np.ix_(rows, columns)].astype(np.float32)
        array = np.tensordot(first[:, rows], array @ third.T, axes=(1, 0))
        return np.matmul(second[:, columns], array)

    even = np.clip(np.rint(turn(image, True)), 0, 4095).astype(np.uint16)
    return even, np.stack([turn(share, False) for share in shares]), grid


def _majority(shares: np.ndarray, plane: str) -> np.ndarray:
    """Label of the disc that holds more than half of a voxel, 0 where none does.

    Axial slices that are less than half as full of disc as the fullest show an end plate rather than a disc; they get
    no label, as readers choose the slices that show a disc.
    """
    labels = np.zeros(shares.shape[1:], dtype=np.uint8)
    for place, share in enumerate(shares):
        labels[share > 0.5] = _AXIAL_LABEL if plane == "axial" else place + 1
    if plane == "axial":
        filled = np.count_nonzero(labels, axis=(0, 1))
        labels[:, :, filled < _FULL_ENOUGH * filled.max()] = 0
    return labels


def _describe(person: LumbarPerson, scan: LumbarScan, grid: Grid) -> dict[str, Any]:
    return {
        "seed": person.seed,
        "patient": f"PHANTOM-{person.seed:06d}",
        "sex": person.sex,
        "age_years": person.age_years,
        "plane": scan.plane,
        "level": scan.level if scan.plane == "axial" else None,
        "weighting": scan.weighting,
        "field_t": scan.field_t,
        "vendor": scan.vendor,
        "spacing_mm": [round(step, 4) for step in grid.spacing_mm],
        "thickness_mm": scan.thickness_mm,
        "noise": scan.noise,
        "bias": scan.bias,
        "motion": scan.motion,
        "slip_mm": round(person.slip_mm, 2),
        "scoliosis_mm": round(person.scoliosis_mm, 2),
    }


def _describe_acquisition(scan: LumbarScan, person: LumbarPerson) -> Acquisition:
    view = {"sagittal": "SAG", "axial": "TRA"}[scan.plane]
    return Acquisition(
        subject_id=f"PHANTOM-{person.seed:06d}",
        series_description=f"{scan.weighting} TSE {view}" + (f" {scan.level}" if scan.plane == "axial" else ""),
        slice_thickness_mm=scan.thickness_mm,
        manufacturer="Myotome phantom",
        sex=person.sex,
        body_part="LSPINE",
        weighting=scan.weighting,
        fat_suppressed=False,
        echo_time_ms=round(scan.te_ms, 2),
        repetition_time_ms=round(scan.tr_ms, 2),
        field_strength_t=scan.field_t,
    )
