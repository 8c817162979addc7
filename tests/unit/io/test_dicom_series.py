import re
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.uid import MRImageStorage, generate_uid

from myotome.errors import GeometryError, InputError, OutputError
from myotome.geometry import Acquisition, Grid, Volume, reorient
from myotome.io import read_volume
from myotome.io.dicom_series import read_dicom_series, write_dicom_series


def in_ras(volume):
    return reorient(volume.array, np.array(volume.grid.affine), "RAS")


def remove(*indices):
    return lambda dataset, index: index not in indices


def test_a_series_is_read_as_it_was_written(ct_series, small_ct):
    volume = read_volume(ct_series)
    array, affine = in_ras(volume)
    assert np.array_equal(array, small_ct.array)
    assert np.allclose(affine, small_ct.grid.affine, atol=1e-9)
    assert volume.array.dtype == np.int16
    assert volume.grid.axis_codes == ("L", "P", "S")


def test_the_header_tells_how_the_image_was_made(ct_series, small_ct):
    acquisition = read_volume(ct_series).acquisition
    for name in (
        "subject_id",
        "series_description",
        "tube_voltage_kv",
        "kernel",
        "slice_thickness_mm",
        "contrast_agent",
        "manufacturer",
        "height_m",
        "reconstruction_diameter_mm",
    ):
        assert getattr(acquisition, name) == getattr(small_ct.acquisition, name), name
    assert acquisition.flags == ()


def test_headers_are_in_the_order_of_the_last_axis_and_hold_no_pixels(ct_series):
    volume = read_volume(ct_series)
    heights = [float(header.ImagePositionPatient[2]) for header in volume.acquisition.headers]
    assert heights == [volume.grid.affine[2, 3] + 2.5 * k for k in range(12)]
    assert not any("PixelData" in header for header in volume.acquisition.headers)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPR", "AIL", "PSL"])
def test_any_axis_order_is_written_in_its_place(tmp_path, small_ct, codes):
    array, affine = reorient(small_ct.array, np.array(small_ct.grid.affine), codes)
    write_dicom_series(tmp_path / "turned", Volume(array, Grid(array.shape, affine), "CT"))
    array, affine = in_ras(read_volume(tmp_path / "turned"))
    assert np.array_equal(array, small_ct.array)
    assert np.allclose(affine, small_ct.grid.affine, atol=1e-9)


