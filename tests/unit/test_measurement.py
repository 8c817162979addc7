"""A measurement is finite, or absent with a reason; a result names its input."""

import math

import pytest

from myotome.errors import InputError
from myotome.measurement import Instance, Level, Measurement, Provenance, Subject


def test_a_missing_value_says_why():
    with pytest.raises(InputError, match="no flag"):
        Measurement("pectoralis", "volume", None, "mL")
    assert Measurement("pectoralis", "volume", None, "mL", flags=("absent",)).value is None


@pytest.mark.parametrize("field", ["value", "lower", "upper"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_is_ever_infinite_or_nan(field, number):
    numbers = {"value": 1.0, field: number}
    with pytest.raises(InputError, match="finite"):
        Measurement("pectoralis", "volume", unit="mL", **numbers)


def test_a_side_is_right_left_or_both():
    with pytest.raises(InputError, match="dexter"):
        Measurement("pectoralis", "volume", 1.0, "mL", side="dexter")


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ({"name": "dicom", "subject_id": "P7", "series_description": "Thorax 5 mm"}, "P7 · Thorax 5 mm"),
        ({"name": "ct.nii.gz", "subject_id": None, "series_description": None}, "ct.nii.gz"),
        ({}, "image"),
    ],
)
def test_a_result_is_titled_by_subject_and_series_or_else_by_file(source, title):
    assert Provenance("none", "none", "none", {}, "none", source).title == title


@pytest.mark.parametrize(
    ("values", "sentence"),
    [((-1, 0.0), "slices count from 0"), ((3, math.inf), "slices count from 0"), ((3, 0.0, 1.2), "between 0 and 1")],
)
def test_a_level_is_a_slice_with_a_confidence(values, sentence):
    assert Level(3, -12.5).confidence is None
    with pytest.raises(InputError, match=sentence):
        Level(*values)


def test_a_sex_is_one_of_two_or_unknown():
    assert Subject(1.7).sex is None
    with pytest.raises(InputError, match="'O' is not M or F"):
        Subject(1.7, "O")


def test_an_instance_is_a_box_with_a_score():
    one = Instance("disc_l5_s1", 0.75, ((0, 10, 20), (2, 14, 30)), ((0, 0.7), (1, 0.8)))
    assert one.region == (slice(0, 2), slice(10, 14), slice(20, 30))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((1.2, ((0, 0, 0), (1, 1, 1))), "lies between 0 and 1"),
        ((0.5, ((0, 0, 0), (1, 1, 1)), ((0, -0.1),)), "lies between 0 and 1"),
        ((0.5, ((0, 3, 0), (1, 3, 1))), "holds no voxel"),
        ((0.5, ((-1, 0, 0), (1, 1, 1))), "holds no voxel"),
    ],
)
def test_an_instance_without_a_box_or_a_share_is_refused(values, sentence):
    with pytest.raises(InputError, match=sentence):
        Instance("disc_l5_s1", *values)
