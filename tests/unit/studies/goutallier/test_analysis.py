"""Scores by fold and pooled, against values worked out from the predictions themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from myotome.statistics.classification import compute_auroc, estimate_proportion
from myotome.studies.goutallier.analysis import Scoring, compare_arms, score_arms, score_oracle, score_region
from myotome.studies.goutallier.conclusion import find_score
from myotome.studies.goutallier.study import find_out
from tests.unit.studies.goutallier.answers import COUNTS, make_predictions, make_regions, make_settings

SCORING = Scoring(("A", "B"), resamples=200, seed=1)


@pytest.fixture(scope="module")
def predictions():
    return make_predictions()


@pytest.fixture(scope="module")
def scores(predictions):
    return score_arms(predictions, SCORING)


def kept(predictions, arm="none"):
    rows = predictions[(predictions["arm"] == arm) & (predictions["grade"] != 2)]
    return rows["grade"].to_numpy() >= 3, rows["calibrated_A"].to_numpy(), rows["fold"].to_numpy()


def test_pooled_scores_are_those_of_all_cases_together(predictions, scores):
    target, probability, _ = kept(predictions)
    right = (probability >= 0.5) == target
    row = find_score(scores, arm="none", definition="A", measure="accuracy", method="Wilson")
    expected = estimate_proportion(int(right.sum()), len(right))
    assert (row["value"], row["lower"], row["upper"]) == (expected.value, expected.lower, expected.upper)
    assert (row["cases"], row["positives"]) == (sum(COUNTS) - COUNTS[2], COUNTS[3] + COUNTS[4])
    row = find_score(scores, arm="none", definition="A", measure="sensitivity", over="pooled")
    assert row["value"] == right[target].mean()
    row = find_score(scores, arm="none", definition="A", measure="auroc", method="DeLong")
    assert row["lower"] == compute_auroc(target, probability).estimate.lower


def test_the_mean_over_folds_has_students_interval(predictions, scores):
    target, probability, fold = kept(predictions)
    values = [np.mean(((probability >= 0.5) == target)[fold == number]) for number in range(1, 6)]
    row = find_score(scores, arm="none", definition="A", measure="accuracy", over="folds")
    assert row["value"] == pytest.approx(np.mean(values)) and row["sd"] == pytest.approx(np.std(values, ddof=1))
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (row["lower"], row["upper"]) == pytest.approx(expected)
    assert row["method"] == "Student's t, 5 folds"


def test_a_fold_in_which_a_score_is_not_defined_is_left_out(predictions):
    poor = predictions[(predictions["fold"] != 2) | (predictions["grade"] < 3)]
    row = find_score(score_arms(poor, SCORING), arm="none", definition="A", measure="sensitivity", over="folds")
    assert row["method"] == "Student's t, 4 folds"


def test_the_bootstrap_and_the_formula_agree(scores):
    for measure, method in (("accuracy", "Wilson"), ("auroc", "DeLong")):
        where = {"arm": "none", "definition": "B", "measure": measure}
        formula, drawn = (find_score(scores, method=name, **where) for name in (method, "bootstrap"))
        assert drawn["value"] == pytest.approx(formula["value"])
        assert (drawn["lower"], drawn["upper"]) == pytest.approx((formula["lower"], formula["upper"]), abs=0.03)


def test_calibration_is_scored_before_and_after(scores):
    where = {"arm": "predicted", "definition": "B", "over": "pooled"}
    before, after = (
        find_score(scores, measure=f"calibration_error{end}", **where)["value"] for end in ("_uncalibrated", "")
    )
    assert after < before


def test_the_loss_is_scikit_learns(predictions, scores):
    metrics = pytest.importorskip("sklearn.metrics")
    target, probability, _ = kept(predictions, "predicted")
    row = find_score(scores, arm="predicted", definition="A", measure="log_loss", over="pooled")
    assert row["value"] == pytest.approx(metrics.log_loss(target, probability))


def test_more_fog_is_a_worse_order(predictions):
    table = compare_arms(predictions, "predicted", SCORING)
    row = find_score(table, definition="B", arm="none", measure="auroc")
    assert row["upper"] < 0 and row["p"] < 0.01
    areas = [compute_auroc(*kept(predictions, arm)[:2]).estimate.value for arm in ("none", "predicted")]
    found = find_score(table, definition="A", arm="none", measure="auroc")["value"]
    assert found == pytest.approx(areas[0] - areas[1])


def test_nobody_scores_better_against_a_reader_than_who_sees_the_fat(predictions):
    cases = predictions[predictions["arm"] == "predicted"]
    oracle = score_oracle(cases, SCORING)
    readers = score_arms(predictions, SCORING, "rated_grade")
    for measure in ("auroc", "accuracy"):
        best = find_score(oracle, definition="B", measure=measure, over="pooled")["value"]
        for arm in ("predicted", "none"):
            assert find_score(readers, arm=arm, definition="B", measure=measure, over="pooled")["value"] <= best + 0.02
    exact = np.mean(cases["grade"] == cases["rated_grade"])
    assert find_score(oracle, measure="exact_agreement", method="bootstrap")["value"] == pytest.approx(exact)


def test_somebody_who_sees_the_fat_is_always_right_about_the_truth(predictions):
    cases = predictions[predictions["arm"] == "predicted"]
    oracle = score_oracle(cases.assign(rated_grade=cases["grade"]), Scoring("ABCDE", resamples=50))
    for measure in ("accuracy", "auroc"):
        assert set(oracle[oracle["measure"] == measure]["value"]) == {1.0}
    assert find_score(oracle, measure="kappa_quadratic", method="bootstrap")["value"] == pytest.approx(1)


def test_the_region_is_scored_by_patient(predictions):
    row = find_score(score_region(make_regions(predictions), SCORING), structure="supraspinatus", method="bootstrap")
    assert row["value"] == pytest.approx(0.95) and row["cases"] == sum(COUNTS)
    assert row["upper"] - row["lower"] == pytest.approx(2 * 1.96 * 0.00816 / np.sqrt(sum(COUNTS)), rel=0.25)


def test_the_conclusion_says_what_the_scores_say(predictions):
    found = find_out(predictions, make_regions(predictions), make_settings(definitions=("A", "B")))
    row = find_score(found.scores, arm="predicted", truth="grade", definition="A", measure="accuracy", over="folds")
    assert f"accuracy {row['value']:.4f} (paper 0.9731)" in found.conclusion[0]
    assert "Dice of the muscle 0.9500" in found.conclusion[1] and "paper 0.9441" in found.conclusion[1]
    no_masks = next(sentence for sentence in found.conclusion if sentence.startswith("No masks instead of"))
    assert no_masks.endswith(("a difference.", "no difference that these cases could show."))
    assert "With a reader's grades for truth" in found.conclusion[-1]
