"""Abdominal CT through the same pipeline: known areas come out, L3 can be named, and bad inputs are sentences."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.geometry import Acquisition, Grid, Volume, reorient
from myotome.inference import PhantomSegmenter
from myotome.io import read_label_map, read_volume, write_label_map, write_volume
from myotome.io.dicom_series import write_dicom_series
from myotome.measurement import Level
from myotome.pipeline import (
    OUTPUT_NAMES,
    AnalysisRequest,
    CaseDetails,
    LevelChoice,
    Subject,
    analyze,
    keep_chosen_level,
    measure_label_map,
)
from myotome.structures import LabelMap, read_label_schema
from tests.unit.biomarkers.abdomens import SCHEMA, SMA_CM2, SMD_HU, make_abdomen_case

DICOM_NAMES = {"segmentation.dcm", "measurements.dcm"}


class LevelPhantom(PhantomSegmenter):
    """Gives the known truth of the slice it is told, or of slice 3, and says how sure it is."""

    finds_level = True

    def segment(self, volume):
        return self.segment_level(volume)

    def segment_level(self, volume, *, level_slice=None, average=False):
        whole = super().segment(volume)
        index = 3 if level_slice is None else level_slice
        kept = np.zeros_like(whole.array)
        reach = slice(index - average, index + average + 1)
        kept[..., reach] = whole.array[..., reach]
        return LabelMap(kept, whole.grid, whole.schema)

    def locate(self, volume, label_map):
        return Level(3, volume.grid.slice_z_mm(3), 0.93, "by the widest transverse processes")


def value(result, measure, slice_index=None):
    (found,) = [row for row in result.measurements if (row.measure, row.slice_index) == (measure, slice_index)]
    return found.value


@pytest.fixture
def nifti(tmp_path):
    volume, label_map = make_abdomen_case(labelled=tuple(range(7)))
    write_volume(tmp_path / "ct.nii.gz", volume)
    return tmp_path / "ct.nii.gz", LevelPhantom(label_map)


@pytest.fixture
def dicom(tmp_path):
    volume, label_map = make_abdomen_case(labelled=tuple(range(7)), acquisition=Acquisition(height_m=1.6, sex="F"))
    write_dicom_series(tmp_path / "series", volume)
    grid = read_volume(tmp_path / "series").grid
    labels, _ = reorient(label_map.array, volume.grid.affine, "".join(grid.axis_codes))
    return tmp_path / "series", LevelPhantom(LabelMap(np.ascontiguousarray(labels), grid, SCHEMA))


def test_from_dicom_all_outputs_and_the_same_bytes_twice(dicom, tmp_path):
    for name in ("one", "two"):
        result = analyze(AnalysisRequest(dicom[0], tmp_path / name), dicom[1])
    assert {path.name for path in (tmp_path / "one").iterdir()} == set(OUTPUT_NAMES)
    for name in set(OUTPUT_NAMES) - DICOM_NAMES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert value(result, "muscle_area") == pytest.approx(SMA_CM2)
    assert value(result, "density") == pytest.approx(SMD_HU)
    assert value(result, "area_per_height2") == pytest.approx(SMA_CM2 / 2.56)
    assert result.subject == Subject(1.6, "F")
    document = json.loads((tmp_path / "one" / "measurements.json").read_text())
    assert document["level"] == {
        "slice_index": 3,
        "z_mm": 115.0,
        "confidence": 0.93,
        "reason": "by the widest transverse processes",
        "name": "L3",
    }
    assert document["subject"] == {"height_m": 1.6, "sex": "F"}


def test_what_is_said_of_the_person_counts_before_the_header(dicom, tmp_path):
    result = analyze(AnalysisRequest(dicom[0], tmp_path / "out", height_m=2.0, sex="M"), dicom[1])
    assert result.subject == Subject(2.0, "M")
    assert value(result, "area_per_height2") == pytest.approx(SMA_CM2 / 4)
    assert "below the cut-off of 144.3" in (tmp_path / "out" / "report.html").read_text()


def test_the_slice_and_its_neighbours_can_be_named(nifti, tmp_path):
    source, segmenter = nifti
    choice = LevelChoice(slice_index=5, average=True)
    result = analyze(AnalysisRequest(source, tmp_path / "out", level=choice), segmenter)
    assert result.level == Level(5, 125.0, None, "given by hand")
    assert (value(result, "l3_slice"), value(result, "slices_measured")) == (5, 3)
    assert value(result, "muscle_area", 6) == pytest.approx(SMA_CM2)
    labels = read_label_map(tmp_path / "out" / "labels.nii.gz", SCHEMA).array
    assert np.flatnonzero(labels.any(axis=(0, 1))).tolist() == [4, 5, 6]
    averaged = analyze(AnalysisRequest(source, tmp_path / "mean", level=LevelChoice(average=True)), segmenter)
    assert (averaged.level.slice_index, averaged.level.confidence) == (3, 0.93)
    assert value(averaged, "slices_measured") == 3


def write_vertebrae(path, volume, label=29, slices=(2, 6)):
    """A body 32 mm deep in slices 2 to 5 and an arch behind it that reaches down to slice 1."""
    mask = np.zeros(volume.grid.shape, np.uint8)
    mask[36:44, 26:34, slices[0] : slices[1]] = label
    mask[38:42, 16:26, slices[0] - 1] = label
    write_volume(path, Volume(mask, volume.grid))
    return path


def test_a_vertebra_mask_gives_the_middle_of_the_body_not_of_the_arch(nifti, tmp_path):
    source, segmenter = nifti
    mask = write_vertebrae(tmp_path / "spine.nii.gz", read_volume(source), slices=(2, 7))
    # Cut off at the end of the scan, its middle is not known.
    with pytest.raises(InputError, match=r"cuts label 29 of 'spine.nii.gz' off.*--slice"):
        analyze(AnalysisRequest(source, tmp_path / "out", level=LevelChoice(vertebrae=mask)), segmenter)
    mask = write_vertebrae(tmp_path / "spine.nii.gz", read_volume(source), slices=(3, 6))
    result = analyze(AnalysisRequest(source, tmp_path / "out", level=LevelChoice(vertebrae=mask)), segmenter)
    assert result.level == Level(4, 120.0, None, "middle of label 29 of spine.nii.gz")
    assert value(result, "l3_slice") == 4


def test_a_vertebra_mask_may_lie_in_another_axis_order_and_numbering(nifti, tmp_path):
    volume = read_volume(nifti[0])
    mask = read_volume(write_vertebrae(tmp_path / "spine.nii.gz", volume, label=3, slices=(3, 6)))
    array, affine = reorient(mask.array, mask.grid.affine, "LPI")
    turned = Volume(np.ascontiguousarray(array), Grid(array.shape, affine))
    write_volume(tmp_path / "turned.nii.gz", turned)
    choice = LevelChoice(vertebrae=tmp_path / "turned.nii.gz", vertebra_label=3)
    assert choice.find(volume).slice_index == 4
    assert choice.find(turned).slice_index == 2  # the same slice, counted from the head


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"slice_index": 7}, "slice 7 is outside the image: its slices are 0 to 6"),
        ({"vertebrae": True, "vertebra_label": 31}, r"no voxel of label 31, so it shows no L3.*--l3-label.*29"),
        ({"slice_index": 3, "vertebrae": True}, "give --slice or --vertebrae, not both"),
        ({"slice_index": -1}, "slices are counted from 0"),
    ],
)
def test_a_level_that_is_not_there_is_refused(nifti, tmp_path, choice, sentence):
    source, segmenter = nifti
    if "vertebrae" in choice:
        choice["vertebrae"] = write_vertebrae(tmp_path / "spine.nii.gz", read_volume(source), slices=(3, 6))
    with pytest.raises(InputError, match=sentence):
        analyze(AnalysisRequest(source, tmp_path / "out", level=LevelChoice(**choice)), segmenter)
    assert not (tmp_path / "out").exists()


def test_a_mask_on_another_grid_or_no_mask_at_all_is_refused(nifti, tmp_path):
    write_vertebrae(tmp_path / "spine.nii.gz", make_abdomen_case(slices=9)[0], slices=(3, 6))
    with pytest.raises(InputError, match="not on the image's grid"):
        LevelChoice(vertebrae=tmp_path / "spine.nii.gz").find(read_volume(nifti[0]))
    with pytest.raises(InputError, match="there is no vertebra mask"):
        LevelChoice(vertebrae=tmp_path / "nowhere.nii.gz")


def test_a_level_is_refused_by_what_labels_none(nifti, tmp_path):
    source, segmenter = nifti
    plain = PhantomSegmenter(segmenter.segment(read_volume(source)))
    with pytest.raises(InputError, match="'phantom' labels no single vertebral level, so it takes no --slice"):
        analyze(AnalysisRequest(source, tmp_path / "out", level=LevelChoice(slice_index=3)), plain)
    chest = LabelMap(np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4)), read_label_schema())
    with pytest.raises(InputError, match="belong to no single vertebral level"):
        keep_chosen_level(chest, read_volume(source), LevelChoice(average=True))


def test_of_a_given_label_map_the_chosen_slices_are_kept():
    volume, label_map = make_abdomen_case(labelled=(1, 2, 3, 4))
    kept, level = keep_chosen_level(label_map, volume, LevelChoice(slice_index=2, average=True))
    assert level.slice_index == 2
    assert np.flatnonzero(kept.array.any(axis=(0, 1))).tolist() == [1, 2, 3]
    kept, level = keep_chosen_level(label_map, volume, LevelChoice(average=True))
    assert level is None and np.flatnonzero(kept.array.any(axis=(0, 1))).tolist() == [2, 3, 4]
    assert keep_chosen_level(label_map, volume, LevelChoice()) == (label_map, None)
    with pytest.raises(InputError, match="nothing is labelled in slice 6: labelled are slices 1, 2, 3, 4"):
        keep_chosen_level(label_map, volume, LevelChoice(slice_index=6))


def turned(volume, rows):
    """The same slices, 15 mm apart, lying as those of another orientation."""
    affine = np.array(volume.grid.affine)
    affine[:3, 2] *= 3
    affine[:3] = affine[list(rows)]
    return replace(volume, grid=Grid(volume.grid.shape, affine))


def tilted(volume, degrees):
    turn, affine = np.radians(degrees), np.eye(4)
    affine[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return replace(volume, grid=Grid(volume.grid.shape, affine @ volume.grid.affine))


def cropped(volume):
    array = np.ascontiguousarray(volume.array[:34])
    return replace(volume, array=array, grid=Grid(array.shape, volume.grid.affine))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda volume: replace(volume, modality="MR"), "the image is MR, not CT"),
        (lambda volume: turned(volume, (0, 2, 1)), r"90 degrees from axial \(a localiser, or a coronal"),
        (lambda volume: turned(volume, (2, 1, 0)), "90 degrees from axial"),
        (lambda volume: tilted(volume, 25), "25 degrees from axial"),
        (
            lambda volume: replace(volume, array=np.clip(volume.array, 0, 255)),
            "lowest value is 0, so it is not in Houns",
        ),
        (cropped, "136 mm across, too small for a whole abdomen"),
    ],
)
def test_what_is_no_axial_abdominal_ct_is_refused(change, sentence):
    volume, label_map = make_abdomen_case()
    changed = change(volume)
    labels = label_map.array[: changed.array.shape[0]]
    with pytest.raises(InputError, match=sentence):
        measure_label_map(changed, LabelMap(np.ascontiguousarray(labels), changed.grid, SCHEMA))


def test_a_height_in_centimetres_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match=r"give it in metres, 1\.72 if 172 are centimetres"):
        AnalysisRequest(tmp_path / "nowhere", tmp_path / "out", height_m=172)
    with pytest.raises(InputError, match="the sex 'X' is not M or F"):
        AnalysisRequest(tmp_path / "nowhere", tmp_path / "out", sex="X")


def test_a_tilted_slice_is_flagged_and_one_slice_alone_is_enough():
    volume, label_map = make_abdomen_case(slices=1, labelled=(0,))
    changed = tilted(volume, 15)
    result = measure_label_map(changed, LabelMap(label_map.array, changed.grid, SCHEMA))
    assert result.flags == ("not_axial",)
    assert value(result, "muscle_area") == pytest.approx(SMA_CM2)


def test_without_muscle_the_outputs_say_so(nifti, tmp_path):
    source, _ = nifti
    grid = read_volume(source).grid
    empty = PhantomSegmenter(LabelMap(np.zeros(grid.shape, np.uint8), grid, SCHEMA))
    result = analyze(AnalysisRequest(source, tmp_path / "out"), empty)
    assert result.flags == ("no_muscle_found",) and all(row.value is None for row in result.measurements)
    assert "No muscle was found" in (tmp_path / "out" / "report.html").read_text()


def test_labels_in_another_axis_order_are_measured_the_same(tmp_path):
    volume, label_map = make_abdomen_case(labelled=(2,))
    array, affine = reorient(label_map.array, label_map.grid.affine, "SPL")
    write_label_map(tmp_path / "l.nii.gz", LabelMap(np.ascontiguousarray(array), Grid(array.shape, affine), SCHEMA))
    given = read_label_map(tmp_path / "l.nii.gz", SCHEMA)
    result = measure_label_map(volume, given, details=CaseDetails(level=Level(2, 110.0)))
    assert value(result, "muscle_area") == pytest.approx(SMA_CM2)
    kept, _ = keep_chosen_level(given, volume, LevelChoice(slice_index=2))
    assert measure_label_map(volume, kept).measurements[0].value == pytest.approx(SMA_CM2)


def test_hand_drawn_slices_of_a_real_ct(shared_data):
    """The reference's pixels counted straight from its files; patches that are not annotated are left out."""
    import nibabel

    volume = read_volume(shared_data / "abdomen_ct_dicom")
    image = nibabel.load(shared_data / "abdomen_ct_reference" / "body.nii.gz")
    body = np.asarray(image.dataobj)
    drawn, _ = reorient(np.where(body == 255, 0, body).astype(np.uint8), image.affine, "".join(volume.grid.axis_codes))
    result = measure_label_map(volume, LabelMap(np.ascontiguousarray(drawn), volume.grid, SCHEMA))
    for index in (6, 7, 8):
        muscle = np.isin(drawn[..., index], (1, 4)) & (np.abs(volume.array[..., index] - 60.5) <= 89.5)
        assert value(result, "muscle_area", index) == pytest.approx(muscle.sum() * 0.796875**2 / 100)
        assert value(result, "density", index) == pytest.approx(volume.array[..., index][muscle].mean())
    assert "contrast_suspected" in result.flags and result.subject.sex == "M"


