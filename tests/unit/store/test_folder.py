import fcntl
import json
import subprocess
import sys
import textwrap

import pytest

from myotome.errors import InputError, OutputError
from myotome.store import CaseRecord, CohortFolder, make_measurement_table
from tests.unit.store.cohorts import make_cohort, make_record, make_row


def test_a_case_is_its_record_and_its_table(tmp_path):
    cohort = make_cohort(tmp_path / "c", 1)
    folder = cohort.cases_folder / f"{0:016x}"
    assert sorted(path.name for path in folder.iterdir()) == ["case.json", "measurements.parquet"]
    assert cohort.read_record(f"{0:016x}")["height_m"] == 1.6
    assert cohort.read_record("absent") is None


def test_a_refused_case_has_its_reason_alone(tmp_path):
    cohort = make_cohort(tmp_path / "c", 0)
    folder = cohort.cases_folder / f"{0xFFFF:016x}"
    assert [path.name for path in folder.iterdir()] == ["case.json"]
    assert json.loads((folder / "case.json").read_text())["reason"] == "it is not a CT"


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [("done", "why", "has no reason"), ("refused", None, "needs a reason"), ("lost", None, "not 'lost'")],
)
def test_a_record_says_why_or_is_done(status, reason, sentence):
    with pytest.raises(InputError, match=sentence):
        make_record(1, status=status, reason=reason)


def test_a_case_written_anew_replaces_all_of_the_old_one(tmp_path):
    cohort = make_cohort(tmp_path / "c", 1)
    cohort.write_case(make_record(0, status="failed", reason="no memory"))
    assert [path.name for path in (cohort.cases_folder / f"{0:016x}").iterdir()] == ["case.json"]
    assert not list((cohort.folder / "incomplete").iterdir())


def test_a_case_that_cannot_be_filled_leaves_the_old_one(tmp_path):
    cohort = make_cohort(tmp_path / "c", 1)

    with (
        pytest.raises(OutputError, match="No space left on device.*free some space"),
        cohort.new_case(f"{0:016x}") as folder,
    ):
        (folder / "labels.nii.gz").write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert (cohort.cases_folder / f"{0:016x}" / "measurements.parquet").is_file()
    assert not list((cohort.folder / "incomplete").iterdir())


def test_a_full_disk_is_one_sentence(tmp_path):
    """A real limit on the size of files, in a process of its own."""
    program = textwrap.dedent(
        """
        import resource, signal, sys
        from myotome.store import CaseRecord, CohortFolder
        cohort = CohortFolder.create(sys.argv[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            cohort.write_case(CaseRecord("0" * 16, "done", "S0"))
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    words = [sys.executable, "-c", program, str(tmp_path / "c")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.startswith("OutputError case 0000000000000000 cannot be written"), done.stderr
    assert not list((tmp_path / "c" / "cases").iterdir())
    assert not list((tmp_path / "c" / "incomplete").iterdir())


def test_leftovers_of_writers_that_are_gone_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("myotome.store.folder._YOUNG_S", -1.0)
    cohort = make_cohort(tmp_path / "c", 0)
    gone, alive = (cohort.folder / "incomplete" / name for name in ("gone", "alive"))
    for folder in (gone, alive):
        (folder / "case").mkdir(parents=True)
    with (alive / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cohort.remove_leftovers() == 1
    assert alive.is_dir()
    assert not gone.exists()


def test_another_folder_is_no_cohort(tmp_path):
    with pytest.raises(InputError, match="holds no cohort"):
        CohortFolder(tmp_path)
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(OutputError, match="holds something else"):
        CohortFolder.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_cohort_of_the_future_is_refused(tmp_path):
    make_cohort(tmp_path, 0)
    (tmp_path / "cohort.json").write_text('{"format": "myotome-cohort", "format_version": 9}')
    with pytest.raises(InputError, match="reads myotome-cohort 1"):
        CohortFolder(tmp_path)


def test_creating_again_keeps_the_key_and_the_date(tmp_path):
    first = CohortFolder.create(tmp_path, {"bundle": "a"})
    again = CohortFolder.create(tmp_path, {"bundle": "b"})
    assert again.key == first.key
    assert again.description["created"] == first.description["created"]
    assert again.description["bundle"] == "b"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"value": None}, "carries a flag"),
        ({"value": float("inf")}, "finite"),
        ({"lower": 3.0, "upper": 2.0}, "lower bound"),
        ({"side": "middle"}, "isin"),
        ({"unit": ""}, "str_length"),
    ],
)
def test_rows_against_the_rules_are_refused(change, rule):
    with pytest.raises(InputError, match=rule):
        make_measurement_table("c", [make_row(), make_row(**change)])


def test_a_missing_value_with_a_flag_is_a_row():
    table = make_measurement_table("c", [make_row(value=None, flags=["absent"])])
    assert table["value"].to_pylist() == [None]
    assert table["flags"].to_pylist() == [["absent"]]


def test_a_record_knows_every_column():
    assert list(CaseRecord("0" * 16, "done", "S").as_row())[:6] == [
        "case_id",
        "subject_id",
        "study_uid",
        "series_uid",
        "status",
        "reason",
    ]


def test_many_that_create_it_at_once_share_one_key(tmp_path):
    """Six processes of a job array, twenty times over."""
    program = (
        "import sys; from myotome.store import CohortFolder\n"
        "for line in sys.stdin: print(CohortFolder.create(line.strip()).key.hex(), flush=True)"
    )
    words = [sys.executable, "-c", program]
    starters = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for number in range(20):
        for starter in starters:
            starter.stdin.write(f"{tmp_path / str(number)}\n")
            starter.stdin.flush()
        assert len({starter.stdout.readline() for starter in starters}) == 1
    for starter in starters:
        starter.communicate()
        assert starter.returncode == 0


def test_a_creation_that_was_cut_off_is_taken_up(tmp_path):
    (tmp_path / "cases").mkdir()
    (tmp_path / "private").mkdir()
    assert CohortFolder.create(tmp_path).key


def test_a_copy_without_its_key_is_not_gone_on_with(tmp_path):
    cohort = make_cohort(tmp_path, 1)
    (cohort.private_folder / "key").unlink()
    with pytest.raises(OutputError, match="a copy without its private folder"):
        CohortFolder.create(tmp_path)


def test_a_damaged_description_is_one_sentence(tmp_path):
    make_cohort(tmp_path, 1)
    (tmp_path / "cohort.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        CohortFolder.create(tmp_path)


def test_a_record_that_cannot_be_read_is_none(tmp_path):
    cohort = make_cohort(tmp_path, 1)
    (cohort.cases_folder / f"{0:016x}" / "case.json").write_text('{"case_id"')
    assert cohort.read_record(f"{0:016x}") is None


def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path, monkeypatch):
    def refuse(lock, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    cohort = make_cohort(tmp_path / "c", 1)
    assert cohort.read_record(f"{0:016x}")["status"] == "done"
    assert cohort.remove_leftovers() == 0
