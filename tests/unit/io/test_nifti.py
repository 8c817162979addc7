import gzip
import hashlib
import os

import nibabel
import numpy as np
import pytest

from myotome.errors import GeometryError, InputError
from myotome.geometry import Grid
from myotome.io import read_label_map, read_volume, write_label_map, write_volume
from myotome.structures import LabelMap, read_label_schema

AFFINE = np.diag([0.8, 0.7, 2.5, 1.0])


def save(path, array, affine=AFFINE, change=None, kind=nibabel.Nifti1Image):
    """Write an image, with its header changed behind nibabel's back."""
    image = kind(array, affine)
    raw = bytearray(image.to_bytes())
    if change:
        header = image.header.__class__(bytes(raw[: image.header.template_dtype.itemsize]), check=False)
        change(header)
        raw[: len(header.binaryblock)] = header.binaryblock
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def body(shape=(6, 5, 4), dtype=np.int16):
    return (np.arange(np.prod(shape)).reshape(shape) - 50).astype(dtype)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_an_image_is_read_as_it_was_written(tmp_path, name, kind):
    volume = read_volume(save(tmp_path / name, body(), kind=kind))
    assert np.array_equal(volume.array, body())
    assert volume.array.dtype == np.int16
    assert np.allclose(volume.grid.affine, AFFINE)
    assert volume.modality == "CT"
    assert volume.acquisition.headers == ()


def test_a_volume_survives_the_round_trip(tmp_path, small_ct):
    write_volume(tmp_path / "image.nii.gz", small_ct)
    volume = read_volume(tmp_path / "image.nii.gz")
    assert np.array_equal(volume.array, small_ct.array)
    assert volume.grid.same_as(small_ct.grid, tolerance_mm=1e-4)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(1, -1024, np.int16), (2, 0, np.int16), (0.5, 10, np.float32)]
)
def test_the_rescale_is_applied_without_float64(tmp_path, slope, intercept, dtype):
    def rescale(header):
        header["scl_slope"], header["scl_inter"] = slope, intercept

    volume = read_volume(save(tmp_path / "a.nii", body() + 50, change=rescale))
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array, (body() + 50) * slope + intercept)


def test_trailing_axes_of_one_are_not_a_fourth_dimension(tmp_path):
    assert read_volume(save(tmp_path / "a.nii", body()[..., None])).array.shape == (6, 5, 4)


@pytest.mark.parametrize("content", [b"", b"not an image\n" * 100, bytes(348)])
@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.png", "image"])
def test_what_is_not_an_image_is_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="is not an image: give a NIfTI file, a DICOM folder or a zip"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("start", "kind"), [(b"\x89PNG\r\n", "PNG"), (b"\xff\xd8\xff\xe0", "JPEG"), (b"II*\0", "TIFF")]
)
def test_a_picture_is_refused_as_one(tmp_path, start, kind):
    (tmp_path / "screen.png").write_bytes(start + bytes(2000))
    with pytest.raises(InputError, match=rf"is a picture \({kind}\), whose values are not the scanner's"):
        read_volume(tmp_path / "screen.png", modality="MR")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing at"):
        read_volume(tmp_path / "absent.nii.gz")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_truncated_gzip_is_refused(tmp_path, share):
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", noise)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(InputError, match="damaged or cut short"):
        read_volume(path)


def test_a_truncated_plain_file_is_refused(tmp_path):
    path = save(tmp_path / "a.nii", body())
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(InputError, match="damaged or cut short"):
        read_volume(path)


def test_a_gzip_with_a_flipped_bit_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", noise)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or cut short"):
        read_volume(path)


