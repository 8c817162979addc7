"""From two files to paired measures: wide and long tables, their refusals, and 900 real scans."""

import csv

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from myotome.errors import InputError
from myotome.io.tables import COLUMNS
from myotome.report.comparisons import compute_agreement
from myotome.studies.agreement import AgreementRequest, ColumnPair, pair_tables, parse_column_pair
from myotome.studies.agreement_tables import find_unit

WIDE = "case,volume_ml,note\n007,10,fine\n008,20,\n009,30,fine\n"


@pytest.fixture
def pair(tmp_path):
    """Pair two texts (or bytes) as files, with the other fields of an `AgreementRequest`."""

    def pair(a, b, **fields):
        for name, content in (("a.csv", a), ("b.csv", b)):
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return pair_tables(AgreementRequest(tmp_path / "a.csv", tmp_path / "b.csv", **fields))

    return pair


def write_long(cases, unit="mL", factor=1.0):
    rows = [dict.fromkeys(COLUMNS, "") for _ in cases]
    for row, (case, value) in zip(rows, cases.items(), strict=True):
        row |= {"subject_id": case, "series_uid": f"1.2.{case}", "structure": "pectoralis", "side": "left"}
        row |= {"measure": "volume", "statistic": "total", "value": value * factor, "unit": unit}
    return pd.DataFrame(rows).to_csv(index=False)


def test_a_wide_table_is_paired_by_the_column_that_names_the_cases(pair):
    pairing = pair(WIDE, "volume_ml,case\n31,009\n11,007\n21,008\n")
    (comparison,) = pairing.comparisons
    assert comparison.case_ids == ("007", "008", "009")
    assert (comparison.measure, comparison.unit) == ("volume_ml", "mL")
    assert (comparison.a.tolist(), comparison.b.tolist()) == ([10, 20, 30], [11, 21, 31])
    assert "Only 'a.csv' has note: not compared." in pairing.notes


def test_columns_of_words_and_cases_of_one_table_are_said(pair):
    pairing = pair(WIDE, "case,volume_ml,note\n007,1,\n010,2,\n")
    assert (pairing.unmatched_a, pairing.unmatched_b) == (("008", "009"), ("010",))
    assert "2 cases of 'a.csv' are not in 'b.csv' and left out: 008, 009." in pairing.notes
    assert "Not compared, for they hold words: note." in pairing.notes


def test_a_numeric_column_with_a_word_in_it_is_said_and_where(pair):
    a = "case,v,w\n1,2,3\n2,3,failed\n"
    pairing = pair(a, a)
    assert [comparison.measure for comparison in pairing.comparisons] == ["v"]
    assert pairing.notes[0].startswith(
        "Not compared: 'a.csv' has 'failed' in column 'w', line 3, which is not a number"
    )


@pytest.mark.parametrize("missing", ["", "NA", "nan", "N/A"])
def test_an_empty_cell_is_missing(pair, missing):
    (comparison,) = pair(WIDE, f"case,volume_ml\n007,{missing}\n008,21\n009,31\n").comparisons
    assert np.isnan(comparison.b).tolist() == [True, False, False]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_a_byte_order_mark_are_read(pair, separator):
    text = "\ufeff" + WIDE.replace(",", separator).replace("\n", "\r\n")
    assert pair(WIDE, text).comparisons[0].b.tolist() == [10, 20, 30]


def test_two_columns_of_one_file_are_compared(tmp_path):
    path = tmp_path / "both.csv"
    path.write_text("case,gt,tool\nx,1,2\ny,2,3\nz,3,5\n")
    pairs = (parse_column_pair("muscle volume [mL] = gt : tool"),)
    (comparison,) = pair_tables(AgreementRequest(path, path, pairs=pairs)).comparisons
    assert (comparison.measure, comparison.unit) == ("muscle volume", "mL")
    assert (comparison.a_name, comparison.b_name) == ("gt", "tool")
    assert (comparison.a.tolist(), comparison.b.tolist()) == ([1, 2, 3], [2, 3, 5])


def test_subgroups_and_several_cases_of_a_subject(pair):
    a = "case_id,subject_id,sex,v\n1,P,F,1\n2,P,F,2\n3,Q,M,3\n"
    pairing = pair(a, "case_id,v\n1,1\n2,2\n3,3\n", by="sex")
    assert [comparison.groups for comparison in pairing.comparisons] == [("F", "F", "M")]
    assert any(note.startswith("3 cases come from 2 subjects") for note in pairing.notes)


