"""The replayed loop with a learner whose curve is known: scores, corrections, resuming, and what may be concluded."""

from __future__ import annotations

import csv
import json
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from myotome.active_learning import simulation
from myotome.active_learning.cases import PhantomPool, ReducedCase, Reduction
from myotome.active_learning.curves import (
    Curves,
    Estimate,
    compare,
    conclude,
    find_interval_of_mean,
    labels_to_reach,
    make_curves,
)
from myotome.active_learning.simulation import (
    FULL_DATA,
    Plan,
    Study,
    read_records,
    score_prediction,
    simulate,
    split_cases,
)
from myotome.active_learning.simulation_report import write_results
from myotome.active_learning.study import read_settings, run_study
from myotome.errors import InputError, OutputError

ROWS, COLUMNS, SLICES = 20, 10, 2
VOXELS = ROWS * COLUMNS * SLICES
PLAN = Plan(labelled=(2, 4, 8), strategies=("random", "entropy"), seeds=2)


def make_case(number: int) -> ReducedCase:
    """A block of structure 1, all of it muscle of 50 HU; the slice's first voxel tells the case."""
    hu = np.full((SLICES, ROWS, COLUMNS), 50, np.int16)
    return ReducedCase(f"case_{number:02d}", f"person_{number:02d}", hu, np.ones(hu.shape, np.uint8))


def make_study(plan: Plan = PLAN) -> Study:
    pool, test = (tuple(make_case(number) for number in numbers) for numbers in (range(20), range(20, 25)))
    return Study(pool, test, ("block",), plan)


class Fake:
    """Labelled n cases, it finds n of 20 rows: Dice 2s / (1 + s) and volume error 1 - s with s = n / 20."""

    def __init__(self, stop_after: int = 1000, classes: int = 2) -> None:
        self.fits: list[int] = []
        self.stop_after, self.classes = stop_after, classes

    def fit(self, images, labels, seed, budget=1.0):
        if len(self.fits) == self.stop_after:
            raise KeyboardInterrupt
        self.fits.append(len(images))
        return FakeModel(round(len(images) * budget), self.classes)


class FakeModel:
    def __init__(self, rows: int, classes: int) -> None:
        self.rows, self.classes = rows, classes

    def probabilities(self, image):
        found = np.zeros((len(image), self.classes, *image.shape[1:]), np.float32)
        found[:, 1, : self.rows] = 0.9
        found[:, 0] = 1 - found[:, 1]
        return found


def dice(rows: int) -> float:
    return 2 * rows / (ROWS + rows)


def test_a_fake_learners_known_curve_comes_out(tmp_path):
    told = []
    records = simulate(make_study(), Fake(), tmp_path / "r.jsonl", lambda *share: told.append(share))
    assert told[0] == (0, 14) and told[-1] == (14, 14)
    curves = make_curves(records, PLAN)
    for name in ("random", "entropy"):
        assert curves.dice[name] == pytest.approx(np.array([[dice(n) for n in (2, 4, 8)]] * 2))
        assert curves.volume_error[name] == pytest.approx(np.array([[90, 80, 60]] * 2))
        assert curves.density_error_hu[name] == pytest.approx(np.zeros((2, 3)))
        # All voxels of the first two cases, then what the drafts of 2 and of 4 labels leave to be drawn.
        spent = [2 * VOXELS, 2 * VOXELS + 2 * 0.9 * VOXELS, 2 * VOXELS + 2 * 0.9 * VOXELS + 4 * 0.8 * VOXELS]
        assert curves.corrected_voxels[name] == pytest.approx(np.array([spent] * 2))
    assert curves.full_data_dice == pytest.approx([1.0, 1.0])


