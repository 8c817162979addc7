"""``myotome study agreement`` as a person calls it: table, JSON, files, refusals."""

import json

import pytest
import typer

from myotome.cli.study_agreement import agreement
from myotome.errors import InputError
from tests.conftest import PDF


@pytest.fixture
def call(tmp_path, capsys):
    app = typer.Typer()
    app.command()(agreement)
    (tmp_path / "a.csv").write_text("case,sex,v\n1,F,10\n2,F,20\n3,F,30\n4,M,40\n5,M,50\n")
    (tmp_path / "b.csv").write_text("case,v\n1,11\n2,19\n3,32\n4,41\n9,2\n")

    def call(*words):
        arguments = ["--a", str(tmp_path / "a.csv"), "--b", str(tmp_path / "b.csv"), *words]
        app(args=arguments, standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_the_table_and_what_to_beware_of_are_printed(call):
    out = call()
    (line,) = (line for line in out.splitlines() if line.startswith("│ v "))
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[:3] == ["v", "4", "0.75"]  # of 1, -1, 2, 1
    assert "Beware: 1 case of 'a.csv' is not in 'b.csv' and left out: 5." in out


def test_square_brackets_in_a_name_are_printed(call):
    assert "v [muscle]" in call("--pair", "v [muscle] [mL]=v:v")


def test_json_holds_the_table_the_notes_and_who_is_left_out(call):
    document = json.loads(call("--by", "sex", "--json"))
    assert (document["unmatched_a"], document["unmatched_b"]) == (["5"], ["9"])
    assert [(row["group"], row["n"], row["bias"]) for row in document["agreement"]] == [
        ("all", 4, 0.75),
        ("F", 3, pytest.approx(2 / 3)),
        ("M", 1, None),
    ]


def test_files_are_left_where_asked(call, tmp_path):
    out = call("-o", str(tmp_path / "out"))
    names = ("agreement.csv", "report.html", *PDF)
    assert [line for line in out.splitlines() if line.startswith(str(tmp_path))] == [
        str(tmp_path / "out" / name) for name in names
    ]
    assert "Agreement of a and b" in (tmp_path / "out" / "report.html").read_text()


def test_a_refusal_writes_nothing(call, tmp_path):
    with pytest.raises(InputError, match="'a.csv' has no column 'w'"):
        call("--pair", "v=w:v", "-o", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