def test_an_oblique_grid_keeps_its_orientation(tmp_path, small_ct):
    angle = np.radians(12)
    turn = np.eye(4)
    turn[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    oblique = Volume(small_ct.array, Grid(small_ct.array.shape, turn @ small_ct.grid.affine), "CT")
    write_dicom_series(tmp_path / "oblique", oblique)
    array, affine = in_ras(read_volume(tmp_path / "oblique"))
    assert np.array_equal(array, small_ct.array)
    assert np.allclose(affine, oblique.grid.affine, atol=1e-6)


def test_the_same_volume_gives_the_same_bytes_and_a_seed_other_uids(tmp_path, small_ct, ct_series):
    write_dicom_series(tmp_path / "again", small_ct)
    write_dicom_series(tmp_path / "other", small_ct, seed="2")
    for path in ct_series.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    assert read_volume(tmp_path / "other").acquisition.series_uid != read_volume(ct_series).acquisition.series_uid


def test_a_series_is_not_written_over_another(ct_series, small_ct):
    with pytest.raises(OutputError, match="already exists"):
        write_dicom_series(ct_series, small_ct)


def test_values_beyond_16_bits_are_not_written(tmp_path, small_ct):
    with pytest.raises(InputError, match="do not fit 16 bits"):
        write_dicom_series(tmp_path / "a", Volume(small_ct.array.astype(np.int32) + 40_000, small_ct.grid, "CT"))
    assert not (tmp_path / "a").exists()


def test_files_are_found_by_content_at_any_depth(tmp_path, ct_series, small_ct):
    for index, path in enumerate(sorted(ct_series.iterdir())):
        folder = tmp_path / "study" / f"disc{index % 3}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"IM{99 - index}")
    (tmp_path / "study" / "readme.txt").write_text("hello")
    (tmp_path / "study" / "viewer.exe").write_bytes(b"MZ" + bytes(500))
    assert np.array_equal(in_ras(read_volume(tmp_path / "study"))[0], small_ct.array)


def test_one_slice_stands_for_its_series(ct_series, small_ct):
    assert np.array_equal(in_ras(read_volume(ct_series / "0003.dcm"))[0], small_ct.array)


def test_the_rescale_of_each_slice_is_applied(ct_series, change_slices, small_ct):
    def rescale(dataset, index):
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", str(index)

    change_slices(ct_series, rescale)
    volume = read_volume(ct_series)
    expected = (small_ct.array + 1024) * 0.5 + np.arange(12)
    assert volume.array.dtype == np.float32
    assert np.array_equal(in_ras(volume)[0], expected)


def test_bits_above_the_stored_ones_are_not_values(ct_series, change_slices, small_ct):
    """12 bits stored, unsigned, with an overlay in bit 15."""

    def overlay(dataset, index):
        stored = dataset.pixel_array.astype(np.uint16) & 0x0FFF
        stored[::2] |= 0x8000
        dataset.PixelData = stored.tobytes()
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0

    change_slices(ct_series, overlay)
    assert np.array_equal(in_ras(read_volume(ct_series))[0], small_ct.array)


def test_values_beyond_int16_are_kept(ct_series, change_slices):
    def metal(dataset, index):
        stored = dataset.pixel_array.astype(np.uint16)
        stored[0, 0] = 65535
        dataset.PixelData = stored.tobytes()
        dataset.PixelRepresentation = 0

    change_slices(ct_series, metal)
    assert read_volume(ct_series).array.max() == 65535 - 1024


def refusal(folder, kind=InputError, **options):
    with pytest.raises(kind) as caught:
        read_dicom_series(folder, **options)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    assert "PHANTOM" not in message, "a refusal names no patient"
    return message


def test_an_empty_folder_is_refused(tmp_path):
    assert "there is no DICOM file in" in refusal(tmp_path)


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello" * 100)
    assert "there is no DICOM file in" in refusal(tmp_path)


def test_an_mr_series_is_refused(ct_series, change_slices):
    def as_mr(dataset, index):
        dataset.Modality, dataset.SOPClassUID = "MR", MRImageStorage
        dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage

    change_slices(ct_series, as_mr)
    assert "no CT images but 12 of modality MR: give a CT series" in refusal(ct_series)
    assert read_dicom_series(ct_series, modality="MR").modality == "MR"


@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_localizer_is_refused(ct_series, change_slices, count):
    def as_localizer(dataset, index):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        return index < count

    change_slices(ct_series, as_localizer)
    assert f"only a localizer or too few slices ({count} images" in refusal(ct_series)


def test_two_slices_are_not_a_volume(ct_series, change_slices):
    change_slices(ct_series, lambda dataset, index: index < 2)
    assert "too few slices (2 images, at least 3" in refusal(ct_series)


def test_a_localizer_beside_the_series_is_left_out(ct_series, change_slices, small_ct):
    scout = pydicom.dcmread(ct_series / "0001.dcm")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    scout.save_as(ct_series / "scout.dcm")
    assert np.array_equal(in_ras(read_volume(ct_series))[0], small_ct.array)


def test_missing_slices_are_counted_and_placed(tmp_path, change_slices):
    array = np.zeros((8, 8, 60), np.int16)
    write_dicom_series(tmp_path / "a", Volume(array, Grid(array.shape, np.diag([1.0, 1, 2, 1])), "CT", Acquisition()))
    change_slices(tmp_path / "a", remove(20, 41))
    message = refusal(tmp_path / "a", GeometryError)
    assert "2 slices are missing of 60 (between 38.0 and 42.0 mm, 80.0 and 84.0 mm)" in message


def test_two_neighbouring_slices_missing(ct_series, change_slices):
    change_slices(ct_series, remove(5, 6))
    assert "2 slices are missing of 12 (between 110.5 and 118.0 mm)" in refusal(ct_series, GeometryError)


def test_every_other_slice_missing_is_flagged_by_the_gap(ct_series, change_slices):
    """The distances are even, so the header's slice thickness and numbers are all that tells."""
    change_slices(ct_series, lambda dataset, index: index % 2 == 0)
    volume = read_volume(ct_series)
    assert volume.grid.spacing_mm[2] == pytest.approx(5)
    assert volume.acquisition.flags == ("gap_between_slices", "instance_numbers_skip")


def test_uneven_slices_are_refused(ct_series, change_slices):
    def stretch(dataset, index):
        dataset.ImagePositionPatient[2] = 100 + index * (2 + 0.2 * index)

    change_slices(ct_series, stretch)
    assert "unevenly spaced, 2.2 to 6.2 mm apart" in refusal(ct_series, GeometryError)


def test_rounded_positions_are_even_enough(ct_series, change_slices, small_ct):
    def round_position(dataset, index):
        dataset.ImagePositionPatient[2] = round(100 + 1.25 * index, 1)
        dataset.SliceThickness = "1.25"

    change_slices(ct_series, round_position)
    assert read_volume(ct_series).grid.spacing_mm[2] == pytest.approx(1.25, abs=0.01)


def test_a_file_copied_twice_is_refused(ct_series):
    shutil.copy(ct_series / "0004.dcm", ct_series / "copy of 0004.dcm")
    assert "1 duplicated slices: the same image is there twice (first at 108.0 mm)" in refusal(ct_series, GeometryError)


def test_two_phases_in_one_series_are_refused(ct_series):
    for path in sorted(ct_series.glob("*.dcm")):
        phase = pydicom.dcmread(path)
        phase.SOPInstanceUID = phase.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        phase.save_as(ct_series / f"phase2_{path.name}")
    assert "12 duplicated slices: different images lie at one position" in refusal(ct_series, GeometryError)


def test_a_tilted_gantry_is_refused_by_where_the_slices_lie(ct_series, change_slices):
    """As scanners write it: the slice plane turned, the table moving straight."""
    angle = np.radians(15)

    def tilt(dataset, index):
        dataset.GantryDetectorTilt = "15"
        dataset.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))]

    change_slices(ct_series, tilt)
    assert "gantry was tilted by 15.0 degrees" in refusal(ct_series, GeometryError)


