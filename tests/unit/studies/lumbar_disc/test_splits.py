"""Splits: as many images as asked for, no patient on both sides by patient, many by image."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.studies.lumbar_disc.splits import make_split, split_by_image, split_by_patient

PAPER = [f"P{number:03d}" for number in range(515) for _ in range(3)]


def test_the_papers_numbers():
    by_patient, by_image = (make_split(name, PAPER, 150, seed=1) for name in ("patient", "image"))
    for split in (by_patient, by_image):
        assert (len(split.training), len(split.test)) == (1095, 450)
        assert sorted([*split.training, *split.test]) == list(range(1545))
    assert by_patient.count_shared(PAPER) == 0
    # A test image is alone when both other images of its patient are in the test, too: (449/1544) (448/1543) = 8.4 %.
    assert by_image.count_shared(PAPER) == pytest.approx(450 * (1 - 449 * 448 / (1544 * 1543)), abs=20)


def test_a_seed_is_a_split():
    first, again, other = (split_by_patient(PAPER, 150, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.test, again.test)
    assert set(first.test) != set(other.test)
    assert set(split_by_image(20, 5, 7).test) == set(split_by_image(20, 5, 7).test)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: split_by_patient(["a", "a", "b"], 2), "2 of 2 patients cannot be the test part"),
        (lambda: split_by_patient(["a", "b"], 0), "at least one stands on each side"),
        (lambda: split_by_image(3, 3), "3 of 3 images"),
        (lambda: make_split("slice", ["a", "b", "c"], 1), "'slice' is not known: choose one of patient, image"),
    ],
)
def test_what_cannot_be_divided_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
