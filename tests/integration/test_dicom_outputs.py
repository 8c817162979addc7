"""SEG and SR: valid, with real codes, and equal to what went in."""

from copy import deepcopy

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.coding import Code

from myotome.biomarkers.body_composition import measure_body_composition
from myotome.biomarkers.bone_density import measure_bone_density
from myotome.biomarkers.rotator_cuff import measure_supraspinatus
from myotome.errors import GeometryError, InputError
from myotome.geometry import Acquisition, Grid, reorient
from myotome.io import read_label_map, read_volume
from myotome.io.dicom_report import write_structured_report
from myotome.io.dicom_segmentation import read_segmentation, write_segmentation
from myotome.io.dicom_series import write_dicom_series
from myotome.measurement import CaseResult, Grading, Level, Measurement, Provenance
from myotome.structures import LabelMap, read_label_schema
from tests.unit.biomarkers.abdomens import IMAT, PIXEL_CM2, SMA_CM2, SUBCUTANEOUS, make_abdomen_case
from tests.unit.biomarkers.spines import Spine, make_spine
from tests.unit.phantoms.shoulders import make_shoulder_case

SCHEMA = read_label_schema()
PROVENANCE = Provenance(
    "respiratory_muscle_ct_segmentation", "0.1.0", "ab" * 32, {"myotome": "0.1.0"}, "cpu", {}, (), "0123456789abcdef"
)
HU = "[hnsf'U]"


@pytest.fixture
def volume(ct_series):
    return read_volume(ct_series)


def draw(volume, labels=(1, 2, 3, 4)):
    """No symmetry in any axis, and empty slices at both ends and in the middle."""
    array = np.zeros(volume.grid.shape, np.uint8)
    for label in labels:
        array[label : label + 3 + label, 2 * label, 2:9] = label
        array[3, 2 * label + 1, label] = label
    array[:, :, 5] = 0
    return LabelMap(array, volume.grid, SCHEMA)


def turn(label_map, codes):
    array, affine = reorient(label_map.array, np.array(label_map.grid.affine), codes)
    return LabelMap(array, Grid(array.shape, affine), label_map.schema)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SPR", "AIL", "PSL", "IRA"])
def test_a_segmentation_reads_back_voxel_for_voxel(tmp_path, volume, codes):
    label_map = turn(draw(volume), codes)
    assert write_segmentation(tmp_path / "s.dcm", label_map, volume, PROVENANCE)
    back = read_segmentation(tmp_path / "s.dcm", SCHEMA, label_map.grid)
    assert np.array_equal(back.array, label_map.array)
    assert back.grid.same_as(label_map.grid)
    same = read_label_map(tmp_path / "s.dcm", SCHEMA, grid=volume.grid)
    assert np.array_equal(same.array, draw(volume).array)


def test_another_reader_finds_the_segments_in_the_same_place(tmp_path, volume):
    label_map = draw(volume)
    write_segmentation(tmp_path / "s.dcm", label_map, volume, PROVENANCE)
    seg = highdicom.seg.segread(tmp_path / "s.dcm").get_volume(combine_segments=True)
    seg = seg.to_patient_orientation("LPH")
    offset = np.linalg.inv(volume.grid.affine) @ np.diag([-1, -1, 1, 1]) @ seg.affine
    assert np.allclose(offset[:3, :3], np.eye(3), atol=1e-6)
    i, j, k = np.rint(offset[:3, 3]).astype(int)
    expected = label_map.array[i:, j:, k : k + seg.shape[2]]
    assert np.array_equal(seg.array, expected)
    assert np.count_nonzero(expected) == np.count_nonzero(label_map.array)


def test_absent_structures_have_no_segment_and_shift_no_name(tmp_path, volume):
    label_map = draw(volume, labels=(2, 4))
    write_segmentation(tmp_path / "s.dcm", label_map, volume, PROVENANCE)
    segments = pydicom.dcmread(tmp_path / "s.dcm").SegmentSequence
    assert [(s.SegmentNumber, s.SegmentLabel) for s in segments] == [(1, "Erector spinae"), (2, "Other muscle")]
    assert np.array_equal(read_segmentation(tmp_path / "s.dcm", SCHEMA, volume.grid).array, label_map.array)