def test_a_tilted_gantry_is_refused_without_its_tag(ct_series, change_slices):
    def shear(dataset, index):
        del dataset.GantryDetectorTilt
        dataset.ImagePositionPatient[1] += index * 2.5 * float(np.tan(np.radians(10)))

    change_slices(ct_series, shear)
    assert "gantry was tilted by 10.0 degrees" in refusal(ct_series, GeometryError)


def test_a_tilt_that_the_slices_deny_is_refused(ct_series, change_slices):
    def state(dataset, index):
        dataset.GantryDetectorTilt = "-8"

    change_slices(ct_series, state)
    assert "gantry was tilted by 8.0 degrees" in refusal(ct_series, GeometryError)


def test_an_oblique_stack_along_its_normal_is_not_a_tilt(tmp_path, change_slices, small_ct):
    angle = np.radians(20)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    write_dicom_series(tmp_path / "a", Volume(small_ct.array, Grid(small_ct.array.shape, turn @ small_ct.grid.affine)))

    def state(dataset, index):
        dataset.GantryDetectorTilt = "20"

    change_slices(tmp_path / "a", state)
    assert read_volume(tmp_path / "a").array.shape == (20, 16, 12)


def test_slices_shifted_sideways_are_refused(ct_series, change_slices):
    def shift(dataset, index):
        dataset.ImagePositionPatient[0] += 5 * (index > 5)
        dataset.ImagePositionPatient[0] -= 5 * (index > 9)

    change_slices(ct_series, shift)
    assert "shifted sideways" in refusal(ct_series, GeometryError)


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("PixelSpacing", [0.9, 0.9], "mixes pixel spacings from 0.7 to 0.9 mm"),
        ("ImageOrientationPatient", [0, 1, 0, 0, 0, -1], "slices of different orientation"),
        ("ImagePositionPatient", None, "1 of 12 slices do not say where they lie"),
        ("PixelSpacing", [0, 0], "pixel spacing is zero"),
    ],
)
def test_slices_that_do_not_fit_together_are_refused(ct_series, change_slices, keyword, value, words):
    def change(dataset, index):
        if index == 4:
            setattr(dataset, keyword, value)

    change_slices(ct_series, change)
    assert words in refusal(ct_series, GeometryError)


def test_slices_of_mixed_size_are_refused(ct_series, change_slices):
    def crop(dataset, index):
        if index == 4:
            dataset.PixelData = dataset.pixel_array[:-2].tobytes()
            dataset.Rows -= 2

    change_slices(ct_series, crop)
    assert "mixes slices of 14 x 20 and 16 x 20 pixels" in refusal(ct_series, GeometryError)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_ct_without_rescale_is_refused(ct_series, change_slices, keyword):
    def forget(dataset, index):
        if index == 3:
            delattr(dataset, keyword)

    change_slices(ct_series, forget)
    assert "no rescale slope and intercept" in refusal(ct_series)


def test_a_material_map_is_refused(ct_series, change_slices):
    def as_map(dataset, index):
        dataset.RescaleType = "Z_EFF"

    change_slices(ct_series, as_map)
    assert "holds Z_EFF values, not Hounsfield units" in refusal(ct_series)


