"""`myotome engines` tells what each engine is worth here, as a table and as JSON."""

from __future__ import annotations

import json

import pytest

from myotome import inference
from myotome.cli import main
from myotome.cli.analyze import EngineName, Precision
from myotome.inference.engines import ENGINES, PRECISIONS, Agreement, EngineError


def test_the_words_of_the_command_line_are_those_of_the_engines():
    """They are written out there, so that --help imports nothing heavy."""
    assert {engine.value for engine in EngineName} == {"auto", *ENGINES}
    assert {precision.value for precision in Precision} == set(PRECISIONS)


class Segmenter:
    """Two engines: one that agrees in float32 alone, and one that cannot be opened."""

    device = "cpu"

    def __init__(self, *args, **settings):
        pass

    def check_engine(self, name, precision):
        if name == "onnxruntime":
            raise EngineError("it is broken.")
        return Agreement(0.99999, 0.9995 if precision == "float32" else 0.9, 0.125)


def run(monkeypatch, capsys, *words: str) -> str:
    monkeypatch.setattr(inference, "BundleSegmenter", Segmenter)
    main_words = ["engines", *words]
    with pytest.raises(SystemExit) as stop:
        main(main_words)
    assert stop.value.code in (0, None)
    return capsys.readouterr().out


def test_as_json(monkeypatch, capsys):
    rows = {(row["engine"], row["precision"]): row for row in json.loads(run(monkeypatch, capsys, "--json", "--all"))}
    agreed = rows["openvino", "float32"]
    assert (agreed["agrees"], agreed["labels_equal"], agreed["seconds_per_slice"]) == (True, 0.99999, 0.125)
    assert not rows["openvino", "bfloat16"]["agrees"]
    assert rows["onnxruntime", "float32"]["reason"] == "it is broken."
    assert ("eager", "float32") not in rows  # the reference itself


def test_as_a_table(monkeypatch, capsys):
    table = run(monkeypatch, capsys, "--all")
    (line,) = (line for line in table.splitlines() if "onnxruntime" in line)
    assert "it is broken." in line
    (line,) = (line for line in table.splitlines() if "openvino" in line and "float32" in line)
    assert "0.999990" in line and "125" in line and "yes" in line