def test_l3_of_a_real_vertebra_mask(shared_data):
    """117 classes of another model: the front of L3's body spans slices 69 to 79, its arch begins at 65."""
    volume = read_volume(shared_data / "abdomen_ct_3mm" / "ct.nii.gz")
    level = LevelChoice(vertebrae=shared_data / "abdomen_ct_3mm" / "labels_117.nii.gz").find(volume)
    assert level.slice_index == 74


def test_one_dicom_slice_is_an_image_where_one_slice_is_measured(tmp_path):
    volume, label_map = make_abdomen_case(slices=1, labelled=(0,))
    write_dicom_series(tmp_path / "slice", volume)
    with pytest.raises(InputError, match="too few slices"):
        read_volume(tmp_path / "slice")
    grid = read_volume(tmp_path / "slice", single_slice=True).grid
    array, _ = reorient(label_map.array, volume.grid.affine, "".join(grid.axis_codes))
    segmenter = PhantomSegmenter(LabelMap(np.ascontiguousarray(array), grid, SCHEMA))
    result = analyze(AnalysisRequest(tmp_path / "slice", tmp_path / "out"), segmenter)
    assert value(result, "muscle_area") == pytest.approx(SMA_CM2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES)


def test_one_slice_may_be_a_nifti_without_a_third_axis(tmp_path):
    import nibabel

    volume, label_map = make_abdomen_case(slices=1, labelled=(0,))
    nibabel.save(nibabel.Nifti1Image(volume.array[..., 0], volume.grid.affine), tmp_path / "slice.nii.gz")
    result = analyze(AnalysisRequest(tmp_path / "slice.nii.gz", tmp_path / "out"), PhantomSegmenter(label_map))
    assert value(result, "muscle_area") == pytest.approx(SMA_CM2)
