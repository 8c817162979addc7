"""Scores of a case from its probabilities: each has a value that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.inference.uncertainty import CaseScores, score_probabilities

NAMES = ("near", "far", "thin", "wide")


def plane(shares: list[list[float]], hu: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """One slice of a row of voxels: each voxel's probabilities, and its HU."""
    return np.array(shares, dtype=np.float32).T[:, :, None], np.array(hu, dtype=np.float32)[:, None]


def test_the_entropy_of_a_uniform_prediction_is_the_logarithm_of_the_classes():
    scores = score_probabilities([plane([[0.2] * 5] * 7, [40] * 7)] * 3, NAMES)
    assert scores.entropy == pytest.approx(np.log(5), rel=1e-6)
    assert scores.class_entropy == pytest.approx(dict.fromkeys(NAMES, np.log(5)), rel=1e-6)


def test_a_certain_prediction_has_no_entropy_and_no_spread():
    scores = score_probabilities([plane([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], [0, 50, 60, 90])], ("a", "b"))
    assert scores.entropy == pytest.approx(0, abs=1e-9)
    assert scores.measurement_spread == {"a": 0.0, "b": 0.0}
    assert scores.class_share == {"a": 0.5, "b": 0.25}


def test_only_the_body_counts():
    body, air = [[0.5, 0.5], [1, 0]], [[0.5, 0.5]] * 6
    scores = score_probabilities([plane([*body, *air], [20, 20, *[-900] * 6])], ("a",))
    assert scores.entropy == pytest.approx(np.log(2) / 2)


def test_the_entropy_of_a_class_is_that_of_its_plausible_voxels():
    """0.2 of the second structure is plausible, 0.05 is not."""
    rows = [[0.8, 0, 0.2], [0.95, 0, 0.05], [0, 1, 0]]
    scores = score_probabilities([plane(rows, [10, 10, 10])], ("a", "b"))
    expected = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    assert scores.class_entropy["b"] == pytest.approx(expected, rel=1e-5)
    assert scores.class_entropy["a"] == pytest.approx(0, abs=1e-9)


def test_a_structure_that_is_nowhere_plausible_is_left_out():
    scores = score_probabilities([plane([[0.97, 0.03], [1, 0]], [10, 10])], ("a",))
    assert scores.class_entropy == scores.measurement_spread == {}
    assert scores.class_share == {"a": 0.0}


def test_the_spread_is_that_of_volume_and_density_between_a_cautious_and_a_generous_reading():
    """Cautious: one voxel of 60 HU. Generous: three, of 60, 40 and 20 HU. Soft volume 0.9 + 0.5 + 0.3 + 0.1."""
    rows = [[0.1, 0.9], [0.5, 0.5], [0.7, 0.3], [0.9, 0.1]]
    scores = score_probabilities([plane(rows, [60, 40, 20, -100])], ("a",))
    assert scores.measurement_spread["a"] == pytest.approx((3 - 1) / 1.8 + (60 - 40) / 10, rel=1e-6)


def test_density_is_that_of_the_muscle_range_and_counts_10_hu_where_the_cautious_reading_has_none():
    fat = score_probabilities([plane([[0.1, 0.9], [0.5, 0.5]], [50, -90])], ("a",))
    assert fat.measurement_spread["a"] == pytest.approx(1 / 1.4, rel=1e-6)
    unsure = score_probabilities([plane([[0.5, 0.5], [0.5, 0.5]], [50, 60])], ("a",))
    assert unsure.measurement_spread["a"] == pytest.approx(2 / 1 + 1)


def test_slices_are_read_one_at_a_time_and_together_are_the_case():
    rng = np.random.default_rng(4)
    planes = []
    for _ in range(4):
        raw = rng.random((3, 6, 5), dtype=np.float32)
        planes.append((raw / raw.sum(axis=0), rng.integers(-400, 200, (6, 5)).astype(np.float32)))

    def one_by_one():
        """Every slice comes in the same two arrays, as from a reader that holds one slice."""
        probabilities, hu = (np.empty_like(part) for part in planes[0])
        for one in planes:
            probabilities[:], hu[:] = one
            yield probabilities, hu

    stacked = [tuple(np.concatenate([pair[part] for pair in planes], axis=-1) for part in (0, 1))]
    together, apart = score_probabilities(stacked, ("a", "b")), score_probabilities(one_by_one(), ("a", "b"))
    assert apart.entropy == pytest.approx(together.entropy)
    assert apart.measurement_spread == pytest.approx(together.measurement_spread)
    assert apart.embedding[:10] == pytest.approx(together.embedding[:10])  # the histogram; places differ


def test_the_descriptor_tells_what_a_case_holds_and_where():
    nothing, structure = plane([[1, 0]] * 4, [40] * 4), plane([[0, 1]] * 4, [40] * 4)
    low = score_probabilities([structure, nothing, nothing], ("a",)).embedding
    high = score_probabilities([nothing, nothing, structure], ("a",)).embedding
    absent = score_probabilities([nothing] * 3, ("a",)).embedding
    assert (low[-1], absent[-1], high[-1]) == (0.0, 0.25, 0.5)
    assert low[-2] == high[-2] > absent[-2] == 0
    assert sum(low[:-2]) == pytest.approx(1)


def test_a_case_of_air_scores_nothing():
    scores = score_probabilities([plane([[0.5, 0.5]], [-1000])], ("a",))
    assert scores == CaseScores(0.0, {}, {"a": 0.0}, {}, ())


def test_scores_survive_json():
    scores = score_probabilities([plane([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]], [10, 40])], ("a", "b"))
    assert CaseScores.from_json(scores.to_json()) == scores


@pytest.mark.parametrize("text", ["", "[]", '{"entropy": 1}', '{"embedding": [], "surprise": 1}'])
def test_what_is_no_score_is_refused(text):
    with pytest.raises(InputError, match="score the case again"):
        CaseScores.from_json(text)


def test_probabilities_of_another_schema_are_refused():
    with pytest.raises(InputError, match="3 probabilities do not fit background and 1 structures"):
        score_probabilities([plane([[0.2, 0.3, 0.5]], [10])], ("a",))
