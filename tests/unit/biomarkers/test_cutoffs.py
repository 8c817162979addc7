"""Published cut-offs stand beside a value of the right sex, where they hold, and nowhere else."""

from __future__ import annotations

import pytest

from myotome.biomarkers.cutoffs import compare_with_cutoffs, read_cutoffs
from myotome.measurement import Measurement

SCHEMA = "l3_muscle_ct"
PUBLISHED = {
    ("muscle_area", "M"): 144.3,
    ("muscle_area", "F"): 92.2,
    ("area_per_height2", "M"): 45.4,
    ("area_per_height2", "F"): 34.4,
    ("density", "M"): 38.5,
    ("density", "F"): 34.3,
}


def test_the_cutoffs_are_those_of_derstine_2018_with_their_source():
    cutoffs = read_cutoffs(SCHEMA)
    assert {(one.measure, one.sex): one.value for one in cutoffs} == PUBLISHED
    assert all("Derstine" in one.source and "without contrast" in one.group for one in cutoffs)
    assert read_cutoffs("respiratory_muscle_ct") == () and read_cutoffs("supraspinatus_mri") == ()


def area(value=100.0, **details):
    return Measurement("skeletal_muscle", "muscle_area", value, "cm2", **details)


@pytest.mark.parametrize(
    ("value", "sex", "words"),
    [
        (100.0, "M", "below the cut-off of 144.3 cm2 (men)"),
        (100.0, "F", "not below the cut-off of 92.2 cm2 (women)"),
        (92.2, "F", "not below the cut-off of 92.2 cm2 (women)"),
    ],
)
def test_a_value_is_placed_by_sex(value, sex, words):
    ((row, cutoff),) = compare_with_cutoffs([area(value)], SCHEMA, sex)
    assert cutoff.describe(row.value) == words


@pytest.mark.parametrize(
    ("row", "sex"),
    [
        (area(), None),
        (area(slice_index=4), "M"),
        (area(flags=("truncated_left",)), "M"),
        (area(None, flags=("absent",)), "M"),
        (Measurement("skeletal_muscle", "density", 30.0, "[hnsf'U]", flags=("contrast_suspected",)), "M"),
        (Measurement("skeletal_muscle", "imat_area", 30.0, "cm2"), "M"),
    ],
)
def test_nothing_is_said_where_nothing_holds(row, sex):
    assert compare_with_cutoffs([row], SCHEMA, sex) == []
