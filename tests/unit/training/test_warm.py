"""Modules run in forks of one process: what they print, how they end, and that one does not change the next."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from myotome.training.warm import WarmTrainer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

SPEAK = """
import builtins, os, sys
print(os.getppid())
print(os.environ["WORD"], *sys.argv[1:], os.getcwd())
print("changed" if hasattr(builtins, "mark") else "fresh", "torch" in sys.modules, "monai.bundle" in sys.modules)
builtins.mark = True
print("unended", end="", file=sys.stderr)
if sys.argv[1] == "fail":
    raise ValueError("so it is")
if sys.argv[1] == "die":
    os.kill(os.getpid(), 9)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def trainer():
    with WarmTrainer() as trainer:
        yield trainer


@pytest.fixture
def speak(trainer, tmp_path):
    (tmp_path / "speak.py").write_text(SPEAK)

    def run(word: str) -> tuple[int, list[str]]:
        said: list[str] = []
        return trainer.run(["speak", word], tmp_path, {**os.environ, "WORD": "heard"}, said.append), said

    return run


def test_a_module_runs_in_its_folder_with_everything_imported(speak, tmp_path):
    code, said = speak("0")
    assert code == 0 and said[1] == f"heard 0 {tmp_path}" and said[2] == "fresh True True" and said[3] == "unended"


def test_one_run_does_not_change_the_next(speak):
    (_, first), (_, second) = speak("0"), speak("0")
    assert first[0] == second[0], "both are children of one process"
    assert first[2] == second[2] == "fresh True True"


@pytest.mark.parametrize(("word", "code"), [("3", 3), ("fail", 1), ("die", -9)])
def test_the_exit_code_is_that_of_the_run(speak, word, code):
    found, said = speak(word)
    assert found == code and (word != "fail" or "ValueError: so it is" in said)
    assert speak("0")[0] == 0, "the next one runs"


def test_who_stops_listening_ends_the_run_and_the_next_has_a_process_of_its_own(speak, trainer, tmp_path):
    (tmp_path / "last.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)")
    before = speak("0")[1][0]

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.run(["last"], tmp_path, dict(os.environ), stop)
    assert trainer._process is None and speak("0")[1][0] != before


def test_a_pickled_trainer_has_no_process_of_the_other(speak, trainer):
    speak("0")
    assert pickle.loads(pickle.dumps(trainer))._process is None and Path(f"/proc/{trainer._process.pid}").exists()
