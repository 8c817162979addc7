"""Attenuation is that of the published tables, and Hounsfield units follow from it."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.attenuation import (
    MATERIALS,
    compute_hu,
    compute_k2hpo4_slope,
    compute_linear_attenuation,
    get_density,
    get_mass_attenuation,
    mix_k2hpo4,
)
from myotome.errors import InputError


@pytest.mark.parametrize(
    ("material", "at_40", "at_60", "at_100"),
    [
        ("water", 0.2683, 0.2059, 0.1707),
        ("adipose", 0.2396, 0.1974, 0.1688),
        ("muscle", 0.2685, 0.2048, 0.1693),
        ("blood", 0.2715, 0.2057, 0.1695),
        ("cortical_bone", 0.6655, 0.3148, 0.1855),
        ("air", 0.2485, 0.1875, 0.1541),
    ],
)
def test_mixtures_of_elements_give_the_published_coefficients(material, at_40, at_60, at_100):
    """NISTIR 5632, table 4, which the elements' table 3 has to add up to."""
    assert get_mass_attenuation(material, [40, 60, 100]) == pytest.approx([at_40, at_60, at_100], rel=6e-4)


def test_a_compound_weighs_its_elements():
    """K2HPO4 at 60 keV by hand: molar masses 78.196, 1.008, 30.974 and 63.996 of 174.174."""
    by_hand = (78.196 * 0.5678 + 1.008 * 0.3260 + 30.974 * 0.3494 + 63.996 * 0.1907) / 174.174
    assert get_mass_attenuation("k2hpo4", 60.0) == pytest.approx(by_hand, rel=1e-4)


def test_an_absorption_edge_is_a_step():
    below, at, above = get_mass_attenuation("iodine", [33.1, 33.17, 33.3])
    assert below == pytest.approx(6.553, rel=0.02) and at == pytest.approx(35.82, rel=1e-6)
    assert 35.0 < above < at


def test_between_the_tabulated_energies_nothing_swings():
    energy = np.arange(6.0, 200.0, 0.5)
    for material in set(MATERIALS) - {"iodine", "blood", "red_marrow"}:
        assert (np.diff(get_mass_attenuation(material, energy)) < 0).all()


def test_water_is_0_and_air_is_minus_1000():
    assert compute_hu("water", [40, 70, 120]) == pytest.approx([0, 0, 0], abs=1e-9)
    assert compute_hu("air", [40, 70, 120]) == pytest.approx([-1000] * 3)
    assert compute_hu({"water": 1.1}, 70.0) == pytest.approx(100.1, abs=0.1)


def test_tissues_are_where_readers_know_them():
    """Near the effective energy of 120 kV; ICRU's fat of 0.95 g/cm3 is heavier than most people's."""
    assert -90 < compute_hu("adipose", 68.0) < -70
    assert -105 < compute_hu({"adipose": 0.9255}, 68.0) < -97
    assert 40 < compute_hu("muscle", 68.0) < 60
    assert 50 < compute_hu("blood", 68.0) < 62
    assert abs(compute_hu("solid_water", 68.0)) < 1.0


def test_k2hpo4_adds_hounsfield_units_in_proportion_and_the_more_the_lower_the_energy():
    energies = np.array([55.0, 68.0, 80.0])
    slope = compute_k2hpo4_slope(energies)
    for density in (50.0, 200.0):
        assert compute_hu(mix_k2hpo4(density), energies) == pytest.approx(density * slope)
    assert (np.diff(slope) < 0).all()
    assert 1.2 < slope[1] < 1.5
    assert mix_k2hpo4(100.0) == pytest.approx({"water": 0.976, "k2hpo4": 0.1})


def test_a_material_is_itself_at_its_density():
    assert compute_linear_attenuation("muscle", 70.0) == compute_linear_attenuation({"muscle": 1.05}, 70.0)
    assert get_density("cortical_bone") == 1.92


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_the_result_has_the_shape_of_the_energies(shape):
    assert get_mass_attenuation("water", np.full(shape, 60.0)).shape == shape
    assert compute_hu("muscle", np.full(shape, 60.0)).shape == shape


@pytest.mark.parametrize("energy", [0.5, 250.0, np.nan])
def test_energies_outside_the_tables_are_refused(energy):
    with pytest.raises(InputError, match="1 to 200 keV"):
        get_mass_attenuation("water", [60.0, energy])


def test_an_unknown_material_is_named():
    with pytest.raises(InputError, match=r"'kryptonite'.*water"):
        get_mass_attenuation("kryptonite", 60.0)
    with pytest.raises(InputError, match="kryptonite"):
        compute_hu({"kryptonite": 1.0}, 60.0)
