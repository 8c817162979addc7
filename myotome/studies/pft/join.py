"""Scans and tests brought together by the keyed hash of the patient, and what became of everyone on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from myotome.errors import InputError
from myotome.studies.pft.settings import Settings

__all__ = ["Joined", "Step", "Tables", "join"]

_MUSCLE = """
SELECT case_id, structure, measure, value, flags FROM included_measurements
WHERE structure = ? AND measure = ? AND statistic = ? AND side = 'both' AND slice_index IS NULL AND level IS NULL
"""
_CASES = """
SELECT case_id, subject_id, status, sex, study_date, slice_thickness_mm, contrast_agent,
       case_id IN (SELECT case_id FROM reviews WHERE decision = 'exclude') AS excluded
FROM cases ORDER BY case_id
"""


class Tables(Protocol):
    """What is asked of a cohort's store."""

    def frame(self, sql: str, parameters: tuple = ()) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Step:
    """One box of the flow diagram: how many came to it, and who left there and why, in order.

    ``unit`` is what is counted ("scans", "patients", "tests"); ``left`` holds reason and count, none of them zero.
    """

    title: str
    unit: str
    count: int
    left: tuple[tuple[str, int], ...] = ()

    @property
    def remaining(self) -> int:
        return self.count - sum(count for _, count in self.left)


@dataclass(frozen=True, eq=False)
class Joined:
    """One row per patient in ``nearest`` (scan and test nearest in time), one per pair of scan and test in ``every``.

    In ``every`` no scan and no test stands twice: a second scan needs a test of its own.

    Columns: those of the tests, ``case_id``, ``days`` from scan to test (NaN for a scan without a date), and one column
    "<muscle>.<measure>" per muscle measure, NaN where it cannot be used. ``flow`` goes from the cohort to the analysed.
    """

    nearest: pd.DataFrame
    every: pd.DataFrame
    flow: tuple[Step, ...]
    left_out: pd.DataFrame


def join(store: Tables, tests: pd.DataFrame, settings: Settings) -> Joined:
    """Match scans and tests.

    A scan is matched to the patient's test nearest in time inside the window; a patient's scan is the one nearest to a
    test (then the one with thinner slices, then the smaller case id). Scans without a date take the patient's latest
    test, if the settings include them at all.

    Raises
    ------
    InputError
        When no patient is left.
    """
    cases = store.frame(_CASES)
    muscle, left_out = _read_muscle(store, settings)
    reached = _sort_cases(cases, muscle)
    usable = cases[reached == "usable"].merge(muscle, left_on="case_id", right_index=True)
    pairs, reasons = _match(usable, tests, settings)
    if pairs.empty:
        scanned, tested = len(reasons), tests["subject_id"].nunique()
        raise InputError(
            f"no patient has both a usable scan and a test within {settings.window_days} days ({scanned} patients "
            f"with a scan, {tested} with a test): look at the identifiers of both, or widen the window."
        )
    nearest = pairs.drop_duplicates("subject_id").reset_index(drop=True)
    flow = _describe(cases, reached, usable, tests, pairs, reasons)
    every = pairs.drop_duplicates(["subject_id", "test_date"]).reset_index(drop=True)
    return Joined(nearest, every, flow, left_out)


