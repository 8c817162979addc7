import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from myotome.cohort.analysis import AnalysisOptions, Analyst
from myotome.cohort.sources import find_cases
from myotome.errors import BundleError, InputError
from myotome.io import write_volume
from myotome.io.dicom_series import write_dicom_series
from myotome.store import CohortFolder, Store
from myotome.store.identifiers import Pseudonyms
from tests.integration.cohort_faults import FINGERPRINT, RAISE, LightOpener, truncate, write_small_case
from tests.unit.phantoms.shoulders import MUSCLE_CM2, make_shoulder_case


@pytest.fixture
def cohort(tmp_path) -> CohortFolder:
    return CohortFolder.create(tmp_path / "cohort")


@pytest.fixture
def analyze(cohort):
    """Analyse the only case of some sources; returns its outcome and its record."""

    def run(*sources, opener=None, **options):
        (case,) = find_cases([str(source) for source in sources], Pseudonyms(cohort.key))
        analyst = Analyst(cohort.folder, opener or LightOpener(), FINGERPRINT, AnalysisOptions(**options))
        return analyst.analyze(case), cohort.read_record(case.case_id)

    return run


def all_text(folder: Path) -> str:
    """Everything that a cohort shows outside its private folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and "private" not in path.parts]
    return " ".join(path.read_bytes().decode("latin-1") + str(path.relative_to(folder)) for path in files)


def test_a_case_is_measured_and_written(analyze, cohort, tmp_path):
    write_small_case(tmp_path / "ct.nii.gz", seed=1)
    outcome, record = analyze(tmp_path / "ct.nii.gz", outputs=("labels", "overview", "report", "thumbnail"))
    assert outcome.status == record["status"] == "done"
    names = {path.name for path in (cohort.cases_folder / outcome.job_id).iterdir()}
    assert names == {
        "case.json",
        "measurements.parquet",
        "labels.nii.gz",
        "overview.png",
        "report.html",
        "thumbnail.webp",
    }
    assert record["slices"] == 12
    assert record["spacing_mm"] == [2.0, 2.0, 5.0]
    assert record["bundle"] == "light"


def test_the_volume_is_the_label_maps(analyze, cohort, tmp_path):
    """Half of the voxels of soft tissue at 0.02 mL each; the light segmenter labels tissue above -150 HU."""
    from myotome.io import read_volume

    path = tmp_path / "ct.nii.gz"
    write_small_case(path, seed=1)
    analyze(path, outputs=())
    voxels = int((read_volume(path).array[:, :10] > -150).sum())
    frame = Store(cohort.folder).frame(
        "SELECT value FROM measurements WHERE structure = 'erector_spinae' AND side = 'both' AND measure = 'volume'"
    )
    assert frame["value"].tolist() == pytest.approx([voxels * 0.02])


def test_only_the_wanted_outputs_are_kept(analyze, cohort, tmp_path):
    write_small_case(tmp_path / "ct.nii.gz", seed=1)
    outcome, _ = analyze(tmp_path / "ct.nii.gz", outputs=("report",))
    names = {path.name for path in (cohort.cases_folder / outcome.job_id).iterdir()}
    assert names == {"case.json", "measurements.parquet", "report.html"}
    assert "<img" in (cohort.cases_folder / outcome.job_id / "report.html").read_text()


def test_an_output_that_is_none_is_refused():
    with pytest.raises(InputError, match="'labls' is no output"):
        AnalysisOptions(outputs=("labls",))


def test_no_identifier_leaves_the_private_folder(analyze, cohort, tmp_path, ct_series, change_slices):
    secret = tmp_path / "FEATHERSTONE_JANE"
    ct_series.rename(secret)

    def name(dataset, index):
        dataset.PatientID, dataset.PatientName = "MRN-8675309", "Featherstone^Jane"
        dataset.SeriesDescription, dataset.AccessionNumber = "thorax Featherstone", "ACC-4711"
        dataset.ContrastBolusAgent = "given by Dr Smithers"
        dataset.ConvolutionKernel, dataset.Manufacturer = "Dr Smithers, 12 Elm St", "Smithers"
        dataset.PatientSex, dataset.PatientAge = "F", "073Y"

    change_slices(secret, name)
    outcome, record = analyze(secret, outputs=("labels", "overview", "report", "thumbnail"), dicom=True)
    assert outcome.status == "done"
    assert (record["sex"], record["age_years"]) == ("F", 73.0)
    Store(cohort.folder).compact()
    text = all_text(cohort.folder)
    for word in ("8675309", "featherstone", "smithers", "acc-4711", "1.2.826"):
        assert word not in text.lower(), word
    assert record["subject_id"] == cohort.subject_key("MRN-8675309")
    dicom = cohort.private_folder / "dicom" / outcome.job_id
    assert {path.name for path in dicom.iterdir()} == {"segmentation.dcm", "measurements.dcm"}


def test_a_refusal_is_scrubbed_outside_and_whole_inside(analyze, cohort, tmp_path):
    path = tmp_path / "DOE_JOHN.nii.gz"
    write_small_case(path, seed=1)
    truncate(path)
    outcome, record = analyze(path)
    assert outcome.status == record["status"] == "refused"
    assert "DOE" not in record["reason"]
    assert "damaged or cut short" in record["reason"]
    assert "DOE_JOHN.nii.gz" in (cohort.private_folder / "reasons" / f"{outcome.job_id}.txt").read_text()
    assert "DOE" not in all_text(cohort.folder)


def test_an_unexpected_error_fails_the_case_alone(analyze, tmp_path):
    write_small_case(tmp_path / "ct.nii.gz", 1, RAISE)
    outcome, record = analyze(tmp_path / "ct.nii.gz")
    assert (outcome.status, record["status"]) == ("failed", "failed")
    assert record["reason"].startswith("RuntimeError: a fault in S")


def test_a_source_that_vanishes_has_failed_and_may_come_back(analyze, cohort, tmp_path):
    path = tmp_path / "ct.nii.gz"
    write_small_case(path, 1)
    (case,) = find_cases([str(path)], Pseudonyms(cohort.key))
    path.unlink()
    outcome = Analyst(cohort.folder, LightOpener(), FINGERPRINT).analyze(case)
    assert outcome.status == "failed"
    assert "there is nothing at" in outcome.reason


def test_a_bundle_that_cannot_be_opened_stops_everything(analyze, tmp_path):
    write_small_case(tmp_path / "ct.nii.gz", 1)

    def opener():
        raise BundleError("no weights")

    with pytest.raises(BundleError, match="no weights"):
        analyze(tmp_path / "ct.nii.gz", opener=opener)


def test_a_case_that_is_done_is_not_done_again(analyze, cohort, tmp_path):
    write_small_case(tmp_path / "ct.nii.gz", 1)
    outcome, _ = analyze(tmp_path / "ct.nii.gz", outputs=())
    stamp = cohort.case_stamps()[outcome.job_id]
    again, _ = analyze(tmp_path / "ct.nii.gz", outputs=())
    assert again.status == "done"
    assert cohort.case_stamps()[outcome.job_id] == stamp


def test_a_study_in_a_zip_is_read(analyze, tmp_path, ct_series):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in ct_series.glob("*.dcm"):
            archive.write(path, f"export/{path.name}")
        archive.writestr("export/readme.txt", "hello")
    outcome, record = analyze(tmp_path / "study.zip", outputs=())
    assert outcome.status == "done"
    assert record["slices"] == 12


def test_a_nifti_in_a_zip_is_read(analyze, tmp_path):
    write_small_case(tmp_path / "x" / "ct.nii.gz", 1)
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.write(tmp_path / "x" / "ct.nii.gz", "ct.nii.gz")
    assert analyze(tmp_path / "one.zip", outputs=())[0].status == "done"


def test_a_table_counts_before_the_header(analyze, cohort, tmp_path, ct_series):
    table = tmp_path / "t.csv"
    table.write_text("path,subject_id,sex,height_m,study_date\nseries,P-1,M,1.91,2020-02-29\n")
    _, record = analyze(table, outputs=())
    assert (record["sex"], record["height_m"], record["study_date"]) == ("M", 1.91, "2020-02-29")
    assert record["subject_id"] == cohort.subject_key("P-1")
    frame = Store(cohort.folder).frame(
        "SELECT value / (SELECT value FROM measurements WHERE measure = 'volume' AND structure = 'pectoralis' "
        "AND side = 'both') AS ratio FROM measurements WHERE measure = 'volume_per_height2' "
        "AND structure = 'pectoralis' AND side = 'both'"
    )
    assert frame["ratio"].tolist() == pytest.approx([1 / 1.91**2])


def test_the_record_is_json_without_nan(analyze, cohort, tmp_path):
    write_small_case(tmp_path / "ct.nii.gz", 1)
    outcome, _ = analyze(tmp_path / "ct.nii.gz", outputs=())
    text = (cohort.cases_folder / outcome.job_id / "case.json").read_text()
    assert json.loads(text)["case_id"] == outcome.job_id
    assert "NaN" not in text


@pytest.mark.parametrize(("agent", "flagged"), [(None, False), ("NONE", False), ("Iohexol", True)])
def test_contrast_is_told_as_analyze_tells_it(analyze, ct_series, change_slices, agent, flagged):
    if agent is not None:
        change_slices(ct_series, lambda dataset, index: setattr(dataset, "ContrastBolusAgent", agent))
    _, record = analyze(ct_series, outputs=())
    assert ("contrast_suspected" in record["flags"]) is flagged
    assert record["contrast_agent"] is (True if flagged else None)


@pytest.mark.parametrize(
    ("kernel", "maker", "shown"),
    [
        ("B40f", "SIEMENS", ("B40f", "Siemens")),
        ("STANDARD", "GE MEDICAL SYSTEMS", ("STANDARD", "GE")),
        ("FC08-H", "TOSHIBA", ("FC08-H", "Toshiba")),
        ("SOFT/ST", "Canon", ("SOFT/ST", "Canon")),
        ("Dr Featherstone", "Acme", ("other", "other")),
    ],
)
def test_kernels_and_makers_are_shown_when_they_are_known(analyze, ct_series, change_slices, kernel, maker, shown):
    def change(dataset, index):
        dataset.ConvolutionKernel, dataset.Manufacturer = kernel, maker

    change_slices(ct_series, change)
    _, record = analyze(ct_series, outputs=())
    assert (record["kernel"], record["manufacturer"]) == shown


def test_two_equal_series_are_refused_without_their_names(analyze, cohort, tmp_path, ct_series, change_slices):
    change_slices(ct_series, lambda dataset, index: setattr(dataset, "SeriesDescription", "O'Brien' liver"))
    first, second = tmp_path / "both" / "a", tmp_path / "both" / "b"
    shutil.copytree(ct_series, first)
    shutil.copytree(ct_series, second)

    def change(dataset, index):
        dataset.SeriesInstanceUID = "1.2.3.4.5.6"
        dataset.SOPInstanceUID = f"1.2.3.4.5.6.{index}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    change_slices(second, change)
    outcome, record = analyze(first.parent)
    assert outcome.status == "refused"
    assert record["reason"].endswith("all, or keep one of them.")
    assert not {"Brien", "liver", "1.2.3"} & set(re.findall(r"[\w.]+", record["reason"]))
    assert "Brien" in (cohort.private_folder / "reasons" / f"{outcome.job_id}.txt").read_text()


def test_a_file_that_may_not_be_read_has_failed_and_not_been_refused(analyze, cohort, tmp_path, monkeypatch):
    from myotome.cohort import analysis

    def refuse(case, kind):
        raise InputError("'x' may not be read.") from PermissionError(13, "Permission denied")

    write_small_case(tmp_path / "ct.nii.gz", 1)
    monkeypatch.setattr(analysis, "_read", refuse)
    assert analyze(tmp_path / "ct.nii.gz")[0].status == "failed"


def test_a_scan_cannot_be_found_again_by_its_voxels(analyze, cohort, tmp_path):
    write_small_case(tmp_path / "ct.nii.gz", 1)
    outcome, _ = analyze(tmp_path / "ct.nii.gz", outputs=("report",))
    assert "Voxels, SHA-256" not in (cohort.cases_folder / outcome.job_id / "report.html").read_text()


def test_a_study_in_two_zips_is_read_whole(analyze, tmp_path, ct_series):
    files = sorted(ct_series.glob("*.dcm"))
    for number, part in enumerate((files[:5], files[5:])):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as archive:
            for path in part:
                archive.write(path, path.name)
    assert analyze(tmp_path / "0.zip", tmp_path / "1.zip", outputs=())[1]["slices"] == 12


class ShoulderOpener:
    """Opens a segmenter that labels what a shoulder of boxes is known to show."""

    def __call__(self):
        from myotome.inference import PhantomSegmenter

        return PhantomSegmenter(make_shoulder_case(slices=3, y_view=1)[1])


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_a_shoulder_is_a_case_like_any_other(analyze, cohort, tmp_path, kind):
    volume, _ = make_shoulder_case(slices=3, y_view=1)
    source = tmp_path / ("mr.nii.gz" if kind == "nifti" else "mr")
    write_volume(source, volume) if kind == "nifti" else write_dicom_series(source, volume)
    outcome, record = analyze(source, opener=ShoulderOpener(), outputs=("labels", "report", "thumbnail"), dicom=True)
    assert (outcome.status, record["slices"]) == ("done", 3)
    names = {path.name for path in (cohort.cases_folder / outcome.job_id).iterdir()}
    assert names == {"case.json", "measurements.parquet", "labels.nii.gz", "report.html", "thumbnail.webp"}
    frame = Store(cohort.folder).frame(
        "SELECT value FROM measurements WHERE measure = 'area' AND structure LIKE 'supraspinatus'"
    )
    assert frame["value"].tolist() == pytest.approx([MUSCLE_CM2])
    assert (cohort.private_folder / "dicom" / outcome.job_id / "measurements.dcm").is_file() == (kind == "dicom")


def test_a_ct_is_refused_in_a_cohort_of_shoulders(analyze, ct_series):
    outcome, record = analyze(ct_series, opener=ShoulderOpener())
    assert outcome.status == "refused"
    assert "no MR images but 12 of modality CT" in record["reason"]
