"""Scores among people made from known numbers: what was injected comes first, and for its reason."""

import numpy as np
import pytest

from myotome.cohort.quality_scores import Feature, score_cases
from tests.unit.cohort.quality_cohort import case_name, change, make_people


@pytest.fixture(scope="module")
def people():
    """Three hundred people, two of them with one measure changed."""
    cases, measurements = make_people(300, seed=11)
    change(measurements, 20, "pectoralis", "left", "volume", 0.5)
    change(measurements, 130, "intercostal", "right", "density", 0.4)
    return cases, measurements


def test_what_was_injected_is_ranked_first_with_its_measure_and_what_it_was(people):
    cases, measurements = people
    scores = score_cases(measurements, cases)
    _, true = make_people(300, seed=11)
    assert scores.method == "distance" and len(scores.features) == 16
    first = np.argsort(-scores.distances.distance)[:2]
    assert set(first) == {20, 130}
    for case, wrong in (
        (20, Feature("pectoralis", "left", "volume")),
        (130, Feature("intercostal", "right", "density")),
    ):
        column = scores.features.index(wrong)
        assert scores.distances.share[case].argmax() == column
        assert scores.distances.tail[case] < 1e-6
        was = true[(true["case_id"] == case_name(case)) & (true["structure"] == wrong.structure)]
        was = was[(was["side"] == wrong.side) & (was["measure"] == wrong.measure)]["value"].item()
        # Each volume scatters by 6 %, each density by 2 HU, around what the others say.
        assert scores.expected[case, column] == pytest.approx(was, abs=0.15 * abs(was))


def test_ordinary_people_have_ordinary_distances():
    cases, measurements = make_people(800, seed=12)
    scores = score_cases(measurements, cases)
    assert np.median(scores.distances.distance) == pytest.approx(1.0, abs=0.05)
    # Three standard errors around five per cent of 800, and a little for what is estimated.
    assert 0.025 < (scores.distances.tail < 0.05).mean() < 0.08


def test_units_do_not_change_the_scores(people):
    cases, measurements = people
    scaled = measurements.copy()
    volume = scaled["measure"] == "volume"
    scaled.loc[volume, "value"] /= 1000
    scaled.loc[~volume, "value"] = 3 * scaled.loc[~volume, "value"] + 500
    plain, other = score_cases(measurements, cases), score_cases(scaled, cases)
    assert other.distances.distance == pytest.approx(plain.distances.distance, rel=1e-6)
    assert other.distances.share == pytest.approx(plain.distances.share, abs=1e-6)
    assert other.height_z == pytest.approx(plain.height_z, rel=1e-6)


def test_the_same_cases_give_the_same_scores_in_any_order(people):
    cases, measurements = people
    again = score_cases(measurements.sample(frac=1, random_state=3), cases)
    assert np.array_equal(again.distances.distance, score_cases(measurements, cases).distances.distance)


def test_a_few_women_are_not_outliers_for_being_women():
    cases, measurements = make_people(1000, seed=13)
    men = cases["sex"] == "M"
    cases = cases[men | (np.cumsum(~men) <= 40)].reset_index(drop=True)
    scores = score_cases(measurements, cases)
    women = (cases["sex"] == "F").to_numpy()
    assert women.sum() == 40
    assert np.median(scores.distances.tail[women]) > 0.25


def test_a_case_without_one_measure_is_scored_on_the_others(people):
    cases, measurements = people
    measurements = measurements.copy()
    gone = (measurements["case_id"] == case_name(20)) & (measurements["structure"] == "pectoralis")
    measurements.loc[gone, "value"] = np.nan
    scores = score_cases(measurements, cases)
    assert scores.distances.tail[20] > 0.01
    missing = [
        feature.structure for feature, value in zip(scores.features, scores.values[20], strict=True) if np.isnan(value)
    ]
    assert missing == ["pectoralis"] * 4
    assert np.isnan(scores.total_volume_ml[20]) and np.isnan(scores.height_z[20])


def test_a_structure_that_most_cases_lack_takes_no_part(people):
    cases, measurements = people
    measurements = measurements.copy()
    rare = (measurements["structure"] == "other_muscle") & (measurements["case_id"] > case_name(100))
    measurements.loc[rare, "value"] = np.nan
    scores = score_cases(measurements, cases)
    place = [column for column, feature in enumerate(scores.features) if feature.structure == "other_muscle"]
    assert scores.method == "distance"
    assert (scores.distances.share[:, place] == 0).all()


def test_fewer_cases_are_scored_on_both_sides_together():
    cases, measurements = make_people(60, seed=14)
    for side in ("right", "both"):
        change(measurements, 30, "erector_spinae", side, "volume", 0.5)
    scores = score_cases(measurements, cases)
    assert (
        scores.method == "distance" and "in 8 measures" in scores.sentence and "both sides together" in scores.sentence
    )
    assert np.argmax(scores.distances.distance) == 30
    top = {scores.features[column] for column in np.argsort(-scores.distances.share[30])[:2]}
    assert top == {Feature("erector_spinae", side, "volume") for side in ("right", "left")}
    assert scores.distances.share.sum(axis=1) == pytest.approx(np.ones(60))
    assert np.isnan(scores.expected).all()


def test_still_fewer_are_scored_by_their_largest_z():
    cases, measurements = make_people(20, seed=15)
    change(measurements, 4, "other_muscle", "right", "volume", 0.1)
    scores = score_cases(measurements, cases)
    assert scores.method == "largest_z" and "20 cases are too few" in scores.sentence
    assert np.argmax(scores.distances.distance) == 4
    column = scores.features.index(Feature("other_muscle", "right", "volume"))
    assert scores.distances.share[4, column] == 1.0
    assert scores.distances.distance[4] == pytest.approx(abs(scores.z[4, column]))


@pytest.mark.parametrize(("count", "words"), [(0, "no case has"), (1, "no case has"), (9, "9 cases have")])
def test_too_few_cases_have_no_score_and_a_reason(count, words):
    cases, measurements = make_people(20, seed=16)
    cases = cases.head(count)
    scores = score_cases(measurements[measurements["case_id"].isin(cases["case_id"])], cases)
    assert scores.method == "none"
    assert scores.sentence == f"No outlier score: {words} measurements that vary, and a score needs 10."
    assert np.isnan(scores.distances.distance).all() and len(scores.distances.distance) == count


def test_volume_is_compared_at_the_same_height_and_sex():
    cases, measurements = make_people(400, seed=17)
    for structure in ("pectoralis", "erector_spinae", "intercostal", "other_muscle"):
        change(measurements, 77, structure, "both", "volume", 0.5)
    clean = score_cases(make_people(400, seed=17)[1], cases)
    scores = score_cases(measurements, cases)
    assert scores.height_ratio[77] == pytest.approx(clean.height_ratio[77] / 2, rel=0.02)
    assert np.argmin(scores.height_z) == 77
    # The median of each sex is what others of that sex and height have.
    for sex in ("F", "M"):
        assert np.median(scores.height_ratio[cases["sex"] == sex]) == pytest.approx(1.0, abs=0.02)


def test_without_heights_there_is_no_comparison(people):
    cases, measurements = people
    scores = score_cases(measurements, cases.assign(height_m=np.nan))
    assert np.isnan(scores.height_z).all() and np.isfinite(scores.total_volume_ml).all()
