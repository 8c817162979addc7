"""Phantom people as a real cohort and a real table of tests, with everything that goes wrong in one."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from myotome import __version__
from myotome.errors import OutputError
from myotome.io.atomic import atomic_path
from myotome.io.tables import COLUMNS
from myotome.store import CaseRecord, CohortFolder, make_measurement_table
from myotome.store.identifiers import Pseudonyms
from myotome.studies.pft.phantoms import LUNG_FUNCTION, Population, draw_population, measure_muscle
from myotome.studies.pft.settings import Settings

__all__ = ["write_phantom_cohort"]

_FIRST_DAY = date(2024, 1, 1)
_UNITS = {"volume": "mL", "density": "[hnsf'U]"}
# Days between two scans of a person, and by how much (a share) two tests differ.
_BETWEEN_SCANS = 200
_RETEST = 0.04
_DIGITS = {"fvc_l": 3, "fev1_l": 3, "fev1_fvc": 5, "dlco_mmol_min_kpa": 3, "mip_cmh2o": 1, "mep_cmh2o": 1}


@dataclass(frozen=True)
class _Fate:
    """What happens to one person: shares of everyone, decided by one number in 0..1 each."""

    refused: bool
    undated: bool
    untested: bool
    late: bool
    tested_twice: bool
    scanned_twice: bool
    without_dlco: bool
    without_pressures: bool
    truncated: bool


_SHARES = {
    "refused": 0.02,
    "undated": 0.02,
    "untested": 0.03,
    "late": 0.03,
    "tested_twice": 0.08,
    "scanned_twice": 0.05,
    "without_dlco": 0.06,
    "without_pressures": 0.15,
    "truncated": 0.03,
}


def write_phantom_cohort(
    folder: Path,
    count: int,
    seed: int,
    settings: Settings,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Path, Path]:
    """Write ``cohort/`` and ``pft.csv``: measured muscle of phantom people, and their tests under their original ids.

    Scans are refused, undated or repeated, tests missing, late or repeated, and values missing, each for a few per cent
    of the people. There are no images.

    Returns
    -------
    tuple : the cohort's folder and the table of tests.

    Raises
    ------
    OutputError
        When the folder is not empty, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError("the folder for the phantom cohort is not empty: choose another.")
    people = draw_population(settings.phantoms["truth"], count, seed, progress)
    rng = np.random.default_rng((seed, 67))
    scans = [measure_muscle(people, settings, rng) for _ in range(2)]
    fates = [_Fate(**{name: bool(rng.random() < share) for name, share in _SHARES.items()}) for _ in range(count)]
    days = rng.integers(0, 365, count)
    cohort = CohortFolder.create(folder / "cohort", {"bundle": "phantoms"})
    keys = Pseudonyms(cohort.key)
    for row, fate in enumerate(fates):
        original = _original(seed + row)
        for number in range(1 + fate.scanned_twice):
            facts = _facts(people, row, keys, original, number)
            if fate.undated:
                facts["study_date"] = None
            else:
                facts["study_date"] = (_FIRST_DAY + timedelta(int(days[row]) + _BETWEEN_SCANS * number)).isoformat()
            _write_scan(cohort, facts, {key: values[row] for key, values in scans[number].items()}, fate)
        if progress:
            progress(row + 1, count, "phantom scans")
    _write_tests(folder / "pft.csv", people, fates, days, seed, rng)
    return folder / "cohort", folder / "pft.csv"


def _original(seed: int) -> str:
    return f"PHANTOM-{seed:07d}"


def _facts(people: Population, row: int, keys: Pseudonyms, original: str, number: int) -> dict[str, Any]:
    return {
        "case_id": keys.case(original, str(number)),
        "subject_id": keys.subject(original),
        "study_uid": keys.uid(f"{original}/{number}"),
        "series_uid": keys.uid(f"{original}/{number}/1"),
        "sex": "M" if people.male[row] else "F",
        "height_m": round(float(people.height_cm[row]) / 100, 2),
        "slice_thickness_mm": 1.0,
        "software_version": __version__,
        "bundle": "phantoms",
        "run_id": "phantoms",
    }


def _write_scan(cohort: CohortFolder, facts: dict[str, Any], values: dict[tuple[str, str], float], fate: _Fate) -> None:
    if fate.refused:
        record = CaseRecord(status="refused", reason="the series has missing slices: send it whole.", **facts)
        cohort.write_case(record)
        return
    rows = []
    for (structure, measure), value in values.items():
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {
            name: facts[name]
            for name in ("subject_id", "study_uid", "series_uid", "bundle", "run_id", "software_version")
        }
        row |= {"structure": structure, "structure_code": "SCT:", "side": "both", "measure": measure}
        row |= {"statistic": "total" if measure == "volume" else "mean", "value": float(value), "unit": _UNITS[measure]}
        row |= {"method": "phantom", "bundle_version": "none", "weights_sha256": "none"}
        row["flags"] = ["truncated_left"] if fate.truncated and structure == "pectoralis" else []
        rows.append(row)
    cohort.write_case(CaseRecord(status="done", **facts), make_measurement_table(facts["case_id"], rows))


def _write_tests(
    path: Path, people: Population, fates: list[_Fate], days: np.ndarray, seed: int, rng: np.random.Generator
) -> None:
    header = ["subject_id", "test_date", "sex", "age_years", "height_cm", *LUNG_FUNCTION]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row, fate in enumerate(fates):
            for day, factor in _test_days(fate, int(days[row]), rng):
                facts = [
                    _original(seed + row),
                    (_FIRST_DAY + timedelta(day)).isoformat(),
                    "M" if people.male[row] else "F",
                ]
                facts += [f"{people.age_years[row]:.2f}", f"{people.height_cm[row]:.1f}"]
                writer.writerow([*facts, *_cells(people, row, fate, factor)])


def _test_days(fate: _Fate, day: int, rng: np.random.Generator) -> Iterator[tuple[int, float]]:
    """Day of each test, and the factor by which it differs from the person's lung function: one with each scan."""
    if fate.untested:
        return
    near = day + int(rng.integers(-60, 61))
    yield near + (900 if fate.late else 0), 1.0
    if fate.scanned_twice:
        yield near + _BETWEEN_SCANS, 1 + _RETEST * float(rng.normal())
    if fate.tested_twice:
        yield near - 500, 1 + _RETEST * float(rng.normal())


def _cells(people: Population, row: int, fate: _Fate, factor: float) -> Iterator[str]:
    for name in LUNG_FUNCTION:
        lost = (fate.without_dlco and name.startswith("dlco")) or (fate.without_pressures and name.startswith("m"))
        value = people.lung[name][row] * (1.0 if name == "fev1_fvc" else factor)
        yield "" if lost else f"{value:.{_DIGITS[name]}f}"
