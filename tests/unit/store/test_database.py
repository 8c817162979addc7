import pandas as pd
import pytest

from myotome.errors import InputError
from myotome.store import CohortFolder, Store
from myotome.store.exports import make_wide_frame, write_export
from tests.unit.store.cohorts import make_cohort, make_record, write_case

VOLUMES = "SELECT case_id, value FROM measurements WHERE measure = 'volume' ORDER BY case_id"


@pytest.fixture
def cohort(tmp_path) -> CohortFolder:
    return make_cohort(tmp_path / "c")


def test_sql_sees_every_case(cohort):
    frame = Store(cohort.folder).frame("SELECT status, count(*) AS n FROM cases GROUP BY status ORDER BY status")
    assert frame.to_dict("records") == [{"status": "done", "n": 4}, {"status": "refused", "n": 1}]


def test_sql_sees_every_value(cohort):
    frame = Store(cohort.folder).frame(VOLUMES)
    assert list(frame["value"]) == [100.0, 101.0, 102.0, 103.0]


def test_parameters_are_values_not_sql(cohort):
    store = Store(cohort.folder)
    assert len(store.frame("SELECT * FROM cases WHERE case_id = ?", ["' OR 1=1 --"])) == 0


def test_an_empty_cohort_has_empty_tables(tmp_path):
    store = Store(CohortFolder.create(tmp_path).folder)
    for view in ("cases", "measurements", "included_measurements", "reviews", "review_history"):
        assert store.frame(f"SELECT * FROM {view}").empty
    assert "value" in store.frame("SELECT * FROM measurements").columns


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW cases",
        "CREATE TABLE x AS SELECT 1",
        "COPY cases TO 'x.csv'",
        "INSERT INTO review_history VALUES (1)",
        "DELETE FROM review_history",
        "ATTACH 'x.db'",
        "SET enable_external_access = true",
        "SELECT 1; DROP VIEW cases",
        "INSTALL httpfs",
        "EXPORT DATABASE 'x'",
        "CALL pragma_version()",
        "",
    ],
)
def test_sql_that_writes_is_refused(cohort, sql):
    with pytest.raises(InputError, match="only read"):
        Store(cohort.folder).frame(sql)


def test_explain_analyze_of_a_copy_writes_nothing(cohort, tmp_path):
    with pytest.raises(InputError):
        Store(cohort.folder).frame(f"EXPLAIN ANALYZE COPY cases TO '{cohort.cases_folder}/stolen.csv'")
    assert not (cohort.cases_folder / "stolen.csv").exists()


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM read_text('{}')", "FROM read_csv('{}')", "SELECT * FROM glob('/etc/*')"]
)
def test_sql_reads_the_cohort_alone(cohort, sql):
    with pytest.raises(InputError, match="cannot be answered"):
        Store(cohort.folder).frame(sql.format(cohort.private_folder / "key"))


def test_bad_sql_is_one_sentence(cohort):
    for sql in ("SELEC 1", "SELECT nothing FROM cases"):
        with pytest.raises(InputError) as caught:
            Store(cohort.folder).frame(sql)
        assert "\n" not in str(caught.value)


def test_sql_does_not_see_the_program(cohort):
    secret = pd.DataFrame({"word": ["sesame"]})
    with pytest.raises(InputError, match="cannot be answered"):
        Store(cohort.folder).frame("SELECT * FROM secret")
    assert len(secret) == 1


@pytest.mark.parametrize("sql", ["FROM cases", "WITH x AS (SELECT 1 AS a) SELECT * FROM x", "DESCRIBE cases"])
def test_other_ways_to_read_are_welcome(cohort, sql):
    assert not Store(cohort.folder).frame(sql).empty


def test_gathered_tables_give_the_same_answers(cohort):
    before = Store(cohort.folder).frame(VOLUMES)
    assert Store(cohort.folder).compact() == 5
    assert Store(cohort.folder).compact() == 0
    pd.testing.assert_frame_equal(Store(cohort.folder).frame(VOLUMES), before)


def test_what_comes_after_gathering_is_seen(cohort):
    Store(cohort.folder).compact()
    write_case(cohort, 2, volume_ml=7.0)
    write_case(cohort, 9)
    cohort.write_case(make_record(3, status="failed", reason="lost"))
    for _ in range(2):
        frame = Store(cohort.folder).frame(VOLUMES)
        assert dict(zip(frame["case_id"], frame["value"], strict=True)) == {
            f"{0:016x}": 100.0,
            f"{1:016x}": 101.0,
            f"{2:016x}": 7.0,
            f"{9:016x}": 109.0,
        }
        failed = Store(cohort.folder).frame("SELECT case_id FROM cases WHERE status = 'failed'")
        assert list(failed["case_id"]) == [f"{3:016x}"]
        Store(cohort.folder).compact()


def test_a_damaged_gathering_is_passed_over(cohort):
    Store(cohort.folder).compact()
    (cohort.tables_folder / "contents.json").write_text("{")
    assert len(Store(cohort.folder).frame(VOLUMES)) == 4


def test_one_gathering_is_kept_beside_the_new_one(cohort):
    for number in range(10, 14):
        write_case(cohort, number)
        Store(cohort.folder).compact()
    assert len(list(cohort.tables_folder.glob("measurements-*.parquet"))) == 2


