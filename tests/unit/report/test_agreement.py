"""The agreement folder: what its table holds, what its sentences claim, and that the page stands alone."""

import csv
import re
from html import unescape

import numpy as np
import pytest

from myotome.errors import InputError, OutputError
from myotome.report.agreement import Comparison, describe, write_agreement
from myotome.report.comparisons import compute_agreement, compute_agreements, make_row
from tests.conftest import PDF

IDS = tuple(f"case {place}" for place in range(1, 9))
A = np.array([100.0, 120.0, 140.0, 160.0, 180.0, 200.0, 220.0, 240.0])
DIFFERENCES = np.array([4.0, -5.0, 4.0, -3.0, 6.0, -6.0, 1.0, -1.0])


def compare(b, a=A, unit="mL", **more):
    return Comparison("muscle volume", unit, IDS[: len(a)], a, b, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("agreement") / "out"
    groups = ("F", "M") * 3 + ("M", "M")
    b = A + DIFFERENCES
    b[7] = np.nan
    few = Comparison("<b>density</b>", "[hnsf'U]", IDS[:2], A[:2], A[:2])
    write_agreement(output, [compare(b, groups=groups), few], "Reader <1> & 2", ["3 cases were <left> out."])
    return output


def test_the_folder_is_complete(folder):
    assert {path.name for path in folder.iterdir()} == {"agreement.csv", "figures", "report.html"} | PDF
    assert [path.name for path in (folder / "figures").iterdir()] == ["01_muscle_volume.png"]
    assert all((folder / name).read_bytes().startswith(b"%PDF-") for name in PDF)
    assert (folder / "figures" / "01_muscle_volume.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_has_a_row_per_measure_and_subgroup(folder):
    rows = list(csv.DictReader((folder / "agreement.csv").open(encoding="utf-8")))
    assert [(row["measure"], row["group"], row["n"], row["missing_b"]) for row in rows] == [
        ("muscle volume", "all", "7", "1"),
        ("muscle volume", "F", "3", "0"),
        ("muscle volume", "M", "4", "1"),
        ("<b>density</b>", "all", "2", "0"),
    ]
    assert float(rows[0]["bias"]) == pytest.approx(1 / 7)
    assert float(rows[1]["bias"]) == pytest.approx(14 / 3)
    assert rows[3]["bias"] == "" and rows[3]["not_given"].startswith("only 2 cases were measured by both")


def test_the_page_says_what_was_left_out_and_asks_nothing_of_the_web(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "3 cases were &lt;left&gt; out." in page and "Reader &lt;1&gt; &amp; 2" in page
    assert "<b>density" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "http" not in page
    assert "1 missing" in page and "only 2 cases were measured by both" in page


def test_the_worst_cases_stand_first(folder):
    page = unescape((folder / "report.html").read_text(encoding="utf-8"))
    worst = page[page.index("Worst cases first") :]
    shown = re.findall(r'<th scope="row">(case \d)</th>', worst)
    assert shown == ["case 5", "case 6", "case 2", "case 1", "case 3", "case 4", "case 7"]


def test_the_same_input_gives_the_same_page(tmp_path):
    for name in ("one", "two"):
        write_agreement(tmp_path / name, [compare(A + DIFFERENCES)], "title")
    for name in ("report.html", "agreement.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_bias_is_claimed_only_when_its_interval_excludes_zero():
    (none, *_) = describe(compute_agreement(compare(A + DIFFERENCES)))
    assert none.startswith("No difference between b and a is shown on average: 0.00 mL")
    # Differences of mean -20 and variance 140 / 7: -20 -+ 2.3646 sqrt(20 / 8).
    less = DIFFERENCES - 20
    percent = np.mean(100 * less / (A + less / 2))
    (sentence, *_) = describe(compute_agreement(compare(A + less)))
    assert sentence == f"On average b is 20.00 mL ({-percent:.1f} %) less than a (95 % interval −23.74 to −16.26)."


def test_a_slope_is_claimed_only_when_its_interval_excludes_zero():
    assert not any("changes with the size" in s for s in describe(compute_agreement(compare(A + DIFFERENCES))))
    sentences = describe(compute_agreement(compare(0.8 * A + DIFFERENCES)))
    assert any("changes with the size, by −0.2" in sentence for sentence in sentences)


def test_percent_are_for_quantities_with_a_true_zero():
    for unit, given in (("mL", True), ("", True), ("[hnsf'U]", False), ("HU", False), ("%", False)):
        row = make_row(compute_agreement(compare(A + DIFFERENCES, unit=unit)))
        assert all((row[name] is not None) == given for name in ("bias_percent", "lsc_percent", "rms_cv_percent"))
    negative = make_row(compute_agreement(compare(A - 150 + DIFFERENCES, A - 150)))
    assert negative["bias_percent"] is None and negative["lsc"] is not None


def test_values_that_do_not_vary_give_what_can_be_given():
    agreement = compute_agreement(compare(np.full(8, 5.0), np.full(8, 4.0)))
    row = make_row(agreement)
    assert (row["bias"], row["lower_limit"], row["upper_limit"]) == (1, 1, 1)
    assert row["icc_2_1"] is None and "do not vary between cases" in row["not_given"]


def test_equal_tables_agree_completely_and_can_be_drawn(tmp_path):
    (agreement,) = write_agreement(tmp_path / "out", [compare(A)], "the same twice")
    row = make_row(agreement)
    assert (row["bias"], row["sd_of_differences"], row["icc_2_1"], row["icc_3_1"]) == (0, 0, 1, 1)
    assert row["ccc"] == pytest.approx(1) and row["deming_slope"] == pytest.approx(1)


def test_with_many_measures_pictures_are_of_those_that_agree_worst(tmp_path, monkeypatch):
    monkeypatch.setattr("myotome.report.agreement._MOST_SECTIONS", 2)
    many = [Comparison(f"m{place}", "mL", IDS, A, A + place * DIFFERENCES) for place in (2, 0, 3, 1)]
    write_agreement(tmp_path / "out", many, "many")
    assert sorted(path.name for path in (tmp_path / "out" / "figures").iterdir()) == ["01_m2.png", "02_m3.png"]
    assert "2 measures with the lowest ICC(2,1); the table has all 4" in (tmp_path / "out/report.html").read_text()
    assert len((tmp_path / "out" / "agreement.csv").read_text().splitlines()) == 5


def test_a_folder_that_holds_files_is_left_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        write_agreement(tmp_path, [compare(A)], "title")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Comparison("m", "", ("1", "2"), [1.0, 2.0], [1.0]), "m: 1 values for 2 cases"),
        (lambda: Comparison("m", "", ("1",), [np.inf], [1.0]), "m: a value is infinite"),
        (lambda: Comparison("m", "", ("1",), [1.0], [1.0], ("F", "M")), "m: 2 groups for 1 cases"),
    ],
)
def test_comparisons_that_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_nothing_to_compare_is_refused(tmp_path):
    with pytest.raises(InputError, match="no measure to compare"):
        write_agreement(tmp_path / "out", [], "title")
    assert not (tmp_path / "out").exists()


def test_every_subgroup_follows_its_measure():
    groups = ("M", "F") * 4
    names = [item.group for item in compute_agreements([compare(A, groups=groups), compare(A)])]
    assert names == ["all", "F", "M", "all"]
