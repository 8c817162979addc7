import json

import numpy as np
import pytest

from myotome.cli.study_pft import pft_coverage
from myotome.errors import InputError
from myotome.phantoms.thorax import make_lung_function, make_person
from myotome.studies.pft.coverage import replicate, summarise, write_coverage
from myotome.studies.pft.phantoms import (
    LUNG_FUNCTION,
    PREDICTORS,
    draw_population,
    make_predictors,
    measure_muscle,
    open_population,
)
from myotome.studies.pft.settings import read_settings

SETTINGS = read_settings()
TRUTH = SETTINGS.phantoms["truth"]


@pytest.fixture(scope="module")
def population():
    return draw_population(TRUTH, 6000, 4_000_000)


@pytest.fixture(scope="module")
def replications(population):
    return replicate(population, SETTINGS, 60, 500)


def test_people_are_those_of_their_seeds(population):
    person = make_person(4_000_007)
    lung = make_lung_function(person)
    assert population.male[7] == person.male
    assert population.height_cm[7] == pytest.approx(100 * person.height_m)
    assert [population.lung[name][7] for name in LUNG_FUNCTION] == [lung[name] for name in LUNG_FUNCTION]


def test_true_muscle_follows_the_model():
    assert tuple(SETTINGS.phantoms["predictors"]) == PREDICTORS
    person = make_person(11)
    exact = {"volume": {"scale": "log", "coefficients": [1.0, 1.0] + [0.0] * 7, "residual_sd": 0.0}}
    people = draw_population({"pectoralis": exact}, 1, 11)
    assert people.muscle["pectoralis", "volume"][0] == pytest.approx(np.e * person.muscle)
    assert make_predictors([person])[0, 0] == pytest.approx(np.log(person.muscle))


def test_true_volumes_are_those_of_drawn_thoraces(population):
    # Means over whole thoraces of 300 people (seeds 800000 on), drawn plane by plane without the study's code.
    men = population.male == 1
    for structure, expected in (("pectoralis", (273, 172)), ("erector_spinae", (386, 226))):
        volume = population.muscle[structure, "volume"]
        assert volume[men].mean() == pytest.approx(expected[0], rel=0.12)
        assert volume[~men].mean() == pytest.approx(expected[1], rel=0.12)


def test_measurements_carry_the_pipelines_errors(population):
    measured = measure_muscle(population, SETTINGS, np.random.default_rng(1))
    ratio = measured["erector_spinae", "volume"] / population.muscle["erector_spinae", "volume"] - 1
    known = np.array(SETTINGS.measurement_error["erector_spinae"]["volume"]["errors"])
    assert np.abs(ratio[:, None] - known).min(axis=1).max() < 1e-9
    assert ratio.std() == pytest.approx(known.std(), rel=0.05)


def test_a_population_is_kept_and_known_again(tmp_path):
    path = tmp_path / "p.npz"
    first, again = (open_population(path, TRUTH, (50, 3)) for _ in range(2))
    assert np.array_equal(first.muscle["intercostal", "density"], again.muscle["intercostal", "density"])
    other = open_population(path, TRUTH, (50, 4))
    assert not np.array_equal(first.height_cm, other.height_cm)


def test_intervals_hold_the_truth_and_the_correction_finds_it(replications):
    table = summarise(replications).set_index(["muscle", "measure", "lung_function"])
    assert len(table) == 36
    assert 0.93 <= table["corrected_coverage"].mean() <= 0.975
    assert table["corrected_coverage"].min() > 0.84
    # 60 replications of 500 people: a mean estimate has a standard error of about 0.04 / sqrt(60)
    assert (table["corrected_mean"] - table["truth"]).abs().max() < 0.02
    row = table.loc[("pectoralis", "volume", "mip_cmh2o")]
    assert row["corrected_mean"] - row["uncorrected_mean"] > 0.01


def test_truth_without_error_is_what_the_generator_says(population, replications):
    # MIP is tied to muscle z by 0.55 given age, sex and height; volume holds only part of that z.
    truth = dict(zip(replications.keys, replications.truth, strict=True))
    assert 0.25 < truth["erector_spinae", "volume", "mip_cmh2o"] < 0.55
    assert abs(truth["erector_spinae", "density", "mip_cmh2o"]) < 0.05


def test_chance_is_kept_out(replications, tmp_path):
    # 5 % of 60 families is 3; more than 9 has a probability below 0.1 %
    assert (replications.null > 0).sum() <= 9
    false, found = replications.mixed.T
    assert found.min() >= 1
    assert (false / found).mean() < 0.08


def test_a_longer_run_begins_as_a_shorter_one(population, replications, tmp_path):
    short = replicate(population, SETTINGS, 2, 500)
    assert np.array_equal(short.corrected, replications.corrected[:2], equal_nan=True)
    summary = write_coverage(tmp_path, short, SETTINGS)
    assert json.loads((tmp_path / "coverage.json").read_text()) == summary
    assert (tmp_path / "coverage.csv").read_text().count("\n") == 37


def test_the_command_keeps_its_population_and_refuses_too_small_a_one(tmp_path, capsys):
    pft_coverage(output=tmp_path, replications=3, people=100, population=400)
    printed = capsys.readouterr().out
    assert "3 replications of 100 people" in printed and "of 36 pairs within 93 to 97 %" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"population.npz", "coverage.csv", "coverage.json"}
    with pytest.raises(InputError, match="500 people cannot be drawn from 400"):
        pft_coverage(output=tmp_path, people=500, population=400, quiet=True)
