"""A site's qct.csv: what is taken, how patients are divided, and every refusal."""

from __future__ import annotations

import json

import pytest

from myotome.errors import InputError
from myotome.studies.qct_agreement.settings import Site
from myotome.studies.qct_agreement.site import list_site_jobs, read_qct

SITE = Site((-50.0, 400.0), test_share=0.3, fewest_training=5)
SCANS = [{"case": f"scan{number}", "patient": f"P{number:02d}", "image": "i", "label": None} for number in range(10)]


def write(folder, text):
    path = folder / "qct.csv"
    path.write_text(text)
    return path


def lines(*rows, head="patient,bmd,unit"):
    return "\n".join([head, *rows]) + "\n"


def test_densities_are_read_by_patient_or_scan(tmp_path):
    table = read_qct(write(tmp_path, lines("P01,101.5,mg/cm3", "P00,80,mg/mL")), SCANS, SITE)
    assert table.to_dict("records") == [
        {"case": "scan1", "patient": "P01", "qct": 101.5, "part": ""},
        {"case": "scan0", "patient": "P00", "qct": 80.0, "part": ""},
    ]
    text = lines("scan3,115,ha,training", "scan4,100,K2HPO4,test", head="case,bmd_mg_cm3,equivalent,part")
    table = read_qct(write(tmp_path, text), SCANS, SITE)
    assert table["part"].tolist() == ["training", "test"] and table["qct"].tolist()[1] == 100
    assert table["qct"].tolist()[0] == pytest.approx((115 + 7.32) / 1.15), "hydroxyapatite by the published conversion"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (lines("P01,100,mg/cm3", "P99,100,mg/cm3", "P98,90,mg/cm3"), "lines 3, 4: the patient has no scan in the list"),
        (lines("P01,100,mg/cm3", "P01,90,mg/cm3"), "lines 2, 3: a patient stands in the table twice"),
        (lines("P01,0.1,g/cm3"), "line 2: the unit is g/cm3; give mg/cm3, which is 1000 times the number"),
        (lines("P01,0.11,mg/cm3", "P02,0.09,mg/cm3"), "every bmd of 'qct.csv' is below 4: is it g/cm3"),
        (lines("P01,100,HU"), "line 2: the unit is not mg/cm3"),
        (lines("P01,100", head="patient,bmd"), "no column 'unit'"),
        (lines("P01,100,mg/cm3", "P02,1000,mg/cm3"), "line 3: bmd is not within -50 to 400"),
        (lines("P01,,mg/cm3"), "line 2: bmd is empty"),
        (lines("P01,dense,mg/cm3"), "'dense' in column 'bmd', line 2, which is not a number"),
        (lines(",100,mg/cm3"), "line 2: the patient is empty"),
        (lines("1,100,mg/cm3", head="name,bmd,unit"), "has no column 'patient' or 'case'"),
        (lines("P01,mg/cm3", head="patient,unit"), "has no column 'bmd'"),
        (lines("P01,100,mg/cm3,x", head="patient,bmd,unit,part"), "line 2: part is neither training nor test"),
        (lines("P01,100,mg/cm3,CaSO4", head="patient,bmd,unit,equivalent"), "line 2: equivalent is neither K2HPO4"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_is_refused_with_its_lines(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        read_qct(write(tmp_path, text), SCANS, SITE)


def test_a_patient_with_two_scans_is_asked_which(tmp_path):
    scans = [*SCANS, {**SCANS[1], "case": "scan1b"}]
    with pytest.raises(InputError, match="line 2: the patient has several scans; name the scan"):
        read_qct(write(tmp_path, lines("P01,100,mg/cm3")), scans, SITE)
    table = read_qct(write(tmp_path, lines("scan1b,100,mg/cm3", head="case,bmd,unit")), scans, SITE)
    assert table["case"].tolist() == ["scan1b"]


def make_list(folder, count=10):
    for number in range(count):
        (folder / f"scan{number}.nii.gz").write_text("")
    rows = [{"image": f"scan{number}.nii.gz", "patient": f"P{number:02d}"} for number in range(count)]
    path = folder / "scans.json"
    path.write_text(json.dumps(rows))
    return path


def test_patients_are_divided_whatever_the_order_of_the_lines(tmp_path):
    data, rows = make_list(tmp_path), [f"P{number:02d},100,mg/cm3" for number in range(9)]
    jobs, without = list_site_jobs(data, write(tmp_path, lines(*rows)), SITE, seed=1)
    again, _ = list_site_jobs(data, write(tmp_path, lines(*rows[::-1])), SITE, seed=1)
    assert without == 1, "scan9 has no QCT"
    parts = {job.case: job.part for job in jobs}
    assert parts == {job.case: job.part for job in again}
    assert sorted(parts.values()).count("test") == 3 and jobs[0].qct_mg_cm3 == 100 and jobs[0].seed is None
    assert jobs[0].image == str(tmp_path / "scan0.nii.gz") and jobs[0].label is None


def test_too_few_patients_are_refused(tmp_path):
    rows = [f"P{number:02d},100,mg/cm3" for number in range(4)]
    with pytest.raises(InputError, match="3 scans with QCT are for training and 1 for test: 5 and 3 are needed"):
        list_site_jobs(make_list(tmp_path), write(tmp_path, lines(*rows)), SITE, seed=1)
