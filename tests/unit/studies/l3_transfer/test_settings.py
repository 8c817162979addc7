"""The study's configuration: the paper's protocol, a preset over it, and what is refused."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from myotome.errors import InputError
from myotome.resources import config_path
from myotome.studies.l3_transfer.settings import make_study_settings, read_study_settings


@pytest.fixture
def table():
    table = YAML(typ="safe").load(config_path("studies/l3_transfer.yaml"))
    del table["presets"]
    return table


def test_the_project_s_own_is_the_paper_s_protocol():
    settings = read_study_settings()
    assert settings.phantoms.count == 204 and settings.fold_count == 4 and settings.validation_count == 28
    assert settings.subset_sizes == (5, 10, 25, 50, 75, 100, 125) and settings.observers.count == 10
    assert settings.sources == ("scratch", "imagenet", "segmentation", "reconstruction", "jigsaw", "phantom")
    people = [settings.phantoms, settings.unlabelled, settings.phantom_people]
    assert not any(a.overlaps(b) for a in people for b in people if a is not b)


def test_the_quick_preset_is_smaller_but_has_every_source():
    full, quick = read_study_settings(), read_study_settings(preset="quick")
    assert quick.sources == full.sources and quick.phantoms == full.phantoms and quick.fold_count == 4
    assert quick.subset_sizes == (5, 10, 25) and quick.repeats == 1 and quick.fingerprint != full.fingerprint


def test_every_bar_has_a_title_a_measure_and_a_limit():
    for bar in read_study_settings().held_out["bars"]:
        assert set(bar) in ({"title", "measure", "at_least"}, {"title", "measure", "at_most"})


def test_what_only_the_analysis_needs_does_not_make_another_study():
    full = read_study_settings()
    assert full.changed(resamples=9, structure="muscle_compartment").fingerprint == full.fingerprint
    assert full.changed(datalist="/data/slices.json").fingerprint != full.fingerprint


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sources": ["scratch", "moon"]}, "source 'moon' is not known: choose from scratch, imagenet"),
        ({"sources": ["jigsaw"]}, "sources lack 'scratch'"),
        ({"sources": ["scratch", "scratch"]}, "named twice"),
        ({"subset_sizes": [10, 5]}, "ascending"),
        ({"structure": "psoas"}, "structure 'psoas' is not known"),
        ({"unlabelled": {"seed": 720100, "count": 5}}, "unlabelled and phantoms share people"),
        ({"unlabelled": {"seed": 760100, "count": 5}}, "unlabelled and phantom_people share people"),
        ({"phantoms": {"seed": 1, "count": 0}}, "0 phantoms from seed 1"),
        ({"phantoms": {"seed": 1}}, "a part of another kind"),
        (
            {
                "observers": {
                    "count": 1,
                    "outward_mm": 0,
                    "systematic_mm": 1,
                    "random_mm": 1,
                    "correlation_mm": 1,
                    "seed": 1,
                }
            },
            "2 observers",
        ),
        ({"sead": 3}, "an unknown one .'sead'"),
    ],
)
def test_what_is_wrong_is_said(table, change, sentence):
    with pytest.raises(InputError, match=sentence):
        make_study_settings(table | change)
