"""MR in and out of DICOM: one slice or many, the wanted series, and what the header says of the contrast."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from myotome.errors import InputError
from myotome.geometry import Grid, Volume, reorient
from myotome.io import read_volume
from myotome.io.dicom_contrast import is_fat_suppressed, read_body_part, read_weighting
from myotome.io.dicom_series import write_dicom_series
from tests.unit.phantoms.shoulders import make_shoulder_case


def read(folder, **more):
    return read_volume(folder, modality="MR", across="LR", **more)


@pytest.mark.parametrize("slices", [1, 2, 5])
def test_a_series_of_any_length_is_read_as_it_was_written(tmp_path, slices):
    volume, _ = make_shoulder_case(slices=slices)
    write_dicom_series(tmp_path / "series", volume)
    back = read(tmp_path / "series")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.grid.affine, volume.grid.affine, atol=1e-4)
    assert (back.modality, len(back.acquisition.headers)) == ("MR", slices)
    for name in ("weighting", "fat_suppressed", "body_part", "echo_time_ms", "repetition_time_ms", "subject_id"):
        assert getattr(back.acquisition, name) == getattr(volume.acquisition, name), name
    assert back.acquisition.flags == ()


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SAR"])
def test_the_slices_stay_slices_whatever_the_order_of_axes(tmp_path, codes):
    volume, _ = make_shoulder_case(slices=4)
    array, affine = reorient(volume.array, volume.grid.affine, codes)
    write_dicom_series(tmp_path / "series", Volume(array, Grid(array.shape, affine), "MR", volume.acquisition))
    back = read(tmp_path / "series")
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.grid.axis_codes == ("P", "I", "R")


def test_a_written_series_is_valid(tmp_path, dicom_errors):
    volume, _ = make_shoulder_case(slices=2)
    write_dicom_series(tmp_path / "series", volume)
    for path in (tmp_path / "series").iterdir():
        assert dicom_errors(path)[0] == []


def test_values_that_are_no_mr_are_not_written(tmp_path):
    volume, _ = make_shoulder_case()
    with pytest.raises(InputError, match=r"scale it to 0 \.\. 4095"):
        write_dicom_series(tmp_path / "a", replace(volume, array=volume.array - np.int16(100)))


def test_one_slice_of_ct_is_too_few(ct_series):
    for path in sorted(ct_series.iterdir())[2:]:
        path.unlink()
    with pytest.raises(InputError, match="at least 3 parallel slices are needed"):
        read_volume(ct_series)


def copy_series(volume, folder, **change):
    write_dicom_series(folder, volume)
    uid = generate_uid()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = uid
        for keyword, value in change.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


def axial(volume):
    swap = np.eye(4)
    swap[:3, :3] = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    return replace(volume, grid=Grid(volume.grid.shape, swap @ volume.grid.affine))


def test_of_a_study_the_sagittal_series_without_fat_suppression_is_taken(tmp_path):
    volume, _ = make_shoulder_case(slices=6)
    copy_series(axial(volume), tmp_path / "study" / "a", SeriesDescription="T2 AX")
    copy_series(volume, tmp_path / "study" / "b", SeriesDescription="T2 SAG FS")
    copy_series(volume, tmp_path / "study" / "c", SeriesDescription="T2 SAG")
    taken = read(tmp_path / "study")
    assert taken.acquisition.series_description == "T2 SAG"
    assert [flag.split(":")[0] for flag in taken.acquisition.flags] == ["series_chosen", *["series_left_out"] * 2]
    shutil.rmtree(tmp_path / "study" / "c")
    suppressed = read(tmp_path / "study").acquisition
    assert suppressed.series_description == "T2 SAG FS" and suppressed.fat_suppressed


def test_any_modality_takes_what_is_there(tmp_path, ct_series, small_ct):
    volume, _ = make_shoulder_case(slices=4)
    write_dicom_series(tmp_path / "mr", volume)
    assert read_volume(tmp_path / "mr", modality=None).modality == "MR"
    ct = read_volume(ct_series, modality=None)
    assert ct.modality == "CT" and ct.array.min() == small_ct.array.min()


def test_a_screenshot_is_refused_as_one(tmp_path):
    volume, _ = make_shoulder_case()
    copy_series(volume, tmp_path / "shot", SOPClassUID=SecondaryCaptureImageStorage, PhotometricInterpretation="RGB")
    with pytest.raises(
        InputError, match=r"'shot' holds screenshots \(secondary captures\).*give the original MR series"
    ):
        read(tmp_path / "shot")


def test_colours_in_an_mr_object_are_refused(tmp_path):
    volume, _ = make_shoulder_case()
    write_dicom_series(tmp_path / "rgb", volume)
    (path,) = (tmp_path / "rgb").iterdir()
    dataset = pydicom.dcmread(path)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.save_as(path)
    with pytest.raises(InputError, match="the series is in colour"):
        read(tmp_path / "rgb")


def test_eight_bits_are_flagged(tmp_path):
    volume, _ = make_shoulder_case()
    write_dicom_series(tmp_path / "few", replace(volume, array=volume.array // 8))
    (path,) = (tmp_path / "few").iterdir()
    dataset = pydicom.dcmread(path)
    dataset.BitsStored, dataset.HighBit = 8, 7
    dataset.save_as(path)
    assert "eight_bit" in read(tmp_path / "few").acquisition.flags


@pytest.mark.parametrize(
    ("words", "suppressed"),
    [
        ("T2 FS", True),
        ("pd_tse_fs_sag", True),
        ("t2_tirm_cor", True),
        ("STIR", True),
        ("SAG T2 FATSAT", True),
        ("T2 fat sat", True),
        ("T2 SPAIR", True),
        ("T2 TSE OBL SAG", False),
        ("offset T1", False),
        ("t1_se_sag", False),
    ],
)
def test_words_for_suppressed_fat(words, suppressed):
    assert is_fat_suppressed(words) is suppressed


@pytest.mark.parametrize(
    ("words", "echo_ms", "repetition_ms", "weighting"),
    [
        ("T2 TSE sag", None, None, "T2"),
        ("t1_se_sag", None, None, "T1"),
        ("PD SAG", None, None, "PD"),
        ("dp_tse", None, None, "PD"),
        ("sag", 80.0, 3500.0, "T2"),
        ("sag", 12.0, 600.0, "T1"),
        ("sag", 20.0, 2800.0, "PD"),
        ("sag", 45.0, 2800.0, None),
        ("PD/T2 dual", None, None, None),
        ("sag", None, None, None),
    ],
)
def test_the_weighting_is_told_by_words_or_times(words, echo_ms, repetition_ms, weighting):
    assert read_weighting(words, echo_ms, repetition_ms) == weighting


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("SHOULDER", "SHOULDER"),
        ("knee", "KNEE"),
        ("BRAIN", "HEAD"),
        ("LSPINE", "LSPINE"),
        ("", None),
        ("EXTREMITY", None),
    ],
)
def test_parts_of_the_body(words, part):
    assert read_body_part(words) == part
