"""The study from a cohort's folder and a table of tests to everything that is reported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from myotome import __version__
from myotome.store import Store
from myotome.studies.pft.analysis import correlate_all, count_missing, describe_people
from myotome.studies.pft.conclusion import conclude
from myotome.studies.pft.join import Step, join
from myotome.studies.pft.models import fit_models
from myotome.studies.pft.reference import compute_z_scores
from myotome.studies.pft.settings import Settings
from myotome.studies.pft.table import read_tests

__all__ = ["Findings", "run_study"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What the study found. ``people`` holds one row per analysed patient; patients are named by keyed hashes alone."""

    people: pd.DataFrame
    correlations: pd.DataFrame
    models: pd.DataFrame
    description: pd.DataFrame
    missing: pd.DataFrame
    left_out: pd.DataFrame
    flow: tuple[Step, ...]
    conclusion: list[str]
    tests_sha256: str
    software: dict[str, str]


def run_study(cohort: Path, tests: Path, settings: Settings) -> Findings:
    """Read, check, join and estimate.

    Parameters
    ----------
    cohort : folder that ``myotome cohort run`` wrote, with its private key.
    tests : CSV table of lung-function tests.

    Raises
    ------
    InputError
        When the cohort or the table is refused, or nobody is in both.
    """
    store = Store(cohort)
    table = read_tests(tests, settings.columns, store.subject_key, settings.reference == "gli_2012")
    scored = pd.concat([table.tests, compute_z_scores(table.tests, settings.reference)], axis=1)
    joined = join(store, scored, settings)
    people = joined.nearest
    correlations = correlate_all(people, settings)
    return Findings(
        people=people,
        correlations=correlations,
        models=fit_models(people, joined.every, settings),
        description=describe_people(people, settings),
        missing=count_missing(people, settings),
        left_out=joined.left_out,
        flow=joined.flow,
        conclusion=conclude(correlations, settings),
        tests_sha256=table.sha256,
        software={"myotome": __version__, **{name: version(name) for name in ("pyspiro", "scipy", "statsmodels")}},
    )
