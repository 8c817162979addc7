"""The configuration is read whole, and what it may not hold is refused in a sentence."""

import pickle
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from myotome.biomarkers.bone_density import Coefficients, MethodCoefficients, read_bone_density_settings
from myotome.errors import InputError
from myotome.resources import config_path


def write(tmp_path, change):
    table = YAML(typ="safe").load(config_path("bone_density.yaml"))
    change(table)
    path = tmp_path / "settings.yaml"
    with path.open("w") as file:
        YAML().dump(table, file)
    return path


def test_the_shipped_values_are_those_of_the_papers():
    settings = read_bone_density_settings()
    assert (settings.cutoffs.normal_mg_cm3, settings.cutoffs.osteoporosis_mg_cm3) == (120, 80)
    assert settings.region.fracture_percent == 20
    assert settings.mean.lumbar == ("L1", "L2", "L3")
    assert not settings.cutoffs.thoracic_offsets
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_shipped_coefficients_are_of_a_training():
    for method, coefficients in read_bone_density_settings().coefficients.items():
        assert coefficients.source.startswith("myotome study qct-agreement"), method
        assert 70 < coefficients.youden_mg_cm3 < 90, method
        assert set(coefficients.by_tube_voltage) == {100, 120, 140}, method


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.update(method="magic"), "method is 'magic': it is one of two_tissue, multi_tissue"),
        (lambda table: table.update(contrast="ignore"), "contrast is 'ignore'"),
        (lambda table: table.update(extra=1), "has the key 'extra', which is not known"),
        (lambda table: table["region"].pop("cortex_mm"), "region lacks 'cortex_mm'"),
        (lambda table: table["region"].update(cortex_mm="thick"), "region.cortex_mm is 'thick': give a number"),
        (lambda table: table["multi_tissue"].update(references=["fat"]), "needs two tissues or more"),
        (lambda table: table["multi_tissue"].update(references=["fat", "brain"]), "'brain'"),
        (lambda table: table["coefficients"]["two_tissue"]["other"].update(slope=0), "the first is above 0"),
        (lambda table: table["coefficients"]["two_tissue"]["other"].update(rho_fat_mg_cm3=-60), "belong together"),
        (lambda table: table["phantom"]["kinds"]["ha"].update(densities_mg_cm3=[0, 75]), "three rods or more"),
    ],
)
def test_a_mistake_is_refused_in_a_sentence(tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence):
        read_bone_density_settings(write(tmp_path, change))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as YAML"):
        read_bone_density_settings(tmp_path / "none.yaml")


def test_coefficients_are_those_of_the_nearest_voltage():
    low, other = MethodCoefficients(slope=0.8), MethodCoefficients(slope=0.9)
    fitted = Coefficients("a study", 91.5, other, {80: low, 120: MethodCoefficients()})
    assert fitted.at(82) is low
    assert fitted.at(100) is other
    assert fitted.at(None) is other
    settings = read_bone_density_settings().with_coefficients("two_tissue", fitted)
    assert settings.coefficients["two_tissue"].fitted
    assert not settings.uncorrected().coefficients["two_tissue"].fitted


def test_an_unknown_voltage_has_a_wider_energy():
    energy = read_bone_density_settings().energy
    assert energy.at(119.0) == (68, energy.sd_kev)
    assert energy.at(None)[1] > energy.sd_kev
    assert energy.knows(80)
    assert not energy.knows(60)
    assert replace(energy, by_tube_voltage_kev={}).at(120) == (energy.unknown_kev, energy.unknown_sd_kev)
