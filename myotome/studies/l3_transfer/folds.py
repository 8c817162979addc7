"""Four-fold division by patient, and nested subsets of each fold's training part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from myotome.errors import InputError
from myotome.studies.goutallier.folds import Fold, make_folds
from myotome.studies.l3_transfer.settings import StudySettings

__all__ = ["describe", "divide", "order_training"]


def divide(cases: pd.DataFrame, settings: StudySettings) -> list[Fold]:
    """Folds of the cases; no patient stands in two parts of one.

    Of 204 patients in 4 folds, 51 are tested; of the other 153, 28 are for validation and 125 for training.

    Raises
    ------
    InputError
        When a fold has fewer training cases than the largest subset asks for, with the numbers.
    """
    patients = cases["patient"].to_numpy()
    count = len(np.unique(patients))
    others = count - -(-count // settings.fold_count)
    if count < settings.fold_count or others <= settings.validation_count:
        raise InputError(
            f"{count} patients in {settings.fold_count} folds leave {max(others, 0)} to train and validate with, of "
            f"which validation_count takes {settings.validation_count}: give more patients, or lower it."
        )
    share = settings.validation_count / others
    folds = make_folds(
        np.zeros(len(cases), int), patients, count=settings.fold_count, validation_share=share, seed=settings.seed
    )
    largest, fewest = max(settings.subset_sizes), min(len(fold.training) for fold in folds)
    if largest > fewest:
        raise InputError(
            f"n = {largest} is larger than the data: of {len(cases)} cases, {settings.fold_count} folds with "
            f"{settings.validation_count} validation patients leave {fewest} to train with; lower subset_sizes or give "
            "more cases."
        )
    return folds


def order_training(fold: Fold, seed: int, repeat: int) -> np.ndarray:
    """Training positions of a fold in a random order: the first n are the subset of n, so that subsets are nested."""
    return np.random.default_rng((seed, fold.number, repeat)).permutation(np.sort(fold.training))


def describe(folds: Sequence[Fold]) -> str:
    """Sizes of the parts, as ``51 test, 28 validation, 125 training``; a range where folds differ."""
    parts = {"test": "test", "validation": "validation", "training": "training"}
    words = []
    for part, word in parts.items():
        sizes = sorted({len(getattr(fold, part)) for fold in folds})
        words.append(f"{sizes[0]}{f' to {sizes[-1]}' if len(sizes) > 1 else ''} {word}")
    return ", ".join(words)
