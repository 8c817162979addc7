"""What repeats and faults show: how far densities of one person scatter, and whether a broken calibration says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from myotome.statistics.agreement import compute_least_significant_change
from myotome.statistics.classification import bootstrap, estimate_proportion, weigh_mean
from myotome.studies.qct_agreement.jobs import BROKEN, REPEAT, WHOLE
from myotome.studies.qct_agreement.readings import HU
from myotome.studies.qct_agreement.settings import Fault, StudySettings

__all__ = ["PLAIN_HU", "score_ordeal", "score_precision"]

PLAIN_HU = "hu_value"
"""Method of the rows of mean HU themselves, before a line turns them into densities."""

_LEAST_PEOPLE = 3
_OUTCOMES = ("refused", "flagged", "silent")


def score_precision(readings: pd.DataFrame, plain: Mapping[str, float | None], settings: StudySettings) -> pd.DataFrame:
    """RMS-CV and RMS-SD over repeated scans of one person, of each method and of HU beside it.

    The scan without a change is one of the repeats. People without a number in one of them are left out, and counted.

    Parameters
    ----------
    plain : mean HU of each scan, by ``job_id``
    settings : whose ``precision`` says which factors are taken together

    Returns
    -------
    DataFrame : one row per ``measure`` (name of the factors taken together) and method: ``title``, ``value`` (RMS-CV in
        %; NaN where a density is not positive), ``lower`` and ``upper`` (of resampled people), ``rms_sd`` (mg/cm3, HU),
        ``people``, ``left_out``, ``repeats``
    """
    rows = []
    repeats = readings[readings["part"] == REPEAT]
    for name, part in settings.precision.items():
        chosen = repeats[repeats["factor"].isin([WHOLE, *part.factors])]
        for method, values in _by_person(chosen, plain):
            known = values.dropna()
            row = {"measure": name, "title": part.title, "method": method, "people": len(known)}
            row |= {"left_out": len(values) - len(known), "repeats": values.shape[1]}
            if len(known) >= _LEAST_PEOPLE and values.shape[1] > 1:
                row |= _scatter(known.to_numpy(float), settings.resamples, settings.seed)
            rows.append(row)
    columns = ["measure", "title", "method", "value", "lower", "upper", "rms_sd", "people", "left_out", "repeats"]
    return pd.DataFrame(rows, columns=columns)


def _by_person(repeats: pd.DataFrame, plain: Mapping[str, float | None]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Method, and a table of people by repeats."""
    steps = repeats.assign(repeat=repeats["factor"] + " " + repeats["step"].astype(str))
    for method, rows in steps.groupby("method", sort=False):
        yield method, rows.pivot(index="patient", columns="repeat", values="bmd")
    rows = steps[steps["method"] == HU].assign(bmd=lambda table: table["job_id"].map(plain).astype(float))
    if not rows.empty:
        yield PLAIN_HU, rows.pivot(index="patient", columns="repeat", values="bmd")


def _scatter(values: np.ndarray, resamples: int, seed: int) -> dict[str, float | None]:
    found = compute_least_significant_change(values)
    if found.rms_cv_percent is None:
        return {"rms_sd": found.rms_sd}
    squares = values.var(axis=1, ddof=1) / values.mean(axis=1) ** 2
    share = bootstrap(
        lambda weights: 100 * np.sqrt(weigh_mean(squares, weights)), len(squares), resamples=resamples, seed=seed
    )
    return {"value": share.value, "lower": share.lower, "upper": share.upper, "rms_sd": found.rms_sd}


def score_ordeal(readings: pd.DataFrame, faults: Mapping[str, Fault]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What became of every broken calibration, and of the whole ones beside them.

    A calibration is ``refused`` when there is no number, ``flagged`` when the number has one of the fault's flags, and
    ``silent`` otherwise; of a scan without a fault every number is silent, as it should be.

    Returns
    -------
    cases : one row per scan and method: ``case``, ``fault``, ``method``, ``outcome``, ``named`` (a flag of the fault is
        among its flags), ``flags``, ``bmd``, ``truth``
    counts : one row per fault (and ``all`` of them, and ``whole``) and method: ``refused``, ``flagged``, ``silent``,
        ``named``, ``calibrations``; ``lower`` and ``upper`` are Wilson's, of the share that is silent
    """
    broken = readings[(readings["part"] == BROKEN) & (readings["method"] != HU)]
    cases = [_judge(row, faults) for row in broken.to_dict("records")]
    columns = ["case", "fault", "method", "outcome", "named", "flags", "bmd", "truth"]
    table = pd.DataFrame(cases, columns=columns)
    rows = []
    for method in table["method"].unique():
        own = table[table["method"] == method]
        groups = {"all": own[own["fault"] != WHOLE], **{name: own[own["fault"] == name] for name in (*faults, WHOLE)}}
        rows += [{"fault": name, "method": method, **_count(part)} for name, part in groups.items() if len(part)]
    names = ["fault", "method", *_OUTCOMES, "named", "calibrations", "lower", "upper"]
    return table, pd.DataFrame(rows, columns=names)


def _judge(row: Mapping[str, Any], faults: Mapping[str, Fault]) -> dict[str, Any]:
    flags = row["flags"].split("; ") if row["flags"] else []
    starts = faults[row["fault"]].flags if row["fault"] != WHOLE else ()
    named = any(flag.startswith(start) for flag in flags for start in starts)
    outcome = "refused" if pd.isna(row["bmd"]) else "flagged" if named else "silent"
    kept = {name: row[name] for name in ("case", "fault", "method", "flags", "bmd", "truth")}
    return {**kept, "outcome": outcome, "named": named}


def _count(part: pd.DataFrame) -> dict[str, Any]:
    counts = {name: int((part["outcome"] == name).sum()) for name in _OUTCOMES}
    share = estimate_proportion(counts["silent"], len(part))
    return {
        **counts,
        "named": int(part["named"].sum()),
        "calibrations": len(part),
        "lower": share.lower,
        "upper": share.upper,
    }
