"""Each calibration gives back densities that are known, whatever the scanner's scale, and its interval holds them."""

from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.bone_density import (
    Coefficients,
    MethodCoefficients,
    calibrate,
    compute_ratio,
    fit_two_tissue,
    read_bone_density_settings,
    to_hydroxyapatite,
    to_k2hpo4,
)
from myotome.biomarkers.bone_density.energy import ENERGIES_KEV, compute_rho, tabulate_tissues
from myotome.biomarkers.bone_density.multi_tissue import search_energy
from myotome.errors import InputError
from tests.unit.biomarkers.bone_density.tissues import bone_hu, make_references

SETTINGS = read_bone_density_settings().uncorrected()
SCALES = [(1.0, 0.0), (1.03, 15.0), (0.97, -15.0)]


@pytest.mark.parametrize(("scale", "offset"), SCALES)
@pytest.mark.parametrize("bmd", [40.0, 80.0, 160.0])
@pytest.mark.parametrize("method", ["two_tissue", "multi_tissue"])
def test_a_known_density_comes_back_through_any_scale(method, bmd, scale, offset):
    references = make_references(scale=scale, offset_hu=offset)
    calibration = calibrate(references, method, SETTINGS)
    assert calibration.raw(bone_hu(bmd, scale=scale, offset_hu=offset)) == pytest.approx(bmd, abs=0.5)


@pytest.mark.parametrize(("voltage", "energy"), [(80, 54), (100, 61), (140, 74)])
@pytest.mark.parametrize("method", ["two_tissue", "multi_tissue"])
def test_a_known_density_comes_back_at_any_tube_voltage(method, voltage, energy):
    calibration = calibrate(make_references(energy, tube_voltage_kv=voltage), method, SETTINGS)
    assert calibration.raw(bone_hu(120, energy)) == pytest.approx(120, abs=0.5)
    assert calibration.energy_kev == pytest.approx(energy, abs=0.3)


def test_the_two_tissue_line_is_the_published_one():
    fitted = Coefficients("a study", None, MethodCoefficients(rho_fat_mg_cm3=-70, rho_muscle_mg_cm3=40))
    calibration = calibrate(
        make_references(fat=-100, muscle=60), "two_tissue", SETTINGS.with_coefficients("two_tissue", fitted)
    )
    assert calibration.raw(140) == pytest.approx(-70 + 240 * 110 / 160)
    assert calibration.energy_kev is None


def test_rho_from_the_tables_is_the_density_that_has_the_tissues_hu():
    fat = SETTINGS.references.tissues["fat"]
    assert bone_hu(compute_rho(fat, 68.0)) == pytest.approx(make_references().tissues["fat"].hu)


def test_the_free_search_finds_the_energy_by_bone():
    names = ("air", "fat", "blood", "muscle", "cortical_bone")
    table = tabulate_tissues(names, SETTINGS.references.tissues)
    references = make_references(57.0, scale=1.02, offset_hu=8)
    hu = np.array([references.tissues[name].hu for name in names])
    fit = search_energy(hu, np.full(5, 2.0), table)
    assert fit.energy_kev == pytest.approx(57, abs=0.3)
    assert (fit.slope, fit.offset_hu) == (pytest.approx(1.02, abs=0.002), pytest.approx(8, abs=1))
    assert fit.r2 > 0.999999


def test_the_energies_are_those_of_the_paper():
    assert (ENERGIES_KEV[0], ENERGIES_KEV[-1], ENERGIES_KEV[1] - ENERGIES_KEV[0]) == (1, 200, 0.5)


def test_two_references_leave_the_energy_to_the_tube_voltage():
    table = tabulate_tissues(("air", "blood"), SETTINGS.references.tissues)
    hu = table[:, 120]
    assert search_energy(hu, np.array([3.0, 4.0]), table).covariance is None
    fit = search_energy(hu, np.array([3.0, 4.0]), table, (68.0, 3.0))
    assert fit.energy_kev == pytest.approx(68, abs=0.3)
    assert np.sqrt(fit.covariance[2, 2]) == pytest.approx(3, rel=0.02)


def test_a_reference_that_is_less_sure_counts_less():
    table = tabulate_tissues(("air", "fat", "blood"), SETTINGS.references.tissues)
    hu = table[:, 134] + np.array([0, 12, 0])
    sure, unsure = (search_energy(hu, np.array([3, sd, 3]), table, (68.0, 3.0)) for sd in (2, 40))
    assert abs(unsure.energy_kev - 68) < abs(sure.energy_kev - 68)