def test_every_segment_has_the_codes_of_its_structure(tmp_path, volume):
    write_segmentation(tmp_path / "s.dcm", draw(volume), volume, PROVENANCE)
    dataset = pydicom.dcmread(tmp_path / "s.dcm")
    assert dataset.SegmentationType == "BINARY"
    for segment, structure in zip(dataset.SegmentSequence, SCHEMA.structures, strict=True):
        kind, category = segment.SegmentedPropertyTypeCodeSequence[0], segment.SegmentedPropertyCategoryCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == (structure.code.value, structure.code.scheme)
        assert category.CodeValue == structure.category.value
        parts = [part.CodeValue for part in segment.get("PrimaryAnatomicStructureSequence", [])]
        assert parts == [part.value for part in structure.parts]
        assert segment.SegmentAlgorithmName == PROVENANCE.bundle
        colour = highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
        assert np.abs(np.array(colour) - structure.colour).max() <= 2


def test_a_segmentation_refers_to_the_slices_it_was_drawn_on(tmp_path, volume):
    write_segmentation(tmp_path / "s.dcm", draw(volume, labels=(1,)), volume, PROVENANCE)
    dataset = pydicom.dcmread(tmp_path / "s.dcm")
    by_height = {float(h.ImagePositionPatient[2]): h.SOPInstanceUID for h in volume.acquisition.headers}
    assert len(dataset.PerFrameFunctionalGroupsSequence) == 7  # slices 1 to 8 without the emptied slice 5
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        height = float(groups.PlanePositionSequence[0].ImagePositionPatient[2])
        assert source.ReferencedSOPInstanceUID == by_height[height]
    assert dataset.StudyInstanceUID == volume.acquisition.study_uid
    assert dataset.PatientID == "PHANTOM-000007"


def test_a_segmentation_drawn_by_hand_says_so(tmp_path, volume):
    by_hand = Provenance("none", "none", "none", {}, "none", {})
    write_segmentation(tmp_path / "s.dcm", draw(volume), volume, by_hand)
    assert pydicom.dcmread(tmp_path / "s.dcm").SegmentSequence[0].SegmentAlgorithmType == "MANUAL"