def test_the_latest_decision_counts_and_all_are_kept(cohort):
    store = Store(cohort.folder)
    case = f"{1:016x}"
    store.write_review(case, "exclude", "Dr A", "motion")
    store.write_review(case, "accept", "Dr B")
    store.write_review(f"{2:016x}", "exclude", "Dr A")
    store = Store(cohort.folder)
    latest = store.frame("SELECT case_id, decision, reviewer FROM reviews ORDER BY case_id")
    assert latest.to_dict("records") == [
        {"case_id": case, "decision": "accept", "reviewer": "Dr B"},
        {"case_id": f"{2:016x}", "decision": "exclude", "reviewer": "Dr A"},
    ]
    assert len(store.frame("SELECT * FROM review_history")) == 3
    included = store.frame("SELECT DISTINCT case_id FROM included_measurements ORDER BY 1")
    assert list(included["case_id"]) == [f"{0:016x}", case, f"{3:016x}"]


@pytest.mark.parametrize(
    ("case", "decision", "reviewer", "sentence"),
    [
        (f"{1:016x}", "delete", "Dr A", "no decision"),
        (f"{1:016x}", "accept", "  ", "reader's name"),
        ("../../etc", "accept", "Dr A", "no case"),
        (f"{77:016x}", "accept", "Dr A", "no case"),
    ],
)
def test_a_decision_is_checked(cohort, case, decision, reviewer, sentence):
    with pytest.raises(InputError, match=sentence):
        Store(cohort.folder).write_review(case, decision, reviewer)


def test_the_wide_table_has_one_row_per_case(cohort):
    frame = make_wide_frame(Store(cohort.folder))
    assert len(frame) == 5
    assert list(frame["pectoralis_both_volume_ml"].dropna()) == [100.0, 101.0, 102.0, 103.0]
    assert not [column for column in frame.columns if "area" in column]
    assert frame["reason"].dropna().tolist() == ["it is not a CT"]


@pytest.mark.parametrize(
    ("name", "read"), [("w.csv", pd.read_csv), ("w.xlsx", pd.read_excel), ("w.parquet", pd.read_parquet)]
)
def test_exports_hold_the_same(cohort, tmp_path, name, read):
    assert write_export(Store(cohort.folder), tmp_path / name) == 5
    frame = read(tmp_path / name)
    assert frame["pectoralis_both_volume_ml"].dropna().tolist() == [100.0, 101.0, 102.0, 103.0]


def test_the_long_export_is_the_table(cohort, tmp_path):
    assert write_export(Store(cohort.folder), tmp_path / "long.csv", long=True) == 12


def test_another_format_is_refused(cohort, tmp_path):
    with pytest.raises(InputError, match=r"neither \.csv nor \.xlsx nor \.parquet"):
        write_export(Store(cohort.folder), tmp_path / "w.ods")


def test_a_folder_with_a_quote_in_its_name(tmp_path):
    cohort = make_cohort(tmp_path / "o'brien's")
    assert len(Store(cohort.folder).frame(VOLUMES)) == 4
    Store(cohort.folder).compact()
    assert len(Store(cohort.folder).frame(VOLUMES)) == 4


def test_a_case_that_comes_while_tables_are_gathered_is_counted_once(cohort):
    store = Store(cohort.folder)
    write_case(cohort, 50)
    store.compact()
    for _ in range(2):
        frame = Store(cohort.folder).frame("SELECT count(*) AS n, count(DISTINCT case_id) AS ids FROM cases")
        assert frame.to_dict("records") == [{"n": 6, "ids": 6}]
        Store(cohort.folder).compact()


def test_a_store_does_not_see_half_of_what_came_later(cohort):
    store = Store(cohort.folder)
    write_case(cohort, 50)
    assert len(store.frame("SELECT * FROM cases")) == 5
    assert len(store.frame(VOLUMES)) == 4


def test_only_one_gathers_at_a_time(cohort):
    import fcntl

    cohort.tables_folder.mkdir()
    with (cohort.tables_folder / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert Store(cohort.folder).compact() == 0
    assert Store(cohort.folder).compact() == 5


def test_a_case_that_loses_its_table_under_our_hands(cohort):
    store = Store(cohort.folder)
    store.frame(VOLUMES)
    write_case(cohort, 7)
    Store(cohort.folder).compact()
    store = Store(cohort.folder)
    write_case(cohort, 8)
    store.frame(VOLUMES)
    cohort.write_case(make_record(8, status="refused", reason="it is not a CT"))
    assert len(store.frame(VOLUMES)) == 5


@pytest.mark.parametrize("name", ["a[1]b", "sex=M", "a*b", "what?"])
def test_folders_with_strange_names(tmp_path, name):
    cohort = make_cohort(tmp_path / name / "c")
    for _ in range(2):
        frame = Store(cohort.folder).frame("SELECT DISTINCT sex FROM cases")
        assert list(frame["sex"]) == ["F"]
        assert len(Store(cohort.folder).frame(VOLUMES)) == 4
        Store(cohort.folder).compact()


def test_an_unfinished_record_does_not_end_every_query(cohort):
    (cohort.cases_folder / f"{0:016x}" / "case.json").write_text('{"case_id"')
    assert len(Store(cohort.folder).frame("SELECT * FROM cases WHERE case_id IS NOT NULL")) == 4


def test_no_cell_is_a_formula(tmp_path):
    cohort = make_cohort(tmp_path / "c", 1)
    write_case(cohort, 1, kernel="=HYPERLINK(1)", manufacturer="a\x07b")
    for name, read in (("w.csv", pd.read_csv), ("w.xlsx", pd.read_excel)):
        write_export(Store(cohort.folder), tmp_path / name)
        assert read(tmp_path / name)["kernel"].dropna().tolist() == ["'=HYPERLINK(1)"]
