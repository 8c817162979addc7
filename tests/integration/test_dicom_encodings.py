"""The same slices, however they are packed, are the same volume: compressed and multi-frame against plain files."""

from pathlib import Path

import gdcm
import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from myotome.errors import GeometryError, InputError
from myotome.io import read_volume
from myotome.io.dicom_series import write_dicom_series


def compress_with_gdcm(path, syntax):
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def compress_with_pydicom(path, uid):
    dataset = pydicom.dcmread(path)
    dataset.compress(uid, generate_instance_uid=False)
    dataset.save_as(path)


ENCODERS = {
    "RLE": (RLELossless, lambda path: compress_with_pydicom(path, RLELossless)),
    "JPEG-LS": (JPEGLSLossless, lambda path: compress_with_pydicom(path, JPEGLSLossless)),
    "JPEG 2000": (JPEG2000Lossless, lambda path: compress_with_gdcm(path, gdcm.TransferSyntax.JPEG2000Lossless)),
    "JPEG lossless": (
        JPEGLosslessSV1,
        lambda path: compress_with_gdcm(path, gdcm.TransferSyntax.JPEGLosslessProcess14_1),
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_a_compressed_series_equals_the_plain_one(ct_series, name):
    plain = read_volume(ct_series)
    syntax, encode = ENCODERS[name]
    for path in ct_series.iterdir():
        encode(path)
        assert pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    packed = read_volume(ct_series)
    assert np.array_equal(packed.array, plain.array)
    assert packed.grid.same_as(plain.grid, tolerance_mm=1e-9)
    assert packed.acquisition.flags == ()


@pytest.mark.parametrize("name", ENCODERS)
def test_damaged_compressed_pixels_are_refused(ct_series, name):
    path = sorted(ct_series.iterdir())[4]
    ENCODERS[name][1](path)
    dataset = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 3]])
    dataset.save_as(path)
    with pytest.raises(InputError, match=r"the pixels of slice 5 of 12 .* cannot be decoded"):
        read_volume(ct_series)


def test_a_syntax_without_decoder_is_refused(ct_series, change_slices):
    """MPEG2 in a CT: no one writes it, and nothing here reads it."""

    def as_video(dataset, index):
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
        dataset.PixelData = pydicom.encaps.encapsulate([b"\0\0\1\xb3" * 8])

    change_slices(ct_series, as_video)
    with pytest.raises(InputError, match=r"MPEG2.*cannot be decoded.*export it uncompressed"):
        read_volume(ct_series)


COPIED = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientSize",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "SeriesNumber",
    "SeriesDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "Modality",
    "Manufacturer",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
]


def make_enhanced(folder: Path, order: list[int]) -> Dataset:
    """The series' slices as the frames of one Enhanced CT object, in the order given."""
    slices = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    first = slices[0]
    enhanced = Dataset()
    for keyword in COPIED:
        if keyword in first:
            enhanced[keyword] = first[keyword]
    enhanced.SOPClassUID = EnhancedCTImageStorage
    enhanced.SOPInstanceUID = generate_uid()
    enhanced.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    enhanced.NumberOfFrames = len(order)
    enhanced.SharedFunctionalGroupsSequence = [_shared_groups(first)]
    enhanced.PerFrameFunctionalGroupsSequence = [_frame_groups(slices[k]) for k in order]
    enhanced.PixelData = b"".join(slices[k].PixelData for k in order)
    enhanced.file_meta = FileMetaDataset()
    enhanced.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    enhanced.file_meta.MediaStorageSOPInstanceUID = enhanced.SOPInstanceUID
    enhanced.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return enhanced


def _item(source: Dataset, *keywords: str) -> list[Dataset]:
    item = Dataset()
    for keyword in keywords:
        item[keyword] = source[keyword]
    return [item]


def _shared_groups(source: Dataset) -> Dataset:
    groups = Dataset()
    groups.PixelMeasuresSequence = _item(source, "PixelSpacing", "SliceThickness")
    groups.PlaneOrientationSequence = _item(source, "ImageOrientationPatient")
    groups.CTReconstructionSequence = _item(source, "ConvolutionKernel", "ReconstructionDiameter")
    groups.CTXRayDetailsSequence = _item(source, "KVP")
    return groups


