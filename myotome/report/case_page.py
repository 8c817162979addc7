"""What every case's page shows alike: its picture, its flags in sentences, the image and what made the result."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from myotome.geometry import Volume
from myotome.measurement import CaseResult, Measurement
from myotome.report.flag_meanings import describe_flag
from myotome.report.measure_names import name_in_sentence

__all__ = ["describe_case", "flag_words"]

_INPUTS = {
    "name": "Input",
    "subject_id": "Subject",
    "series_description": "Series",
    "study_uid": "Study UID",
    "series_uid": "Series UID",
    "voxels_sha256": "Voxels, SHA-256",
}


def describe_case(
    volume: Volume, result: CaseResult, measurements: list[Measurement], overview_path: Path | str | None
) -> dict[str, Any]:
    """Values of the template ``case.html.j2``.

    Parameters
    ----------
    measurements : those whose flags are explained
    overview_path : PNG to show, or ``None``
    """
    picture = None if overview_path is None else base64.b64encode(Path(overview_path).read_bytes()).decode("ascii")
    return {
        "title": result.provenance.title,
        "picture": picture,
        "case_flags": [(flag_words(flag), describe_flag(flag)) for flag in result.flags],
        "structure_flags": _structure_flags(result, measurements),
        "facts": _facts(volume, result),
        "software": sorted(result.provenance.software.items()),
        "notes": result.provenance.notes,
    }


def flag_words(flag: str) -> str:
    """A flag's name as words, without what stands behind its colon."""
    return flag.partition(":")[0].replace("_", " ")


def _structure_flags(result: CaseResult, measurements: list[Measurement]) -> list[tuple[str, str, str]]:
    """Name, meaning, and where it applies, of flags that do not hold for the whole case.

    Where: the structure and side, or the measure of a structure that has no sides.
    """
    known = {structure.name: structure for structure in result.structures}
    places: dict[str, dict[str, None]] = {}
    for row in measurements:
        structure = known.get(row.structure)
        title, sided = (structure.title, structure.sided) if structure else (row.structure, True)
        where = f"{title}, {row.side}" if sided else f"{title}, {name_in_sentence(row)}"
        for flag in row.flags:
            if flag not in result.flags and (row.side != "both" or not sided):
                places.setdefault(flag, {})[where] = None
    return [(flag_words(flag), describe_flag(flag), "; ".join(where)) for flag, where in places.items()]


def _facts(volume: Volume, result: CaseResult) -> list[tuple[str, str]]:
    """Image and provenance, without what is not recorded."""
    provenance, acquisition = result.provenance, volume.acquisition
    spacing = " × ".join(f"{step:.3g}" for step in volume.grid.spacing_mm)
    shape = " × ".join(str(size) for size in volume.grid.shape)
    facts = [
        *((title, provenance.input.get(key)) for key, title in _INPUTS.items()),
        ("Image", f"{shape} voxels of {spacing} mm"),
        ("Slice thickness", _unit(acquisition.slice_thickness_mm, "mm")),
        ("Tube voltage", _unit(acquisition.tube_voltage_kv, "kV")),
        ("Kernel", acquisition.kernel),
        ("Contrast agent", acquisition.contrast_agent),
        ("Weighting", acquisition.weighting),
        ("Fat suppression", "yes" if acquisition.fat_suppressed else None),
        ("Echo time", _unit(acquisition.echo_time_ms, "ms")),
        ("Repetition time", _unit(acquisition.repetition_time_ms, "ms")),
        ("Field strength", _unit(acquisition.field_strength_t, "T")),
        ("Scanner", acquisition.manufacturer),
        ("Bundle", f"{provenance.bundle} {provenance.bundle_version}" if provenance.bundle != "none" else None),
        ("Weights, SHA-256", provenance.weights_sha256 if provenance.weights_sha256 != "none" else None),
        ("Device", provenance.device if provenance.device != "none" else None),
        ("Computed by", f"{provenance.engine}, {provenance.precision}" if provenance.engine != "none" else None),
        ("Run", provenance.run_id),
    ]
    return [(title, str(value)) for title, value in facts if value]


def _unit(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:g} {unit}"
