"""Pairing two long tables: what is matched, what is said of the rest, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from myotome.errors import InputError
from myotome.report.pairing import PairingRules, pair_measurements

HU = "[hnsf'U]"


def row(case, value, measure="volume", **more):
    unit = {"volume": "mL", "density": HU, "area": "cm2"}[measure]
    names = {"structure": "erector_spinae", "side": "right", "statistic": "total", "unit": unit, "slice_index": None}
    return {"case_id": case, "measure": measure, "value": value, **names, **more}


def table(*rows):
    return pd.DataFrame(list(rows))


FOUR = [row(case, value) for case, value in (("c1", 10.0), ("c2", 20.0), ("c3", 30.0), ("c4", 40.0))]


def test_cases_are_matched_by_name_and_not_by_order():
    (comparison,) = pair_measurements(table(*FOUR), table(*FOUR[::-1])).comparisons
    assert comparison.case_ids == ("c1", "c2", "c3", "c4")
    assert comparison.a.tolist() == comparison.b.tolist() == [10, 20, 30, 40]
    assert (comparison.measure, comparison.unit) == ("erector spinae right volume", "mL")


def test_measures_are_told_apart_by_side_level_and_statistic():
    rows = [
        row(case, 1.0, **more)
        for case in ("c1", "c2", "c3")
        for more in (
            {"side": "both"},
            {"measure": "density", "statistic": "mean"},
            {"measure": "density", "statistic": "sd", "level": "T4"},
        )
    ]
    measures = [c.measure for c in pair_measurements(table(*rows), table(*rows)).comparisons]
    assert measures == [
        "erector spinae volume",
        "erector spinae right density, mean",
        "erector spinae right density, sd, level T4",
    ]


def test_who_is_left_out_is_said():
    pairing = pair_measurements(table(*FOUR[:3]), table(*FOUR[1:], row("c9", 1.0)), PairingRules(("old", "new")))
    assert pairing.comparisons[0].case_ids == ("c2", "c3")
    assert (pairing.unmatched_a, pairing.unmatched_b) == (("c1",), ("c4", "c9"))
    assert "1 case of 'old' is not in 'new' and left out: c1." in pairing.notes
    assert "2 cases of 'new' are not in 'old' and left out: c4, c9." in pairing.notes


def test_a_value_or_row_that_lacks_counts_as_missing_and_the_case_stays():
    b = [*FOUR[:2], row("c3", None), row("c4", 1.0, measure="density")]
    pairing = pair_measurements(table(*FOUR, row("c4", 2.0, measure="density")), table(*b))
    volume = pairing.comparisons[0]
    assert volume.case_ids == ("c1", "c2", "c3", "c4")
    assert np.isnan(volume.b).tolist() == [False, False, True, True]


def test_a_measure_of_one_table_is_said():
    pairing = pair_measurements(table(*FOUR, row("c1", 5.0, measure="density", statistic="mean")), table(*FOUR))
    assert "Only 'A' has erector spinae right density, mean: not compared." in pairing.notes


def test_slices_are_left_out_unless_asked_for():
    slices = [row(case, 3.0 + place, measure="area", slice_index=place) for case in ("c1", "c2") for place in (4, 5)]
    frame = table(*FOUR, *slices)
    assert [c.measure for c in pair_measurements(frame, frame).comparisons] == ["erector spinae right volume"]
    pairing = pair_measurements(frame, frame, PairingRules(slices=True))
    (area,) = pairing.comparisons
    assert area.case_ids == ("c1 · slice 4", "c1 · slice 5", "c2 · slice 4", "c2 · slice 5")
    assert any(note.startswith("Every slice counts as a case") for note in pairing.notes)


@pytest.mark.parametrize("slices", [False, True])
def test_tables_that_were_put_together_from_several_are_paired_alike(slices):
    """Their rows' labels repeat, as pandas.concat leaves them."""
    places = {"measure": "area", "slice_index": 4.0} if slices else {}
    rows = [row(case, value, **places) for case, value in (("c1", 1.0), ("c2", 2.0), ("c3", 3.0))]
    joined = pd.concat([table(one) for one in rows])
    (comparison,) = pair_measurements(joined, table(*rows), PairingRules(slices=slices)).comparisons
    assert comparison.a.tolist() == comparison.b.tolist() == [1, 2, 3]
    assert comparison.case_ids[0] == ("c1 · slice 4" if slices else "c1")