def _frame_groups(source: Dataset) -> Dataset:
    groups = Dataset()
    groups.PlanePositionSequence = _item(source, "ImagePositionPatient")
    groups.PixelValueTransformationSequence = _item(source, "RescaleSlope", "RescaleIntercept", "RescaleType")
    return groups


SHUFFLED = [7, 0, 3, 11, 5, 1, 9, 2, 10, 4, 8, 6]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", [list(range(12)), SHUFFLED])
def test_an_enhanced_multi_frame_ct_equals_its_slices(tmp_path, ct_series, order, compressed):
    plain = read_volume(ct_series)
    enhanced = make_enhanced(ct_series, order)
    if compressed:
        enhanced.compress(RLELossless)
    enhanced.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    volume = read_volume(tmp_path / "enhanced.dcm")
    assert np.array_equal(volume.array, plain.array)
    assert volume.grid.same_as(plain.grid, tolerance_mm=1e-9)
    assert len(volume.acquisition.headers) == 1
    for name in ("tube_voltage_kv", "kernel", "slice_thickness_mm", "height_m", "reconstruction_diameter_mm"):
        assert getattr(volume.acquisition, name) == getattr(plain.acquisition, name), name


def test_each_frame_of_an_enhanced_ct_has_its_rescale(tmp_path, ct_series):
    enhanced = make_enhanced(ct_series, SHUFFLED)
    for frame, slice_index in enumerate(SHUFFLED):
        groups = enhanced.PerFrameFunctionalGroupsSequence[frame]
        groups.PixelValueTransformationSequence[0].RescaleIntercept = str(slice_index - 1024)
    enhanced.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    assert np.array_equal(
        read_volume(tmp_path / "enhanced.dcm").array, read_volume(ct_series).array + np.arange(12, dtype=np.int16)
    )


def test_the_geometry_gate_stands_before_enhanced_ct_too(tmp_path, ct_series):
    make_enhanced(ct_series, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]).save_as(
        tmp_path / "enhanced.dcm", enforce_file_format=True
    )
    with pytest.raises(GeometryError, match="1 slice is missing of 12"):
        read_volume(tmp_path / "enhanced.dcm")


def test_a_legacy_converted_ct_equals_its_slices(tmp_path, ct_series):
    plain = read_volume(ct_series)
    slices = [pydicom.dcmread(path) for path in sorted(ct_series.glob("*.dcm"))]
    legacy = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        slices,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
    )
    legacy.save_as(tmp_path / "legacy.dcm")
    volume = read_volume(tmp_path / "legacy.dcm")
    assert np.array_equal(volume.array, plain.array)
    assert volume.grid.same_as(plain.grid, tolerance_mm=1e-9)


def test_highdicom_reads_the_same_volume(ct_series):
    """An independent reader agrees on every voxel and on its place."""
    volume = read_volume(ct_series)
    other = highdicom.image.get_volume_from_series([pydicom.dcmread(path) for path in ct_series.iterdir()])
    other = other.to_patient_orientation("LPH").astype(np.float64)
    assert np.array_equal(other.array, volume.array)
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ other.affine, volume.grid.affine, atol=1e-9)


def test_a_written_series_is_valid(ct_series, dicom_errors):
    for path in sorted(ct_series.iterdir()):
        assert dicom_errors(path) == ([], [])


def test_a_written_series_with_contrast_is_valid(tmp_path, small_ct, dicom_errors):
    from dataclasses import replace

    volume = replace(small_ct, acquisition=replace(small_ct.acquisition, contrast_agent="synthetic", height_m=None))
    write_dicom_series(tmp_path / "contrast", volume)
    assert dicom_errors(tmp_path / "contrast" / "0001.dcm") == ([], [])
    assert read_volume(tmp_path / "contrast").acquisition.contrast_agent == "synthetic"
