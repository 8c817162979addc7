"""What the studies' folders have in common."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from myotome.studies.results import format_figure, write_results


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"value": 0.97314, "lower": 0.95, "upper": 0.986}, "0.973 (0.950 to 0.986)"),
        ({"value": 0.5, "lower": None, "upper": None}, "0.500"),
        ({"value": 0.5, "lower": 0.4, "upper": np.nan}, "0.500"),
        ({"value": np.nan, "lower": 0.4, "upper": 0.6}, "–"),
        (None, "–"),
    ],
)
def test_figures_are_written_with_their_intervals(row, words):
    assert format_figure(row, 3) == words


def test_names_of_the_cells_can_be_others():
    assert format_figure({"bias": 1.0, "low": 0.5, "high": 1.5}, 1, ("bias", "low", "high")) == "1.0 (0.5 to 1.5)"


def test_a_folder_holds_page_summary_and_tables(tmp_path):
    write_results(tmp_path, "<html></html>", {"study": "x"}, {"scores": pd.DataFrame({"a": [1.0]})})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"study": "x"}
    assert (tmp_path / "scores.csv").read_text() == "a\n1\n" and (tmp_path / "report.html").is_file()
