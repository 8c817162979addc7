"""Each strategy asks for the case it should, gives the same answer twice, and does without scores."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from myotome.active_learning.strategies import STRATEGIES, Candidate
from myotome.inference.uncertainty import CaseScores, score_probabilities

EVERY = pytest.mark.parametrize("name", list(STRATEGIES))


def scores(entropy=0.1, classes=None, shares=None, spread=None, place=(0.0,)) -> CaseScores:
    return CaseScores(entropy, classes or {}, shares or {}, spread or {}, tuple(place))


def some(count: int, scored: bool = True) -> list[Candidate]:
    rng = np.random.default_rng(8)
    return [
        Candidate(
            f"case_{number:02d}",
            scores(
                float(rng.random()),
                {"a": float(rng.random()), "b": float(rng.random())},
                {"a": float(rng.random()), "b": float(rng.random())},
                {"a": float(rng.random()), "b": float(rng.random())},
                rng.random(3),
            )
            if scored
            else None,
        )
        for number in range(count)
    ]


def pick(name, candidates, labelled=(), seed=0, count=1):
    return STRATEGIES[name].choose(candidates, labelled, np.random.default_rng(seed), count)


def frequencies(name, candidates, labelled=(), draws=3000) -> dict[str, float]:
    rng = np.random.default_rng(1)
    found = Counter(STRATEGIES[name].choose(candidates, labelled, rng)[0] for _ in range(draws))
    return {case.image_id: found[case.image_id] / draws for case in candidates}


def test_the_table_names_every_strategy_once():
    assert list(STRATEGIES) == ["random", "foreground_random", "diverse", "entropy", "claspe", "measurement"]
    assert all(strategy.name == name and strategy.description for name, strategy in STRATEGIES.items())
    assert [name for name, strategy in STRATEGIES.items() if not strategy.needs_scores] == ["random"]


@EVERY
@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize(("count", "expected"), [(1, 1), (5, 5), (12, 12), (40, 12), (0, 0)])
def test_a_choice_is_of_different_cases_and_can_be_repeated(name, scored, count, expected):
    candidates, labelled = some(15, scored)[:12], some(15, scored)[12:]
    chosen = pick(name, candidates, labelled, count=count)
    assert len(chosen) == len(set(chosen)) == expected
    assert set(chosen) <= {case.image_id for case in candidates}
    assert pick(name, candidates, labelled, count=count) == chosen


@EVERY
def test_an_empty_pool_gives_nothing(name):
    assert pick(name, [], some(3), count=2) == []


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "random"])
def test_scored_cases_go_before_those_that_nothing_is_known_of(name):
    candidates = [*some(6, scored=False), Candidate("known", some(1)[0].scores)]
    assert all(pick(name, candidates, seed=seed)[0] == "known" for seed in range(20))
    assert pick(name, candidates, count=7)[0] == "known"


def test_chance_gives_every_case_the_same():
    assert frequencies("random", some(4)) == pytest.approx(
        dict.fromkeys([f"case_{n:02d}" for n in range(4)], 0.25), abs=0.03
    )


def test_foreground_chance_is_by_structure_and_then_by_share():
    """Half of the draws are for the rare structure, however small; the other half are three to one."""
    candidates = [
        Candidate("rare", scores(shares={"small": 0.001, "large": 0.0})),
        Candidate("much", scores(shares={"small": 0.0, "large": 0.3})),
        Candidate("some", scores(shares={"small": 0.0, "large": 0.1})),
        Candidate("none", scores(shares={"small": 0.0, "large": 0.0})),
    ]
    expected = {"rare": 0.5, "much": 0.375, "some": 0.125, "none": 0.0}
    assert frequencies("foreground_random", candidates) == pytest.approx(expected, abs=0.03)


def test_foreground_chance_is_plain_chance_where_nothing_is_predicted():
    blind = [Candidate(name, scores(shares={"a": 0.0})) for name in "xyz"]
    assert frequencies("foreground_random", blind) == pytest.approx(dict.fromkeys("xyz", 1 / 3), abs=0.03)


def test_diverse_takes_the_case_farthest_from_all_that_are_labelled_or_chosen():
    places = {"near": 0.1, "middle": 5.0, "far": 10.0}
    candidates = [Candidate(name, scores(place=(place,))) for name, place in places.items()]
    labelled = [Candidate("first", scores(place=(0.0,)))]
    assert pick("diverse", candidates, labelled, count=3) == ["far", "middle", "near"]


def test_one_wide_number_of_the_descriptor_does_not_drown_the_others():
    candidates = [Candidate("plain", scores(place=(1000.0, 0.0))), Candidate("odd", scores(place=(400.0, 1.0)))]
    labelled = [Candidate(f"old_{hu}", scores(place=(float(hu), 0.0))) for hu in (0, 500, 990)]
    assert pick("diverse", candidates, labelled) == ["odd"]


def test_a_cold_start_is_strided_over_the_list():
    chosen = pick("diverse", some(12, scored=False), count=4)
    numbers = sorted(int(name[-2:]) for name in chosen)
    assert np.diff([*numbers, numbers[0] + 12]).tolist() == [3, 3, 3, 3]


def test_entropy_takes_the_highest_first():
    candidates = [Candidate(name, scores(value)) for name, value in (("low", 0.1), ("high", 0.9), ("mid", 0.5))]
    assert pick("entropy", candidates, count=2) == ["high", "mid"]


def test_noised_entropy_draws_in_proportion_at_first_and_takes_the_highest_at_last():
    candidates = [Candidate("one", scores(0.1)), Candidate("three", scores(0.3))]
    assert frequencies("claspe", candidates) == pytest.approx({"one": 0.25, "three": 0.75}, abs=0.03)
    assert frequencies("claspe", candidates, some(32), draws=300) == {"one": 0.0, "three": 1.0}


def test_half_of_the_noised_queries_are_for_one_structure_at_a_time():
    """Overall `all` is the least certain; for the small structure `small` is, for the large one `large`."""
    candidates = [
        Candidate("all", scores(0.9, {"s": 0.1, "l": 0.1})),
        Candidate("small", scores(0.1, {"s": 0.9, "l": 0.1})),
        Candidate("large", scores(0.1, {"s": 0.1, "l": 0.9})),
    ]
    expected = {"all": 0.5, "small": 0.25, "large": 0.25}
    assert frequencies("claspe", candidates, some(40)) == pytest.approx(expected, abs=0.03)


def test_measurement_takes_the_case_whose_volume_is_uncertain_though_its_entropy_is_lower():
    """One case is vague in many voxels outside every structure; the other only where the volume is decided."""
    hu = np.full((1, 10), 40, np.float32)
    sure = [[0, 1]] * 4
    vague = np.array([*sure, *[[0.8, 0.2]] * 6], np.float32).T[:, None]
    undecided = np.array([*sure, *[[0.5, 0.5]] * 2, *[[1, 0]] * 4], np.float32).T[:, None]
    cases = {name: score_probabilities([(p, hu)], ("a",)) for name, p in (("vague", vague), ("undecided", undecided))}
    assert cases["undecided"].entropy < cases["vague"].entropy
    candidates = [Candidate(name, found) for name, found in cases.items()]
    assert pick("entropy", candidates) == ["vague"]
    assert pick("measurement", candidates, some(32)) == ["undecided"]


def test_no_structure_drowns_the_others():
    """The spread of `b` is a hundred times that of `a`; ranks make them count alike."""
    candidates = [
        Candidate("b_only", scores(spread={"a": 0.01, "b": 90.0})),
        Candidate("both", scores(spread={"a": 0.05, "b": 80.0})),
        Candidate("neither", scores(spread={"a": 0.02, "b": 10.0})),
        Candidate("a_some", scores(spread={"a": 0.04, "b": 20.0})),
    ]
    assert pick("measurement", candidates, some(40)) == ["both"]


def test_a_structure_that_a_case_does_not_hold_says_nothing_for_it():
    candidates = [
        Candidate("without", scores(spread={"a": 0.5})),
        Candidate("with", scores(spread={"a": 0.4, "b": 0.1})),
    ]
    assert pick("measurement", candidates, some(40)) == ["with"]