@pytest.mark.parametrize("method", ["two_tissue", "multi_tissue"])
def test_intervals_hold_the_truth_in_95_percent(method):
    """People whose tissues and beam differ as the settings say; bone's own HU are exact."""
    rng = np.random.default_rng(11)
    tissues, held, errors = SETTINGS.references.tissues, 0, []
    for _ in range(400):
        energy = float(rng.normal(*SETTINGS.energy.at(120)))
        people = make_references(energy)
        own = {
            name: float(one.hu + rng.normal(0, tissues[name].between_people_hu)) for name, one in people.tissues.items()
        }
        calibration = calibrate(make_references(energy, **own), method, SETTINGS)
        density = calibration.measure(bone_hu(110, energy))
        errors.append(density.mg_cm3 - 110)
        held += abs(errors[-1]) <= 1.96 * density.se
    assert 0.92 <= held / 400 <= 0.98
    assert abs(np.mean(errors)) < 1.5


def test_the_regions_own_error_is_added():
    calibration = calibrate(make_references(), "two_tissue", SETTINGS)
    without, with_own = calibration.measure(150.0), calibration.measure(150.0, 4.0)
    gain = calibration.raw(151) - calibration.raw(150)
    assert with_own.region_se == pytest.approx(4 * gain)
    assert with_own.se == pytest.approx(np.hypot(without.se, 4 * gain))
    assert calibration.to_bmd(150.0, 4.0) == (with_own.mg_cm3, with_own.se)


def test_what_training_gave_is_applied():
    plain = calibrate(make_references(), "two_tissue", SETTINGS).measure(150.0, 3.0)
    fitted = Coefficients("a study", 85, MethodCoefficients(10.0, 0.8, residual_sd_mg_cm3=3.0, se_scale=0.5))
    corrected = calibrate(make_references(), "two_tissue", SETTINGS.with_coefficients("two_tissue", fitted)).measure(
        150, 3
    )
    assert corrected.mg_cm3 == pytest.approx((plain.mg_cm3 - 10) / 0.8)
    assert corrected.region_se == pytest.approx(plain.region_se / 0.8)
    assert corrected.calibration_se == pytest.approx(np.hypot(0.5 * plain.calibration_se / 0.8, 3))


def test_an_unknown_tube_voltage_widens_the_interval():
    known, unknown = (
        calibrate(make_references(tube_voltage_kv=kv), "multi_tissue", SETTINGS).measure(150) for kv in (120, None)
    )
    assert unknown.se > 1.2 * known.se


def test_rho_is_fitted_without_shrinking():
    """Ratios have errors; the densities that follow from them are not drawn together."""
    rng = np.random.default_rng(3)
    bmd = rng.normal(120, 35, 800)
    ratio = (bmd + 65) / (38 + 65) + rng.normal(0, 0.15, 800)
    rho_fat, rho_muscle = fit_two_tissue(ratio, bmd)
    assert (rho_fat, rho_muscle) == (pytest.approx(-65, abs=6), pytest.approx(38, abs=3))
    estimate = rho_fat + ratio * (rho_muscle - rho_fat)
    assert np.polyfit(bmd, estimate, 1)[0] == pytest.approx(1, abs=1e-9)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(InputError, match="three cases or more"):
        fit_two_tissue([1.0, 2.0], [80, 120])
    with pytest.raises(InputError, match="do not rise with density"):
        fit_two_tissue([3.0, 2.0, 1.0], [80, 100, 120])
    with pytest.raises(InputError, match="no ratio"):
        compute_ratio(150, make_references(fat=None))


def test_the_ratio_is_0_at_fat_and_1_at_muscle():
    references = make_references(scale=1.02, offset_hu=5)
    assert compute_ratio(references.tissues["fat"].hu, references) == 0
    assert compute_ratio(references.tissues["muscle"].hu, references) == 1


def test_hydroxyapatite_by_the_published_conversion():
    assert to_hydroxyapatite(100) == pytest.approx(107.68)
    assert to_k2hpo4(to_hydroxyapatite(83.2)) == pytest.approx(83.2)


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="no calibration 'three_tissue'"):
        calibrate(make_references(), "three_tissue", SETTINGS)


def test_any_subset_of_tissues_calibrates():
    for names in (("air", "blood"), ("fat", "blood", "cortical_bone"), ("air", "muscle", "fat")):
        settings = replace(SETTINGS, multi_tissue=replace(SETTINGS.multi_tissue, references=names))
        calibration = calibrate(make_references(), "multi_tissue", settings)
        assert calibration.raw(bone_hu(100)) == pytest.approx(100, abs=0.5)
        assert set(calibration.references) == set(names)
