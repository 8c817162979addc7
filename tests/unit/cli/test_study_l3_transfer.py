"""What the command of the transfer study refuses."""

from __future__ import annotations

from typer.testing import CliRunner

from myotome.cli.app import app


def test_what_cannot_be_is_said_in_a_sentence(tmp_path):
    words = ["study", "l3-transfer", "-o", str(tmp_path / "out")]
    for more, sentence in (
        (["--preset", "fast"], "no preset 'fast': it has quick"),
        (["--observers", str(tmp_path / "absent")], "is not a folder: give one with a folder per reader"),
        (["--data", str(tmp_path / "absent.json")], "is not a list of slices"),
        (["--slurm"], "give --memory-gb"),
    ):
        result = CliRunner().invoke(app, [*words, *more])
        assert result.exit_code != 0 and sentence in str(result.exception)
