"""Bone density of real CT: HU and density of each level by both calibrations, and what the gate says of them.

Nothing is known of the true density here: what can be seen is whether the two calibrations agree, and what is refused.
Scans and their labels are named in the part ``real`` of ``configs/studies/bone_evaluation.yaml``: those with another
program's 117 structures, and those that the bundle labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from myotome.biomarkers.bone_density import (
    METHODS,
    BoneDensitySettings,
    measure_survey,
    read_bone_density_settings,
    survey_bone,
)
from myotome.errors import InputError
from myotome.geometry import Volume, reorient
from myotome.inference.segmenter import Segmenter
from myotome.io import read_volume
from myotome.io.nifti import read_nifti_labels
from myotome.measurement import Measurement
from myotome.structures import LabelMap
from myotome.studies.bone_evaluation_labels import convert_117

__all__ = ["RealReading", "ScanReadings", "list_missing", "measure_scan", "read_real_scans", "tabulate_real"]

_NOT_LABELLED = "vertebra_not_named"
_REGION = "trabecular region"  # said of a body that is not measured, whose flags are the whole reason
_FIRST, _OTHER = METHODS


@dataclass(frozen=True)
class RealReading:
    """One level of a scan, or the mean of some (``""``): its HU, and its density (mg/cm3, K2HPO4) by each method.

    ``reasons`` has the flags of each method that gives no density, whose sentence is that density's ``method``.
    """

    level: str
    hu: Measurement
    densities: Mapping[str, Measurement]
    reasons: Mapping[str, tuple[str, ...]]

    @property
    def verdict(self) -> str:
        """``number``, or for each method that gives none its reasons."""
        if not self.reasons:
            return "number"
        if len(self.reasons) == len(self.densities) and len(set(self.reasons.values())) == 1:
            return f"none ({', '.join(next(iter(self.reasons.values())))})"
        return "; ".join(f"{_title(name)}: none ({', '.join(flags)})" for name, flags in self.reasons.items())


@dataclass(frozen=True)
class ScanReadings:
    """A scan: its levels from the highest to the lowest and their mean, and its flags; or why it was refused.

    ``references_hu`` are the modes of the reference tissues in the slices of all bodies, ``None`` without one.
    """

    name: str
    labels: str
    readings: tuple[RealReading, ...] = ()
    flags: tuple[str, ...] = ()
    references_hu: Mapping[str, float | None] = field(default_factory=dict)
    refusal: str = ""


def list_missing(data: Path, real: Mapping[str, Any]) -> list[str]:
    """What of the configured scans is not in a folder of real data."""
    names = [row["image"] for part in ("labelled", "by_bundle") for row in real[part]]
    names += [row[mask] for row in real["labelled"] for mask in ("labels", "subcutaneous_fat") if mask in row]
    return [name for name in names if not (data / name).exists()]


def read_real_scans(
    data: Path,
    real: Mapping[str, Any],
    segmenter: Segmenter | None = None,
    settings: BoneDensitySettings | None = None,
) -> list[ScanReadings]:
    """Measure every configured scan that is in the folder, by its own labels or by those of the bundle.

    Parameters
    ----------
    data : folder of real scans
    real : the part ``real`` of ``configs/studies/bone_evaluation.yaml``
    segmenter : labels the scans without labels, which are left out when it is ``None``
    """
    settings, absent = settings or read_bone_density_settings(), set(list_missing(data, real))
    found = []
    for row in real["labelled"]:
        if not absent & set(row.values()):
            found.append(_keep(row["name"], "117 structures", lambda row=row: _read_labelled(data, row), settings))
    for row in real["by_bundle"] if segmenter is not None else ():
        if row["image"] not in absent:
            found.append(_keep(row["name"], "bundle", lambda row=row: _label(data, row, segmenter), settings))
    return found


def _keep(name: str, labels: str, read, settings: BoneDensitySettings) -> ScanReadings:
    try:
        volume, label_map, flags = read()
        found = measure_scan(volume, label_map, settings)
    except InputError as error:
        return ScanReadings(name, labels, refusal=str(error))
    return replace(found, name=name, labels=labels, flags=(*flags, *found.flags))


def _read_labelled(data: Path, row: Mapping[str, str]) -> tuple[Volume, LabelMap, tuple[str, ...]]:
    volume = read_volume(data / row["image"], modality="CT")
    labels = _read_on_grid(data / row["labels"], volume)
    fat = _read_on_grid(data / row["subcutaneous_fat"], volume) if "subcutaneous_fat" in row else None
    return *convert_117(volume, labels, fat), ()


def _label(data: Path, row: Mapping[str, str], segmenter: Segmenter) -> tuple[Volume, LabelMap, tuple[str, ...]]:
    volume = read_volume(data / row["image"], modality="CT")
    labels = segmenter.segment(volume)
    return volume, labels, (_NOT_LABELLED,) if getattr(segmenter, "left_out", ()) else ()


def _read_on_grid(path: Path, volume: Volume) -> np.ndarray:
    array, grid = read_nifti_labels(path)
    turned, affine = reorient(array, np.array(grid.affine), "".join(volume.grid.axis_codes))
    if turned.shape != volume.grid.shape or not np.allclose(affine, volume.grid.affine, atol=0.1):
        raise InputError(f"{path.name} is not on the grid of its image: bring it there first.")
    return turned


def measure_scan(volume: Volume, label_map: LabelMap, settings: BoneDensitySettings | None = None) -> ScanReadings:
    """HU and densities by both methods of every labelled level and of their mean, as the product measures them.

    Returns
    -------
    ScanReadings
        Levels from the highest to the lowest, then the mean; only the mean, refused, where no body is labelled. Flags
        are those of the configured method.

    Raises
    ------
    InputError
        When the image or the labels are none of bone density.
    """
    settings = settings or read_bone_density_settings()
    survey = survey_bone(volume, label_map, settings)
    measured = {method: measure_survey(survey, replace(settings, method=method)) for method in METHODS}
    rows, flags = measured[settings.method]
    of_the_image = set(survey.flags) - {"levels_unsure"}
    readings = []
    for hu in (row for row in rows if row.measure == "density"):
        densities = {name: _density(found, hu.structure) for name, (found, _) in measured.items()}
        refused = {name: row.flags for name, row in densities.items() if row.value is None}
        reasons = {name: tuple(flag for flag in why if flag not in of_the_image) for name, why in refused.items()}
        readings.append(RealReading(hu.level or "", hu, densities, reasons))
    references = {row.structure: row.value for row in rows if row.measure == "reference_density"}
    return ScanReadings("", "", tuple(readings), flags, references)


def _density(rows: Sequence[Measurement], structure: str) -> Measurement:
    return next(row for row in rows if (row.structure, row.measure) == (structure, "bmd"))


def tabulate_real(scans: Sequence[ScanReadings]) -> str:
    """The tables, as Markdown: per scan and level HU, both densities with intervals, and the gate's verdict."""
    lines = [
        f"| scan | labels | level | HU | {_title(_FIRST)}, mg/cm3 | {_title(_OTHER)}, mg/cm3 | gate |",
        "|---" * 7 + "|",
    ]
    for scan in scans:
        if scan.refusal:
            lines.append(f"| {scan.name} | {scan.labels} | – | – | – | – | refused |")
        for one in scan.readings:
            cells = [_show(one.hu, 0), *(_show(one.densities[name], 1) for name in METHODS), one.verdict]
            lines.append(f"| {scan.name} | {scan.labels} | {one.level or 'mean'} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(line for scan in scans for line in _describe(scan))])


def _describe(scan: ScanReadings) -> Iterator[str]:
    """The scan's flags, and what its refusals say."""
    if scan.refusal:
        yield f"- {scan.name}: {scan.refusal}"
        return
    tissues = ", ".join(
        f"{name.replace('_', ' ')} {'none' if hu is None else f'{hu:.0f} HU'}"
        for name, hu in scan.references_hu.items()
    )
    yield f"- {scan.name}: {tissues}; flags {', '.join(scan.flags) or 'none'}"
    said: dict[str, list[str]] = {}
    for one in scan.readings:
        for name in one.reasons:
            sentence = one.densities[name].method
            if sentence != _REGION:
                said.setdefault(sentence, []).append(f"{one.level or 'mean'} {_title(name)}")
    for sentence, where in said.items():
        yield f"  - {', '.join(where)}: {sentence}"


def _title(method: str) -> str:
    return method.replace("_", "-")


def _show(row: Measurement, digits: int) -> str:
    if row.value is None:
        return "–"
    if row.lower is None or row.upper is None:
        return f"{row.value:.{digits}f}"
    return f"{row.value:.{digits}f} ({row.lower:.{digits}f} to {row.upper:.{digits}f})"