@pytest.mark.parametrize(("shape", "words"), [((6, 5), "2-dimensional"), ((6, 5, 4, 3), r"4-dimensional.*6x5x4x3")])
def test_two_or_four_dimensions_are_refused(tmp_path, shape, words):
    with pytest.raises(GeometryError, match=f"{words}.*give one 3-D volume"):
        read_volume(save(tmp_path / "a.nii.gz", body(shape)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_numbers_are_refused(tmp_path, value):
    array = body(dtype=np.float32)
    array[1, 2, 3] = array[0, 0, 0] = value
    with pytest.raises(InputError, match="has 2 voxels that are NaN or infinite"):
        read_volume(save(tmp_path / "a.nii.gz", array))


@pytest.mark.parametrize("spacing", [0, -2.5, np.nan])
def test_zero_or_negative_spacing_is_refused(tmp_path, spacing):
    def set_spacing(header):
        header["pixdim"][3] = spacing

    with pytest.raises(GeometryError, match="zero or negative along an axis"):
        read_volume(save(tmp_path / "a.nii.gz", body(), change=set_spacing))


def test_a_header_with_two_spacings_is_refused(tmp_path):
    def set_spacing(header):
        header["pixdim"][3] = 5

    with pytest.raises(GeometryError, match=r"two spacings, 0\.8 x 0\.7 x 5 mm in pixdim and 0\.8 x 0\.7 x 2\.5 mm"):
        read_volume(save(tmp_path / "a.nii", body(), change=set_spacing))


def test_a_sheared_affine_is_refused(tmp_path):
    affine = AFFINE.copy()
    affine[1, 2] = 0.5
    with pytest.raises(GeometryError, match="sheared"):
        read_volume(save(tmp_path / "a.nii.gz", body(), affine))


def test_an_image_without_a_place_in_the_patient_is_refused(tmp_path):
    def forget(header):
        header["sform_code"] = header["qform_code"] = 0

    with pytest.raises(GeometryError, match="sform and qform are both unset"):
        read_volume(save(tmp_path / "a.nii", body(), change=forget))


def test_a_spacing_in_metres_is_refused(tmp_path):
    def metres(header):
        header["xyzt_units"] = 1

    with pytest.raises(GeometryError, match="not measured in millimetres"):
        read_volume(save(tmp_path / "a.nii", body(), change=metres))


def test_colours_are_refused(tmp_path):
    colours = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="holds colours"):
        read_volume(save(tmp_path / "a.nii", colours))


def test_an_image_without_air_is_flagged(tmp_path):
    assert read_volume(save(tmp_path / "a.nii", body() + 50)).acquisition.flags == ("no_value_below_zero",)
    assert read_volume(save(tmp_path / "b.nii", body())).acquisition.flags == ()


def make_label_map():
    array = (np.arange(120).reshape(6, 5, 4) % 5).astype(np.uint8)
    return LabelMap(array, Grid(array.shape, AFFINE), read_label_schema())


def test_a_label_map_survives_the_round_trip(tmp_path):
    write_label_map(tmp_path / "labels.nii.gz", make_label_map())
    label_map = read_label_map(tmp_path / "labels.nii.gz", read_label_schema())
    assert np.array_equal(label_map.array, make_label_map().array)
    assert label_map.grid.same_as(make_label_map().grid, tolerance_mm=1e-5)
    assert nibabel.load(tmp_path / "labels.nii.gz").get_data_dtype() == np.uint8


def test_a_label_map_has_the_same_bytes_twice(tmp_path):
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_label_map(tmp_path / name / f"labels_{name}.nii.gz", make_label_map())
        digests.add(hashlib.sha256((tmp_path / name / f"labels_{name}.nii.gz").read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("value", [0.5, -1, 256])
def test_a_label_map_holds_whole_numbers(tmp_path, value):
    array = np.zeros((4, 4, 4), np.float32)
    array[1, 1, 1] = value
    with pytest.raises(InputError, match="is not a label map"):
        read_label_map(save(tmp_path / "a.nii", array), read_label_schema())


def test_whole_numbers_stored_as_floats_are_labels(tmp_path):
    array = make_label_map().array.astype(np.float32)
    assert np.array_equal(read_label_map(save(tmp_path / "a.nii", array), read_label_schema()).array, array)


def test_a_label_that_the_schema_does_not_know_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"labels \[9\] are not in schema"):
        read_label_map(save(tmp_path / "a.nii", np.full((4, 4, 4), 9, np.uint8)), read_label_schema())


@pytest.mark.parametrize(("written", "name"), [("a.nii.gz", "b.nii"), ("a.nii", "b"), ("a.nii", "b.nii.gz")])
def test_an_image_is_told_by_its_content_not_its_name(tmp_path, written, name):
    save(tmp_path / written, body()).rename(tmp_path / name)
    assert np.array_equal(read_volume(tmp_path / name).array, body())