def test_an_empty_label_map_gives_no_file(tmp_path, volume):
    empty = draw(volume, labels=())
    assert not write_segmentation(tmp_path / "s.dcm", empty, volume, PROVENANCE)
    assert not write_structured_report(
        tmp_path / "r.dcm", CaseResult(empty, (), PROVENANCE), volume, tmp_path / "s.dcm"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series"]


def test_labels_of_another_grid_are_refused(tmp_path, volume):
    shifted = np.array(volume.grid.affine)
    shifted[2, 3] += 2.5
    label_map = LabelMap(draw(volume).array, Grid(volume.grid.shape, shifted), SCHEMA)
    with pytest.raises(GeometryError, match="does not lie on the slices of its series"):
        write_segmentation(tmp_path / "s.dcm", label_map, volume, PROVENANCE)
    assert not (tmp_path / "s.dcm").exists()


def test_a_volume_from_nifti_has_no_dicom_outputs(tmp_path, small_ct):
    with pytest.raises(InputError, match="not read from DICOM"):
        write_segmentation(tmp_path / "s.dcm", draw(small_ct), small_ct, PROVENANCE)


def test_a_segmentation_of_another_grid_is_refused(tmp_path, volume):
    write_segmentation(tmp_path / "s.dcm", draw(volume), volume, PROVENANCE)
    other = np.array(volume.grid.affine)
    other[:3, 3] += (0.3, 0, 0)
    with pytest.raises(GeometryError, match="does not lie on the image's grid"):
        read_segmentation(tmp_path / "s.dcm", SCHEMA, Grid(volume.grid.shape, other))
    with pytest.raises(GeometryError, match="does not lie on the image's grid"):
        read_segmentation(tmp_path / "s.dcm", SCHEMA, Grid((20, 16, 5), volume.grid.affine))


def test_an_unknown_segment_is_refused_by_name(tmp_path, volume):
    write_segmentation(tmp_path / "s.dcm", draw(volume), volume, PROVENANCE)
    dataset = pydicom.dcmread(tmp_path / "s.dcm")
    dataset.SegmentSequence[0].SegmentLabel = "Spleen"
    dataset.save_as(tmp_path / "s.dcm")
    with pytest.raises(InputError, match="the segment 'Spleen' is not in schema"):
        read_segmentation(tmp_path / "s.dcm", SCHEMA, volume.grid)


def test_an_unknown_segment_that_is_empty_is_left_out(tmp_path, volume):
    """OHIF writes the segments of every model that is served."""
    write_segmentation(tmp_path / "s.dcm", draw(volume), volume, PROVENANCE)
    dataset = pydicom.dcmread(tmp_path / "s.dcm")
    stranger = deepcopy(dataset.SegmentSequence[0])
    stranger.SegmentLabel, stranger.SegmentNumber = "Spleen", len(dataset.SegmentSequence) + 1
    dataset.SegmentSequence.append(stranger)
    dataset.save_as(tmp_path / "s.dcm")
    assert (read_segmentation(tmp_path / "s.dcm", SCHEMA, volume.grid).array == draw(volume).array).all()


@pytest.mark.parametrize("content", [b"x" * 200, bytes(128) + b"DICM"])
def test_what_is_not_a_segmentation_is_refused(tmp_path, ct_series, volume, content):
    (tmp_path / "s.dcm").write_bytes(content)
    for path in (tmp_path / "s.dcm", ct_series / "0001.dcm"):
        with pytest.raises(InputError, match="is not a DICOM segmentation"):
            read_segmentation(path, SCHEMA, volume.grid)


@pytest.fixture
def measured(volume):
    measurements = [Measurement("pectoralis", "volume", 12.5, "mL", side=side) for side in ("right", "left", "both")]
    measurements += [
        Measurement("pectoralis", "density", value, HU, side="right", statistic=statistic, flags=("truncated_left",))
        for statistic, value in (("mean", 41.5), ("median", 44.0), ("sd", 20.25))
    ]
    measurements += [
        Measurement("pectoralis", "area", 9.0, "cm2", side="right", slice_index=3),
        Measurement("erector_spinae", "area", 15.0, "cm2", level="T12", slice_index=4),
        Measurement("erector_spinae", "imat_share", 8.25, "%"),
        Measurement("erector_spinae", "volume_per_length", 1.5, "mL/cm"),
        Measurement("intercostal", "volume", None, "mL", flags=("absent",)),
    ]
    return CaseResult(draw(volume, labels=(1, 2)), tuple(measurements), PROVENANCE)


@pytest.fixture
def report(tmp_path, volume, measured):
    write_segmentation(tmp_path / "s.dcm", measured.label_map, volume, PROVENANCE)
    assert write_structured_report(tmp_path / "r.dcm", measured, volume, tmp_path / "s.dcm")
    return highdicom.sr.srread(tmp_path / "r.dcm")


def groups_of(report):
    groups = report.content.get_volumetric_roi_measurement_groups()
    return {group.tracking_identifier: group for group in groups}


def test_the_report_has_a_group_per_structure_and_side_on_its_segment(tmp_path, report):
    groups = groups_of(report)
    assert list(groups) == ["Pectoralis, right", "Pectoralis, left", "Pectoralis", "Erector spinae"]
    seg = pydicom.dcmread(tmp_path / "s.dcm", stop_before_pixels=True)
    for name, group in groups.items():
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        segment = seg.SegmentSequence[group.referenced_segment.referenced_segment_numbers[0] - 1]
        assert segment.SegmentLabel == name.split(",")[0]
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"


def test_the_report_names_the_source_series_and_lists_its_images_once(tmp_path, report, volume):
    headers = volume.acquisition.headers
    for group in groups_of(report).values():
        series = [item.UID for item in group[0].ContentSequence if item.ValueType == "UIDREF"]
        assert str(headers[0].SeriesInstanceUID) in series
        assert sum(item.ValueType == "IMAGE" for item in group[0].ContentSequence) == 1
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    listed = {
        item.ReferencedSOPInstanceUID for one in study.ReferencedSeriesSequence for item in one.ReferencedSOPSequence
    }
    segmentation = pydicom.dcmread(tmp_path / "s.dcm", stop_before_pixels=True)
    assert listed == {str(header.SOPInstanceUID) for header in headers} | {segmentation.SOPInstanceUID}


def test_sides_are_the_laterality_of_the_finding_sites(report):
    groups = groups_of(report)
    for name, laterality in (
        ("Pectoralis, right", Code("24028007", "SCT", "Right")),
        ("Pectoralis, left", Code("7771000", "SCT", "Left")),
        ("Pectoralis", None),
    ):
        sites = groups[name].finding_sites
        assert [site.value.CodeValue for site in sites] == ["60005003", "18686000"]
        assert [site.laterality for site in sites] == [laterality, laterality]
    assert [site.value.CodeValue for site in groups["Erector spinae"].finding_sites] == ["44947003"]


def test_values_have_public_codes_and_units(report):
    groups = groups_of(report)
    right = {
        (m.name.value, m.derivation.value if m.derivation else None): (m.value, m.unit.value)
        for m in groups["Pectoralis, right"].get_measurements()
    }
    assert right == {
        ("118565006", None): (12.5, "mL"),
        ("112031", "373098007"): (41.5, HU),
        ("112031", "373099004"): (44.0, HU),
        ("112031", "386136009"): (20.25, HU),
    }
    spinae = {m.name.value: m for m in groups["Erector spinae"].get_measurements()}
    assert set(spinae) == {"42798000", "IMAT_SHARE", "VOL_PER_LENGTH"}
    assert spinae["42798000"].finding_sites[0].value == Code("23215003", "SCT", "T12 vertebra")
    assert (spinae["IMAT_SHARE"].value, spinae["IMAT_SHARE"].unit.value) == (8.25, "%")
    assert spinae["IMAT_SHARE"].name.scheme_designator == "99MYOTOME"


def test_private_codes_are_declared_and_flags_reported(report):
    schemes = {item.CodingSchemeDesignator for item in report.CodingSchemeIdentificationSequence}
    assert "99MYOTOME" in schemes
    evaluations = groups_of(report)["Pectoralis, right"].get_qualitative_evaluations()
    flags = [item.value.meaning for item in evaluations if item.name.value == "QUALITY_FLAG"]
    assert flags == ["Truncated left"]


def test_segmentation_and_report_are_valid(tmp_path, report, dicom_errors):
    assert dicom_errors(tmp_path / "s.dcm") == ([], [])
    errors, warnings = dicom_errors(tmp_path / "r.dcm")
    assert errors == []
    assert [line for line in warnings if "<99MYOTOME>" not in line] == []


@pytest.mark.parametrize("name", ["chest_ct_dicom", "abdomen_ct_dicom"])
def test_outputs_of_a_real_series_are_valid(tmp_path, shared_data, dicom_errors, name):
    volume = read_volume(shared_data / name)
    array = np.zeros(volume.grid.shape, np.uint8)
    array[100:140, 200:300, 3:20] = 1
    array[200:240, 400:440, 25] = 3
    label_map = LabelMap(array, volume.grid, SCHEMA)
    result = CaseResult(label_map, (Measurement("pectoralis", "volume", 12.5, "mL"),), PROVENANCE)
    write_segmentation(tmp_path / "s.dcm", label_map, volume, PROVENANCE)
    write_structured_report(tmp_path / "r.dcm", result, volume, tmp_path / "s.dcm")
    assert np.array_equal(read_segmentation(tmp_path / "s.dcm", SCHEMA, volume.grid).array, array)
    for path in (tmp_path / "s.dcm", tmp_path / "r.dcm"):
        assert dicom_errors(path)[0] == []


def test_outputs_of_a_multi_frame_source(tmp_path, ct_series, measured, dicom_errors):
    """The source is one object; the label map lies on it all the same."""
    slices = [pydicom.dcmread(path) for path in sorted(ct_series.glob("*.dcm"))]
    legacy = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        slices,
        series_instance_uid=pydicom.uid.generate_uid(),
        series_number=2,
        sop_instance_uid=pydicom.uid.generate_uid(),
        instance_number=1,
    )
    legacy.save_as(tmp_path / "legacy.dcm")
    volume = read_volume(tmp_path / "legacy.dcm")
    assert write_segmentation(tmp_path / "s.dcm", measured.label_map, volume, PROVENANCE)
    assert write_structured_report(tmp_path / "r.dcm", measured, volume, tmp_path / "s.dcm")
    back = read_segmentation(tmp_path / "s.dcm", SCHEMA, volume.grid)
    assert np.array_equal(back.array, measured.label_map.array)
    source = pydicom.dcmread(tmp_path / "s.dcm").ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert source.ReferencedSOPInstanceUID == legacy.SOPInstanceUID
    for path in (tmp_path / "s.dcm", tmp_path / "r.dcm"):
        assert dicom_errors(path)[0] == []


