"""The study from its settings to everything that is reported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from myotome import __version__
from myotome.inference import DiscFinder
from myotome.studies.lumbar_disc.analysis import MEASURES, compare_splits, estimate_scores
from myotome.studies.lumbar_disc.run import OpenFinder, Progress, SplitResult, Train, run_splits
from myotome.studies.lumbar_disc.settings import StudySettings
from myotome.training import train_bundle

__all__ = ["Findings", "find_out", "run_study"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What the study found: every slice, the scores of each split, the leak, and what follows from them.

    ``splits`` has a row per split: ``split``, ``training``, ``test`` (images) and ``shared`` (test images of a patient
    who has an image in the training part).
    """

    rows: pd.DataFrame
    splits: pd.DataFrame
    scores: pd.DataFrame
    leak: pd.DataFrame
    conclusion: list[str]
    software: dict[str, str]


def run_study(
    settings: StudySettings,
    output: Path,
    progress: Progress | None = None,
    train: Train = train_bundle,
    open_finder: OpenFinder = DiscFinder,
) -> Findings:
    """Train and score every split, as far as that is not done yet, and analyse.

    Raises
    ------
    InputError, BundleError, OutputError
        See `myotome.studies.lumbar_disc.run.run_splits`.
    """
    return find_out(run_splits(settings, output.resolve(), progress, train, open_finder), settings)


def find_out(results: list[SplitResult], settings: StudySettings) -> Findings:
    """Estimate the scores of every split, compare the two, and conclude."""
    rows = pd.concat([result.rows.assign(split=result.name) for result in results], ignore_index=True)
    splits = pd.DataFrame(
        [(one.name, one.training_images, one.test_images, one.shared) for one in results],
        columns=["split", "training", "test", "shared"],
    )
    sampling = {"resamples": settings.resamples, "seed": settings.seed}
    scores = pd.concat(
        [estimate_scores(one.rows, one.table, **sampling).assign(split=one.name) for one in results],
        ignore_index=True,
    )
    leak = compare_splits(rows, **sampling)
    software = {"myotome": __version__}
    software |= {name: version(name) for name in ("torch", "torchvision", "monai", "numpy", "pycocotools")}
    return Findings(rows, splits, scores, leak, _conclude(splits, scores, leak, settings), software)


def _conclude(splits: pd.DataFrame, scores: pd.DataFrame, leak: pd.DataFrame, settings: StudySettings) -> list[str]:
    sentences = []
    for split in splits.itertuples():
        own = scores[scores["split"] == split.split].set_index("measure")
        beside = {"dice": "dice", "object_precision": "precision", "object_recall": "recall", "ap50": None}
        parts = []
        for measure, name in beside.items():
            paper = settings.paper.get(name) if name else None
            words = f"{MEASURES[measure]} {_figure(own.loc[measure])}"
            parts.append(words + (f" (paper {paper:.3f})" if paper is not None else ""))
        sentences.append(
            f"Split by {split.split}: {split.training} images to train on, {split.test} to test, {split.shared} of "
            f"these of patients who were trained on, too. {'; '.join(parts)}."
        )
    for row in leak[leak["measure"] == "dice"].itertuples() if len(leak) else ():
        where = "on the images that both test" if row.over == "shared" else "each on its own test part"
        clear = "a difference" if row.lower > 0 or row.upper < 0 else "no difference that these patients could show"
        sentences.append(
            f"The leak, {where}: Dice {row.value:+.4f} ({row.lower:+.4f} to {row.upper:+.4f}) when images are divided "
            f"instead of patients, {clear}."
        )
    return sentences


def _figure(row: pd.Series) -> str:
    if pd.isna(row["value"]):
        return "not defined"
    interval = "" if pd.isna(row["lower"]) else f" ({row['lower']:.4f} to {row['upper']:.4f})"
    return f"{row['value']:.4f}{interval}"
