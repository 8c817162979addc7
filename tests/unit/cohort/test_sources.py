import os
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
    assert [case.kind for case in find(ct_series, archive)] == ["dicom"]


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
        ("path,height_cm\nx.nii,162\n", r"a column 'height_cm' that is not known.*\(heights in metres\)"),
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


def test_a_damaged_slice_is_refused_and_so_is_what_lies_beside_it(tmp_path, ct_series):
    """The last slice: without it the rest is a sound volume, and too small."""
    path = sorted(ct_series.glob("*.dcm"))[-1]
    path.write_bytes(path.read_bytes()[:150])
    reasons = sorted(case.refusal for case in find(ct_series))
    assert len(reasons) == 2
    assert "is a damaged DICOM file" in reasons[0]
    assert reasons[1].startswith("a DICOM file beside its slices")


def test_a_damaged_slice_among_many_series_is_refused_alone(tmp_path, ct_series, other_series):
    for path in other_series.glob("*.dcm"):
        path.rename(ct_series / f"other-{path.name}")
    (ct_series / "IM0").write_bytes((ct_series / f"other-{path.name}").read_bytes()[:150])
    cases = find(ct_series, series="all")
    assert sorted(bool(case.refusal) for case in cases) == [False, False, True]


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


def test_two_rows_of_one_path_with_different_people_are_refused(tmp_path):
    write_nifti(tmp_path / "x.nii")
    (tmp_path / "t.csv").write_text("path,subject_id\nx.nii,P1\nx.nii,P2\n")
    with pytest.raises(InputError, match=r"line 2 of 't.csv' and line 3 of 't.csv' say different things"):
        find(tmp_path / "t.csv")


def test_two_people_under_one_study_are_refused(tmp_path, ct_series):
    shutil.copytree(ct_series, tmp_path / "copy")
    (tmp_path / "t.csv").write_text("path,subject_id\nseries,P1\ncopy,P2\n")
    with pytest.raises(InputError, match="say different things"):
        find(tmp_path / "t.csv")


def test_a_table_speaks_louder_than_a_folder(tmp_path):
    write_nifti(tmp_path / "scans" / "x.nii")
    (tmp_path / "t.csv").write_text("path,subject_id\nscans/x.nii,P1\n")
    for order in ((tmp_path / "scans", tmp_path / "t.csv"), (tmp_path / "t.csv", tmp_path / "scans")):
        (case,) = find(*order)
        assert case.person.subject_id == "P1"


def test_every_row_of_a_table_is_a_case(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    write_nifti(tmp_path / "x.nii")
    (tmp_path / "t.csv").write_text("path\nnotes.txt\nempty\nx.nii\ngone\n")
    reasons = sorted(case.refusal or "" for case in find(tmp_path / "t.csv", pattern="*_ct.nii"))
    assert reasons[0] == ""
    assert [reason.split(" at ")[0] for reason in reasons[1:]] == [
        "there is no image",
        "there is no image",
        "there is nothing",
    ]


@pytest.mark.parametrize("heading", ["path,patient_id", "path,sex,sex"])
def test_a_heading_that_is_not_known_or_doubled_is_refused(tmp_path, heading):
    write_nifti(tmp_path / "x.nii")
    (tmp_path / "t.csv").write_text(f"{heading}\nx.nii,F,F\n")
    with pytest.raises(InputError, match="not known or stands there twice"):
        find(tmp_path / "t.csv")


@pytest.mark.parametrize("sex", ["Mujer", "Mme", "7", "x"])
def test_a_sex_is_not_guessed(tmp_path, sex):
    write_nifti(tmp_path / "x.nii")
    (tmp_path / "t.csv").write_text(f"path,sex\nx.nii,{sex}\n")
    with pytest.raises(InputError, match="not M or F"):
        find(tmp_path / "t.csv")


def test_a_date_is_written_one_way(tmp_path):
    write_nifti(tmp_path / "x.nii")
    (tmp_path / "t.csv").write_text("path,study_date\nx.nii,20240331\n")
    assert find(tmp_path / "t.csv")[0].person.study_date == "2024-03-31"


def test_a_correction_in_the_table_changes_the_signature(tmp_path):
    write_nifti(tmp_path / "x.nii")
    table = tmp_path / "t.csv"
    signatures = set()
    for row in ("P1,1.91", "P1,1.61", "P2,1.61"):
        table.write_text(f"path,subject_id,height_m\nx.nii,{row}\n")
        signatures.add(find(table)[0].signature)
    assert len(signatures) == 3


def test_a_study_in_two_zips_is_one_case(tmp_path, ct_series):
    files = sorted(ct_series.glob("*.dcm"))
    for number, part in enumerate((files[:5], files[5:])):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as archive:
            for path in part:
                archive.write(path, path.name)
    (case,) = find(tmp_path / "0.zip", tmp_path / "1.zip")
    assert len(case.files) == 2


def test_a_cohort_among_the_sources_is_passed_over(tmp_path):
    write_nifti(tmp_path / "scans" / "x.nii")
    out = tmp_path / "scans" / "out"
    write_nifti(out / "cases" / "0" / "labels.nii")
    (out / "cohort.json").touch()
    assert len(find(tmp_path / "scans")) == 1


def test_odd_files_are_cases_or_nothing_and_never_the_end(tmp_path):
    """Names that are no text, a link to itself, a pipe, a damaged zip, a name with a line break."""
    scans = tmp_path / "scans"
    write_nifti(scans / "plain.nii")
    write_nifti(scans / "two\nlines 'quoted'.nii")
    os.rename(write_nifti(scans / "x.nii"), os.fsencode(scans) + b"/caf\xe9.nii")
    (scans / "loop").symlink_to("loop")
    os.mkfifo(scans / "pipe")
    (scans / "bad.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    cases = find(scans)
    assert sorted(case.kind for case in cases) == ["nifti", "nifti", "nifti", "refused"]
    assert {os.path.basename(case.place) for case in cases} >= {"two\nlines 'quoted'.nii", "caf\udce9.nii"}


def test_headers_that_are_noise_never_end_the_finding(tmp_path, ct_series):
    import numpy as np

    rng = np.random.default_rng(0)
    whole = sorted(ct_series.glob("*.dcm"))[0].read_bytes()
    folder = tmp_path / "noise"
    folder.mkdir()
    for number in range(200):
        data = bytearray(whole[:2000])
        for place in rng.integers(132, 1500, 12):
            data[place] = rng.integers(256)
        (folder / str(number)).write_bytes(data)
    assert find(ct_series, folder)


def test_only_wanted_cases_are_kept(tmp_path):
    for name in "abc":
        write_nifti(tmp_path / f"{name}.nii")
    every = find(tmp_path)
    one = find_cases([str(tmp_path)], PSEUDONYMS, wanted=lambda case_id: case_id == every[1].case_id)
    assert one == [every[1]]
    assert find_cases([str(tmp_path)], PSEUDONYMS, wanted=lambda case_id: False) == []


def test_a_case_of_many_files_is_small(tmp_path):
    from myotome.cohort.sources import _Paths

    paths = _Paths()
    names = [f"/data/{'long/' * 18}{folder}/IM{number:05d}.dcm" for folder in "ab" for number in range(150)]
    for name in names:
        paths.add(name)
    assert list(_Paths(bytes(paths.packed))) == names
    assert len(paths.packed) < 15 * len(names)
