"""The five binary definitions are those of the clinical reference, and nothing else passes for a grade."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.biomarkers.goutallier import DEFINITIONS, GRADE_COUNTS_2024, GRADES, Definition, read_definition
from myotome.errors import InputError


@pytest.mark.parametrize(
    ("name", "targets", "title"),
    [
        ("A", [0, 0, -1, 1, 1], "grades 3-4 against 0-1"),
        ("B", [0, 0, 1, 1, 1], "grades 2-4 against 0-1"),
        ("C", [0, 0, 1, -1, -1], "grades 2 against 0-1"),
        ("D", [0, 0, 0, 1, 1], "grades 3-4 against 0-2"),
        ("E", [-1, -1, 0, 1, 1], "grades 3-4 against 2"),
    ],
)
def test_a_definition_answers_every_grade(name, targets, title):
    definition = read_definition(name)
    assert definition.target(GRADES).tolist() == targets
    assert definition.title == title


def test_the_paper_had_606_shoulders_and_38_positives_of_a():
    assert sum(GRADE_COUNTS_2024) == 606
    targets = read_definition("A").target(np.repeat(GRADES, GRADE_COUNTS_2024))
    assert (targets == 1).sum() == 38
    assert (targets == -1).sum() == 51


def test_targets_keep_the_shape_and_take_whole_floats():
    assert DEFINITIONS["B"].target([[0, 2], [4, 1]]).tolist() == [[0, 1], [1, 0]]
    assert DEFINITIONS["B"].target([3.0]).tolist() == [1]
    assert DEFINITIONS["B"].target([]).shape == (0,)


@pytest.mark.parametrize("grades", [[5], [-1], [1.5], [np.nan], ["2"]])
def test_what_is_not_a_grade_is_refused(grades):
    with pytest.raises(InputError, match="whole numbers from 0 to 4"):
        DEFINITIONS["A"].target(grades)


def test_an_unknown_definition_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no binary definition 'F'.*A: grades 3-4 against 0-1"):
        read_definition("F")


@pytest.mark.parametrize(("negative", "positive"), [((), (1,)), ((0,), ()), ((0, 1), (1, 2)), ((0,), (5,))])
def test_a_definition_that_cannot_be_is_refused(negative, positive):
    with pytest.raises(InputError, match="definition 'X'"):
        Definition("X", negative, positive)