def test_long_tables_are_told_from_wide_ones(pair):
    cases = {"p1": 10.0, "p2": 20.0, "p3": 30.0}
    (comparison,) = pair(write_long(cases), write_long(cases, factor=2)).comparisons
    assert comparison.measure == "pectoralis left volume"
    assert comparison.b.tolist() == [20, 40, 60]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("reader_1", "reader_2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.csv").write_text(WIDE)
    pairing = pair_tables(AgreementRequest(tmp_path / "reader_1" / "m.csv", tmp_path / "reader_2" / "m.csv"))
    assert (pairing.comparisons[0].a_name, pairing.comparisons[0].b_name) == ("reader_1/m.csv", "reader_2/m.csv")


VOLUME = (ColumnPair("v", "", "volume_ml", "volume_ml"),)
THREE = {"p1": 10.0, "p2": 20.0, "p3": 30.0}


@pytest.mark.parametrize(
    ("a", "b", "fields", "sentence"),
    [
        (write_long(THREE), write_long(THREE, "L", 0.001), {},
         "pectoralis left volume is in 'mL' in 'a.csv' and in 'L' in 'b.csv': bring both to one unit."),
        (write_long(THREE), WIDE, {}, "'a.csv' has one row per measurement and 'b.csv' one per case"),
        (write_long(THREE), write_long(THREE), {"pairs": (ColumnPair("v", "", "a", "b"),)}, "--pair names columns of"),
        (WIDE, WIDE + "007,3,\n", {}, "'b.csv' has the case '007' twice (lines 2 and 5, column 'case')"),
        (WIDE, WIDE, {"on": "patient"}, "'a.csv' has no column 'patient'; it has case, volume_ml, note."),
        (WIDE, WIDE, {"by": "sex"}, "'b.csv' has no column 'sex'"),
        (WIDE, WIDE, {"slices": True}, "--slices is for tables with one row per measurement"),
        ("x,v\n1,2\n", "x,v\n1,2\n", {}, "is known to name the cases (both have x, v): say which does with --on."),
        ("x,v\n1,2\n", "y,w\n1,2\n", {}, "is known to name the cases (they share no column)"),
        (WIDE, "case,volume_ml\n007,10\n008,\"12,5\"\n", {"pairs": VOLUME},
         "'b.csv' has '12,5' in column 'volume_ml', line 3, which is not a number: write decimals with a point."),
        (WIDE, WIDE.replace("20", "inf"), {"pairs": VOLUME}, "'b.csv' has 'inf' in column"),
        (WIDE, "case,note\n007,fine\n", {}, "share no numeric column (Not compared, for they hold words: note): name"),
        (WIDE, WIDE, {"pairs": (ColumnPair("v", "", "v", "volume_ml"),)}, "'a.csv' has no column 'v'; it has case"),
        (WIDE, "case,volume_ml\n107,1\n108,2\n", {},
         "no case is in both tables by column 'case' ('a.csv' has 007, 008 and 1 more; 'b.csv' has 107, 108):"),
        (WIDE, "case,volume_ml\n007,1\n,2\n", {}, "'b.csv' names no case in line 3: fill in column 'case'."),
        (WIDE, "", {}, "'b.csv' is empty"),
        (WIDE, "\n \n", {}, "'b.csv' is empty"),
        (WIDE, "case,volume_ml\n", {}, "'b.csv' has no rows below its first line"),
        (WIDE, "just some words\nand more\n", {}, "'b.csv' is not a table: its first line has one cell only"),
        (WIDE, b"PK\x03\x04\x14\x00\x06\x00", {}, "'b.csv' is not a CSV file of UTF-8 text"),
        (WIDE, "case,größe\n007,1\n".encode("latin-1"), {}, "'b.csv' is not a CSV file of UTF-8 text"),
        (WIDE, "case,v,v\n007,1,2\n", {}, "'b.csv' has the column 'v' twice"),
        (WIDE, "case,,v\n007,1,2\n", {}, "'b.csv' has a column without a name (column 2)"),
        (WIDE, "case,v\n007,1\n008,1,2\n", {}, "'b.csv' has 3 cells in line 3 where its first line names 2 columns"),
        (WIDE, 'case,v\n007,"1\n', {}, "'b.csv' is not CSV at line 2"),
    ],
)  # fmt: skip
def test_refusals(pair, a, b, fields, sentence):
    with pytest.raises(InputError) as refusal:
        pair(a, b, **fields)
    assert sentence in str(refusal.value) and str(refusal.value).endswith(".")


