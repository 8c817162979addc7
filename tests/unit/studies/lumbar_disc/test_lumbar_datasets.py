"""Public sets of lumbar discs: folders of the same layout are drawn, read back, and refused where they are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from myotome.errors import InputError
from myotome.io import read_label_map, read_volume
from myotome.structures import read_label_schema
from myotome.studies.lumbar_disc.datasets import (
    convert_mat,
    convert_spider,
    convert_sudirman,
    read_mat,
    read_spider,
    read_sudirman,
)

SCHEMA = read_label_schema("lumbar_disc_mr")
DISC_ROWS, DISC_COLUMNS = slice(10, 18), slice(12, 26)


def draw_label() -> np.ndarray:
    """Rows to the back, columns to the patient's left: the disc, behind it sac and arch, everything else around."""
    label = np.full((40, 36), 250, np.uint8)
    label[DISC_ROWS, DISC_COLUMNS] = 50
    label[18:20, 14:24], label[20:26, 15:23], label[28:34, 12:26] = 200, 150, 100
    return label


@pytest.fixture
def sudirman(tmp_path):
    """Two patients, three discs each, as the archive of label images has them."""
    final, slices = (
        tmp_path / "set" / "05_Final_Ground_Truth_Data",
        tmp_path / "set" / "04_Intermediary_Ground_Truth_Data",
    )
    folders = {"L1": final / "Label_Images", "C": final / "Composite_Images", "T2": slices / "T2_Output"}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for patient in ("0001", "0515"):
        for disc in ("D3", "D4", "D5"):
            grey = (draw_label() // 2 + 5).astype(np.uint8)
            Image.fromarray(draw_label()).save(folders["L1"] / f"L1_{patient}_{disc}.png")
            Image.fromarray(grey).save(folders["T2"] / f"T2_{patient}_{disc}.png")
            colours = np.stack((grey, grey, grey + 30), axis=2).astype(np.uint8)
            Image.fromarray(colours).save(folders["C"] / f"C_{patient}_{disc}.png")
    return tmp_path / "set"


def test_the_axial_set_keeps_the_disc_and_names_patient_and_level(sudirman, tmp_path):
    rows = convert_sudirman(sudirman, tmp_path / "cases", "T2")
    assert [row["case"] for row in rows] == [f"{p}_D{n}" for p in ("0001", "0515") for n in (3, 4, 5)]
    assert [row["patient"] for row in rows] == ["0001"] * 3 + ["0515"] * 3
    assert [row["level"] for row in rows[:3]] == ["L3-L4", "L4-L5", "L5-S1"]
    labels = read_label_map(rows[0]["label"], SCHEMA)
    volume = read_volume(rows[0]["image"], modality="MR", single_slice=True)
    assert volume.grid.same_as(labels.grid) and volume.grid.axis_codes == ("L", "P", "S")
    assert volume.grid.spacing_mm == pytest.approx((0.6875, 0.6875, 4.4))
    expected = np.zeros((36, 40, 1), np.uint8)
    expected[DISC_COLUMNS, DISC_ROWS] = 6
    assert np.array_equal(labels.array, expected)
    assert np.array_equal(volume.array[:, :, 0], draw_label().T // 2 + 5)


def test_a_composite_image_is_the_mean_of_its_channels(sudirman, tmp_path):
    composite = read_volume(convert_sudirman(sudirman, tmp_path / "c")[0]["image"], modality="MR", single_slice=True)
    assert np.array_equal(composite.array[:, :, 0], draw_label().T // 2 + 15)


def test_the_set_is_found_wherever_it_was_unpacked(sudirman, tmp_path):
    for source in (sudirman.parent, sudirman):
        assert len(convert_sudirman(source, tmp_path / "cases", "T2")) == 6


def test_an_unknown_grey_is_refused_with_its_value(sudirman, tmp_path):
    path = next((sudirman / "05_Final_Ground_Truth_Data" / "Label_Images").glob("*_D4.png"))
    label = draw_label()
    label[3, 3] = 51
    Image.fromarray(label).save(path)
    with pytest.raises(InputError, match=f"'{path.name}' has the unknown grey 51"):
        convert_sudirman(sudirman, tmp_path / "cases", "T2")


def test_a_label_without_its_image_is_refused(sudirman, tmp_path):
    next((sudirman / "04_Intermediary_Ground_Truth_Data" / "T2_Output").glob("*0515_D5.png")).unlink()
    with pytest.raises(InputError, match="no T2 image of patient 0515, D5"):
        convert_sudirman(sudirman, tmp_path / "cases", "T2")
    with pytest.raises(InputError, match="T1_Output"):
        convert_sudirman(sudirman, tmp_path / "cases", "T1")
    with pytest.raises(InputError, match="not one of"):
        convert_sudirman(sudirman, tmp_path / "cases", "PD")


def test_pictures_of_two_sizes_or_of_none_are_refused(tmp_path):
    Image.fromarray(draw_label()).save(tmp_path / "label.png")
    Image.fromarray(np.zeros((40, 37), np.uint8)).save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("not a picture")
    Image.fromarray(np.zeros((40, 36, 3), np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(InputError, match="37 x 40 and 36 x 40"):
        read_sudirman(tmp_path / "wide.png", tmp_path / "label.png")
    with pytest.raises(InputError, match="not a picture"):
        read_sudirman(tmp_path / "text.png", tmp_path / "label.png")
    with pytest.raises(InputError, match="has colours"):
        read_sudirman(tmp_path / "label.png", tmp_path / "colour.png")


def draw_mat() -> dict[str, np.ndarray]:
    """Rows to the feet, columns to the back, slices across: disc 5 on top, disc 1 at the bottom."""
    labels = np.zeros((50, 30, 8), np.uint8)
    for number in range(1, 6):
        labels[50 - 9 * number : 54 - 9 * number, 8:20, 2:7] = number
    return {"I": labels.astype(np.uint16) * 100 + 7, "GT": labels}


def test_mat_volumes_are_numbered_from_above_and_stand_upright(tmp_path):
    savemat(tmp_path / "ivd_1.mat", draw_mat())
    volume, label_map = read_mat(tmp_path / "ivd_1.mat")
    heights = [
        float((label_map.grid.affine @ (*np.argwhere(label_map.array == label).mean(axis=0), 1))[2])
        for label in range(1, 6)
    ]
    assert heights == sorted(heights, reverse=True)
    assert (label_map.array == 5).sum() == 4 * 12 * 5
    assert label_map.grid.axis_codes[:2] == ("I", "P") and volume.grid.spacing_mm == (1.0, 1.0, 1.0)
    assert np.array_equal(volume.array[label_map.array == 5], np.full(240, 107))
    (row,) = convert_mat(tmp_path, tmp_path / "cases")
    assert row["patient"] == row["case"] == "ivd_1"
    assert np.array_equal(read_label_map(row["label"], SCHEMA).array, label_map.array)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"GT": None}, "no labels 'GT'"),
        ({"I": None}, "no image 'I'"),
        ({"GT": np.zeros((50, 30, 7), np.uint8)}, "8 slices in I and 7 in GT"),
        ({"GT": np.zeros((50, 29, 8), np.uint8)}, "another size"),
        ({"GT": np.full((50, 30, 8), 6, np.uint8)}, "not 0 to 5"),
        ({"GT": np.zeros((50, 30), np.uint8)}, "three axes"),
    ],
)
def test_a_mat_file_that_does_not_fit_is_refused(tmp_path, change, sentence):
    content = {name: value for name, value in {**draw_mat(), **change}.items() if value is not None}
    savemat(tmp_path / "ivd.mat", content)
    with pytest.raises(InputError, match=sentence):
        read_mat(tmp_path / "ivd.mat")


def test_what_is_no_mat_file_is_refused(tmp_path):
    (tmp_path / "ivd.mat").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(InputError, match="not a .mat file"):
        convert_mat(tmp_path, tmp_path / "cases")
    with pytest.raises(InputError, match="has no .mat file"):
        convert_mat(tmp_path / "empty", tmp_path / "cases")


def test_the_real_volumes_have_five_discs_each_from_above(shared_data):
    for path in sorted((shared_data / "lumbar_disc_mr").glob("*.mat")):
        volume, label_map = read_mat(path)
        assert volume.grid.shape == (221, 221, 67)
        rows = [np.argwhere(label_map.array == label)[:, 0].mean() for label in range(1, 6)]
        assert rows == sorted(rows)


def write_series(folder, name: str, numbers: np.ndarray, spacing=(4.0, 0.7, 0.7)) -> None:
    """An image and its mask as the data set has them: array (X, Y, Z) of an axis order of its own."""
    sitk = pytest.importorskip("SimpleITK")
    for kind, array in (("images", (numbers * 3).astype(np.int16)), ("masks", numbers.astype(np.uint8))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
        image.SetSpacing(spacing)
        sitk.WriteImage(image, str(folder / kind / f"{name}.mha"), True)


def draw_spider() -> np.ndarray:
    numbers = np.zeros((5, 20, 60), np.uint8)
    for place in range(7):
        numbers[:, 5:15, 3 + 8 * place : 6 + 8 * place] = 201 + place
        numbers[:, 5:15, 6 + 8 * place : 11 + 8 * place] = 1 + place
    numbers[:, 15:18], numbers[:, :, 59] = 100, 109
    return numbers


def test_spider_discs_are_counted_up_from_the_sacrum(tmp_path):
    for name in ("2_t1", "2_t2", "10_t2", "10_t2_SPACE"):
        write_series(tmp_path / "spider", name, draw_spider())
    rows = convert_spider(tmp_path / "spider", tmp_path / "cases")
    assert [(row["case"], row["patient"]) for row in rows] == [("2_t1", "2"), ("2_t2", "2"), ("10_t2", "10")]
    volume, labels = read_spider(*(tmp_path / "spider" / kind / "2_t1.mha" for kind in ("images", "masks")))
    assert volume.acquisition.weighting == "T1"
    numbers = draw_spider()
    for label, number in ((5, 201), (4, 202), (1, 205)):
        assert np.array_equal(labels.array == label, numbers == number)
    assert not labels.array[numbers > 205].any() and set(np.unique(labels.array)) == set(range(6))


def test_spider_masks_that_do_not_fit_are_refused(tmp_path):
    wrong = draw_spider()
    wrong[0, 0, 0] = 77
    write_series(tmp_path, "1_t2", wrong)
    with pytest.raises(InputError, match="unknown number 77"):
        convert_spider(tmp_path, tmp_path / "cases")
    (tmp_path / "masks" / "1_t2.mha").unlink()
    with pytest.raises(InputError, match="has no mask"):
        convert_spider(tmp_path, tmp_path / "cases")
    with pytest.raises(InputError, match="no images"):
        convert_spider(tmp_path / "nothing", tmp_path / "cases")
    write_series(tmp_path / "a", "1_t2", draw_spider())
    write_series(tmp_path / "b", "1_t2", draw_spider(), spacing=(4.4, 0.7, 0.7))
    with pytest.raises(InputError, match="not on the grid"):
        read_spider(tmp_path / "a" / "images" / "1_t2.mha", tmp_path / "b" / "masks" / "1_t2.mha")
