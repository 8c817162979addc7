"""The study from its settings to everything that is reported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from myotome import __version__
from myotome.studies.goutallier.analysis import Scoring, compare_arms, score_arms, score_oracle, score_region
from myotome.studies.goutallier.conclusion import conclude
from myotome.studies.goutallier.run import Progress, Train, run_folds
from myotome.studies.goutallier.settings import StudySettings
from myotome.training import train_bundle

__all__ = ["Findings", "find_out", "run_study"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What the study found: the tables of `myotome.studies.goutallier.analysis`, and what follows from them."""

    predictions: pd.DataFrame
    regions: pd.DataFrame
    scores: pd.DataFrame
    comparisons: pd.DataFrame
    conclusion: list[str]
    software: dict[str, str]


def run_study(
    settings: StudySettings,
    output: Path,
    progress: Progress | None = None,
    train: Train = train_bundle,
    jobs: int = 1,
) -> Findings:
    """Train and score every fold, as far as that is not done yet, and analyse.

    Raises
    ------
    InputError, BundleError, OutputError
        See `myotome.studies.goutallier.run.run_folds`.
    """
    predictions, regions = run_folds(settings, output.resolve(), progress, train, jobs)
    return find_out(predictions, regions, settings)


def find_out(predictions: pd.DataFrame, regions: pd.DataFrame, settings: StudySettings) -> Findings:
    """Score predictions of every arm, and conclude."""
    scoring = Scoring(settings.definitions, settings.calibration_bins, settings.resamples, settings.seed)
    arm = settings.compared["arm"]
    cases = predictions[predictions["arm"] == arm]
    scores = pd.concat(
        [
            score_region(regions, scoring),
            score_arms(predictions, scoring),
            score_arms(predictions, scoring, "rated_grade"),
            score_oracle(cases, scoring),
        ],
        ignore_index=True,
    )
    comparisons = compare_arms(predictions, arm, scoring)
    return Findings(
        predictions=predictions,
        regions=regions,
        scores=scores,
        comparisons=comparisons,
        conclusion=conclude(scores, comparisons, settings),
        software={"myotome": __version__, **{name: version(name) for name in ("torch", "monai", "numpy", "scipy")}},
    )