def test_the_first_cases_and_the_test_set_are_the_same_for_every_strategy_and_no_case_comes_twice(tmp_path):
    learner = Fake()
    records = simulate(make_study(), learner, tmp_path / "r.jsonl")
    first = {record.seed: record.labelled for record in records if record.round == 0 and record.strategy == "random"}
    assert first[0] != first[1]
    for record in records:
        if record.strategy != FULL_DATA:
            assert record.labelled[:2] == first[record.seed]
            assert len(set(record.labelled)) == len(record.labelled) == PLAN.labelled[record.round]
            assert not set(record.chosen) & set(record.labelled)
    # Round 0 is trained once per seed: 1 + 2 strategies x 2 rounds + the reference.
    assert learner.fits == [2, 4, 8, 4, 8, 20] * 2


def test_a_run_that_was_stopped_repeats_nothing(tmp_path):
    path = tmp_path / "r.jsonl"
    whole = simulate(make_study(), Fake(), tmp_path / "whole.jsonl")
    first, second, third = Fake(stop_after=3), Fake(), Fake()
    with pytest.raises(KeyboardInterrupt):
        simulate(make_study(), first, path)
    assert len(read_records(path)) == 4  # round 0 of both strategies from one training
    with path.open("a") as file:
        file.write('{"strategy": "entropy", "se')  # a line that was cut off
    assert simulate(make_study(), second, path) == whole
    assert first.fits + second.fits == [2, 4, 8, 4, 8, 20] * 2
    assert simulate(make_study(), third, path) == whole
    assert third.fits == []


def test_a_seed_and_a_strategy_can_be_added(tmp_path):
    path = tmp_path / "r.jsonl"
    simulate(make_study(), Fake(), path)
    learner = Fake()
    more = replace(PLAN, strategies=(*PLAN.strategies, "measurement"), seeds=3)
    records = simulate(make_study(more), learner, path)
    assert learner.fits == [2, 4, 8] * 2 + [2, 4, 8, 4, 8, 4, 8, 20]
    assert len(records) == make_study(more).record_count == 30


def test_processes_give_what_one_gives(tmp_path, monkeypatch):
    # Forked, as a new interpreter would not find this module; the learner of this test has no threads to lose.
    monkeypatch.setattr(simulation, "get_context", lambda _: multiprocessing.get_context("fork"))
    alone = simulate(make_study(), Fake(), tmp_path / "alone.jsonl")
    assert simulate(make_study(), Fake(), tmp_path / "jobs.jsonl", jobs=2) == alone
    assert len((tmp_path / "jobs.jsonl").read_text().splitlines()) == 14


def test_a_line_in_the_middle_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("{}\n{}\n")
    with pytest.raises(InputError, match="line 1 of .* is not a record"):
        read_records(path)


def test_patients_are_on_one_side():
    cases = [replace(make_case(number), patient=f"person_{number // 3}") for number in range(30)]
    pool, test = split_cases(cases, 0.2, seed=1)
    assert len({case.patient for case in test}) == 2 and len(test) == 6
    assert not {case.patient for case in pool} & {case.patient for case in test}
    assert split_cases(cases, 0.2, seed=1)[1] == test != split_cases(cases, 0.2, seed=2)[1]
    with pytest.raises(InputError, match="one patient"):
        split_cases(cases[:3], 0.2, seed=1)


def test_scores_of_a_prediction_by_hand():
    """Half of the block found, and as much beside it: Dice 1/2, no volume error, 10 HU of density error."""
    case = make_case(0)
    labels = np.zeros(case.labels.shape, np.uint8)
    labels[:, :10] = 1
    hu = np.where(labels == 1, 40, 60).astype(np.int16)
    prediction = np.zeros_like(labels)
    prediction[:, 5:15] = 1
    found = score_prediction(prediction, replace(case, labels=labels, hu=hu), ("block", "absent"))
    assert found == {"block": (0.5, 0.0, 10.0)}
    assert score_prediction(np.zeros_like(labels), replace(case, labels=labels, hu=hu), ("block",)) == {
        "block": (0.0, 1.0, None)
    }


