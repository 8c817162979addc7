"""Decisions from a file: all or none, once, and never over a later one."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from myotome.cohort.quality import import_decisions, list_decided
from myotome.cohort.quality_page import cohort_mark
from myotome.errors import InputError
from myotome.store import Store
from tests.unit.cohort.quality_cohort import case_name, make_people, write_people


@pytest.fixture
def store(tmp_path):
    cases, measurements = make_people(6, seed=31)
    return write_people(tmp_path / "cohort", cases, measurements, {})


def write_file(store, *decisions, **changes):
    """A file as the page writes it; each decision is (case number, decision, minutes ago)."""
    entries = [
        {
            "case_id": case_name(number),
            "decision": decision,
            "note": f"note {number}",
            "decided_at": (datetime.now(UTC) - timedelta(minutes=ago)).isoformat().replace("+00:00", "Z"),
            "reviewer": "Ada",
        }
        for number, decision, ago in decisions
    ]
    table = {"format": "myotome-decisions", "format_version": 1, "cohort": cohort_mark(store), "decisions": entries}
    path = store.folder / "decisions.json"
    path.write_text(json.dumps({**table, **changes}), encoding="utf-8")
    return path


def reviews(store):
    frame = Store(store.folder).frame("SELECT case_id, decision, reviewer, note FROM reviews ORDER BY case_id")
    return [tuple(row) for row in frame.itertuples(index=False)]


def test_decisions_are_kept_with_their_reader_and_note(store):
    done = import_decisions(store, write_file(store, (0, "accept", 5), (1, "exclude", 4)))
    assert (done.written, done.older) == (2, 0)
    assert reviews(store) == [(case_name(0), "accept", "Ada", "note 0"), (case_name(1), "exclude", "Ada", "note 1")]


def test_the_reviewer_given_counts(store):
    import_decisions(store, write_file(store, (0, "accept", 5)), reviewer="  Grace   Hopper ")
    assert reviews(store) == [(case_name(0), "accept", "Grace Hopper", "note 0")]


def test_the_same_file_twice_is_kept_once(store):
    path = write_file(store, (0, "accept", 5), (1, "annotate", 4))
    import_decisions(store, path)
    again = import_decisions(store, path)
    assert (again.written, again.older) == (0, 2)
    assert len(list((store.folder / "reviews").rglob("*.json"))) == 2


def test_a_later_decision_in_the_store_is_not_undone_and_an_earlier_one_is(store):
    store.write_review(case_name(0), "exclude", "Bob")
    done = import_decisions(store, write_file(store, (0, "accept", 5)))
    assert (done.written, done.older) == (0, 1)
    done = import_decisions(store, write_file(store, (0, "accept", -5)))
    assert (done.written, done.older) == (1, 0)
    assert reviews(store)[0][:3] == (case_name(0), "accept", "Ada")


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        ((9, "accept", 1), f"decision 2 of .* is about '{case_name(9)}', which is no case of this cohort"),
        ((1, "perhaps", 1), "decision 2 of .* is 'perhaps': it must be one of accept, exclude, annotate"),
    ],
)
def test_one_wrong_decision_refuses_the_file(store, decision, sentence):
    with pytest.raises(InputError, match=sentence):
        import_decisions(store, write_file(store, (0, "accept", 5), decision))
    assert reviews(store) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cohort": "0" * 12}, "holds decisions about another cohort"),
        ({"format": "something"}, "is no file of decisions"),
        ({"format_version": 2}, "is no file of decisions"),
        ({"decisions": None}, "has no list of decisions"),
        ({"decisions": [3]}, "decision 1 of .* is about '', which is no case"),
        (
            {"decisions": [{"case_id": case_name(0), "decision": "accept", "reviewer": "Ada"}]},
            "decision 1 .* has no time",
        ),
        (
            {"decisions": [{"case_id": case_name(0), "decision": "accept"}]},
            "decision 1 .* names no reader: .*--reviewer",
        ),
    ],
)
def test_other_files_are_refused(store, change, sentence):
    with pytest.raises(InputError, match=sentence):
        import_decisions(store, write_file(store, (0, "accept", 5), **change))
    assert reviews(store) == []


def test_what_is_no_file_or_no_json_is_refused(store):
    with pytest.raises(InputError, match="cannot be read"):
        import_decisions(store, store.folder / "nothing.json")
    (store.folder / "x.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="is not JSON"):
        import_decisions(store, store.folder / "x.json")


def test_cases_are_listed_by_their_latest_decision(store):
    store.write_review(case_name(1), "annotate", "Ada")
    store.write_review(case_name(3), "annotate", "Ada")
    store.write_review(case_name(3), "accept", "Ada")
    store = Store(store.folder)
    assert list_decided(store, "annotate") == [case_name(1)]
    assert list_decided(store, "accept") == [case_name(3)]
    assert list_decided(store, "undecided") == [case_name(number) for number in (0, 2, 4, 5)]
    with pytest.raises(InputError, match="'maybe' is no decision: give one of accept, exclude, annotate, undecided"):
        list_decided(store, "maybe")
