from datetime import date

import pandas as pd
import pytest

from myotome.errors import InputError
from myotome.studies.pft.join import join
from myotome.studies.pft.settings import read_settings
from tests.unit.studies.pft.tables import make_store

SETTINGS = read_settings()


def make_tests(store, *rows):
    """Rows of (patient, date, sex)."""
    frame = pd.DataFrame(
        [(store.subject_key(patient), date.fromisoformat(day), sex) for patient, day, sex in rows],
        columns=["subject_id", "test_date", "sex"],
    )
    return frame.assign(age_years=60.0, height_cm=170.0, fvc_l=range(len(frame)))


def losses(joined):
    return {step.title: dict(step.left) for step in joined.flow}


def test_the_nearest_test_and_the_nearest_scan_are_paired(tmp_path):
    store = make_store(
        tmp_path / "c",
        [
            {"case": "a1", "patient": "A", "date": "2024-01-01", "volume": 100},
            {"case": "a2", "patient": "A", "date": "2024-06-01", "volume": 200},
            {"case": "b1", "patient": "B", "date": "2024-01-01", "volume": 300},
        ],
    )
    tests = make_tests(
        store, ("A", "2023-11-01", "M"), ("A", "2024-06-11", "M"), ("A", "2024-12-01", "M"), ("B", "2024-02-01", "M")
    )
    joined = join(store, tests, SETTINGS)
    rows = joined.nearest.set_index("case_id")
    assert rows["days"].to_dict() == {"a2": 10, "b1": 31}
    assert rows["fvc_l"].to_dict() == {"a2": 1, "b1": 3}
    assert rows["pectoralis.volume"].to_dict() == {"a2": 200, "b1": 300}
    assert joined.every.set_index("case_id")["days"].to_dict() == {"a1": -61, "a2": 10, "b1": 31}
    assert losses(joined)["Usable scans"] == {"further scan of an analysed patient": 1}
    assert losses(joined)["Tests in the table"] == {"further test of an analysed patient": 2}


def test_a_test_is_used_once(tmp_path):
    store = make_store(tmp_path / "c", [{"case": f"a{m}", "patient": "A", "date": f"2024-0{m}-01"} for m in (1, 2, 3)])
    joined = join(store, make_tests(store, ("A", "2024-01-10", "M"), ("A", "2024-02-27", "M")), SETTINGS)
    assert joined.every.set_index("case_id")["days"].to_dict() == {"a1": 9, "a3": -3}
    assert len(joined.nearest) == 1


def test_everyone_is_accounted_for(tmp_path):
    store = make_store(
        tmp_path / "c",
        [
            {"case": "good", "patient": "good"},
            {"case": "refused", "patient": "r", "status": "refused"},
            {"case": "failed", "patient": "f", "status": "failed"},
            {"case": "00000000000000aa", "patient": "x"},
            {"case": "untested", "patient": "u"},
            {"case": "undated", "patient": "d", "date": None},
            {"case": "late", "patient": "l"},
            {"case": "other", "patient": "s", "sex": "F"},
        ],
    )
    store.write_review("00000000000000aa", "exclude", "reader", "motion")
    day = "2024-03-11"
    tests = make_tests(
        store,
        *[(patient, day, "M") for patient in ("good", "r", "x", "d", "s", "nobody")],
        ("l", "2021-01-01", "M"),
    )
    joined = join(store, tests, SETTINGS)
    scans, usable, patients, table, analysed = joined.flow
    assert (scans.count, dict(scans.left)) == (
        8,
        {"input refused": 1, "analysis failed": 1, "excluded by a reader": 1},
    )
    assert scans.remaining == usable.count == 5
    assert dict(patients.left) == {
        "no test": 1,
        "no scan with a date": 1,
        "no test within 365 days": 1,
        "sex differs between scan and test": 1,
    }
    assert dict(table.left) == {"patient without a usable scan": 3, "patient without a match": 3}
    assert patients.remaining == table.remaining == analysed.count == len(joined.nearest) == 1


def test_the_window_is_the_settings(tmp_path):
    store = make_store(tmp_path / "c", [{"case": "a", "patient": "A", "date": "2024-01-01"}])
    tests = make_tests(store, ("A", "2021-01-01", "M"))
    with pytest.raises(
        InputError, match=r"no patient has both .* within 365 days \(1 patients with a scan, 1 with a test\)"
    ):
        join(store, tests, SETTINGS)
    assert len(join(store, tests, SETTINGS.changed(window_days=1100)).nearest) == 1


def test_undated_scans_are_used_only_when_asked_for(tmp_path):
    store = make_store(tmp_path / "c", [{"case": "a", "patient": "A", "date": None}, {"case": "b", "patient": "B"}])
    tests = make_tests(store, ("A", "2020-01-01", "M"), ("A", "2024-01-01", "M"), ("B", "2024-03-02", "M"))
    assert join(store, tests, SETTINGS).nearest["case_id"].tolist() == ["b"]
    joined = join(store, tests, SETTINGS.changed(undated="include"))
    row = joined.nearest.set_index("case_id").loc["a"]
    assert row["test_date"] == date(2024, 1, 1)
    assert pd.isna(row["days"])


def test_of_two_scans_of_one_day_the_thinner_is_used(tmp_path):
    scans = [{"case": f"c{mm}", "patient": "A", "thickness": mm} for mm in (5.0, 1.0, 3.0)]
    store = make_store(tmp_path / "c", scans)
    assert join(store, make_tests(store, ("A", "2024-03-02", "M")), SETTINGS).nearest["case_id"].tolist() == ["c1.0"]


def test_a_spoilt_value_is_left_out_and_counted(tmp_path):
    store = make_store(
        tmp_path / "c",
        [
            {"case": "a", "patient": "A", "flags": ["cut_first_slice", "truncated_left"]},
            {"case": "b", "patient": "B", "flags": ["cut_first_slice"]},
        ],
    )
    joined = join(store, make_tests(store, ("A", "2024-03-02", "M"), ("B", "2024-03-02", "M")), SETTINGS)
    volume = joined.nearest.set_index("case_id")["pectoralis.volume"]
    assert volume["b"] == 200 and pd.isna(volume["a"])
    assert joined.nearest["pectoralis.density"].notna().all()
    assert joined.left_out.to_dict("records") == [
        {"muscle": "pectoralis", "measure": "volume", "flag": "truncated_left", "scans": 1}
    ]
