"""The study from its settings to everything that is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from myotome import __version__
from myotome.biomarkers.bone_density import BoneDensitySettings
from myotome.studies.qct_agreement.analysis import (
    compare_methods,
    count_flow,
    score_agreement,
    score_areas,
    score_coverage,
    score_decisions,
)
from myotome.studies.qct_agreement.bars import judge_bars
from myotome.studies.qct_agreement.conclusion import conclude
from myotome.studies.qct_agreement.fitting import Fit, apply_fit, fit_methods, write_coefficients
from myotome.studies.qct_agreement.jobs import TEST, TRAINING
from myotome.studies.qct_agreement.ordeal import score_ordeal, score_precision
from myotome.studies.qct_agreement.readings import HU, rate, read_survey, tabulate_readings
from myotome.studies.qct_agreement.run import STUDY, Means, SiteFiles, Surveyed, survey_people
from myotome.studies.qct_agreement.settings import StudySettings

__all__ = ["Findings", "find_out", "run_study"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What the study found: tables of `myotome.studies.qct_agreement.analysis` and its kin, and what follows from them.

    ``tables`` has ``readings``, ``coefficients``, ``agreement``, ``areas``, ``decisions``, ``comparisons``,
    ``coverage``, ``precision``, ``ordeal``, ``ordeal_cases``, ``flow`` and ``bars``. ``coefficients`` is YAML, in the
    form of ``configs/bone_density.yaml``.
    """

    tables: dict[str, pd.DataFrame]
    coefficients: str
    conclusion: list[str]
    facts: dict[str, Any]
    software: dict[str, str]


def run_study(
    settings: StudySettings, output: Path, means: Means | None = None, site: SiteFiles | None = None
) -> Findings:
    """Survey every scan, as far as that is not done yet, fit on the training part, and analyse.

    Raises
    ------
    InputError, BundleError, OutputError
        See `myotome.studies.qct_agreement.run.survey_people` and `myotome.studies.qct_agreement.fitting.fit_methods`.
    """
    means = means or Means()
    surveyed = survey_people(settings, output.resolve(), means, site)
    return find_out(surveyed, settings, means.tools.bone)


def find_out(surveyed: Surveyed, settings: StudySettings, bone: BoneDensitySettings) -> Findings:
    """Fit on the rows of the training part, rate every row with what was fitted, and score."""
    training = [row for row in surveyed.rows if row["job"]["part"] == TRAINING]
    people = sum(row["reference"]["mg_cm3"] is not None for row in training)
    labels = "a site's scans" if surveyed.rows[0]["job"]["image"] else f"phantoms, labels by {settings.segmenter}"
    source = f"myotome study {STUDY} {surveyed.fingerprint}: {people} {labels}"
    fit = fit_methods(training, settings, bone, source)
    fitted = apply_fit(fit, bone)
    readings = tabulate_readings(
        surveyed.rows, fitted, fit.coefficients[HU].other, settings.leave_out, settings.methods
    )
    tables = _score(readings, _plain_hu(surveyed, bone), fit, settings, fitted)
    facts = _describe(surveyed, settings, people, source)
    return Findings(
        tables=tables,
        coefficients=write_coefficients(fit),
        conclusion=conclude(tables, settings),
        facts=facts,
        software={"myotome": __version__, **{name: version(name) for name in ("numpy", "scipy", "pandas")}},
    )


def _score(
    readings: pd.DataFrame,
    plain: Mapping[str, float | None],
    fit: Fit,
    settings: StudySettings,
    bone: BoneDensitySettings,
) -> dict[str, pd.DataFrame]:
    parts = readings[readings["part"].isin([TRAINING, TEST])]
    cutoffs = {"osteoporosis": bone.cutoffs.osteoporosis_mg_cm3, "low": bone.cutoffs.normal_mg_cm3}
    cases, counts = score_ordeal(readings, settings.broken.faults)
    tables = {
        "readings": readings,
        "coefficients": fit.table,
        "agreement": score_agreement(parts, settings.groups, settings.fewest_in_group),
        "areas": score_areas(parts, cutoffs["osteoporosis"]),
        "decisions": score_decisions(parts, cutoffs, fit.youden_mg_cm3),
        "comparisons": compare_methods(parts, settings.methods[0], cutoffs["osteoporosis"]),
        "coverage": score_coverage(parts),
        "precision": score_precision(readings, plain, settings),
        "ordeal": counts,
        "ordeal_cases": cases,
        "flow": count_flow(parts),
    }
    return {**tables, "bars": judge_bars(tables, settings.bars, settings.methods)}


def _plain_hu(surveyed: Surveyed, bone: BoneDensitySettings) -> dict[str, float | None]:
    """Mean HU of the repeats, as they are."""
    repeats = [row for row in surveyed.rows if row["job"]["factor"]]
    return {row["job_id"]: rate(read_survey(row["survey"]), HU, bone).value for row in repeats}


def _describe(surveyed: Surveyed, settings: StudySettings, people: int, source: str) -> dict[str, Any]:
    rows = surveyed.rows
    return {
        "scans": len(rows),
        "training": sum(row["job"]["part"] == TRAINING for row in rows),
        "test": sum(row["job"]["part"] == TEST for row in rows),
        "fitted_on": people,
        "without_qct": surveyed.without_qct,
        "site": bool(rows[0]["job"]["image"]),
        "hours": sum(row["seconds"] for row in rows) / 3600,
        "fingerprint": surveyed.fingerprint,
        "source": source,
    }
