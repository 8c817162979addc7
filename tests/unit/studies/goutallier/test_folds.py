"""Folds keep patients together and the grades' frequencies alike, and a fold that proves nothing is refused."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.biomarkers.goutallier import GRADE_COUNTS_2024
from myotome.errors import InputError
from myotome.studies.goutallier.folds import make_folds, refuse_poor_folds

PAPER = np.repeat(range(5), GRADE_COUNTS_2024)


def test_every_case_is_scored_once_and_is_in_one_part_of_each_fold():
    folds = make_folds(PAPER, seed=1)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(606))
    for fold in folds:
        assert sorted(np.concatenate([fold.training, fold.validation, fold.test])) == list(range(606))


def test_the_grades_are_dealt_evenly():
    for fold in make_folds(PAPER, seed=1):
        counts = np.bincount(PAPER[fold.test], minlength=5)
        assert np.all(np.abs(counts - np.array(GRADE_COUNTS_2024) / 5) < 1)
        assert len(fold.test) in (121, 122)
        aside = np.bincount(PAPER[fold.validation], minlength=5)
        assert np.all(np.abs(aside - 0.15 * (np.array(GRADE_COUNTS_2024) - counts)) <= 0.5)


def test_definition_a_has_seven_or_eight_positives_in_each_fold():
    for fold in make_folds(PAPER, seed=3):
        assert np.sum(PAPER[fold.test] >= 3) in (7, 8)


def test_a_patient_is_never_on_both_sides():
    rng = np.random.default_rng(2)
    patients = rng.integers(150, size=606)
    for fold in make_folds(PAPER, patients, seed=1):
        parts = [set(patients[rows]) for rows in (fold.training, fold.validation, fold.test)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_the_seed_decides():
    first, again, other = (make_folds(PAPER, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first.test, again.test) and not np.array_equal(first.test, other.test)


def test_a_fold_without_positives_is_refused_with_the_count():
    grades = np.repeat([0, 1, 2, 3], [30, 10, 5, 4])
    folds = make_folds(grades, seed=0)
    refuse_poor_folds(folds, grades, ["B", "C"])
    with pytest.raises(
        InputError, match=r"fold \d of 5 has 0 positive and \d negative cases of definition A in its test"
    ):
        refuse_poor_folds(folds, grades, ["B", "A"])


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(InputError, match="3 patients cannot be divided into 5 folds"):
        make_folds([0, 1, 2])
    with pytest.raises(InputError, match="2 patients stand against 3 grades"):
        make_folds([0, 1, 2], ["a", "b"], count=2)
    with pytest.raises(InputError, match="no binary definition 'F'"):
        refuse_poor_folds([], [0], ["F"])
