"""Folds by patient: the paper's sizes, nested subsets, and more slices asked for than there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from myotome.errors import InputError
from myotome.studies.l3_transfer.folds import describe, divide, order_training
from tests.unit.studies.l3_transfer.answers import make_settings


def make_cases(count: int, per_patient: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case": [f"case_{place}" for place in range(count)],
            "patient": [f"patient_{place // per_patient}" for place in range(count)],
        }
    )


def test_the_paper_s_204_patients():
    folds = divide(make_cases(204), make_settings())
    assert describe(folds) == "51 test, 28 validation, 125 training"
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(204))
    for fold in folds:
        parts = [set(fold.test), set(fold.validation), set(fold.training)]
        assert len(set.union(*parts)) == 204 == sum(map(len, parts))


def test_a_patient_with_several_slices_stands_in_one_part():
    cases = make_cases(120, per_patient=3)
    for fold in divide(cases, make_settings(validation_count=6, subset_sizes=(5, 10))):
        owners = [set(cases["patient"].iloc[part]) for part in (fold.training, fold.validation, fold.test)]
        assert not owners[0] & owners[1] and not owners[0] & owners[2] and not owners[1] & owners[2]


def test_subsets_are_nested_and_repeats_have_other_ones():
    fold = divide(make_cases(204), make_settings())[0]
    first, second = (order_training(fold, 1, repeat) for repeat in (1, 2))
    assert sorted(first) == sorted(second) == sorted(fold.training)
    assert set(first[:10]) != set(second[:10])
    assert list(order_training(fold, 1, 1)[:10]) == list(first[:10])


def test_n_larger_than_the_data_is_refused_with_the_numbers():
    sentence = (
        "n = 125 is larger than the data: of 100 cases, 4 folds with 28 validation patients leave 47 to train with"
    )
    with pytest.raises(InputError, match=sentence):
        divide(make_cases(100), make_settings())
    with pytest.raises(InputError, match="30 patients in 4 folds leave 22 to train and validate with"):
        divide(make_cases(30), make_settings(subset_sizes=(5,)))
