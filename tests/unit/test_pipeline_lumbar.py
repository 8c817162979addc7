"""Lumbar MR through the same pipeline: drawn sizes come out, a detector's facts with them, bad inputs are sentences."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from myotome.errors import InputError
from myotome.geometry import Grid
from myotome.inference import PhantomSegmenter
from myotome.io import read_label_map, write_volume
from myotome.io.dicom_series import write_dicom_series
from myotome.measurement import Instance
from myotome.pipeline import OUTPUT_NAMES, AnalysisRequest, analyze, kind_of, measure_label_map
from myotome.structures import LabelMap
from tests.unit.biomarkers.discs import AP_MM, HEIGHT_MM, NAMES, SCHEMA, draw_axial, draw_sagittal

DICOM_NAMES = {"segmentation.dcm", "measurements.dcm"}
SPACING_MM = (8.0, 1.0, 1.0)


class PhantomDetector(PhantomSegmenter):
    """Gives the known truth, and one instance per label with a known score."""

    def find_instances(self, volume, label_map):
        found = []
        for structure in label_map.schema.structures:
            places = np.argwhere(label_map.array == structure.index)
            if len(places):
                box = tuple(int(v) for v in places.min(axis=0)), tuple(int(v) for v in places.max(axis=0) + 1)
                found.append(Instance(structure.name, 0.5 + structure.index / 16, box))
        return tuple(found)


def value(result, measure, structure, statistic="total"):
    (found,) = [
        row
        for row in result.measurements
        if (row.structure, row.measure, row.statistic, row.slice_index) == (structure, measure, statistic, None)
    ]
    return found.value


@pytest.fixture
def nifti(tmp_path):
    volume, label_map = draw_sagittal(SPACING_MM)
    write_volume(tmp_path / "spine.nii.gz", volume)
    return tmp_path / "spine.nii.gz", PhantomDetector(label_map)


def test_sizes_and_scores_are_those_that_were_drawn(nifti, tmp_path):
    result = analyze(AnalysisRequest(nifti[0], tmp_path / "out"), nifti[1])
    for place, name in enumerate(NAMES, start=1):
        assert value(result, "ap_diameter", name) == pytest.approx(AP_MM)
        assert value(result, "middle_height", name) == pytest.approx(HEIGHT_MM)
        assert value(result, "detection_score", name) == 0.5 + place / 16
    assert result.flags == () and len(result.instances) == 5


def test_from_nifti_all_but_the_dicom_outputs(nifti, tmp_path):
    result = analyze(AnalysisRequest(nifti[0], tmp_path / "out"), nifti[1])
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(OUTPUT_NAMES) - DICOM_NAMES
    labels = read_label_map(tmp_path / "out" / "labels.nii.gz", SCHEMA)
    np.testing.assert_array_equal(labels.array, result.label_map.array)
    instances = json.loads((tmp_path / "out" / "measurements.json").read_text())["instances"]
    assert [one["structure"] for one in instances] == list(NAMES)
    assert instances[0]["box"] == [list(corner) for corner in result.instances[0].box]


def test_from_dicom_seven_outputs_and_the_same_bytes_twice(tmp_path):
    volume, label_map = draw_sagittal(SPACING_MM, codes="PIR")
    write_dicom_series(tmp_path / "series", volume)
    for name in ("one", "two"):
        result = analyze(AnalysisRequest(tmp_path / "series", tmp_path / name), PhantomDetector(label_map))
    assert {path.name for path in (tmp_path / "one").iterdir()} == set(OUTPUT_NAMES)
    assert value(result, "disc_height", "disc_l5_s1") == pytest.approx(HEIGHT_MM)
    for name in set(OUTPUT_NAMES) - DICOM_NAMES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    report = pydicom.dcmread(tmp_path / "one" / "measurements.dcm")
    text = str(report)
    for code in ("715056000", "DISC_HEIGHT_IDX", "TRANSV_DIAMETER", "CENTROID_X", "mm2"):
        assert code in text, code


def test_an_axial_slice_has_no_height(tmp_path):
    volume, label_map = draw_axial()
    write_volume(tmp_path / "slice.nii.gz", volume)
    result = analyze(AnalysisRequest(tmp_path / "slice.nii.gz", tmp_path / "out"), PhantomDetector(label_map))
    assert value(result, "transverse_diameter", "intervertebral_disc") == pytest.approx(48, abs=0.5)
    assert not [row for row in result.measurements if "height" in row.measure]


def test_labels_alone_have_no_instances():
    result = measure_label_map(*draw_sagittal(SPACING_MM))
    assert result.instances == ()
    assert not [row for row in result.measurements if row.measure == "detection_score"]


def test_a_volume_without_a_disc_says_so(nifti, tmp_path):
    label_map = draw_sagittal(SPACING_MM)[1]
    empty = LabelMap(np.zeros_like(label_map.array), label_map.grid, SCHEMA)
    result = analyze(AnalysisRequest(nifti[0], tmp_path / "out"), PhantomDetector(empty))
    assert result.flags == ("no_disc_found",)
    assert result.measurements and all(row.value is None and row.flags for row in result.measurements)
    assert "No lumbar disc was found" in (tmp_path / "out" / "report.html").read_text()


def test_the_kind_is_found_by_its_schema():
    kind = kind_of("lumbar_disc_mr")
    assert (kind.modality, kind.across) == ("MR", "LR")


def as_ct(volume):
    return replace(volume, array=np.where(volume.array < 50, -1000, 40).astype(np.int16))


def coronal(volume):
    return replace(volume, grid=Grid(volume.grid.shape, np.eye(4)[[1, 0, 2, 3]] @ volume.grid.affine))


def of_a(part):
    return lambda volume: replace(volume, acquisition=replace(volume.acquisition, body_part=part))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda volume: replace(volume, modality="CT"), "the image is CT, not MR: lumbar discs are measured on MR"),
        (as_ct, "so it is a CT, not MR: give the lumbar spine's MR series"),
        (lambda volume: replace(volume, array=np.full_like(volume.array, 7)), "every voxel of the image is 7"),
        (of_a("KNEE"), "of the KNEE, not of a lumbar spine: give the lumbar spine's series"),
        (of_a("CSPINE"), "of the CSPINE, not of a lumbar spine"),
        (coronal, "the slices are coronal"),
    ],
)
def test_what_is_no_lumbar_mr_is_refused(change, sentence):
    volume, label_map = draw_sagittal(SPACING_MM)
    changed = change(volume)
    with pytest.raises(InputError, match=sentence):
        measure_label_map(changed, LabelMap(label_map.array, changed.grid, SCHEMA))


def test_a_ct_folder_is_refused(ct_series, tmp_path):
    with pytest.raises(InputError, match="holds no MR images but 12 of modality CT"):
        analyze(AnalysisRequest(ct_series, tmp_path / "out"), PhantomSegmenter(draw_axial()[1]))
    assert not (tmp_path / "out").exists()
