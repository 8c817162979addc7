"""Shoulder MR through the same pipeline: known fat and areas come out, bad inputs are sentences, no grade invented."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.geometry import Grid, Volume
from myotome.inference import PhantomSegmenter
from myotome.io import read_label_map, read_volume, write_label_map, write_volume
from myotome.io.dicom_series import write_dicom_series
from myotome.measurement import Grading
from myotome.pipeline import KINDS, OUTPUT_NAMES, AnalysisRequest, analyze, kind_of, measure_label_map
from myotome.structures import LabelMap, read_label_schema
from tests.unit.phantoms.shoulders import FOSSA_CM2, MUSCLE_CM2, SCHEMA, make_affine, make_shoulder_case

DICOM_NAMES = {"segmentation.dcm", "measurements.dcm"}
CROP = np.linspace(0, 1, 96 * 96).reshape(96, 96)


class PhantomGrader(PhantomSegmenter):
    """Gives the known truth, and a grading that is known as well."""

    def grade(self, volume, label_map):
        if not (label_map.array == 1).any():
            return None
        probabilities = {"A": 0.75, "B": 0.8, "C": 0.25, "D": 0.7, "E": 0.6}
        grades, mask = (0.05, 0.1, 0.1, 0.7, 0.05), (CROP > 0.5).astype(float)
        return Grading(
            0, "the image is this one slice", probabilities, grades, CROP, mask, CROP, "definition A, positive"
        )


def value(result, measure, statistic="total", structure="supraspinatus"):
    (found,) = [
        row
        for row in result.measurements
        if (row.structure, row.measure, row.statistic) == (structure, measure, statistic)
    ]
    return found.value


@pytest.fixture
def nifti(tmp_path):
    volume, label_map = make_shoulder_case()
    write_volume(tmp_path / "shoulder.nii.gz", volume)
    return tmp_path / "shoulder.nii.gz", PhantomGrader(label_map)


@pytest.fixture
def dicom(tmp_path):
    volume, label_map = make_shoulder_case(slices=3, y_view=1)
    write_dicom_series(tmp_path / "series", volume)
    return tmp_path / "series", PhantomGrader(label_map)


def test_areas_fat_and_grade_are_those_of_the_boxes(nifti, tmp_path):
    result = analyze(AnalysisRequest(nifti[0], tmp_path / "out"), nifti[1])
    assert value(result, "area") == pytest.approx(MUSCLE_CM2)
    assert value(result, "area", structure="supraspinous_fossa") == pytest.approx(FOSSA_CM2)
    assert value(result, "occupation_ratio") == pytest.approx(100 * MUSCLE_CM2 / FOSSA_CM2)
    assert value(result, "fat_fraction") == pytest.approx(10, abs=2)  # 3 of 30 columns
    assert value(result, "tangent_sign") == 1
    assert value(result, "positive_probability", "A") == 0.75
    assert value(result, "goutallier_grade") == 3
    assert result.grading.grade == 3
    assert result.flags == ()


def test_from_nifti_all_but_the_dicom_outputs(nifti, tmp_path):
    result = analyze(AnalysisRequest(nifti[0], tmp_path / "out"), nifti[1])
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES) - DICOM_NAMES
    labels = read_label_map(tmp_path / "out" / "labels.nii.gz", SCHEMA)
    np.testing.assert_array_equal(labels.array, result.label_map.array)
    document = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert document["grading"]["probabilities"]["B"] == 0.8
    assert document["grading"]["reason"] == "the image is this one slice"
    assert document["acquisition"]["modality"] == "MR"


def test_from_dicom_seven_outputs_and_the_same_bytes_twice(dicom, tmp_path):
    for name in ("one", "two"):
        result = analyze(AnalysisRequest(dicom[0], tmp_path / name), dicom[1])
    assert {path.name for path in (tmp_path / "one").iterdir()} == set(OUTPUT_NAMES)
    assert value(result, "y_view_slice") == 1
    for name in set(OUTPUT_NAMES) - DICOM_NAMES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    document = json.loads((tmp_path / "one" / "measurements.json").read_text())
    assert (document["acquisition"]["weighting"], document["acquisition"]["echo_time_ms"]) == ("T2", 80)


def test_without_a_supraspinatus_no_grade_is_invented(nifti, tmp_path):
    source, _ = nifti
    grid = read_volume(source, modality="MR").grid
    empty = LabelMap(np.zeros(grid.shape, np.uint8), grid, SCHEMA)
    result = analyze(AnalysisRequest(source, tmp_path / "out"), PhantomGrader(empty))
    assert result.grading is None
    assert "no_supraspinatus_found" in result.flags
    assert result.measurements and all(row.value is None and row.flags for row in result.measurements)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "No supraspinatus was found" in page and "Goutallier grade</h2>" not in page
    assert "grading" not in json.loads((tmp_path / "out" / "measurements.json").read_text())


def test_a_given_label_map_is_graded_by_a_bundle_and_says_that_it_was_given(dicom, tmp_path):
    source, grader = dicom
    volume = read_volume(source, modality="MR", across="LR")
    label_map = LabelMap(grader.segment(volume).array, volume.grid, SCHEMA)
    result = measure_label_map(volume, label_map, grader=grader)
    assert result.grading.grade == 3
    assert result.provenance.bundle == "phantom"
    assert "the label map was given, not computed" in result.provenance.notes
    assert measure_label_map(volume, label_map).grading is None


def test_every_kind_is_found_by_its_schema_and_an_unknown_one_refused():
    for kind in KINDS:
        assert kind_of(read_label_schema(kind.schema)) is kind
    with pytest.raises(InputError, match="label maps of 'liver' are not measured here"):
        kind_of("liver")


def turned(volume, codes):
    """The same slices, lying as those of another orientation."""
    affine = make_affine(0)
    columns = {"axial": (1, 2, 0), "coronal": (2, 1, 0)}[codes]
    rows = np.eye(4)
    rows[:3, :3] = np.eye(3)[list(columns)]
    return replace(volume, grid=Grid(volume.grid.shape, rows @ affine))


def as_ct(volume):
    return replace(volume, array=np.where(volume.array < 50, -1000, 40).astype(np.int16))


def of_a(part):
    return lambda volume: replace(volume, acquisition=replace(volume.acquisition, body_part=part))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda volume: replace(volume, modality="CT"), "the image is CT, not MR"),
        (as_ct, "voxels below -300, so it is a CT, not MR"),
        (lambda volume: replace(volume, array=np.full_like(volume.array, 7)), "every voxel of the image is 7"),
        (of_a("KNEE"), "the header says that the image is of the KNEE, not of a shoulder"),
        (of_a("LSPINE"), "not of a shoulder"),
        (lambda volume: turned(volume, "axial"), r"90 degrees from sagittal \(an axial or coronal series\?\)"),
        (lambda volume: turned(volume, "coronal"), "degrees from sagittal"),
    ],
)
def test_what_is_no_shoulder_mr_is_refused(change, sentence):
    volume, label_map = make_shoulder_case()
    changed = change(volume)
    with pytest.raises(InputError, match=sentence):
        measure_label_map(changed, LabelMap(label_map.array, changed.grid, SCHEMA))


@pytest.mark.parametrize("part", ["SHOULDER", "CHEST", None])
def test_headers_that_shoulders_have_are_taken(part):
    volume, label_map = make_shoulder_case()
    assert measure_label_map(of_a(part)(volume), label_map).flags == ()


def test_flags_of_the_image_reach_the_case():
    volume, label_map = make_shoulder_case(turn_degrees=52, noise=60)
    acquisition = replace(volume.acquisition, fat_suppressed=True, flags=("eight_bit",))
    result = measure_label_map(replace(volume, acquisition=acquisition), label_map)
    assert set(result.flags) >= {"eight_bit", "not_oblique_sagittal", "wrong_sequence", "poor_signal"}


def test_a_ct_folder_is_refused_by_a_shoulder_bundle(ct_series, tmp_path):
    _, label_map = make_shoulder_case()
    with pytest.raises(InputError, match="holds no MR images but 12 of modality CT: give a MR series"):
        analyze(AnalysisRequest(ct_series, tmp_path / "out"), PhantomGrader(label_map))
    assert not (tmp_path / "out").exists()


def test_a_knee_is_refused_by_its_header(tmp_path):
    volume, label_map = make_shoulder_case()
    write_dicom_series(tmp_path / "knee", of_a("KNEE")(volume))
    with pytest.raises(InputError, match="of the KNEE, not of a shoulder"):
        analyze(AnalysisRequest(tmp_path / "knee", tmp_path / "out"), PhantomGrader(label_map))


def test_labels_of_the_chest_are_not_measured_on_a_shoulder():
    volume, label_map = make_shoulder_case()
    chest = LabelMap(label_map.array, label_map.grid, read_label_schema("respiratory_muscle_ct"))
    with pytest.raises(InputError, match="the image is MR, not CT"):
        measure_label_map(volume, chest)


def test_a_reader_may_store_the_labels_in_another_order(tmp_path):
    volume, label_map = make_shoulder_case(slices=3, y_view=1)
    write_label_map(tmp_path / "labels.nii.gz", label_map)
    image, affine = volume.array[::-1, :, ::-1], np.array(volume.grid.affine)
    affine[:3, 3] += affine[:3, 0] * 127 + affine[:3, 2] * 2
    affine[:3, [0, 2]] *= -1
    flipped = Volume(np.ascontiguousarray(image), Grid(image.shape, affine), "MR", volume.acquisition)
    result = measure_label_map(flipped, read_label_map(tmp_path / "labels.nii.gz", SCHEMA))
    assert value(result, "area") == pytest.approx(MUSCLE_CM2)
    assert value(result, "y_view_slice") == 1
