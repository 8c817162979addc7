"""What is asked of SLURM, and what is refused before it is asked."""

from __future__ import annotations

import pytest

from myotome.cohort.slurm import SlurmOptions, _last_line, _make_directives, _parse_seconds, open_slurm_cluster
from myotome.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:07", 7),
        ("59:59", 3599),
        ("4:00:00", 14400),
        ("1-02:03:04", 93784),
        ("UNLIMITED", float("inf")),
        ("NOT_SET", float("inf")),
    ],
)
def test_seconds_left_are_read_as_squeue_writes_them(text, seconds):
    assert _parse_seconds(text) == seconds


def test_directives_are_those_given_and_gpus(tmp_path):
    options = SlurmOptions(log_folder=tmp_path, gpus_per_worker=2, directives=("--qos=low", "-w node1"))
    assert _make_directives(options) == ["--gres=gpu:2", "--qos=low", "-w node1"]


def test_none_at_all_leave_those_of_the_site(tmp_path):
    assert _make_directives(SlurmOptions(log_folder=tmp_path)) is None


def test_what_slurm_said_is_told_without_the_program_that_said_it():
    error = RuntimeError("Command exited\nstderr:\nsbatch: error: invalid account\nsbatch: error: Not allowed\n\n")
    assert _last_line(error) == "Not allowed"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"walltime_minutes": 0}, "a walltime of 0 minutes is none"),
        ({"gpus_per_worker": -1}, "a worker cannot have -1 GPUs"),
        ({"directives": ("qos=low",)}, "'qos=low' is not an option of sbatch"),
        ({"directives": ("--qos=low\nrm -r x",)}, "is not an option of sbatch"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        SlurmOptions(log_folder=tmp_path, **wrong)


def test_a_machine_without_slurm_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="sbatch is not on this machine"):
        open_slurm_cluster(1, 1, 500, SlurmOptions(log_folder=tmp_path / "logs"))
    assert not (tmp_path / "logs").exists()


def test_a_log_folder_with_blanks_is_refused(tmp_path, monkeypatch):
    for program in ("sbatch", "squeue", "scancel"):
        (tmp_path / program).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="need a path without blanks"):
        open_slurm_cluster(1, 1, 500, SlurmOptions(log_folder=tmp_path / "my logs"))
