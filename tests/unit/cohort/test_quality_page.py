"""The page carries every case, says nothing of a person, and cannot be broken by the words of a sentence."""

import json
import re

import numpy as np
import pytest

from myotome.cohort.quality import write_quality_page
from myotome.cohort.quality_page import describe_cohort, describe_reviews, render_quality_page
from myotome.store import CaseRecord, CohortFolder, Store
from tests.unit.cohort.quality_cohort import case_name, change, make_people, write_people

COUNT = 100


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    cases, measurements = make_people(COUNT, seed=21)
    change(measurements, 3, "pectoralis", "left", "volume", 0.4)
    gone = (measurements["case_id"] == case_name(5)) & (measurements["structure"] == "intercostal")
    measurements.loc[gone, "value"] = np.nan
    store = write_people(tmp_path_factory.mktemp("page") / "cohort", cases, measurements, {})
    record = CaseRecord(
        case_id="f" * 16,
        status="refused",
        subject_id="S0123456789ab",
        reason="</script><img src=x onerror=alert(1)> & \u2028 'so'.",
        flags=("series_chosen: DOE JANE chest",),
        software_version="0.1.0",
    )
    store.cohort.write_case(record)
    return Store(store.folder)


def data_of(html):
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return json.loads(text)


@pytest.fixture(scope="module")
def html(store):
    return write_quality_page(store).read_text(encoding="utf-8")


def test_every_case_is_on_the_page_with_its_outcome(store, html):
    cases = data_of(html)["cases"]
    assert cases["id"] == [*(case_name(number) for number in range(COUNT)), "f" * 16]
    assert [cases["status"].count(code) for code in (0, 1, 2)] == [98, 2, 1]
    assert {len(column) for column in cases.values()} == {COUNT + 1}
    assert (
        cases["reason"][0] is None and cases["reason"][COUNT] == "</script><img src=x onerror=alert(1)> & \u2028 'so'."
    )


def test_the_numbers_are_those_of_the_store(store, html):
    data = data_of(html)
    column = data["features"].index(["pectoralis", "left", "volume"])
    [value] = store.frame(
        "SELECT value FROM measurements WHERE case_id = ? AND structure = 'pectoralis' AND side = 'left' "
        "AND measure = 'volume'",
        [case_name(3)],
    )["value"]
    assert data["cases"]["values"][3][column] == pytest.approx(value, rel=1e-3)
    assert np.argmax([score or 0 for score in data["cases"]["score"]]) == 3
    assert data["cases"]["drivers"][3][0][0] == column
    assert data["cases"]["drivers"][3][0][2] == pytest.approx(value / 0.4, rel=0.15)
    ages = store.frame("SELECT age_years FROM cases WHERE status = 'done' ORDER BY case_id")["age_years"]
    assert data["cases"]["age"][:98] == ages.tolist()


def test_what_is_not_known_is_null_and_its_flag_is_carried(html):
    data = data_of(html)
    names = [flag["name"] for flag in data["flags"]]
    assert "absent" in [names[flag] for flag in data["cases"]["flags"][5]]
    missing = [
        feature[0] for feature, value in zip(data["features"], data["cases"]["values"][5], strict=True) if value is None
    ]
    assert missing == ["intercostal"] * 4
    assert data["cases"]["volume"][5] is None and data["cases"]["score"][COUNT] is None


def test_no_words_of_a_header_and_no_identifier_but_the_case(html):
    for word in ("DOE", "JANE", "S0123456789ab", "S000000000003"):
        assert word not in html
    assert "series_chosen" in [flag["name"] for flag in data_of(html)["flags"]]


def test_a_sentence_cannot_end_the_script(html):
    assert html.count("</script>") == 2 and "onerror=alert(1)>" not in html and "\u2028" not in html


def test_nothing_is_loaded_from_elsewhere(html):
    assert not re.findall(r"""(?:src|href)=["'](?!data:,)[^"']*""", html)
    assert "http://" not in html and "https://" not in html
    assert 'nonce="' not in html


def test_the_same_cohort_gives_the_same_bytes(store, html):
    assert write_quality_page(Store(store.folder)).read_text(encoding="utf-8") == html


def test_a_served_page_says_so_and_carries_the_nonce(store):
    html = render_quality_page({**describe_cohort(store), **describe_reviews(store)}, served=True, nonce="abc")
    assert data_of(html)["served"] is True
    assert re.findall(r'<(script|style) nonce="abc">', html) == ["style", "script"]


def test_a_cohort_without_a_case_has_a_page(tmp_path):
    CohortFolder.create(tmp_path / "cohort")
    data = data_of(write_quality_page(Store(tmp_path / "cohort")).read_text(encoding="utf-8"))
    assert data["cases"]["id"] == [] and data["method"] == "none" and data["reviews"] == {}


def test_the_latest_decision_is_on_the_page(tmp_path):
    cases, measurements = make_people(12, seed=22)
    store = write_people(tmp_path / "cohort", cases, measurements, {})
    store.write_review(case_name(2), "accept", "Ada", "first")
    store.write_review(case_name(2), "exclude", "Bob", "blurred")
    reviews = data_of(write_quality_page(Store(store.folder)).read_text(encoding="utf-8"))["reviews"]
    assert list(reviews) == [case_name(2)]
    assert reviews[case_name(2)][:3] == ["exclude", "Bob", "blurred"]
