import hashlib
from datetime import date

import numpy as np
import pandas as pd
import pytest

from myotome.errors import InputError
from myotome.studies.pft.settings import read_settings
from myotome.studies.pft.table import read_tests
from tests.unit.studies.pft.tables import HEADER, write_table

COLUMNS = read_settings().columns
GOOD = ("Doe", "2024-05-31", "M", 61.5, 176, 4.1, 3.2)


def hide(original):
    return "S" + hashlib.sha256(original.strip().encode()).hexdigest()[:12]


def read(path, **more):
    return read_tests(path, COLUMNS, hide, **more)


def refuse(path, sentence, **more):
    with pytest.raises(InputError, match=sentence) as caught:
        read(path, **more)
    text = str(caught.value)
    assert "Doe" not in text and path.name not in text
    assert text.endswith(".") and "\n" not in text


def test_a_good_table(tmp_path):
    path = write_table(tmp_path / "t.csv", GOOD, ("Roe", "2024-06-01", "female", 40, 160, "", 2.0))
    tests = read(path).tests
    assert tests["subject_id"].tolist() == [hide("Doe"), hide("Roe")]
    assert tests["test_date"].tolist() == [date(2024, 5, 31), date(2024, 6, 1)]
    assert tests["sex"].tolist() == ["M", "F"]
    assert tests["fev1_fvc"].iloc[0] == pytest.approx(3.2 / 4.1)
    assert np.isnan(tests["fvc_l"].iloc[1]) and np.isnan(tests["fev1_fvc"].iloc[1])
    assert "Doe" not in tests.to_csv()


def test_units_in_the_name_are_converted(tmp_path):
    header = (*HEADER[:5], "dlco_ml_min_mmhg", "mip_kpa", "mep_cmh2o")
    path = write_table(tmp_path / "t.csv", (*GOOD[:5], 29.86421, 10, 120), header=header)
    row = read(path).tests.iloc[0]
    assert row["dlco_mmol_min_kpa"] == pytest.approx(10)
    assert row["mip_cmh2o"] == pytest.approx(101.9716)
    assert row["mep_cmh2o"] == 120


def test_one_value_per_line(tmp_path):
    header = ("subject_id", "test_date", "sex", "age_years", "height_cm", "measure", "value", "unit")
    facts = GOOD[:5]
    path = write_table(
        tmp_path / "t.csv",
        (*facts, "FVC", 4.1, "L"),
        (*facts, "FEV1", 3.2, "L"),
        (*facts, "MIP", 9, "kPa"),
        header=header,
    )
    tests = read(path).tests
    assert len(tests) == 1
    assert tests[["fvc_l", "fev1_l"]].iloc[0].tolist() == [4.1, 3.2]
    assert tests["mip_cmh2o"].iloc[0] == pytest.approx(91.77444)
    refuse(write_table(tmp_path / "u.csv", (*facts, "FVC", 4.1), header=header[:7]), "needs the column 'unit'")
    refuse(write_table(tmp_path / "v.csv", (*facts, "FVC", 4100, "mL"), header=header), "line 2 .*known are fvc in l")


@pytest.mark.parametrize("name", ["fvc", "fev1", "dlco", "tlco_ml", "mip", "height", "fvc_ml"])
def test_a_column_without_a_known_unit_is_refused(tmp_path, name):
    path = write_table(tmp_path / "t.csv", (*GOOD, 3), header=(*HEADER, name))
    refuse(path, f"'{name}' of the table of tests does not tell a known unit: known names are subject_id, .*fvc_l")


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("fvc_l", (4.1, 4100, 3.9), r"^line 3 .*fvc_l \(4100\) looks like millilitres.*in L; multiply by 0.001"),
        ("fvc_l", (4100, 3900, 4500), "^lines 2, 3, 4 .*millilitres"),
        ("height_cm", (176, 1.76, 1.80), r"^lines 3, 4 .*height_cm \(1.76\) looks like metres.*in cm; multiply by 100"),
        ("height_cm", (68, 70, 66), "inches"),
        ("fev1_fvc", (0.7805, 78.05, 0.7805), "line 3 .*per cent"),
        ("fvc_l", (4.1, 41, 3.9), r"fvc_l \(41\) lies outside 0.3 to 10 L; correct it"),
        ("mip_cmh2o", (-80, -90, -100), "negative pressures"),
        ("mip_cmh2o", (7.5, 9, 11), "the middle value of mip_cmh2o .* is 9, .*if the values are kPa"),
        ("dlco_mmol_min_kpa", (21, 18, 19), "the middle value of dlco_mmol_min_kpa .* if the values are mL/min/mmHg"),
        ("dlco_mmol_min_kpa", (9, 27, 8), "line 3 .*looks like mL/min/mmHg"),
        ("fvc_l", ("4.1", "4 1", "ok"), "^lines 3, 4 .*not a number"),
        ("age_years", (61, "", 40), "^line 3 .*age_years is empty"),
        ("test_date", ("2024-05-31", "31.05.2024", "2024-13-01"), "^lines 3, 4 .*no date like 2024-05-31"),
        ("sex", ("M", "1", "F"), "^line 3 .*sex is not known; write M or F"),
        ("subject_id", ("a", "", "c"), "^line 3 .*subject_id is empty"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path, column, values, sentence):
    header = HEADER if column in HEADER else (*HEADER, column)
    rows = []
    for number, value in enumerate(values):
        row = dict(zip(HEADER, (f"Doe{number}", *GOOD[1:]), strict=True)) | {column: value}
        rows.append(tuple(row[name] for name in header))
    refuse(write_table(tmp_path / "t.csv", *rows, header=header), sentence)


