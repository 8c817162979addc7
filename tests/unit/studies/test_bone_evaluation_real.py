"""Real scans with another program's structures: bodies without arches, air without the table; numbers and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from myotome.errors import InputError
from myotome.geometry import Acquisition, Grid, Volume
from myotome.io import write_volume
from myotome.structures import LabelMap
from myotome.studies.bone_evaluation import read_bone_protocol
from myotome.studies.bone_evaluation_labels import convert_117
from myotome.studies.bone_evaluation_real import list_missing, measure_scan, read_real_scans, tabulate_real

SHAPE, AFFINE = (60, 60, 22), np.diag([4.0, 4.0, 4.0, 1.0])
BMD, HU_PER_MG = 110.0, 1.38
BODIES = {"vertebral_body_l2": (30, 2), "vertebral_body_l1": (31, 12)}
FRONT = np.s_[24:37, 28:39]


def draw(contrast: str | None = None) -> tuple[Volume, np.ndarray]:
    """A square person on a table, L1 and L2 with arches around the cord, in the numbering of 117 structures."""
    image, labels = np.full(SHAPE, -1000, np.int16), np.zeros(SHAPE, np.uint8)
    image[4:56, 2], image[8:52, 8:52], image[14:46, 14:46] = 20, -100, 0
    for number, hu, box in (
        (52, 44, np.s_[18:24, 42:47]),
        (86, 55, np.s_[16:28, 15:23]),
        (87, 55, np.s_[32:45, 15:23]),
    ):
        image[box], labels[box] = hu, number
    labels[28:33, 24:27] = 79
    for number, z in BODIES.values():
        body, arch = (*FRONT, slice(z, z + 7)), np.s_[20:41, 22:28, z : z + 7]
        labels[arch] = np.where(labels[arch] == 79, 79, number)
        image[arch], labels[body], image[body] = 600, number, round(BMD * HU_PER_MG)
    image += np.random.default_rng(3).normal(0, 2, SHAPE).round().astype(np.int16)
    acquisition = Acquisition(tube_voltage_kv=120.0, slice_thickness_mm=4.0, contrast_agent=contrast)
    return Volume(image, Grid(SHAPE, AFFINE), "CT", acquisition), labels


def test_a_body_is_what_lies_in_front_of_the_canal():
    volume, labels = draw()
    _, found = convert_117(volume, labels)
    for name, (_, z) in BODIES.items():
        expected = np.zeros(SHAPE, bool)
        expected[(*FRONT, slice(z, z + 7))] = True
        np.testing.assert_array_equal(found.array == found.schema[name].index, expected)
    np.testing.assert_array_equal(found.array == found.schema["erector_spinae"].index, np.isin(labels, (86, 87)))
    np.testing.assert_array_equal(found.array == found.schema["aorta"].index, labels == 52)
    assert not (found.array[20:41, 22:27, 2:9] > 0).any(), "the arch is no structure of this schema"


def test_air_is_without_the_table_and_fat_lies_under_the_skin():
    volume, labels = draw()
    _, found = convert_117(volume, labels)
    air, fat = (found.array == found.schema[name].index for name in ("air", "subcutaneous_fat"))
    assert air[:8].any() and not air[4:56, 2].any() and not air[8:52, 8:52].any()
    assert fat[8:11, 8:52].all() and not fat[12:48, 12:48].any(), "12 mm under the skin, and no deeper than 15"
    mask = np.zeros(SHAPE, np.uint8)
    mask[9:13, 20:40] = 1
    _, masked = convert_117(volume, labels, mask)
    np.testing.assert_array_equal(masked.array == masked.schema["subcutaneous_fat"].index, mask > 0)


def test_the_order_of_the_axes_makes_no_difference():
    volume, labels = draw()
    _, found = convert_117(volume, labels)
    turned = Volume(volume.array[::-1, :, ::-1], Grid(SHAPE, AFFINE @ flip()), "CT", volume.acquisition)
    image, again = convert_117(turned, labels[::-1, :, ::-1])
    np.testing.assert_array_equal(again.array, found.array)
    np.testing.assert_array_equal(image.array, volume.array)


def flip() -> np.ndarray:
    """From voxels that are counted from the other side and from the head."""
    matrix = np.diag([-1.0, 1.0, -1.0, 1.0])
    matrix[[0, 2], 3] = SHAPE[0] - 1, SHAPE[2] - 1
    return matrix


def test_without_a_cord_no_body_can_be_told():
    volume, labels = draw()
    labels[(labels == 79) & (np.arange(SHAPE[2]) >= 11)] = 0
    _, found = convert_117(volume, labels)
    assert set(np.unique(found.array)) & set(range(1, 9)) == {found.schema["vertebral_body_l2"].index}
    with pytest.raises(InputError, match="not on the image's grid"):
        convert_117(volume, labels[1:])


def test_each_level_has_both_densities_and_the_gates_verdict():
    scan = measure_scan(*convert_117(*draw()))
    assert [one.level for one in scan.readings] == ["L1", "L2", ""]
    for one in scan.readings:
        assert one.hu.value == pytest.approx(BMD * HU_PER_MG, abs=1) and one.verdict == "number"
        assert one.densities["multi_tissue"].value == pytest.approx(BMD, abs=6)
        assert one.densities["two_tissue"].value == pytest.approx(BMD, abs=15), "tabled fat and muscle are not these"
    assert scan.references_hu["aorta"] == pytest.approx(44, abs=1) and scan.references_hu["cortical_bone"] is None
    refused = measure_scan(*convert_117(*draw(contrast="OMNIPAQUE")))
    assert {one.verdict for one in refused.readings} == {"none (contrast_suspected)"}
    text = tabulate_real([replace(scan, name="a", labels="x"), replace(refused, name="b", labels="x")])
    assert "| a | x | L1 | 152 (" in text and "| b | x | mean | 152 (" in text and text.count("none (contrast") == 3
    assert text.count("The header names a contrast agent") == 1
    assert "  - L1 two-tissue, L1 multi-tissue, L2 two-tissue, L2 multi-tissue, mean two-tissue" in text


def test_a_verdict_says_which_method_has_no_number():
    volume, labels = draw()
    labels[labels == 52] = 0
    scan = measure_scan(*convert_117(volume, labels))
    assert scan.readings[-1].verdict == "multi-tissue: none (blood_missing)"
    assert scan.readings[-1].densities["two_tissue"].value is not None


def test_scans_are_read_as_configured_and_refusals_are_told(tmp_path):
    volume, labels = draw()
    write_volume(tmp_path / "ct.nii.gz", volume)
    write_volume(tmp_path / "labels.nii.gz", Volume(labels.astype(np.int16), volume.grid, "CT"))
    real = {
        "labelled": [
            {"name": "own labels", "image": "ct.nii.gz", "labels": "labels.nii.gz"},
            {"name": "no labels", "image": "ct.nii.gz", "labels": "elsewhere.nii.gz"},
        ],
        "by_bundle": [{"name": "by bundle", "image": "ct.nii.gz"}, {"name": "absent", "image": "series"}],
    }
    assert list_missing(tmp_path, real) == ["series", "elsewhere.nii.gz"]
    assert [scan.name for scan in read_real_scans(tmp_path, real)] == ["own labels"]

    class Refuses:
        def segment(self, volume: Volume) -> LabelMap:
            raise InputError("the vertebrae of this scan cannot be named surely enough.")

    own, refused = read_real_scans(tmp_path, real, Refuses())
    assert [one.level for one in own.readings] == ["L1", "L2", ""] and "tube_voltage_unknown" in own.flags
    text = tabulate_real([own, refused])
    assert "| by bundle | bundle | – | – | – | – | refused |" in text
    assert "- by bundle: the vertebrae of this scan cannot be named surely enough." in text

    class Draws(Refuses):
        left_out = ("what may be L3",)

        def segment(self, volume: Volume) -> LabelMap:
            return convert_117(volume, labels)[1]

    by_bundle = read_real_scans(tmp_path, real, Draws())[1]
    assert by_bundle.flags[0] == "vertebra_not_named"
    assert by_bundle.readings[0].hu.value == own.readings[0].hu.value


def test_the_projects_own_list_names_files_and_folders():
    real = read_bone_protocol()["real"]
    assert {row["image"] for row in real["by_bundle"]} >= {"chest_ct_dicom", "abdomen_ct_dicom"}
    assert real["labelled"][0]["labels"] == "abdomen_ct_3mm/labels_117.nii.gz"
