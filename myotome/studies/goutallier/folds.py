"""Stratified folds by patient: who trains, who is watched for calibration, who is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from myotome.biomarkers.goutallier import GRADES, check_grades, read_definition
from myotome.errors import InputError

__all__ = ["Fold", "make_folds", "refuse_poor_folds"]


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions of the images of one fold; no patient stands in two of the parts."""

    number: int
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def make_folds(
    grades: ArrayLike,
    patients: ArrayLike | None = None,
    *,
    count: int = 5,
    validation_share: float = 0.15,
    seed: int = 0,
) -> list[Fold]:
    """Divide images into folds that are stratified by grade and keep each patient together.

    Patients of one grade (their highest) are shuffled and dealt out in turn, so that the folds differ by at most one
    patient of a grade, and by at most one patient in all. Of the patients that are not in a fold's test part, the given
    share of each grade, rounded, is set aside for validation; at least one when there are three or more.

    Parameters
    ----------
    grades : (n,) Goutallier grade of each image
    patients : (n,) patient of each image; every image is a patient of its own by default
    seed : the same seed gives the same folds

    Raises
    ------
    InputError
        When lengths differ, a grade is none, or there are fewer than 2 folds or fewer patients than folds.
    """
    grades = check_grades(grades).ravel()
    owners = np.arange(len(grades)) if patients is None else np.asarray(patients).ravel()
    if len(owners) != len(grades):
        raise InputError(f"{len(owners)} patients stand against {len(grades)} grades: give one of each per image.")
    names, owner = np.unique(owners, return_inverse=True)
    if count < 2 or len(names) < count or not 0 <= validation_share < 1:
        raise InputError(
            f"{len(names)} patients cannot be divided into {count} folds with a validation share of "
            f"{validation_share}: ask for 2 folds or more, no more than there are patients, and a share below 1."
        )
    highest = np.zeros(len(names), np.int64)
    np.maximum.at(highest, owner, grades)
    rng = np.random.default_rng((seed, 606))
    order = np.concatenate([rng.permutation(np.flatnonzero(highest == grade)) for grade in GRADES])
    fold_of = np.empty(len(names), np.int64)
    fold_of[order] = np.arange(len(names)) % count
    return [_make_fold(number, fold_of, highest, owner, validation_share, rng) for number in range(count)]


def _make_fold(
    number: int, fold_of: np.ndarray, highest: np.ndarray, owner: np.ndarray, share: float, rng: np.random.Generator
) -> Fold:
    role = np.where(fold_of == number, 2, 0)
    for grade in GRADES:
        others = rng.permutation(np.flatnonzero((highest == grade) & (fold_of != number)))
        aside = round(share * len(others))
        role[others[: max(aside, 1) if share and len(others) >= 3 else aside]] = 1
    return Fold(number + 1, *(np.flatnonzero(role[owner] == part) for part in range(3)))


def refuse_poor_folds(folds: Sequence[Fold], grades: ArrayLike, definitions: Sequence[str]) -> None:
    """Refuse folds in which a definition has no positive or no negative case to train on or to be scored by.

    Raises
    ------
    InputError
        With the fold, the part and both counts; or when a definition is not known.
    """
    grades = check_grades(grades).ravel()
    for name in definitions:
        target = read_definition(name).target(grades)
        for fold in folds:
            for part, rows in (("training", fold.training), ("test", fold.test)):
                positive, negative = int(np.sum(target[rows] == 1)), int(np.sum(target[rows] == 0))
                if not positive or not negative:
                    raise InputError(
                        f"fold {fold.number} of {len(folds)} has {positive} positive and {negative} negative cases of "
                        f"definition {name} in its {part} part: give more cases of these grades, or fewer folds."
                    )