def test_damaged_pixels_are_refused(ct_series):
    path = ct_series / "0005.dcm"
    path.write_bytes(path.read_bytes()[:-100])
    assert "the pixels of slice 5 of 12 (Explicit VR Little Endian) cannot be decoded" in refusal(ct_series)


def test_a_file_cut_in_its_header_is_refused(ct_series):
    path = ct_series / "0005.dcm"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError):
        read_volume(ct_series)


def copy_series(source, target, change=None):
    """The series again, under another UID."""
    target.mkdir()
    uid = generate_uid(entropy_srcs=[target.name])
    for index, path in enumerate(sorted(source.glob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = uid
        dataset.SeriesNumber = "2"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        if change is None or change(dataset, index) is not False:
            dataset.save_as(target / path.name)
    return uid


def test_two_equal_series_are_refused_and_listed(tmp_path, ct_series):
    uid = copy_series(ct_series, tmp_path / "second")
    message = refusal(tmp_path)
    assert "holds 2 series that could be measured: choose one by its series UID" in message
    first = read_volume(ct_series).acquisition.series_uid
    assert set(re.findall(r"1\.2\.826[\d.]+\d", message)) == {uid, first}
    assert "series 1 'phantom thorax' (12 slices)" in message
    for wanted in (uid, first):
        assert read_volume(tmp_path, series_uid=wanted).acquisition.series_uid == wanted


def test_a_series_that_is_not_there_is_refused(ct_series):
    assert "there is no series 1.2.3 to measure here" in refusal(ct_series, series_uid="1.2.3")


def keyword_is(keyword, value):
    return lambda dataset, index: setattr(dataset, keyword, value)


@pytest.mark.parametrize(
    "worse",
    [
        keyword_is("ImageType", ["DERIVED", "SECONDARY", "AXIAL"]),
        keyword_is("ConvolutionKernel", "LUNG"),
        keyword_is("ConvolutionKernel", ["B70f", "2"]),
        remove(5),
        remove(9, 10, 11),
        lambda dataset, index: index % 2 == 0,
    ],
    ids=["derived", "lung kernel", "sharp kernel", "missing slice", "shorter", "thicker"],
)
def test_the_better_series_is_chosen_and_said(tmp_path, ct_series, worse):
    copy_series(ct_series, tmp_path / "second", worse)
    acquisition = read_volume(tmp_path).acquisition
    assert acquisition.series_uid == read_volume(ct_series).acquisition.series_uid
    assert acquisition.flags[0] == "series_chosen:series 1 'phantom thorax' (12 slices)"
    assert acquisition.flags[1].startswith("series_left_out:series 2 'phantom thorax' (")


def test_a_coronal_reformat_is_not_chosen(tmp_path, ct_series, small_ct):
    def coronal(dataset, index):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [0, index * 5.0, 0]

    copy_series(ct_series, tmp_path / "second", coronal)
    assert np.array_equal(in_ras(read_volume(tmp_path))[0], small_ct.array)


def test_two_studies_are_never_chosen_between(tmp_path, ct_series):
    copy_series(ct_series, tmp_path / "second", keyword_is("StudyInstanceUID", "1.2.3"))
    assert "holds 2 studies" in refusal(tmp_path)
    shutil.rmtree(tmp_path / "second")
    copy_series(ct_series, tmp_path / "second", keyword_is("PatientID", "PHANTOM-000008"))
    assert "holds 2 studies" in refusal(tmp_path)


def test_a_faulty_series_alone_gives_its_own_reason(tmp_path, ct_series, change_slices):
    copy_series(ct_series, tmp_path / "second", keyword_is("ConvolutionKernel", "LUNG"))
    for folder in (ct_series, tmp_path / "second"):
        change_slices(folder, remove(4))
    assert "series 1 'phantom thorax' (11 slices): 1 slice is missing of 12" in refusal(tmp_path, GeometryError)


@pytest.mark.parametrize(("stated", "height_m"), [("1.72", 1.72), ("172", None), ("0", None), ("", None)])
def test_an_implausible_height_is_not_taken(ct_series, change_slices, stated, height_m):
    change_slices(ct_series, keyword_is("PatientSize", stated))
    assert read_volume(ct_series).acquisition.height_m == height_m


@pytest.mark.parametrize(("stated", "sex"), [("M", "M"), ("F", "F"), ("O", None), ("", None)])
def test_the_sex_is_read_where_it_is_one_of_two(ct_series, change_slices, stated, sex):
    change_slices(ct_series, keyword_is("PatientSex", stated))
    assert read_volume(ct_series).acquisition.sex == sex
