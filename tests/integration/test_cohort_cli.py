"""`myotome cohort` as people use it: the shipped bundle on phantoms, a broken file and a mask, and what follows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from myotome.cli import main
from myotome.io import write_label_map, write_volume
from myotome.io.dicom_series import write_dicom_series
from myotome.phantoms.thorax import make_thorax
from myotome.store import Store
from tests.conftest import PDF
from tests.integration.label_server import SMALL

sys.path.insert(0, str(Path(__file__).parent))
from cohort_faults import run_light, write_small_case

BUNDLE = "respiratory_muscle_ct_segmentation"


def myotome(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "myotome", *words], capture_output=True, text=True)


def call(*words: str) -> int:
    """Exit code of the program in this process."""
    with pytest.raises(SystemExit) as stopped:
        main(list(map(str, words)))
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """A DICOM phantom, a NIfTI phantom, its label map (which is no CT), and half a file."""
    folder = tmp_path_factory.mktemp("scans")
    first, second = (make_thorax(seed, SMALL) for seed in (11, 12))
    write_dicom_series(folder / "one", first.volume)
    write_volume(folder / "two" / "ct.nii.gz", second.volume)
    write_label_map(folder / "two" / "labels.nii.gz", second.label_map)
    whole = (folder / "two" / "ct.nii.gz").read_bytes()
    (folder / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def cohort(scans, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "cohort"
    done = myotome("cohort", "run", str(scans), "-b", BUNDLE, "-o", str(folder), "--uncertainty", "2", "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["total"], counts["done"], counts["refused"], counts["failed"]) == (4, 2, 2, 0)
    return folder


def test_every_scan_has_a_row_and_every_refusal_a_reason(cohort):
    frame = Store(cohort).frame("SELECT status, reason, uncertainty FROM cases ORDER BY status, reason")
    assert list(frame["status"]) == ["done", "done", "refused", "refused"]
    assert (frame["uncertainty"][:2] > 0).all()
    assert "damaged or cut short" in frame["reason"][2]
    assert "not in Hounsfield units" in frame["reason"][3]


def test_the_measurements_are_those_of_analyze(cohort, scans, tmp_path):
    assert call("analyze", scans / "one", "-b", BUNDLE, "-o", tmp_path / "result", "-q") == 0
    rows = json.loads((tmp_path / "result" / "measurements.json").read_text())["measurements"]
    keys = ("structure", "side", "measure", "statistic", "level", "slice_index")
    expected = {tuple(row[key] for key in keys): row["value"] for row in rows}
    frame = Store(cohort).frame("SELECT * FROM measurements WHERE study_uid IS NOT NULL").astype(object)
    frame = frame.where(frame.notna(), None)
    assert {tuple(row[key] for key in keys): row["value"] for row in frame.to_dict("records")} == expected


def test_a_rerun_does_nothing(cohort, scans, capsys):
    before = Store(cohort).cohort.case_stamps()
    assert call("cohort", "run", scans, "-b", BUNDLE, "-o", cohort) == 0
    assert "4 cases, 4 were there before: 0 done, 0 refused, 0 failed" in capsys.readouterr().out
    assert Store(cohort).cohort.case_stamps() == before


def test_another_precision_in_the_same_cohort_is_refused(cohort, scans, capsys):
    assert call("cohort", "run", scans, "-b", BUNDLE, "-o", cohort, "--precision", "bfloat16") == 3
    assert "were computed in float32, not bfloat16" in capsys.readouterr().err


def test_status_query_and_export(cohort, tmp_path, capsys):
    assert call("cohort", "status", cohort) == 0
    assert "done 2   refused 2" in capsys.readouterr().out
    assert call("cohort", "status", cohort, "--json") == 0
    assert json.loads(capsys.readouterr().out)["cases"] == {"done": 2, "refused": 2}
    assert call("cohort", "query", cohort, "SELECT count(*) AS n FROM cases", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 4}]
    assert call("cohort", "query", cohort, "DROP VIEW cases") == 3
    assert "only read" in capsys.readouterr().err
    assert call("cohort", "export", cohort, tmp_path / "wide.csv") == 0
    assert (tmp_path / "wide.csv").read_text().count("\n") == 5


def test_two_cohorts_of_the_same_scans_are_compared(tmp_path, capsys):
    """The same measurement twice, with keys of their own: no difference at all, though no case has the same id."""
    for number in range(4):
        write_small_case(tmp_path / "people" / f"{number}.nii.gz", number)
    for name in ("first", "second"):
        run_light(tmp_path / "people", tmp_path / name, jobs=1, seconds=0.0)
    first, second = (Store(tmp_path / name) for name in ("first", "second"))
    assert not set(first.cohort.case_stamps()) & set(second.cohort.case_stamps())
    excluded = min(first.cohort.case_stamps())
    first.write_review(excluded, "exclude", "Dr A")
    capsys.readouterr()
    assert call("cohort", "compare", first.folder, second.folder, "-o", tmp_path / "comparison", "--json") == 0
    table = json.loads(capsys.readouterr().out)["agreement"]
    assert len(table) > 20
    assert {row["bias"] for row in table if row["bias"] is not None} == {0.0}
    assert {row["n"] for row in table} == {0, 3}  # 0 where the light segmenter labels nothing
    names = {path.name for path in (tmp_path / "comparison").iterdir()}
    assert names == {"agreement.csv", "figures", "report.html"} | PDF


def test_a_copy_that_was_shared_has_no_names(cohort, scans, tmp_path, capsys):
    shared = tmp_path / "shared"
    shutil.copytree(cohort, shared, ignore=shutil.ignore_patterns("private"))
    assert call("cohort", "query", shared, "SELECT count(*) FROM measurements") == 0
    assert call("cohort", "retry", shared) == 3
    assert "use the cohort's own folder" in capsys.readouterr().err


def test_retry_takes_sources_and_bundle_from_the_last_run(cohort):
    done = myotome("cohort", "retry", str(cohort), "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["before"], counts["refused"]) == (2, 2)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("absent",), 3, "there is nothing at 'absent'"),
        ((".", "--shard", "4/3"), 3, "there is no shard 4/3"),
        ((".", "--shard", "three"), 3, "'three' is no shard"),
        ((".", "--outputs", "pictures"), 3, "'pictures' is no output"),
        ((".", "--slurm", "--scheduler", "tcp://x:1"), 3, "exclude each other"),
        ((".", "--slurm"), 3, "--memory-gb"),
    ],
)
def test_wrong_usage_is_one_sentence(words, code, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("cohort", "run", *words, "-b", BUNDLE, "-o", "out") == code
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_folder_that_holds_something_else_is_left_alone(scans, tmp_path, capsys):
    (tmp_path / "thesis.docx").touch()
    assert call("cohort", "run", scans, "-b", BUNDLE, "-o", tmp_path) == 5
    assert "holds something else than a cohort" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]