def test_text_as_it_stands_in_a_file_is_the_same_as_typed_values():
    typed = table(*FOUR, row("c1", None, measure="density"))
    text = typed.astype(object).where(typed.notna(), "").map(str)
    (comparison, _) = pair_measurements(typed, text).comparisons
    assert comparison.a.tolist() == comparison.b.tolist()


def test_the_identity_is_the_first_column_that_is_filled_in_both():
    rows = [row("", value, series_uid=f"1.{value}", subject_id="P1") for value in (1.0, 2.0, 3.0)]
    pairing = pair_measurements(table(*rows), table(*rows))
    assert pairing.comparisons[0].case_ids == ("1.1.0", "1.2.0", "1.3.0")
    assert any("3 cases come from 1 subject:" in note for note in pairing.notes)


def test_subgroups_come_from_the_table_that_names_them():
    a = table(*({**r, "sex": sex} for r, sex in zip(FOUR, ("F", "M", "F", None), strict=True)))
    rules = PairingRules(by="sex")
    assert pair_measurements(a, table(*FOUR), rules).comparisons[0].groups == ("F", "M", "F", "not given")
    assert pair_measurements(table(*FOUR), a, rules).comparisons[0].groups == ("F", "M", "F", "not given")


def test_a_power_of_ten_between_the_sides_is_asked_about():
    smaller = table(*({**r, "value": r["value"] / 1000, "unit": ""} for r in FOUR))
    larger = table(*({**r, "unit": ""} for r in FOUR))
    notes = pair_measurements(smaller, larger).notes
    assert any("'B' is about 1000 times 'A'. Are both in the same unit?" in note for note in notes)
    assert not pair_measurements(larger, larger).notes


LITRES = [row("c1", 0.01, unit="L"), *FOUR[1:]]


@pytest.mark.parametrize(
    ("a", "b", "rules", "sentence"),
    [
        (FOUR, [{**r, "unit": "L"} for r in FOUR], {}, "volume is in 'mL' in 'A' and in 'L' in 'B': bring both to one"),
        (FOUR, LITRES, {}, "is in 'mL' in 'A' and in 'L' in 'B'"),
        ([*FOUR, FOUR[1]], FOUR, {}, "'A' has erector spinae right volume of c2 twice"),
        (FOUR, [row("x1", 1.0), row("x2", 2.0)], {}, "no case is in both tables by column 'case_id'"),
        (FOUR, FOUR, {"on": "patient"}, "'A' has no column 'patient'; it has case_id, measure"),
        (FOUR, FOUR, {"by": "sex"}, "neither table has the column 'sex'"),
        ([{**r, "case_id": ""} for r in FOUR], FOUR, {}, "do not both name the case of every row"),
        ([*FOUR, row("", 1.0)], FOUR, {"on": "case_id"}, "'A' has rows without 'case_id'"),
        ([row("c1", "many")], FOUR, {}, "'A' has the value 'many', which is not a number"),
        ([row("c1", "inf")], FOUR, {}, "'A' has the value 'inf', which is not a number"),
        (FOUR, [row("c1", 3.0, measure="density")], {}, "share cases but no measure of whole volumes"),
        ([{"case_id": "c1", "value": 1}], FOUR, {}, "'A' has no column 'structure'"),
        ([{**FOUR[0], "sex": "F"}, {**row("c1", 1.0, measure="density"), "sex": "M"}], FOUR, {"by": "sex"},
         "'A' has more than one 'sex' for c1"),
    ],
)  # fmt: skip
def test_refusals(a, b, rules, sentence):
    with pytest.raises(InputError) as refusal:
        pair_measurements(table(*a), table(*b), PairingRules(**rules))
    assert sentence in str(refusal.value)


def test_too_many_subgroups_are_refused():
    rows = [row(f"c{place}", 1.0, age=str(place)) for place in range(13)]
    with pytest.raises(InputError, match="column 'age' has 13 different values"):
        pair_measurements(table(*rows), table(*rows), PairingRules(by="age"))