# --- what follows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "target", "expected"),
    [((0.2, 0.4, 0.8), 0.4, 4), ((0.2, 0.4, 0.8), 0.6, 8), ((0.2, 0.4, 0.8), 0.1, 2), ((0.2, 0.4, 0.8), 0.9, np.inf)],
)
def test_the_labels_needed_are_interpolated(scores, target, expected):
    assert labels_to_reach((2, 4, 12), np.array(scores), target) == pytest.approx(expected)


def make_example(gains: dict[str, float], noise: float = 0.0, seeds: int = 5) -> Curves:
    """Dice that grows by ``gain`` x 0.05 per label up to 0.8, the full-data Dice; noise is by seed and strategy."""
    labelled = (2, 4, 6, 8, 12, 16, 20)
    rng = np.random.default_rng(3)
    dice = {
        name: np.minimum(0.8, 0.05 * gain * np.array([labelled] * seeds)) + noise * rng.normal(size=(seeds, 1))
        for name, gain in gains.items()
    }
    error = {name: 100 * (1 - values) for name, values in dice.items()}
    voxels = {name: 1000.0 * np.array([labelled] * seeds) for name in gains}
    return Curves(labelled, dice, error, error, voxels, np.full(seeds, 0.8), np.full(seeds, 20.0))


def test_ratios_of_labels_needed():
    """0.76 is reached at 15.2 labels by chance, at half of them by a strategy that is twice as quick."""
    rows = {row.strategy: row for row in compare(make_example({"random": 1, "foreground_random": 1, "entropy": 2}))}
    assert rows["random"].labels_needed.value == pytest.approx(15.2)
    assert rows["entropy"].labels_needed == Estimate(*[pytest.approx(7.6)] * 3)
    assert rows["entropy"].voxels_needed.value == pytest.approx(7600)
    assert rows["entropy"].ratio_to_random.value == pytest.approx(0.5)
    assert rows["entropy"].ratio_to_foreground_random.high == pytest.approx(0.5)
    assert rows["foreground_random"].ratio_to_foreground_random.value == 1
    assert rows["entropy"].dice_gain.low > 0 > rows["entropy"].volume_error_gain.high


def test_what_is_never_reached_is_said_to_be_so_and_helps_no_strategy():
    rows = {row.strategy: row for row in compare(make_example({"random": 0.5, "foreground_random": 1, "entropy": 0.4}))}
    assert rows["random"].labels_needed.value == rows["entropy"].ratio_to_random.value == np.inf
    assert rows["foreground_random"].ratio_to_random.value == pytest.approx(15.2 / 20)  # 20 at least


def test_the_conclusion_follows_the_data_when_a_strategy_wins():
    sentences = conclude(compare(make_example({"random": 1, "foreground_random": 1, "entropy": 2.1, "claspe": 1})), 5)
    assert sentences[0].startswith("Beats foreground-aware random")
    assert "entropy 0.50 (0.50 to 0.50)." in sentences[0] and "claspe" not in sentences[0]
    assert "The goal, half of random's labels, is met by entropy." in sentences
    assert any("mean Dice" in sentence and "better: entropy" in sentence for sentence in sentences)
    assert any("mean volume error" in sentence and "better: entropy" in sentence for sentence in sentences)


def test_the_conclusion_follows_the_data_when_none_wins():
    curves = make_example({"random": 1, "foreground_random": 1, "entropy": 1.02, "measurement": 0.98}, noise=0.1)
    sentences = conclude(compare(curves), 5)
    assert sentences[0].startswith("No strategy is shown to beat foreground-aware random")
    assert "The goal, half of random's labels, is not met." in sentences
    assert any("no strategy can be told from it" in sentence for sentence in sentences)


def test_the_conclusion_says_when_a_strategy_is_worse():
    sentences = conclude(compare(make_example({"random": 1, "foreground_random": 2, "entropy": 1.2})), 5)
    assert sentences[0].startswith("No strategy is shown to beat")
    assert "Needs more labels than foreground-aware random: random, entropy." in sentences
    assert any("worse: random, entropy" in sentence for sentence in sentences)


