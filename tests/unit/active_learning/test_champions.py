"""Champions: only what is better beyond its interval is published, and every champion can come back."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time

import pytest

from myotome.active_learning.champions import ChampionHistory, ValidationList, Verdict, judge
from myotome.errors import InputError
from myotome.resources import bundle_root

KILLS = 12
BETTER = Verdict(True, 0.1, 0.05, 0.15, 5, "better beyond its interval")


@pytest.fixture
def shipped(tmp_path):
    """The bundle, with small weights in the place of its own."""
    root = tmp_path / "respiratory_muscle_ct_segmentation"
    shutil.copytree(bundle_root("respiratory_muscle_ct_segmentation"), root, ignore=shutil.ignore_patterns("*.pt"))
    (root / "models" / "model.pt").write_bytes(b"shipped")
    return root


@pytest.fixture
def history(tmp_path, shipped):
    return ChampionHistory(tmp_path / "champions", shipped)


def publish(history, tmp_path, content: bytes):
    (tmp_path / "weights.pt").write_bytes(content)
    return history.publish(tmp_path / "weights.pt", BETTER)


def test_a_challenger_that_is_better_everywhere_is_better():
    champion = {f"case {n}": 0.80 + 0.01 * n for n in range(6)}
    verdict = judge(champion, {case: score + 0.02 for case, score in champion.items()})
    assert verdict.better
    assert verdict.difference == pytest.approx(0.02)
    assert verdict.lower == pytest.approx(0.02) and verdict.upper == pytest.approx(0.02)


def test_better_on_average_is_not_enough_when_the_interval_holds_zero():
    champion = dict.fromkeys("abcdef", 0.8)
    gains = dict(zip("abcdef", (0.30, -0.05, -0.04, 0.02, -0.03, -0.02), strict=True))
    verdict = judge(champion, {case: 0.8 + gain for case, gain in gains.items()})
    assert verdict.difference > 0 > verdict.lower
    assert not verdict.better


def test_equal_models_and_too_few_cases_change_nothing():
    assert not judge(dict.fromkeys("abcd", 0.8), dict.fromkeys("abcd", 0.8)).better
    verdict = judge({"a": 0.1, "b": 0.1}, {"a": 0.9, "b": 0.9})
    assert not verdict.better and "too few" in verdict.reason


def test_models_scored_on_different_cases_are_not_compared():
    with pytest.raises(InputError, match="different cases"):
        judge({"a": 0.5}, {"b": 0.5})


def test_the_shipped_bundle_is_the_first_champion(history, shipped):
    assert (history.current().number, history.current().root) == (0, shipped)
    with pytest.raises(InputError, match="nothing to go back to"):
        history.roll_back()


def test_a_published_champion_is_a_whole_bundle_of_its_own_version(history, tmp_path):
    champion = publish(history, tmp_path, b"first")
    assert champion == history.current()
    assert (champion.root / "models" / "model.pt").read_bytes() == b"first"
    metadata = json.loads((champion.root / "configs" / "metadata.json").read_text())
    assert metadata["version"].endswith("+round1") and metadata["version"] in metadata["changelog"]
    assert metadata["weights_sha256"] == {"models/model.pt": champion.weights_sha256}


def test_rolling_back_and_publishing_again_keeps_every_round(history, tmp_path):
    for content in (b"first", b"second"):
        publish(history, tmp_path, content)
    assert history.roll_back().number == 1
    assert history.roll_back(0).number == 0
    assert publish(history, tmp_path, b"third").number == 3
    assert history.roll_back(2).root.joinpath("models", "model.pt").read_bytes() == b"second"
    published, back = "published", "rolled_back"
    events = [(event["event"], event["round"]) for event in history.events()]
    assert events == [(published, 1), (published, 2), (back, 1), (back, 0), (published, 3), (back, 2)]
    with pytest.raises(InputError, match="no round 9"):
        history.roll_back(9)


def test_a_killed_publication_leaves_the_champion_that_was(history, tmp_path):
    publish(history, tmp_path, b"first")
    (history.folder / ".round_0002-half").mkdir()
    assert history.current().number == 1
    (history.folder / "champion.json").write_text("{")
    assert history.current().number == 1
    with (history.folder / "history.jsonl").open("a") as file:
        file.write('\n{"event": "publ')
    publish(history, tmp_path, b"second")
    assert [event["round"] for event in history.events()] == [1, 2]


def test_patients_are_divided_once_and_for_all(tmp_path):
    cases = [(f"image {n}", f"patient {n // 2}") for n in range(16)]
    training, validation = ValidationList(tmp_path / "v.json").divide(cases)
    assert len(validation) == 4 and len(training) == 12
    patients = dict(cases)
    assert not {patients[case] for case in training} & {patients[case] for case in validation}
    # In another order, with more patients, after a restart: nobody changes sides.
    more = [*reversed(cases), *[(f"new {n}", f"newcomer {n}") for n in range(8)]]
    again, held_out = ValidationList(tmp_path / "v.json").divide(more)
    assert set(training) <= set(again) and set(validation) <= set(held_out)
    assert len(held_out) == 4 + 2


def test_a_validation_list_that_is_damaged_is_refused_rather_than_drawn_anew(tmp_path):
    (tmp_path / "v.json").write_text("{")
    with pytest.raises(InputError, match="restore it"):
        ValidationList(tmp_path / "v.json")


_PUBLISHER = """
import sys
from pathlib import Path
from myotome.active_learning.champions import ChampionHistory, Verdict
history = ChampionHistory(sys.argv[1], sys.argv[2])
verdict = Verdict(True, 0.1, 0.05, 0.15, 5, "better beyond its interval")
weights = Path(sys.argv[1]).with_name("new.pt")
print("ready", flush=True)
for number in range(10**6):
    weights.write_bytes(bytes([number % 256]) * 2_000_000)
    print(history.publish(weights, verdict).number, flush=True)
"""


def test_a_process_killed_while_it_publishes_leaves_a_whole_champion(history, shipped):
    confirmed = 0
    for number in range(KILLS):
        command = [sys.executable, "-c", _PUBLISHER, str(history.folder), str(shipped)]
        publisher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert publisher.stdout.readline() == "ready\n"
        time.sleep(random.Random(number).uniform(0.0, 0.15))
        publisher.kill()
        confirmed = max([confirmed, *(int(line) for line in publisher.stdout.read().split())])
        publisher.wait()
        champion = history.current()
        # The pointer may be one round behind a bundle that was just written, never ahead of it.
        assert champion.number >= confirmed
        metadata = json.loads((champion.root / "configs" / "metadata.json").read_text())
        if champion.number:
            assert metadata["weights_sha256"] == {"models/model.pt": champion.weights_sha256}
