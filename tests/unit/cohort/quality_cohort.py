"""A cohort of people who exist only as numbers: correlated muscles, a few injected oddities, all known."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa

from myotome.io.tables import COLUMNS
from myotome.store import CaseRecord, CohortFolder, Store
from myotome.store.folder import write_tables
from myotome.store.tables import MEASUREMENT_SCHEMA

STRUCTURES = {"pectoralis": 330.0, "erector_spinae": 620.0, "intercostal": 250.0, "other_muscle": 2400.0}
UNITS = {"volume": "mL", "density": "[hnsf'U]"}
STATISTICS = {"volume": "total", "density": "mean"}


def case_name(number: int) -> str:
    """Sixteen hexadecimal digits, in the order of the numbers."""
    return f"{number:04x}" + f"{(number * 2654435761) % 2**48:012x}"


def make_people(count: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cases (case_id, sex, age_years, height_m) and measurements (case_id, structure, side, measure, value).

    log volume is normal with slope 2.5 on log height, larger in men; all eight volumes share a person's build (0.12)
    and differ by 0.06 each; density falls by 0.3 HU a year.
    """
    random = np.random.default_rng(seed)
    ids = [case_name(number) for number in range(count)]
    sex = np.where(random.random(count) < 0.5, "F", "M")
    age = random.integers(25, 86, count).astype(float)
    height = np.round(np.where(sex == "F", 1.64, 1.77) + random.normal(0, 0.065, count), 2)
    build, fat = random.normal(0, 0.12, count), random.normal(0, 4, count)
    rows = []
    for structure, typical in STRUCTURES.items():
        sides = {}
        for side in ("right", "left"):
            log = np.log(typical / 2) + 2.5 * np.log(height / 1.7) + 0.25 * (sex == "M") + build
            volume = np.exp(log + random.normal(0, 0.06, count))
            density = 52 - 0.3 * (age - 25) + fat + random.normal(0, 2, count)
            sides[side] = {"volume": volume, "density": density}
        right, left = sides["right"], sides["left"]
        total = right["volume"] + left["volume"]
        mixed = (right["volume"] * right["density"] + left["volume"] * left["density"]) / total
        sides["both"] = {"volume": total, "density": mixed}
        for side, values in sides.items():
            for measure, value in values.items():
                column = {"case_id": ids, "structure": structure, "side": side, "measure": measure, "value": value}
                rows.append(pd.DataFrame(column))
    cases = pd.DataFrame({"case_id": ids, "sex": sex, "age_years": age, "height_m": height})
    return cases, pd.concat(rows, ignore_index=True)


def change(measurements: pd.DataFrame, case: int, structure: str, side: str, measure: str, factor: float) -> None:
    """Multiply one value of one case, in place."""
    where = (measurements["case_id"] == case_name(case)) & (measurements["structure"] == structure)
    where &= (measurements["side"] == side) & (measurements["measure"] == measure)
    assert where.sum() == 1
    measurements.loc[where, "value"] *= factor


@patch("os.fsync", lambda descriptor: None)  # the folder need not outlive a power cut, and there are thousands
def write_people(folder: Path, cases: pd.DataFrame, measurements: pd.DataFrame, pictures: dict[str, Path]) -> Store:
    """A cohort's folder with these cases. The last two per cent were refused or failed; some carry flags.

    Parameters
    ----------
    pictures : files that every measured case is given (as links to one), by name
    """
    cohort = CohortFolder.create(folder, {"bundle": "respiratory_muscle_ct_segmentation"})
    random = np.random.default_rng(1)
    tables = _make_tables(measurements)
    count = len(cases)
    for number, person in enumerate(cases.itertuples()):
        common = {"case_id": person.case_id, "subject_id": f"S{number:012x}", "software_version": "0.1.0"}
        if number >= 0.98 * count:
            failed = number % 2
            reason = "the worker ended for want of memory." if failed else "the series has gaps between its slices."
            cohort.write_case(CaseRecord(status="failed" if failed else "refused", reason=reason, **common))
            continue
        flags = tuple(
            flag
            for flag, share in (("thick_slices", 0.2), ("contrast_suspected", 0.3), ("metal", 0.03))
            if random.random() < share
        )
        record = CaseRecord(
            status="done",
            bundle="respiratory_muscle_ct_segmentation",
            bundle_version="0.1.0",
            flags=flags,
            sex=person.sex,
            age_years=person.age_years,
            height_m=person.height_m,
            slices=int(random.integers(60, 320)),
            slice_thickness_mm=5.0 if "thick_slices" not in flags else 7.5,
            uncertainty=round(float(random.gamma(4, 0.02)), 5),
            finished_at="2026-03-01 10:00:00",
            **common,
        )
        with cohort.new_case(record.case_id) as new:
            _add(new, pictures)
            write_tables(new, record, tables[person.case_id])
    return Store(folder)


def _add(new: Path, pictures: dict[str, Path]) -> None:
    for name, path in pictures.items():
        os.link(path, new / name)


def _make_tables(measurements: pd.DataFrame) -> dict[str, pa.Table]:
    """One Arrow table of the store's form per case."""
    fixed = {"structure_code": "SCT:127954009", "method": "voxel count", "software_version": "0.1.0", "run_id": "r"}
    fixed |= {"bundle": "respiratory_muscle_ct_segmentation", "bundle_version": "0.1.0", "weights_sha256": "0" * 64}
    frame = measurements.sort_values("case_id", kind="stable").assign(
        unit=measurements["measure"].map(UNITS), statistic=measurements["measure"].map(STATISTICS), **fixed
    )
    frame["flags"] = [["absent"] if pd.isna(value) else [] for value in frame["value"]]
    for column in COLUMNS:
        if column not in frame:
            frame[column] = None
    table = pa.Table.from_pandas(frame[MEASUREMENT_SCHEMA.names], schema=MEASUREMENT_SCHEMA, preserve_index=False)
    names, starts = np.unique(frame["case_id"].to_numpy(dtype=str), return_index=True)
    ends = [*starts[1:], len(frame)]
    return {name: table.slice(int(a), int(b - a)) for name, a, b in zip(names, starts, ends, strict=True)}
