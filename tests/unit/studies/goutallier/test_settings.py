"""The study's configuration: the paper's protocol, a preset over it, and what is refused."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from myotome.biomarkers.goutallier import GRADE_COUNTS_2024
from myotome.errors import InputError
from myotome.resources import config_path
from myotome.studies.goutallier.settings import make_study_settings, read_study_settings


@pytest.fixture
def table():
    table = YAML(typ="safe").load(config_path("studies/goutallier.yaml"))
    del table["presets"]
    return table


def test_the_project_s_own_is_the_paper_s_protocol():
    settings = read_study_settings()
    assert settings.phantoms.grades == GRADE_COUNTS_2024 and settings.fold_count == 5
    assert settings.definitions == ("A", "B", "C", "D", "E") and settings.resamples >= 2000
    assert settings.compared["definition"] == "A" and settings.paper["auroc"][0] == 0.9903
    assert {arm.test_masks for arm in settings.arms} == {"reference", "predicted", "none"}


def test_a_preset_lies_over_the_rest_and_is_another_study():
    full, quick = read_study_settings(), read_study_settings(preset="quick")
    assert quick.region_training["iterations"] < full.region_training["iterations"]
    assert quick.phantoms == full.phantoms and quick.fingerprint != full.fingerprint
    with pytest.raises(InputError, match="no preset 'fast': it has quick"):
        read_study_settings(preset="fast")


def test_what_only_the_analysis_needs_does_not_make_another_study():
    assert read_study_settings().changed(resamples=9).fingerprint == read_study_settings().fingerprint


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"definitions": ["A", "F"]}, "no binary definition 'F'"),
        ({"classifier": "resnet"}, "choose small or vgg19"),
        ({"compared": {"definition": "A", "arm": "best"}}, "compared names arm 'best'"),
        ({"phantoms": {"seed": 1, "grades": [5, 5]}}, "give five counts"),
        ({"sead": 3}, "has an unknown one .'sead'"),
        (
            {"arms": [{"name": "x", "title": "X", "train_masks": "drawn", "test_masks": "none", "grades": "grade"}]},
            "train_masks 'drawn': choose reference, predicted or none",
        ),
    ],
)
def test_what_is_wrong_is_said(table, change, sentence):
    with pytest.raises(InputError, match=sentence):
        make_study_settings(table | change)


def test_a_missing_part_is_named(table):
    del table["bundle"]
    with pytest.raises(InputError, match="'bundle'"):
        make_study_settings(table)
