"""Exit codes and sentences: what a person or a script sees when something is wrong."""

import pytest

from myotome import __version__, errors
from myotome.cli import app as app_module
from myotome.cli import main


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(words)
    printed = capsys.readouterr()
    return stop.value.code or 0, printed.out, printed.err


def test_version_goes_to_stdout(capsys):
    assert run(capsys, "--version") == (0, f"myotome {__version__}\n", "")


@pytest.mark.parametrize(
    "words", [["dissect"], ["analyze"], ["info", "--colour"], ["analyze", "ct", "--height-m", "180"]]
)
def test_wrong_usage_exits_2(capsys, words):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert "Usage: myotome" in err


def test_help_documents_the_exit_codes(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for number in "0123456":
        assert f" {number} " in out.split("Exit codes")[1]


def test_an_unknown_bundle_exits_4_before_anything_is_read(capsys, tmp_path):
    code, out, err = run(capsys, "analyze", "nowhere", "--bundle", "no_such_bundle", "-o", str(tmp_path / "out"))
    assert (code, out) == (4, "")
    assert err.count("\n") == 1 and "no_such_bundle" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("the film is black."), 3),
        (errors.GeometryError("the film is bent."), 3),
        (errors.BundleError("no film."), 4),
        (errors.OutputError("no paper."), 5),
        (ZeroDivisionError("division\nby zero"), 1),
    ],
)
def test_every_error_is_one_sentence_and_its_exit_code(capsys, monkeypatch, error, code):
    def fail(**_):
        raise error

    monkeypatch.setattr(app_module, "app", fail)
    seen, out, err = run(capsys, "info")
    assert (seen, out) == (code, "")
    assert err.count("\n") == 1 and err.startswith("myotome: ")
    assert " ".join(str(error).split()) in err

    seen, _, err = run(capsys, "info", "--debug")
    assert seen == code and "Traceback" in err