@pytest.mark.parametrize("slices", [1, 4])
def test_outputs_of_a_graded_shoulder(tmp_path, dicom_errors, slices):
    """One slice or several, MR, structures without sides, rows of a grading: all of them in valid objects."""
    volume, label_map = make_shoulder_case(slices=slices, y_view=slices - 1)
    write_dicom_series(tmp_path / "mr", volume)
    volume = read_volume(tmp_path / "mr", modality="MR", across="LR")
    label_map = LabelMap(label_map.array, volume.grid, label_map.schema)
    square, shares = np.zeros((8, 8)), dict.fromkeys("ABCDE", 0.25)
    grading = Grading(slices - 1, "", shares, (0.1, 0.2, 0.4, 0.2, 0.1), square, square, square)
    rows, flags = measure_supraspinatus(volume, label_map, grading)
    result = CaseResult(label_map, rows, PROVENANCE, flags, grading)
    assert write_segmentation(tmp_path / "s.dcm", label_map, volume, PROVENANCE)
    assert write_structured_report(tmp_path / "r.dcm", result, volume, tmp_path / "s.dcm")
    assert np.array_equal(read_segmentation(tmp_path / "s.dcm", label_map.schema, volume.grid).array, label_map.array)
    for path in (tmp_path / "s.dcm", tmp_path / "r.dcm"):
        assert dicom_errors(path)[0] == []
    report = highdicom.sr.srread(tmp_path / "r.dcm")
    groups = groups_of(report)
    assert list(groups) == ["Supraspinatus", "Rest of the supraspinous fossa"]
    found = {m.name.value: (m.value, m.unit.value) for m in groups["Supraspinatus"].get_measurements()}
    assert found["42798000"] == (pytest.approx(4.8), "cm2")
    assert found["POSITIVE_A"] == (0.25, "1") and found["PROBABILITY_GRADE_2"] == (0.4, "1")
    assert found["GOUTALLIER"] == (2, "1") and found["TANGENT_SIGN"] == (1, "1")
    assert len(found) == len([row for row in rows if row.structure == "supraspinatus" and row.value is not None])
    assert {site.value.CodeValue for site in groups["Supraspinatus"].finding_sites} == {"6423006"}
    procedure = [item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121058"]
    assert procedure[0].ConceptCodeSequence[0].CodeValue == "25056-3"


@pytest.mark.parametrize("labelled", [(3,), (2, 3, 4)])
def test_outputs_of_muscle_and_fat_at_l3(tmp_path, dicom_errors, labelled):
    """One slice or the mean of three: fats told apart by their place, each value found at the third lumbar vertebra."""
    volume, label_map = make_abdomen_case(labelled=labelled, acquisition=Acquisition(height_m=1.6, sex="F"))
    write_dicom_series(tmp_path / "ct", volume)
    volume = read_volume(tmp_path / "ct")
    array, _ = reorient(label_map.array, label_map.grid.affine, "".join(volume.grid.axis_codes))
    label_map = LabelMap(np.ascontiguousarray(array), volume.grid, label_map.schema)
    level = Level(3, 115.0, 0.93)
    rows, flags = measure_body_composition(volume, label_map, level=level)
    result = CaseResult(label_map, rows, PROVENANCE, flags, level=level)
    assert write_segmentation(tmp_path / "s.dcm", label_map, volume, PROVENANCE)
    assert write_structured_report(tmp_path / "r.dcm", result, volume, tmp_path / "s.dcm")
    assert np.array_equal(read_segmentation(tmp_path / "s.dcm", label_map.schema, volume.grid).array, label_map.array)
    for path in (tmp_path / "s.dcm", tmp_path / "r.dcm"):
        assert dicom_errors(path)[0] == []
    segments = pydicom.dcmread(tmp_path / "s.dcm").SegmentSequence
    codes = [
        (
            segment.SegmentedPropertyTypeCodeSequence[0].CodeValue,
            [item.CodeValue for item in segment.get("PrimaryAnatomicStructureSequence", [])],
        )
        for segment in segments
    ]
    assert codes == [("127954009", []), ("67769002", []), ("55603005", ["818987002"]), ("55603005", ["127954009"])]
    groups = groups_of(highdicom.sr.srread(tmp_path / "r.dcm"))
    assert list(groups) == ["Skeletal muscle", "Subcutaneous fat", "Visceral fat"]
    muscle = groups["Skeletal muscle"].get_measurements()
    areas = {m.method.value: m.value for m in muscle if m.name.value == "42798000"}
    assert areas["MUSCLE_RANGE"] == pytest.approx(SMA_CM2, rel=1e-5)
    assert areas["FAT_RANGE"] == pytest.approx(IMAT * PIXEL_CM2, rel=1e-5)
    assert set(areas) == {"MUSCLE_RANGE", "NAMA_RANGE", "LAMA_RANGE", "FAT_RANGE"}
    assert all(m.finding_sites[0].value == Code("36470004", "SCT", "L3 vertebra") for m in muscle)
    assert len(muscle) == len(
        [
            row
            for row in rows
            if row.structure == "skeletal_muscle" and row.slice_index is None and row.value is not None
        ]
    )
    (fat,) = groups["Subcutaneous fat"].get_measurements()
    assert (fat.value, fat.unit.value) == (pytest.approx(SUBCUTANEOUS * PIXEL_CM2), "cm2")


def test_outputs_of_bone_density(tmp_path, dicom_errors):
    """Bodies have their own code and level, the mean a group without a segment, and densities say their equivalent."""
    volume, label_map = make_spine(Spine(noise_hu=15, crushed={"T12": 0.5}))
    write_dicom_series(tmp_path / "ct", volume)
    volume = read_volume(tmp_path / "ct")
    array, _ = reorient(label_map.array, label_map.grid.affine, "".join(volume.grid.axis_codes))
    label_map = LabelMap(np.ascontiguousarray(array), volume.grid, label_map.schema)
    rows, flags = measure_bone_density(volume, label_map)
    result = CaseResult(label_map, rows, PROVENANCE, flags)
    assert write_segmentation(tmp_path / "s.dcm", label_map, volume, PROVENANCE)
    assert write_structured_report(tmp_path / "r.dcm", result, volume, tmp_path / "s.dcm")
    for path in (tmp_path / "s.dcm", tmp_path / "r.dcm"):
        assert dicom_errors(path)[0] == []
    codes = {
        s.SegmentLabel: s.SegmentedPropertyTypeCodeSequence[0]
        for s in pydicom.dcmread(tmp_path / "s.dcm").SegmentSequence
    }
    assert (codes["Body of L1"].CodeValue, codes["Body of L1"].CodeMeaning) == ("61032001", "Body of L1 vertebra")
    report = highdicom.sr.srread(tmp_path / "r.dcm")
    body = {m.name.value: m for m in groups_of(report)["Body of L1"].get_measurements()}
    value = {row.measure: row.value for row in rows if row.level == "L1"}
    assert body["VBMD_K2HPO4"].value == pytest.approx(value["bmd"], rel=1e-5)
    assert (body["VBMD_HA"].value, body["VBMD_HA"].unit.value) == (pytest.approx(value["bmd_ha"], rel=1e-5), "mg/cm3")
    assert body["112031"].method.value == "TRABECULAR"
    assert all(m.finding_sites[0].value == Code("66794005", "SCT", "L1 vertebra") for m in body.values())
    fractured = groups_of(report)["Body of T12"]
    assert {m.name.value for m in fractured.get_measurements()} == {"112031", "HEIGHT_LOSS", "118565006"}
    assert "FRACTURED" in {item.value.value for item in fractured.get_qualitative_evaluations()}
    (spine,) = report.content.get_image_measurement_groups()
    mean = {m.name.value: m.value for m in spine.get_measurements()}
    expected = next(row.value for row in rows if (row.structure, row.measure) == ("vertebral_column", "bmd"))
    assert mean["VBMD_K2HPO4"] == pytest.approx(expected, rel=1e-5)
    assert spine.finding_type.value == "421060004"