def test_long_lists_of_lines_are_cut(tmp_path):
    rows = [(f"Doe{n}", *GOOD[1:5], 4100, "") for n in range(30)]
    refuse(write_table(tmp_path / "t.csv", *rows), "^lines 2, 3, 4, 5, 6, 7 and 24 more of the table of tests: fvc_l")


def test_a_patient_twice_on_one_date_is_refused(tmp_path):
    rows = (GOOD, ("Roe", *GOOD[1:]), (" Doe ", *GOOD[1:]))
    refuse(write_table(tmp_path / "t.csv", *rows), "^lines 2, 4 .*two tests on one date; keep the one")
    other_day = ("Doe", "2024-07-01", *GOOD[2:])
    assert len(read(write_table(tmp_path / "u.csv", GOOD, other_day)).tests) == 2


def test_contradictions_are_refused(tmp_path):
    refuse(write_table(tmp_path / "t.csv", (*GOOD[:5], 3.0, 3.2)), "^line 2 .*FEV1 is above FVC")
    path = write_table(tmp_path / "u.csv", (*GOOD, 0.5), header=(*HEADER, "fev1_fvc"))
    refuse(path, "^line 2 .*fev1_fvc is not fev1_l / fvc_l")


def test_an_unknown_ethnicity_is_refused_for_gli_2012_alone(tmp_path):
    path = write_table(tmp_path / "t.csv", (*GOOD, "martian"), header=(*HEADER, "ethnicity"))
    refuse(
        path,
        "^line 2 .*ethnicity is not known; write caucasian, african_american, .*gli_global_2022",
        ethnicity_needed=True,
    )
    assert len(read(path).tests) == 1
    refuse(write_table(tmp_path / "u.csv", GOOD), "needs the column 'ethnicity'", ethnicity_needed=True)
    good = write_table(tmp_path / "v.csv", (*GOOD, "Caucasian"), header=(*HEADER, "ethnicity"))
    assert read(good, ethnicity_needed=True).tests["ethnicity"].tolist() == ["caucasian"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no test"),
        (b"subject_id,test_date,sex,age_years,height_cm,fvc_l\n", "holds no test"),
        (b"subject_id;test_date;sex\nDoe;2024-01-01;M\n", "semicolons"),
        (
            b"subject_id,test_date,sex,age_years,height_cm,fvc_l\nDoe,2024-01-01,M,61,176,4,1\n",
            "line 2 .*7 cells.*decimal comma",
        ),
        (b"subject_id,test_date,sex,age_years,height_cm\nDoe,2024-01-01,M,61,176\n", "no measure of lung function"),
        (b"subject_id,sex,age_years,height_cm,fvc_l\nDoe,M,61,176,4\n", "lacks the column 'test_date'"),
        (b"subject_id,fvc_l,fvc_l\nDoe,4,4\n", "column 'fvc_l' twice"),
        (b"\xff\xfe\x00a", "not UTF-8"),
        (
            b"subject_id,test_date,sex,age_years,height_cm,mip_kpa,mip_cmh2o\nDoe,2024-01-01,M,61,176,9,90\n",
            "keep one of them",
        ),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, content, sentence):
    path = tmp_path / "Doe_Jane.csv"
    path.write_bytes(content)
    refuse(path, sentence)


def test_a_missing_file_is_refused_without_its_name(tmp_path):
    refuse(tmp_path / "Doe_Jane.csv", "cannot be read")


def test_nothing_of_nhanes_is_beyond_the_limits(shared_data):
    people = pd.read_csv(shared_data / "tables" / "nhanes_spirometry_us.csv")
    for column, name in (
        ("fvc", "fvc_l"),
        ("fev1", "fev1_l"),
        ("ratio", "fev1_fvc"),
        ("age", "age_years"),
        ("height", "height_cm"),
    ):
        low, high = COLUMNS[name]["range"]
        assert people[column].between(low, high).all(), name
