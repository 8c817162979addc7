"""A cohort from a real PACS: Orthanc, over DICOMweb."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from myotome.cohort.sources import SourceOptions, find_cases
from myotome.errors import InputError
from myotome.io.dicom_series import write_dicom_series
from myotome.io.dicom_web import PacsError
from myotome.phantoms.thorax import make_thorax
from myotome.store import Store
from myotome.store.identifiers import Pseudonyms
from tests.integration.label_server import SMALL

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "monailabel_app"))
from cohort_faults import run_light

from lib.orthanc import Orthanc

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed (.ci/run installs it)"),
]
PSEUDONYMS = Pseudonyms(bytes(32))


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Three phantoms as DICOM, with the subjects' names that the phantoms give them."""
    folder = tmp_path_factory.mktemp("people")
    for seed in range(3):
        write_dicom_series(folder / str(seed), make_thorax(seed, SMALL).volume)
    return folder


@pytest.fixture
def pacs(tmp_path, people, monkeypatch) -> Orthanc:
    orthanc = Orthanc(tmp_path / "orthanc")
    orthanc.start()
    orthanc.upload(people.rglob("*.dcm"))
    monkeypatch.setenv("MYOTOME_DICOMWEB_USER", orthanc.user)
    monkeypatch.setenv("MYOTOME_DICOMWEB_PASSWORD", orthanc.password)
    yield orthanc
    orthanc.stop()


def test_a_pacs_gives_the_cases_and_the_measurements_of_its_folders(pacs, people, tmp_path):
    run_light(pacs.dicomweb, tmp_path / "from_pacs")
    run_light(people, tmp_path / "from_folder")
    sql = "SELECT subject_id, structure, side, measure, statistic, value FROM measurements WHERE slice_index IS NULL"
    ours, theirs = (
        Store(tmp_path / name).frame(sql).drop(columns="subject_id") for name in ("from_pacs", "from_folder")
    )
    order = ["structure", "side", "measure", "statistic", "value"]
    assert len(ours) > 100
    assert ours.sort_values(order).reset_index(drop=True).equals(theirs.sort_values(order).reset_index(drop=True))


def test_a_query_chooses(pacs):
    (chosen,) = find_cases([f"{pacs.dicomweb}?PatientID=PHANTOM-000001"], PSEUDONYMS)
    assert chosen.patient_id == "PHANTOM-000001"
    assert len(find_cases([pacs.dicomweb], PSEUDONYMS, SourceOptions())) == 3


def test_a_query_of_no_keyword_is_refused(pacs):
    with pytest.raises(InputError, match="'Patient' in the query is not a DICOM keyword"):
        find_cases([f"{pacs.dicomweb}?Patient=1"], PSEUDONYMS)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(InputError, match="set MYOTOME_DICOMWEB_USER") as caught:
        find_cases(["http://user:s3cret@127.0.0.1:1/dicom-web"], PSEUDONYMS)
    assert "s3cret" not in str(caught.value)


def test_a_wrong_password_is_one_sentence(pacs, monkeypatch):
    monkeypatch.setenv("MYOTOME_DICOMWEB_PASSWORD", "wrong")
    with pytest.raises(PacsError, match="answers 401: set MYOTOME_DICOMWEB_USER"):
        find_cases([pacs.dicomweb], PSEUDONYMS)


def test_a_pacs_that_vanishes_midway_fails_its_cases_and_a_rerun_completes(pacs, tmp_path):
    from myotome.cohort import run

    real = run.find_cases

    def find_then_stop(*words, **more):
        cases = real(*words, **more)
        pacs.stop()
        return cases

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "find_cases", find_then_stop)
        run_light(pacs.dicomweb, tmp_path / "cohort")
    statuses = "SELECT status, reason FROM cases"
    frame = Store(tmp_path / "cohort").frame(statuses)
    assert set(frame["status"]) == {"failed"}
    assert all("does not answer" in reason for reason in frame["reason"])
    user, password, port = pacs.user, pacs.password, pacs.port
    pacs.start()
    assert (pacs.user, pacs.password, pacs.port) == (user, password, port)
    run_light(pacs.dicomweb, tmp_path / "cohort")
    assert set(Store(tmp_path / "cohort").frame(statuses)["status"]) == {"done"}
