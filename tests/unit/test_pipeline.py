"""From a CT with a known label map to the outputs: right numbers, all files or none, refusals in a sentence."""

from __future__ import annotations

import csv
import errno
import json
from dataclasses import replace

import numpy as np
import pytest

from myotome.errors import InputError, OutputError
from myotome.geometry import Grid, Volume, reorient
from myotome.inference import PhantomSegmenter
from myotome.io import read_label_map, read_volume, write_volume
from myotome.io.dicom_series import write_dicom_series
from myotome.pipeline import OUTPUT_NAMES, AnalysisRequest, CaseDetails, Subject, analyze, measure_label_map, outputs
from myotome.structures import LabelMap, read_label_schema

DICOM_NAMES = {"segmentation.dcm", "measurements.dcm"}
AFFINE = np.diag([4.0, 4.0, 10.0, 1.0])
AFFINE[:3, 3] = -94, -62, 0
MUSCLES = {  # label: (x, y, z) box on the right; its mirror image on the left is the same
    1: (slice(12, 20), slice(24, 28), slice(2, 6)),
    2: (slice(18, 23), slice(6, 10), slice(1, 7)),
    3: (slice(8, 10), slice(12, 20), slice(2, 7)),
    4: (slice(11, 15), slice(4, 8), slice(3, 7)),
}
VOXEL_ML = 4 * 4 * 10 / 1000


def make_case():
    """A body of fat (-100 HU) in air, 192 x 128 x 80 mm, with boxes of muscle of 10, 20, 30, 40 HU on both sides."""
    image = np.full((48, 32, 8), -1000, np.int16)
    image[4:44, 3:29] = -100
    image[22:26, 8:12] = 600
    labels = np.zeros(image.shape, np.uint8)
    for label, box in MUSCLES.items():
        for side in (labels, labels[::-1]):
            side[box] = label
    image[labels > 0] = 10 * labels[labels > 0]
    grid = Grid(image.shape, AFFINE)
    return Volume(image, grid), LabelMap(labels, grid, read_label_schema())


@pytest.fixture
def nifti(tmp_path):
    volume, label_map = make_case()
    write_volume(tmp_path / "ct.nii.gz", volume)
    return tmp_path / "ct.nii.gz", PhantomSegmenter(label_map)


@pytest.fixture
def dicom(tmp_path):
    volume, label_map = make_case()
    write_dicom_series(tmp_path / "series", volume)
    grid = read_volume(tmp_path / "series").grid
    labels, affine = reorient(label_map.array, AFFINE, "".join(grid.axis_codes))
    return tmp_path / "series", PhantomSegmenter(LabelMap(labels, Grid(grid.shape, affine), label_map.schema))


def value(result, structure, measure, statistic, side="both"):
    (found,) = [
        item
        for item in result.measurements
        if (item.structure, item.measure, item.statistic, item.side) == (structure, measure, statistic, side)
        and item.slice_index is None
        and item.level is None
    ]
    return found.value


def left_over(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in ("ct.nii.gz", "series"))


def test_volumes_and_densities_are_those_of_the_boxes(nifti, tmp_path):
    source, segmenter = nifti
    result = analyze(AnalysisRequest(source, tmp_path / "out"), segmenter)
    for label, box in MUSCLES.items():
        name = result.label_map.schema.structures[label - 1].name
        one_side = np.zeros((48, 32, 8))[box].size * VOXEL_ML
        assert value(result, name, "volume", "total", "right") == pytest.approx(one_side)
        assert value(result, name, "volume", "total", "left") == pytest.approx(one_side)
        assert value(result, name, "volume", "total") == pytest.approx(2 * one_side)
        assert value(result, name, "density", "mean") == pytest.approx(10 * label)


def test_from_nifti_all_but_the_dicom_outputs_and_a_note(nifti, tmp_path):
    source, segmenter = nifti
    result = analyze(AnalysisRequest(source, tmp_path / "out"), segmenter)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES) - DICOM_NAMES
    assert any("segmentation.dcm" in note for note in result.provenance.notes)
    labels = read_label_map(tmp_path / "out" / "labels.nii.gz", read_label_schema())
    np.testing.assert_array_equal(labels.array, result.label_map.array)
    assert labels.grid.same_as(read_volume(source).grid)


def test_from_dicom_seven_outputs_that_agree(dicom, tmp_path):
    source, segmenter = dicom
    result = analyze(AnalysisRequest(source, tmp_path / "out", height_m=1.8), segmenter)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES)
    with (tmp_path / "out" / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.measurements)
    document = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert result.provenance.input["series_uid"] in json.dumps(document)


def test_the_same_input_gives_the_same_bytes(dicom, tmp_path):
    source, segmenter = dicom
    for name in ("one", "two"):
        analyze(AnalysisRequest(source, tmp_path / name), segmenter)
    for name in set(OUTPUT_NAMES) - DICOM_NAMES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_progress_names_each_step_in_order(nifti, tmp_path):
    source, segmenter = nifti
    seen = []
    analyze(AnalysisRequest(source, tmp_path / "out"), segmenter, lambda step, share: seen.append((step, share)))
    assert list(dict.fromkeys(step for step, _ in seen)) == ["reading", "segmenting", "measuring", "writing"]
    assert seen[-1] == ("writing", 1.0)


