import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from myotome.cohort.sources import SourceOptions, find_cases
from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.io import write_volume
from myotome.store.identifiers import Pseudonyms

PSEUDONYMS = Pseudonyms(bytes(range(32)))


def find(*sources, **options):
    return find_cases([str(source) for source in sources], PSEUDONYMS, SourceOptions(**options))


def write_nifti(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((4, 4, 4), -1000, np.int16)
    write_volume(path, Volume(array, Grid(array.shape, np.eye(4))))
    return path


def zip_folder(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*"):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    return archive


@pytest.fixture
def other_series(tmp_path, ct_series, change_slices) -> Path:
    """A second series of the same study."""
    folder = tmp_path / "other"
    shutil.copytree(ct_series, folder)

    def change(dataset, index):
        dataset.SeriesInstanceUID = "1.2.3.4.5.6"
        dataset.SOPInstanceUID = f"1.2.3.4.5.6.{index}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    change_slices(folder, change)
    return folder


def test_a_series_is_one_case_however_its_files_lie(tmp_path, ct_series):
    flat = find(ct_series)
    nested = tmp_path / "nested"
    for number, path in enumerate(sorted(ct_series.glob("*.dcm"))):
        target = nested / str(number % 3) / f"IM{number}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    scattered = find(nested)
    assert [len(case.files) for case in flat + scattered] == [12, 12]
    assert flat[0].case_id == scattered[0].case_id
    assert flat[0].patient_id == "PHANTOM-000007"


def test_a_study_found_twice_is_one_case(tmp_path, ct_series):
    archive = zip_folder(ct_series, tmp_path / "same.zip")
    assert [case.kind for case in find(ct_series, archive)] == ["zip"]


def test_series_of_a_study_are_one_case_or_several(ct_series, other_series):
    assert [len(case.files) for case in find(ct_series, other_series)] == [24]
    assert [len(case.files) for case in find(ct_series, other_series, series="all")] == [12, 12]


def test_a_zip_is_listed_without_unpacking(tmp_path, ct_series, other_series):
    both = tmp_path / "both"
    shutil.copytree(ct_series, both / "a")
    shutil.copytree(other_series, both / "b")
    archive = zip_folder(both, tmp_path / "both.zip")
    assert len(find(archive)) == 1
    assert {case.series_uid for case in find(archive, series="all")} > {"1.2.3.4.5.6"}


def test_nifti_files_are_found_by_name_and_pattern(tmp_path):
    for name in ("a/ct.nii.gz", "a/labels.nii.gz", "b/ct.nii", ".hidden/ct.nii", "readme.txt"):
        write_nifti(tmp_path / name) if ".nii" in name else (tmp_path / name).write_text("hello")
    assert len(find(tmp_path)) == 3
    assert {Path(case.files[0]).name for case in find(tmp_path, pattern="ct.nii*")} == {"ct.nii", "ct.nii.gz"}


def test_the_signature_tells_of_a_change(tmp_path):
    path = write_nifti(tmp_path / "ct.nii")
    (before,) = find(path)
    assert find(path)[0].signature == before.signature
    path.write_bytes(path.read_bytes() + b"\0")
    assert find(path)[0].signature != before.signature
    assert find(path)[0].case_id == before.case_id


def test_a_table_gives_paths_and_people(tmp_path):
    write_nifti(tmp_path / "x.nii")
    table = tmp_path / "people.csv"
    table.write_text(
        "path,subject_id,sex,age_years,height_m,weight_kg,study_date\n"
        "x.nii,P1,f,61,1.62,70,2024-03-31\ngone.nii,P2,,,,,\n"
    )
    cases = {case.person.subject_id: case for case in find(table)}
    person = cases["P1"].person
    assert (person.sex, person.age_years, person.height_m, person.study_date) == ("F", 61.0, 1.62, "2024-03-31")
    assert cases["P2"].refusal == "there is nothing at 'gone.nii': check the table."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file\nx.nii\n", "no column 'path'"),
        ("path,height_m\nx.nii,162\n", r"line 2 .*height_m is 162, not 0\.4 to 2\.6 \(heights are in metres\)"),
        ("path,height_cm\nx.nii,162\n", "heights in cm"),
        ("path,age_years\nx.nii,old\n", "line 2 .*age_years is not a number"),
        ("path,sex\nx.nii,7\n", "sex is '7', not M or F"),
        ("path,study_date\nx.nii,31.3.2024\n", "not a date such as 2024-03-31"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, sentence):
    write_nifti(tmp_path / "x.nii")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        find(tmp_path / "t.csv")


def test_a_damaged_header_is_a_case_that_is_refused(tmp_path, ct_series):
    path = sorted(ct_series.glob("*.dcm"))[0]
    path.write_bytes(path.read_bytes()[:150])
    refused = [case for case in find(ct_series) if case.refusal]
    assert len(refused) == 1
    assert "damaged DICOM file" in refused[0].refusal


def test_a_zip_that_is_none_is_a_case_that_is_refused(tmp_path):
    write_nifti(tmp_path / "a.nii")
    (tmp_path / "b.zip").write_bytes(b"PK no zip")
    assert sum(bool(case.refusal) for case in find(tmp_path)) == 1


def test_objects_without_an_image_are_passed_over(ct_series, change_slices, tmp_path):
    write_nifti(tmp_path / "more" / "a.nii")

    def to_report(dataset, index):
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"

    change_slices(ct_series, to_report)
    assert [case.kind for case in find(ct_series, tmp_path / "more")] == ["nifti"]


def test_nothing_anywhere_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="there is no image in"):
        find(tmp_path)
    with pytest.raises(InputError, match="there is nothing at"):
        find(tmp_path / "absent")


def test_secrets_name_the_path_and_the_person(ct_series):
    (case,) = find(ct_series)
    assert {"PHANTOM-000007", "series", case.study_uid} <= set(case.secrets)
