"""Coefficients fitted on people whose bias is known, and ratings that come back from JSON."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myotome.biomarkers.bone_density import (
    Calibration,
    CalibrationRefused,
    Coefficients,
    MethodCoefficients,
    compute_ratio,
    read_bone_density_settings,
)
from myotome.errors import InputError
from myotome.resources import config_path
from myotome.studies.qct_agreement import readings as readings_module
from myotome.studies.qct_agreement.fitting import apply_fit, fit_methods, place_coefficients, write_coefficients
from myotome.studies.qct_agreement.jobs import Job
from myotome.studies.qct_agreement.readings import (
    HU,
    describe_survey,
    rate,
    read_reference,
    read_survey,
    tabulate_readings,
)
from myotome.studies.qct_agreement.settings import Fitting
from tests.unit.studies.qct_agreement.answers import (
    HU_PER_MG,
    make_bone_settings,
    make_people,
    make_row,
    make_settings,
    make_survey,
)

STUDY = make_settings(fitting=Fitting(fewest_at_voltage=20, error_ratio=1.0), leave_out=())
ONE = STUDY.changed(methods=("two_tissue",))
BONE = make_bone_settings()


def test_a_survey_comes_back_from_json():
    survey = make_survey(110.0)
    row = make_row(Job("test", "a", "a"), survey, 110.0, 110.0)
    assert read_survey(row["survey"]) == survey and describe_survey(read_survey(row["survey"])) == row["survey"] | {
        "levels": describe_survey(survey)["levels"],
        "references": describe_survey(survey)["references"],
        "flags": (),
    }


def read_with_rods(monkeypatch, survey, found):
    monkeypatch.setattr(readings_module, "calibrate_with_phantom", lambda *_: found)
    return read_reference(None, survey, ("L1", "L2", "L3"), BONE)


def make_rods(offset_se_hu: float) -> Calibration:
    line, covariance = np.array([0.0, HU_PER_MG]), np.diag([offset_se_hu**2, 0.0])
    return Calibration("phantom", lambda line, hu: (hu - line[0]) / line[1], line, covariance)


def test_the_reference_is_the_mean_of_two_levels_by_the_rods(monkeypatch):
    survey = make_survey(100.0)
    found = read_with_rods(monkeypatch, survey, make_rods(1.0))
    assert found.mg_cm3 == pytest.approx(100) and found.calibration_se == pytest.approx(1 / HU_PER_MG)
    assert found.levels == ("L1", "L2") and found.reason == ""
    loose = read_with_rods(monkeypatch, survey, make_rods(10.0))
    assert loose.mg_cm3 is None and "standard error 7.4 mg/cm3" in loose.reason
    absent = read_with_rods(monkeypatch, survey, CalibrationRefused("phantom", ("phantom_not_found",), ("No rods.",)))
    assert absent.mg_cm3 is None and absent.reason == "No rods."
    broken = replace(survey, levels={**survey.levels, "L1": replace(survey.levels["L1"], flags=("fractured",))})
    assert "fewer than two levels" in read_with_rods(monkeypatch, broken, make_rods(1.0)).reason


def test_a_rating_is_the_products_number_with_its_interval_and_levels():
    settings = BONE.with_coefficients(
        "two_tissue", Coefficients(other=MethodCoefficients(rho_fat_mg_cm3=-70.0, rho_muscle_mg_cm3=40.0))
    )
    survey = make_survey(100.0)
    found = rate(survey, "two_tissue", settings)
    ratio = compute_ratio(100.0 * HU_PER_MG, survey.references)
    assert found.value == pytest.approx(-70 + 110 * ratio) and found.levels == ("L1", "L2")
    assert found.lower < found.value < found.upper and 0 < found.calibration_se < found.se
    plain = rate(survey, HU, settings)
    assert plain.value == pytest.approx(135.0) and plain.se == pytest.approx(1 / np.sqrt(2))
    refused = rate(make_survey(100.0, fat_hu=20.0), "two_tissue", settings)
    assert refused.value is None and "fat_implausible" in refused.flags


def test_bias_is_taken_off_and_intervals_hold_what_they_should():
    people = make_people("training", 150, seed=1, spread=3.0)
    fit = fit_methods(people, STUDY, BONE, "a test")
    others = make_people("test", 400, seed=2, spread=3.0)
    readings = tabulate_readings(others, apply_fit(fit, BONE), fit.coefficients[HU].other, [], ["two_tissue"])
    for method in ("two_tissue", HU):
        rows = readings[readings["method"] == method]
        error = rows["bmd"] - rows["truth"]
        assert abs(error.mean()) < 1, "hardly a bias is left: its standard error is 0.4"
        assert abs(np.polyfit(rows["truth"], error, 1)[0]) < 0.03, "and none that grows with density"
    own = readings[readings["method"] == "two_tissue"]
    inside = ((own["lower"] <= own["truth"]) & (own["truth"] <= own["upper"])).mean()
    assert 0.92 < inside < 0.98
    assert fit.youden_mg_cm3["two_tissue"] == pytest.approx(80, abs=6)
    table = fit.table.set_index(["method", "voltage"])
    assert {("two_tissue", "all"), ("two_tissue", "120"), ("multi_tissue", "all"), (HU, "all")} <= set(table.index)
    assert table.loc[(HU, "all"), "slope"] == pytest.approx(HU_PER_MG, rel=0.01)


def test_a_voltage_with_enough_people_has_densities_of_its_own():
    people = make_people("training", 60, seed=3, spread=1.0, voltages=(120.0, 120.0, 100.0))
    fit = fit_methods(people, ONE, BONE, "a test")
    coefficients = fit.coefficients["two_tissue"]
    assert set(coefficients.by_tube_voltage) == {120, 100}
    own = coefficients.at(120.0)
    per_hu = (own.rho_muscle_mg_cm3 - own.rho_fat_mg_cm3) / 155
    assert per_hu == pytest.approx(1 / HU_PER_MG, rel=0.05), "1.35 HU are a mg/cm3 between fat and muscle"
    assert own.slope == pytest.approx(1, abs=0.03) and coefficients.other.rho_fat_mg_cm3 is None
    few = fit_methods(people, ONE.changed(fitting=Fitting(30, 1.0)), BONE, "a test")
    assert set(few.coefficients["two_tissue"].by_tube_voltage) == {120}


def test_the_coefficients_are_written_as_the_product_reads_them(tmp_path):
    fit = fit_methods(make_people("training", 40, seed=4), STUDY, BONE, "a test")
    own = config_path("bone_density.yaml").read_text()
    placed = place_coefficients(own, write_coefficients(fit))
    (tmp_path / "bone.yaml").write_text(placed)
    comments = [line for line in own.splitlines() if "#" in line]
    assert comments and all(line in placed.splitlines() for line in comments), "comments stay"
    assert place_coefficients(placed, write_coefficients(fit)) == placed
    read = read_bone_density_settings(tmp_path / "bone.yaml")
    survey = make_survey(95.0)
    for method in ("two_tissue", "multi_tissue"):
        assert read.coefficients[method].source == "a test"
        fitted = rate(survey, method, apply_fit(fit, BONE)).value
        assert rate(survey, method, read).value == pytest.approx(fitted, abs=0.05)


def test_coefficients_of_one_method_leave_those_of_the_other(tmp_path):
    fit = fit_methods(make_people("training", 20, seed=4), STUDY.changed(methods=("two_tissue",)), BONE, "a test")
    own = config_path("bone_density.yaml").read_text()
    (tmp_path / "bone.yaml").write_text(place_coefficients(own, write_coefficients(fit)))
    read, before = read_bone_density_settings(tmp_path / "bone.yaml"), read_bone_density_settings()
    assert read.coefficients["multi_tissue"] == before.coefficients["multi_tissue"]
    assert read.coefficients["two_tissue"].source == "a test"
    with pytest.raises(InputError, match="no part 'coefficients'"):
        place_coefficients("method: two_tissue\n", write_coefficients(fit))


def test_too_few_people_are_refused():
    with pytest.raises(InputError, match="7 people of the training part have QCT and a number of two_tissue"):
        fit_methods(make_people("training", 7, seed=5), ONE, BONE, "a test")


def test_values_that_are_not_compared_are_not_fitted_either():
    people = make_people("training", 20, seed=7)
    with pytest.raises(InputError, match="0 people of the training part have QCT and a number"):
        fit_methods(people, ONE.changed(leave_out=("bias_not_corrected",)), BONE, "a test")


def test_without_osteoporosis_there_is_no_youden_cutoff():
    people = [row for row in make_people("training", 60, seed=6) if row["reference"]["mg_cm3"] > 90]
    assert fit_methods(people, ONE, BONE, "a test").youden_mg_cm3["two_tissue"] is None


def test_readings_say_what_became_of_every_scan():
    rows = [
        make_row(Job("test", "a", "a"), make_survey(70.0), 70.0, 70.0),
        make_row(Job("test", "b", "b"), make_survey(100.0, fat_hu=20.0), 100.0, 100.0),
        make_row(Job("test", "c", "c"), make_survey(100.0), None, None),
        make_row(Job("test", "d", "d"), make_survey(100.0), 100.0, 100.0),
    ]
    table = tabulate_readings(rows, BONE, MethodCoefficients(slope=HU_PER_MG), ["bias_not"], ["two_tissue"])
    own = table[table["method"] == "two_tissue"].set_index("case")
    assert own["outcome"].tolist() == ["left out", "refused", "no reference", "left out"]
    assert own.loc["b", "reason"] == "fat_implausible" and own.loc["a", "reason"] == "bias_not_corrected"
    assert own["positive"].tolist() == [True, False, False, False]
    plain = table[(table["method"] == HU) & (table["case"] == "a")].iloc[0]
    assert plain["bmd"] == pytest.approx(70.0)