def test_one_seed_says_nothing():
    sentences = conclude(compare(make_example({"random": 1, "foreground_random": 1, "entropy": 3}, seeds=1)), 1)
    assert len(sentences) == 1 and sentences[0].startswith("One seed cannot tell")


def test_intervals_of_five_seeds_hold_the_mean_nine_times_in_ten():
    """Plain percentile intervals of five values hold it some 83 times in a hundred."""
    samples = np.random.default_rng(5).normal(size=(5, 300))
    low, high = find_interval_of_mean(samples)
    assert np.mean((low <= 0) & (high >= 0)) > 0.9


def test_without_the_honest_baseline_nothing_is_claimed():
    sentences = conclude(compare(make_example({"random": 1, "entropy": 3})), 5)
    assert len(sentences) == 1 and "was not run" in sentences[0]


# --- the folder -----------------------------------------------------------------------------------------------------


def test_the_results_are_complete_and_self_contained(tmp_path):
    study = make_study(replace(PLAN, strategies=("random", "foreground_random", "entropy")))
    records = simulate(study, Fake(), tmp_path / "records.jsonl")
    conclusion = write_results(tmp_path, study, records, {"some": "settings"}, "20 blocks")
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["strategy"], row["labelled"]) for row in rows[:4]] == [("random", n) for n in "248"] + [
        ("foreground_random", "2")
    ]
    assert float(rows[2]["dice"]) == pytest.approx(dice(8), rel=1e-5)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["conclusion"] == conclusion
    assert summary["strategies"][2]["labels_needed"]["value"] is None  # 95 % of 1 is not reached with 8 of 20 rows
    assert (tmp_path / "curves.png").read_bytes()[1:4] == b"PNG"
    page = (tmp_path / "report.html").read_text()
    assert conclusion[0] in page and "20 blocks" in page and "over 8" in page
    assert "http" not in page.replace("http-equiv", "") and "data:image/png;base64," in page


def test_a_missing_record_is_named():
    with pytest.raises(InputError, match="not finished"):
        make_curves([], PLAN)


def test_a_study_from_its_settings_goes_on_and_refuses_other_settings(tmp_path, monkeypatch):
    cases = [make_case(number) for number in range(25)]
    monkeypatch.setattr("myotome.active_learning.study.make_phantom_cases", lambda *_: cases)
    settings = replace(read_settings(), plan=PLAN)
    learner = Fake(classes=5)
    run_study(settings, learner, tmp_path / "out")
    fits = len(learner.fits)
    run_study(settings.chosen(["random"], 1), learner, tmp_path / "out")
    assert len(learner.fits) == fits
    with pytest.raises(OutputError, match="other settings"):
        run_study(replace(settings, reduction=Reduction(3)), learner, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="something else"):
        run_study(settings, learner, tmp_path / "mine")


def test_the_projects_own_settings():
    settings = read_settings()
    assert settings.phantoms == PhantomPool(200, 700000, 8.0)
    assert settings.plan.seeds == 5 and len(settings.plan.strategies) == 6
    assert settings.chosen(["entropy"], 3).plan == replace(settings.plan, strategies=("entropy",), seeds=3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("plan: {labelled: [4, 2]}", "do not grow"),
        ("plan: {strategies: [guess]}", "no strategy guess"),
        ("plan: {strategies: [random, random]}", "given twice"),
        ("plan: {test_share: 1.5}", "test share"),
        ("plan: {seeds: 0}", "seeds"),
        ("plan: {surprise: 1}", "surprise"),
        ("other: {}", "unknown section 'other'"),
        ("- a list", "not a configuration"),
        ("a: [", "not a configuration"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, text, reason):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_settings(path)


def test_a_configuration_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no configuration at"):
        read_settings(tmp_path / "none.yaml")


def test_more_labels_than_cases():
    with pytest.raises(InputError, match="the pool holds 20 cases, and 30 are to be labelled"):
        make_study(replace(PLAN, labelled=(2, 30)))
