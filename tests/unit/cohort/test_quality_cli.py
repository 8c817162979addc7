"""``myotome cohort quality``: the page, decisions from a file, and lists."""

import json
from datetime import UTC, datetime

import pytest
import typer
from typer.testing import CliRunner

from myotome.cli.cohort_quality import quality, serve
from myotome.cohort.quality_page import cohort_mark
from myotome.errors import InputError
from tests.unit.cohort.quality_cohort import case_name, make_people, write_people

app = typer.Typer()
app.command()(quality)
app.command()(serve)


@pytest.fixture
def store(tmp_path):
    cases, measurements = make_people(12, seed=51)
    return write_people(tmp_path / "cohort", cases, measurements, {})


def call(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_page_is_written_and_its_path_printed(store):
    assert call("quality", store.folder).stdout == f"{store.folder / 'quality.html'}\n"
    assert (store.folder / "quality.html").stat().st_size > 20_000


def test_decisions_are_imported_and_listed(store):
    entry = {"case_id": case_name(4), "decision": "annotate", "decided_at": datetime.now(UTC).isoformat()}
    table = {"format": "myotome-decisions", "format_version": 1, "cohort": cohort_mark(store), "decisions": [entry]}
    (store.folder / "d.json").write_text(json.dumps(table))
    done = call("quality", store.folder, "--import", store.folder / "d.json", "--reviewer", "Ada", "--json")
    assert json.loads(done.stdout) == {"written": 1, "older": 0, "page": str(store.folder / "quality.html")}
    assert f'"{case_name(4)}":["annotate","Ada"' in (store.folder / "quality.html").read_text()
    assert call("quality", store.folder, "--list", "annotate").stdout == f"{case_name(4)}\n"
    assert json.loads(call("quality", store.folder, "--list", "annotate", "--json").stdout) == [case_name(4)]
    assert call("quality", store.folder, "--list", "exclude").stdout == ""
    assert json.loads(call("quality", store.folder, "--list", "exclude", "--json").stdout) == []
    again = call("quality", store.folder, "--import", store.folder / "d.json", "--reviewer", "Ada").stdout
    assert again.startswith("0 decisions kept; 1 were here already")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--reviewer", "Ada"), "--reviewer says who made the decisions of --import"),
        (("--list", "accept", "--import", "x.json"), "give --list or --import, not both"),
        (("--list", "maybe"), "'maybe' is no decision"),
    ],
)
def test_words_that_do_not_go_together_are_refused(store, words, sentence):
    with pytest.raises(InputError, match=sentence):
        call("quality", store.folder, *words)


def test_what_is_no_cohort_is_refused(tmp_path):
    for command in ("quality", "serve"):
        with pytest.raises(InputError, match="holds no cohort"):
            call(command, tmp_path)
