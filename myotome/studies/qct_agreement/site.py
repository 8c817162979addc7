"""A site's own scans and its ``qct.csv``: read, checked, refused with the lines to mend; never converted by a guess.

``qct.csv`` has one line per patient (column ``patient``) or per scan (column ``case``), with ``bmd`` and ``unit``
(mg/cm3), or ``bmd_mg_cm3``. It may have ``equivalent`` (K2HPO4, which is taken without it, or HA) and ``part``
(training or test).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myotome.biomarkers.bone_density import to_k2hpo4
from myotome.errors import InputError
from myotome.studies.agreement_tables import Table, read_numbers, read_table
from myotome.studies.case_lists import read_case_rows
from myotome.studies.qct_agreement.jobs import TEST, TRAINING, Job
from myotome.studies.qct_agreement.settings import Site

__all__ = ["list_site_jobs", "read_qct"]

_KEYS = ("case", "patient")
_UNITS = ("mg/cm3", "mg/cm³", "mg/ml", "mg/cc")
_GRAMS = ("g/cm3", "g/cm³", "g/ml", "g/cc")
_EQUIVALENTS = {"": float, "k2hpo4": float, "ha": to_k2hpo4, "hydroxyapatite": to_k2hpo4}
_PARTS = (TRAINING, TEST)
_LISTED = 6


def list_site_jobs(data: Path, qct: Path, site: Site, seed: int) -> tuple[list[Job], int]:
    """A job for every scan that has QCT, divided into training and test; and how many scans have none.

    Parameters
    ----------
    data : JSON list of scans: rows with ``image`` (NIfTI, or a DICOM folder), and if known ``label`` (a label map in
        the numbering of ``bone_density_ct``), ``case`` and ``patient``
    qct : the table of QCT
    site : range that is believed, and the share of the test part where the table does not divide the patients
    seed : of that division

    Raises
    ------
    InputError
        When a file is not such a list or table, or a part would have too few patients.
    """
    scans = read_case_rows(data, "scans", needed=("image",))
    table = read_qct(qct, scans, site)
    if table["part"].eq("").any():
        table["part"] = _divide(table["patient"].tolist(), site.test_share, seed)
    counts = {part: int((table["part"] == part).sum()) for part in _PARTS}
    if counts[TRAINING] < site.fewest_training or counts[TEST] < 3:
        raise InputError(
            f"{counts[TRAINING]} scans with QCT are for training and {counts[TEST]} for test: {site.fewest_training} "
            "and 3 are needed, so give more patients, or divide them by the column 'part'."
        )
    known = {scan["case"]: scan for scan in scans}
    jobs = []
    for row in table.to_dict("records"):
        scan = known[row["case"]]
        files = {"image": scan["image"], "label": scan["label"]}
        jobs.append(Job(row["part"], row["case"], row["patient"], qct_mg_cm3=row["qct"], **files))
    return jobs, len(scans) - len(jobs)


def read_qct(path: Path, scans: Sequence[dict[str, Any]], site: Site) -> pd.DataFrame:
    """The table of QCT, one row per scan: ``case``, ``patient``, ``qct`` (mg/cm3, K2HPO4) and ``part`` (or empty).

    Parameters
    ----------
    scans : rows with ``case`` and ``patient``

    Raises
    ------
    InputError
        When it is not such a table, its unit is not mg/cm3, a value is not believed, a patient is not known or stands
        twice, or a patient has several scans and the table does not say which. The sentence names lines, no patient.
    """
    table = read_table(path)
    key = next((name for name in _KEYS if name in table.frame), None)
    if key is None:
        raise InputError(
            f"'{path.name}' has no column 'patient' or 'case': add one, to say whose density each line is."
        )
    values = _read_values(table, site)
    names = table.frame[key]
    _refuse_lines(path, names.index[names == ""], f"the {key} is empty; fill it in.")
    doubled = names.index[names.duplicated(keep=False)]
    _refuse_lines(path, doubled, f"a {key} stands in the table twice; keep the measurement that counts.")
    of_key: dict[str, list[dict[str, Any]]] = {}
    for scan in scans:
        of_key.setdefault(scan[key], []).append(scan)
    unknown = names.index[~names.isin(of_key)]
    _refuse_lines(path, unknown, f"the {key} has no scan in the list; correct the name, or leave the line out.")
    several = names.index[names.map(lambda name: len(of_key[name]) > 1)]
    _refuse_lines(path, several, "the patient has several scans; name the scan of each line in a column 'case'.")
    chosen = [of_key[name][0] for name in names]
    found = {name: [scan[name] for scan in chosen] for name in _KEYS}
    return pd.DataFrame({**found, "qct": values.tolist(), "part": _read_parts(table)})


def _read_values(table: Table, site: Site) -> np.ndarray:
    column = "bmd_mg_cm3" if "bmd_mg_cm3" in table.frame else "bmd"
    values = read_numbers(table, column)
    _refuse_lines(table.path, values.index[values.isna()], f"{column} is empty; fill it in, or leave the line out.")
    if column == "bmd":
        _check_units(table)
    numbers = values.to_numpy(float)
    if "equivalent" in table.frame:
        words = table.frame["equivalent"].str.lower()
        _refuse_lines(table.path, words.index[~words.isin(_EQUIVALENTS)], "equivalent is neither K2HPO4 nor HA.")
        numbers = np.array([_EQUIVALENTS[word](number) for word, number in zip(words, numbers, strict=True)])
    low, high = site.range_mg_cm3
    outside = values.index[(numbers < low) | (numbers > high)]
    if np.abs(numbers).max() < high / 100:
        raise InputError(f"every {column} of '{table.path.name}' is below {high / 100:g}: is it g/cm3? Give mg/cm3.")
    _refuse_lines(table.path, outside, f"{column} is not within {low:g} to {high:g} mg/cm3; look at the unit.")
    return numbers


def _check_units(table: Table) -> None:
    if "unit" not in table.frame:
        raise InputError(f"'{table.path.name}' has no column 'unit': add it, with mg/cm3 in every line.")
    words = table.frame["unit"].str.lower().str.replace(" ", "")
    grams = words.index[words.isin(_GRAMS)]
    _refuse_lines(table.path, grams, "the unit is g/cm3; give mg/cm3, which is 1000 times the number.")
    _refuse_lines(table.path, words.index[~words.isin(_UNITS)], "the unit is not mg/cm3; give densities in mg/cm3.")


def _read_parts(table: Table) -> list[str]:
    if "part" not in table.frame:
        return [""] * len(table.frame)
    words = table.frame["part"].str.lower()
    _refuse_lines(table.path, words.index[~words.isin(_PARTS)], f"part is neither {_PARTS[0]} nor {_PARTS[1]}.")
    return words.tolist()


def _divide(patients: Sequence[str], share: float, seed: int) -> list[str]:
    """Part of each patient: a seeded draw, whatever the order of the lines."""
    ordered = sorted(set(patients))
    drawn = np.random.default_rng(seed).permutation(len(ordered))
    aside = {ordered[place] for place in drawn[: round(share * len(ordered))]}
    return [TEST if patient in aside else TRAINING for patient in patients]


def _refuse_lines(path: Path, lines: Sequence[int], what: str) -> None:
    if len(lines):
        more = f" and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
        shown = ", ".join(map(str, lines[:_LISTED])) + more
        raise InputError(f"'{path.name}', line{'' if len(lines) == 1 else 's'} {shown}: {what}")