def test_one_file_twice_needs_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(WIDE)
    with pytest.raises(InputError, match=r"'a.csv' is given twice: name the columns to compare with --pair"):
        pair_tables(AgreementRequest(path, path))
    with pytest.raises(InputError, match="compares the column 'volume_ml' with itself"):
        pair_tables(AgreementRequest(path, path, pairs=(ColumnPair("v", "", "volume_ml", "volume_ml"),)))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read '.*none.csv' \(no such file or directory\)"):
        pair_tables(AgreementRequest(tmp_path / "none.csv", tmp_path / "other.csv"))


@pytest.mark.parametrize(
    ("text", "pair_of_columns"),
    [
        ("volume=gt:tool", ColumnPair("volume", "", "gt", "tool")),
        ("muscle volume [mL]=GT_vol:JF_vol", ColumnPair("muscle volume", "mL", "GT_vol", "JF_vol")),
        ("density [[hnsf'U]]=a:b", ColumnPair("density", "[hnsf'U]", "a", "b")),
        ("density [mean] [HU]=a:b", ColumnPair("density [mean]", "HU", "a", "b")),
        ("density = GT_mean_hu : JF_mean_hu", ColumnPair("density", "HU", "GT_mean_hu", "JF_mean_hu")),
    ],
)
def test_column_pairs(text, pair_of_columns):
    assert parse_column_pair(text) == pair_of_columns


@pytest.mark.parametrize("text", ["volume", "volume=gt", "=a:b", "v=a:b:c", "v=:b"])
def test_column_pairs_that_are_refused(text):
    with pytest.raises(InputError, match="is not a pair of columns: write NAME=A_COLUMN:B_COLUMN"):
        parse_column_pair(text)


def test_litres_against_millilitres_are_refused():
    with pytest.raises(InputError, match="'gt_volume_l' is in L and 'tool_volume_ml' in mL: bring both to one unit"):
        parse_column_pair("volume=gt_volume_l:tool_volume_ml")


@pytest.mark.parametrize(
    ("column", "unit"), [("muscle_ml", "mL"), ("area (cm2)", "cm2"), ("GT_hu", "HU"), ("vol", ""), ("l", "")]
)
def test_units_that_column_names_end_in(column, unit):
    assert find_unit(column) == unit


@pytest.mark.parametrize(
    ("table", "a", "b"),
    [
        ("volumes", "GT_muscle_vol", "JF_muscle_vol"),
        ("volumes", "GT_muscle_vol", "TS_muscle_vol"),
        ("volumes", "GT_sub_fat_vol", "TS_sub_fat_vol"),
        ("hu", "GT_muscle_mean_hu", "JF_muscle_mean_hu"),
    ],
)
def test_900_scans_agree_as_an_analysis_done_elsewhere_says(shared_data, table, a, b):
    path = shared_data / "tables" / f"saros_{table}.csv"
    pairing = pair_tables(AgreementRequest(path, path, pairs=(ColumnPair("m", "", a, b),)))
    agreement = compute_agreement(pairing.comparisons[0])
    with path.open() as file:
        rows = [(row["case"], rater, float(row[rater])) for row in csv.DictReader(file) for rater in (a, b)]
    long = pd.DataFrame(rows, columns=["case", "rater", "value"])
    # 900 dummy columns are slow to fit: cases are taken out by their means, which leaves the same residuals.
    long["within"] = long["value"] - long.groupby("case")["value"].transform("mean")
    anova = anova_lm(smf.ols("within ~ C(rater)", long).fit())["sum_sq"]
    n, rows_ms = 900, 2 * long.groupby("case")["value"].mean().var(ddof=1)
    columns_ms, error_ms = anova["C(rater)"], anova["Residual"] / (n - 1)
    expected = (rows_ms - error_ms) / (rows_ms + error_ms + 2 * (columns_ms - error_ms) / n)
    assert agreement.cases == n
    assert agreement.icc.agreement.value == pytest.approx(expected, abs=1e-9)
    assert agreement.icc.consistency.value == pytest.approx((rows_ms - error_ms) / (rows_ms + error_ms), abs=1e-9)
    frame = pd.read_csv(path)
    differences = frame[b] - frame[a]
    bland = agreement.bland_altman
    assert bland.bias.value == pytest.approx(differences.mean())
    assert bland.lower_limit.value == pytest.approx(differences.mean() - 1.959964 * differences.std())
    assert bland.upper_limit.value == pytest.approx(differences.mean() + 1.959964 * differences.std())
