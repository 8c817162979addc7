"""The study's run: phantoms, folds, one region network a fold, its graders, and what they say of the fold's test part.

Everything that is finished is kept in the output folder, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from myotome.inference.grading_batch import BatchGrader, YView
from myotome.io.atomic import atomic_path
from myotome.resources import bundle_root
from myotome.studies.goutallier.folds import Fold, make_folds, refuse_poor_folds
from myotome.studies.goutallier.predictions import fit_temperatures, score_regions, tabulate_predictions
from myotome.studies.goutallier.settings import Arm, StudySettings
from myotome.studies.goutallier.shoulders import make_shoulders, read_views
from myotome.studies.protocol import claim_folder
from myotome.training import BundleTraining, train_bundle

__all__ = ["FoldRun", "run_folds"]

Progress = Callable[[int, int, str], None]
Train = Callable[..., Path]
Reporter = Callable[[str], Callable[[str, float], None]]

_STUDY = "goutallier"
_PERCENT = 100
_CARRIER = "small"  # classifier of the file that the region network is kept in, whichever the study's is


def run_folds(
    settings: StudySettings,
    output: Path,
    progress: Progress | None = None,
    train: Train = train_bundle,
    jobs: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and score every fold.

    Parameters
    ----------
    progress : called with what is done, out of how much, and its name
    train : `myotome.training.train_bundle`, or what stands for it in a test
    jobs : folds at the same time

    Returns
    -------
    predictions : a row per shoulder and arm, scored by the fold that did not train on it
    regions : a row per shoulder and score of the region

    Raises
    ------
    InputError
        When a fold has no positive or no negative case of a definition.
    BundleError
        When a training fails.
    OutputError
        When the folder cannot be claimed or written.
    """
    claim_folder(output, _STUDY, settings.fingerprint)
    shoulders = make_shoulders(settings.phantoms, output / "phantoms", os.cpu_count() or 1, progress)
    grades = shoulders["grade"].to_numpy()
    folds = make_folds(
        grades, count=settings.fold_count, validation_share=settings.validation_share, seed=settings.seed
    )
    refuse_poor_folds(folds, grades, settings.definitions)
    views = read_views(shoulders, progress)
    runs = [FoldRun(settings, fold, shoulders, output, train) for fold in folds]
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(lambda run: run.finish(views, progress), runs))
    predictions, regions = (pd.concat(tables, ignore_index=True) for tables in zip(*done, strict=True))
    arms = {arm.name: place for place, arm in enumerate(settings.arms)}
    return predictions.sort_values("arm", key=lambda names: names.map(arms), kind="stable"), regions


class FoldRun:
    """One fold in the study's folder: its weights, and the tables of its test part."""

    def __init__(
        self, settings: StudySettings, fold: Fold, shoulders: pd.DataFrame, output: Path, train: Train = train_bundle
    ) -> None:
        self._settings, self._fold, self._shoulders, self._train = settings, fold, shoulders, train
        self._folder = output / f"fold_{fold.number}"
        self._folder.mkdir(exist_ok=True)

    def finish(self, views: list[YView], progress: Progress | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Do what is missing; the fold's predictions of every arm, and its scores of the region.

        Parameters
        ----------
        views : of every shoulder of the study
        """
        report = self._reporter(progress)
        regions = self._kept("regions", lambda: self._score_region(views, report))
        predictions = [
            self._kept(f"predictions_{arm.name}", lambda arm=arm: self._predict(arm, views, report))
            for arm in self._settings.arms
        ]
        if not self._settings.keep_weights:
            for path in self._folder.glob("*.pt"):
                path.unlink()
        return pd.concat(predictions, ignore_index=True), regions

    # -- training ------------------------------------------------------------------------------------------------

    def _train_region(self, report: Reporter) -> Path:
        weights = self._folder / "region.pt"
        if not weights.is_file():
            overrides = {"classifier": _CARRIER, **self._settings.region_training}
            self._run("region", weights, self._write_datalist("grade"), overrides, report("region"))
        return weights

    def _train_grader(self, arm: Arm, report: Reporter) -> Path:
        weights = self._folder / f"{arm.training}.pt"
        if not weights.is_file():
            overrides = {
                "classifier": self._settings.classifier,
                "mask": arm.train_masks,
                "start_path": self._train_region(report),
                **self._settings.grade_training,
            }
            self._run("grade", weights, self._write_datalist(arm.grades), overrides, report(arm.name))
        return weights

    def _run(
        self, stage: str, weights: Path, datalist: Path, overrides: dict[str, Any], report: Callable[[str, float], None]
    ) -> None:
        """Train beside the place of the weights, so that a file in that place is a finished one."""
        work = self._folder / f"{weights.stem}.training"
        work.mkdir(exist_ok=True)
        training = BundleTraining(
            bundle=bundle_root(self._settings.bundle),
            datalist=datalist,
            weights=work / "model.pt",
            checkpoints=work,
            overrides={"seed": self._settings.seed + self._fold.number, **overrides},
            only=(stage,),
        )
        os.replace(self._train(training, report), weights)
        shutil.rmtree(work)

    def _write_datalist(self, truth: str) -> Path:
        """The fold's training and validation parts, graded by the truth or by the reader."""
        lists = {}
        for name, rows in (("training", self._fold.training), ("validation", self._fold.validation)):
            part = self._shoulders.iloc[rows]
            lists[name] = [
                {"image": row["image"], "label": row["label"], "grade": int(row[truth])}
                for row in part.to_dict("records")
            ]
        path = self._folder / f"datalist_{truth}.json"
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(lists, indent=1), encoding="utf-8")
        return path

    # -- scoring -------------------------------------------------------------------------------------------------

    def _predict(self, arm: Arm, views: list[YView], report: Reporter) -> pd.DataFrame:
        grader = BatchGrader(self._train_grader(arm, report), self._settings.classifier)
        aside, test = self._fold.validation, self._fold.test
        watched = grader.grade([views[row] for row in aside], arm.test_masks)
        temperatures = fit_temperatures(self._shoulders.iloc[aside], watched, arm.grades)
        probabilities = grader.grade([views[row] for row in test], arm.test_masks)
        table = tabulate_predictions(self._shoulders.iloc[test], probabilities, temperatures)
        table.insert(1, "fold", self._fold.number)
        table.insert(2, "arm", arm.name)
        return table

    def _score_region(self, views: list[YView], report: Reporter) -> pd.DataFrame:
        test = self._fold.test
        grader = BatchGrader(self._train_region(report), _CARRIER)
        table = score_regions(self._shoulders.iloc[test], [views[row] for row in test], grader)
        table.insert(1, "fold", self._fold.number)
        return table

    def _kept(self, name: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        path = self._folder / f"{name}.csv"
        if not path.is_file():
            table = compute()
            with atomic_path(path) as temporary:
                table.to_csv(temporary, index=False, lineterminator="\n")
        return pd.read_csv(path)

    def _reporter(self, progress: Progress | None) -> Reporter:
        def of_training(what: str) -> Callable[[str, float], None]:
            def report(words: str, share: float) -> None:
                if progress:
                    progress(round(share * _PERCENT), _PERCENT, f"fold {self._fold.number}: {what}")

            return report

        return of_training
