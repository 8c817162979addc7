"""The label schema as the issue numbers it, and label maps that keep to it."""

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.geometry import Grid
from myotome.structures import LabelMap, read_label_schema, read_structure


def test_the_respiratory_schema_is_numbered_as_the_bundle_is():
    assert read_label_schema("respiratory_muscle_ct").channel_def() == {
        "0": "background",
        "1": "pectoralis",
        "2": "erector_spinae",
        "3": "intercostal",
        "4": "other_muscle",
    }
    assert read_label_schema().class_count == 5


def test_the_l3_schema_is_numbered_as_hand_drawn_slices_are():
    schema = read_label_schema("l3_muscle_ct")
    assert schema.channel_def() == {
        "0": "background",
        "1": "skeletal_muscle",
        "2": "subcutaneous_fat",
        "3": "visceral_fat",
        "4": "intermuscular_fat",
    }
    assert not any(structure.sided for structure in schema.structures)


def test_the_disc_schema_counts_down_the_spine_and_has_a_disc_of_unknown_level():
    schema = read_label_schema("lumbar_disc_mr")
    assert schema.channel_def() == {
        "0": "background",
        "1": "disc_l1_l2",
        "2": "disc_l2_l3",
        "3": "disc_l3_l4",
        "4": "disc_l4_l5",
        "5": "disc_l5_s1",
        "6": "intervertebral_disc",
    }
    assert [structure.code.value for structure in schema.structures] == [
        "80064006",
        "67459009",
        "62551000",
        "84020006",
        "715056000",
        "360499006",
    ]
    assert not any(structure.sided for structure in schema.structures)


def test_a_structure_carries_its_dicom_code_and_its_parts():
    schema = read_label_schema()
    assert schema["erector_spinae"].code.value == "44947003"
    assert [part.value for part in schema["pectoralis"].parts] == ["60005003", "18686000"]
    assert len({structure.colour for structure in schema.structures}) == 4


def test_the_bone_schema_has_eight_bodies_then_the_references():
    schema = read_label_schema("bone_density_ct")
    names = list(schema.channel_def().values())
    levels = ("t8", "t9", "t10", "t11", "t12", "l1", "l2", "l3")
    assert names[1:9] == [f"vertebral_body_{level}" for level in levels]
    assert names[9:] == ["cortical_bone", "subcutaneous_fat", "erector_spinae", "aorta", "air"]
    assert len({structure.colour for structure in schema.structures}) == 13
    assert len({structure.code.value for structure in schema.structures}) == 13
    assert schema["vertebral_body_l1"].code.value == "61032001"


def test_what_stands_for_several_labels_is_in_no_schema():
    spine = read_structure("vertebral_column")
    assert (spine.index, spine.code.value, spine.sided) == (0, "421060004", False)
    assert read_structure("aorta").parts[0].value == "15825003"
    with pytest.raises(InputError, match="no structure 'shell'"):
        read_structure("shell")


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="respiratory_muscle_ct"):
        read_label_schema("knee")
    with pytest.raises(KeyError, match="biceps"):
        read_label_schema()["biceps"]


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((3, 2, 2), np.uint8), "does not fit"),
        (np.zeros((2, 2, 2), np.int16), "stored as uint8"),
        (np.full((2, 2, 2), 5, np.uint8), r"labels \[5\] are not in schema"),
    ],
)
def test_a_label_map_keeps_to_its_schema(array, sentence):
    with pytest.raises(InputError, match=sentence):
        LabelMap(array, Grid((2, 2, 2), np.eye(4)), read_label_schema())