def _read_muscle(store: Tables, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values by case, one column per muscle measure; and how many of each were left out for what flag."""
    columns, rows = {}, []
    for muscle in settings.muscles:
        for measure in settings.muscle_measures:
            name = f"{muscle}.{measure.name}"
            found = store.frame(_MUSCLE, (muscle, measure.measure, measure.statistic)).set_index("case_id")
            spoilt = found["flags"].map(lambda flags, m=measure: _spoiling(flags, m.leave_out))
            columns[name] = found["value"].where(spoilt == "").astype(float)
            counts = spoilt[spoilt != ""].value_counts()
            rows += [
                {"muscle": muscle, "measure": measure.name, "flag": flag, "scans": n} for flag, n in counts.items()
            ]
            absent = int((found["value"].isna() & (spoilt == "")).sum())
            if absent:
                rows.append({"muscle": muscle, "measure": measure.name, "flag": "no value", "scans": absent})
    frame = pd.DataFrame(columns)
    return frame[frame.notna().any(axis=1)], pd.DataFrame(rows, columns=["muscle", "measure", "flag", "scans"])


def _spoiling(flags: object, leave_out: tuple[str, ...]) -> str:
    """The first flag for which a value is left out, or nothing."""
    flags = [] if flags is None or isinstance(flags, float) else list(flags)
    return next((flag for flag in flags if any(flag.startswith(start) for start in leave_out)), "")


def _sort_cases(cases: pd.DataFrame, muscle: pd.DataFrame) -> pd.Series:
    """What each case came to, in the order in which reasons count."""
    choices = [
        (cases["status"] == "refused", "input refused"),
        (cases["status"] == "failed", "analysis failed"),
        (cases["excluded"].astype(bool), "excluded by a reader"),
        (~cases["case_id"].isin(muscle.index), "no usable measurement"),
    ]
    reached = np.select([mask for mask, _ in choices], [reason for _, reason in choices], "usable")
    return pd.Series(reached, index=cases.index)


def _match(usable: pd.DataFrame, tests: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, pd.Series]:
    """Pairs, best first within a patient; and why each patient with a scan has none ("" when they have)."""
    scans = usable.rename(columns={"sex": "scan_sex"})
    scans["study_date"] = pd.to_datetime(scans["study_date"])
    dated = scans["study_date"].notna()
    both = scans.merge(tests, on="subject_id")
    both["days"] = (pd.to_datetime(both["test_date"]) - both["study_date"]).dt.days
    undated = both["days"].isna()
    same = both["scan_sex"].isna() | (both["scan_sex"] == both["sex"])
    inside = both["days"].abs() <= settings.window_days
    if settings.undated == "include":
        latest = both["test_date"] == both.groupby("subject_id")["test_date"].transform("max")
        inside |= undated & latest
    both["away"] = both["days"].abs().fillna(np.inf)
    pairs = both[inside & same].sort_values(["away", "slice_thickness_mm", "case_id", "test_date"], kind="stable")
    pairs = pairs.drop_duplicates("case_id").sort_values("subject_id", kind="stable").drop(columns="away")
    patients = pd.Series("", index=pd.Index(scans["subject_id"].unique(), name="subject_id"))
    reasons = (
        ("no test", ~patients.index.isin(tests["subject_id"])),
        ("no scan with a date", ~patients.index.isin(scans.loc[dated, "subject_id"]) & (settings.undated == "exclude")),
        (f"no test within {settings.window_days} days", ~patients.index.isin(both.loc[inside, "subject_id"])),
        ("sex differs between scan and test", ~patients.index.isin(pairs["subject_id"])),
    )
    for reason, missing in reasons:
        patients[(patients == "") & missing] = reason
    return pairs, patients


def _describe(
    cases: pd.DataFrame,
    reached: pd.Series,
    usable: pd.DataFrame,
    tests: pd.DataFrame,
    pairs: pd.DataFrame,
    reasons: pd.Series,
) -> tuple[Step, ...]:
    patients = pairs["subject_id"].nunique()
    scanned, matched = tests["subject_id"].isin(usable["subject_id"]), tests["subject_id"].isin(pairs["subject_id"])
    used = len(pairs.drop_duplicates("subject_id"))
    tests_left = (
        ("patient without a usable scan", int((~scanned).sum())),
        ("patient without a match", int((scanned & ~matched).sum())),
        ("further test of an analysed patient", int(matched.sum()) - used),
    )
    scans_left = (
        ("no matching test", len(usable) - len(pairs)),
        ("further scan of an analysed patient", len(pairs) - patients),
    )
    return (
        Step("Scans in the cohort", "scans", len(cases), _counted(reached[reached != "usable"])),
        Step("Usable scans", "scans", len(usable), tuple(part for part in scans_left if part[1])),
        Step("Patients with a usable scan", "patients", len(reasons), _counted(reasons[reasons != ""])),
        Step("Tests in the table", "tests", len(tests), tuple(part for part in tests_left if part[1])),
        Step("Patients analysed", "patients", patients),
    )


def _counted(reasons: pd.Series) -> tuple[tuple[str, int], ...]:
    return tuple((str(reason), int(count)) for reason, count in reasons.value_counts(sort=False).items())