def test_an_output_that_exists_is_refused_and_left_alone(nifti, tmp_path):
    source, segmenter = nifti
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="already exists"):
        analyze(AnalysisRequest(source, tmp_path / "out"), segmenter)
    assert not list((tmp_path / "out").iterdir())


def test_overwrite_replaces_a_result(dicom, nifti, tmp_path):
    analyze(AnalysisRequest(dicom[0], tmp_path / "out"), dicom[1])
    analyze(AnalysisRequest(nifti[0], tmp_path / "out", overwrite=True), nifti[1])
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES) - DICOM_NAMES
    assert left_over(tmp_path) == ["out"]


def test_overwrite_spares_what_is_not_a_result(nifti, tmp_path):
    source, segmenter = nifti
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        analyze(AnalysisRequest(source, tmp_path / "out", overwrite=True), segmenter)
    with pytest.raises(OutputError, match=r"ct\.nii\.gz"):
        analyze(AnalysisRequest(source, source, overwrite=True), segmenter)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_an_output_that_cannot_be_made_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        analyze(
            AnalysisRequest(tmp_path / "no_such_input", tmp_path / "file" / "out"), PhantomSegmenter(make_case()[1])
        )


def test_a_full_disk_leaves_nothing_behind(nifti, tmp_path, monkeypatch):
    source, segmenter = nifti

    def fill_the_disk(path, *_):
        path.write_text("half a rep")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(outputs, "write_measurements_json", fill_the_disk)
        with pytest.raises(OutputError, match=r"(?i)no space left"):
            analyze(AnalysisRequest(source, tmp_path / "out"), segmenter)
    assert left_over(tmp_path) == []

    analyze(AnalysisRequest(source, tmp_path / "out"), segmenter)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    monkeypatch.setattr(outputs, "write_measurements_json", fill_the_disk)
    with pytest.raises(OutputError, match=r"(?i)no space left"):
        analyze(AnalysisRequest(source, tmp_path / "out", overwrite=True), segmenter)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert left_over(tmp_path) == ["out"]


def test_without_any_muscle_nothing_is_invented(nifti, tmp_path):
    source, _ = nifti
    empty = LabelMap(np.zeros((48, 32, 8), np.uint8), Grid((48, 32, 8), AFFINE), read_label_schema())
    result = analyze(AnalysisRequest(source, tmp_path / "out"), PhantomSegmenter(empty))
    assert "no_muscle_found" in result.flags
    assert result.measurements and all(item.value is None and item.flags for item in result.measurements)


def test_without_any_muscle_the_dicom_outputs_are_left_out_and_a_note_says_so(dicom, tmp_path):
    source, _ = dicom
    grid = read_volume(source).grid
    empty = LabelMap(np.zeros(grid.shape, np.uint8), grid, read_label_schema())
    result = analyze(AnalysisRequest(source, tmp_path / "out"), PhantomSegmenter(empty))
    left = {"segmentation.dcm", "measurements.dcm"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES) - left
    assert any("nothing is labelled" in note for note in result.provenance.notes)


def test_labels_saved_in_another_axis_order_are_the_same_labels():
    volume, label_map = make_case()
    array, affine = reorient(label_map.array, label_map.grid.affine, "SPL")
    turned = LabelMap(np.ascontiguousarray(array), Grid(array.shape, affine), label_map.schema)
    result = measure_label_map(volume, turned)
    assert result.measurements == measure_label_map(volume, label_map).measurements
    np.testing.assert_array_equal(result.label_map.array, label_map.array)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda array: array + 1024, "not in Hounsfield units"),
        (lambda array: np.where(array < 50, -100, array), "hardly any air"),
        (lambda array: np.where(array > -500, 900, array), "hardly any soft tissue"),
    ],
)
def test_numbers_that_are_not_hounsfield_units_are_refused(change, sentence):
    volume, label_map = make_case()
    with pytest.raises(InputError, match=sentence):
        measure_label_map(replace(volume, array=change(volume.array)), label_map)


def test_another_modality_is_refused():
    volume, label_map = make_case()
    with pytest.raises(InputError, match="MR, not CT"):
        measure_label_map(replace(volume, modality="MR"), label_map)


def test_labels_of_another_grid_are_refused():
    volume, label_map = make_case()
    moved = AFFINE.copy()
    moved[2, 3] += 10
    with pytest.raises(InputError, match="not on the image's grid"):
        measure_label_map(volume, replace(label_map, grid=Grid(label_map.grid.shape, moved)))


def test_a_height_in_centimetres_is_refused():
    with pytest.raises(InputError, match="metres"):
        measure_label_map(*make_case(), details=CaseDetails(Subject(172)))


def test_a_given_label_map_says_so_and_measures_the_same(nifti, tmp_path):
    source, segmenter = nifti
    analysed = analyze(AnalysisRequest(source, tmp_path / "out"), segmenter)
    measured = measure_label_map(read_volume(source), analysed.label_map, source=source)
    assert measured.measurements == analysed.measurements
    assert measured.provenance.bundle == "none"
    assert any("given" in note for note in measured.provenance.notes)


def test_the_run_id_names_what_went_in():
    volume, label_map = make_case()
    again = measure_label_map(*make_case())
    brighter = measure_label_map(replace(volume, array=volume.array + np.int16(1)), label_map)
    assert measure_label_map(volume, label_map).provenance.run_id == again.provenance.run_id
    assert brighter.provenance.run_id != again.provenance.run_id
