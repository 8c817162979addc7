"""The phantom command makes shoulders of the grades that were asked for, and says where they are."""

from __future__ import annotations

import csv

import pytest

from myotome.cli import main


def test_even_grades_come_one_after_the_other(tmp_path, capsys):
    folder = tmp_path / "shoulders"
    words = ["phantom", "shoulder", "-n", "5", "--grades", "even", "--recipe", "clinical", "-o", str(folder)]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    printed = [line.rsplit("/", 1)[-1] for line in capsys.readouterr().out.split()]
    assert printed == [f"case_{seed:06d}" for seed in range(5)]
    with (folder / "truth.csv").open() as file:
        assert [row["grade"] for row in csv.DictReader(file)] == ["0", "1", "2", "3", "4"]
